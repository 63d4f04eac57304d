"""samplerzoo reference"""

import re

import click

from .common import UsageError, as_text, command, debug_option, json_option, quiet_option


@command()
@click.argument("data")
@click.option(
    "--features", required=True, metavar="NAME,...", help="Feature spaces, separated by commas."
)
@click.option("--model", help="Model whose samples are to be compared with the data.")
@click.option("--shape", help="Or their shape alone, such as 32x32x3, with the range [-1, 1].")
@click.option(
    "--split",
    help="Part of the data: a folder in them, an array of an .npz, Parquet "
    "files of that name; of CIFAR train or test.",
)
@click.option("--crop", is_flag=True, help="Crop images to their centre square and resize them.")
@click.option("--held-out", metavar="DATA", help="Data that the model was not trained on, too.")
@click.option("--held-out-split", metavar="SPLIT", help="Part of the held-out data.")
@json_option
@quiet_option
@debug_option
def reference(data, features, model, shape, as_json, quiet, **more):
    """Compute the features of DATA ahead, which searches and evaluations then find in the cache.

    Tells where they are kept: such a file can be given as --data where the images are not.
    """
    if (model is None) == (shape is None):
        raise UsageError("Give --model or --shape, one of them.")
    if more["held_out_split"] and not more["held_out"]:
        raise UsageError("--held-out-split is a part of --held-out; give this too.")
    from ..runs.keeping import keep_references

    given = model if shape is None else _shape(shape)
    rows = keep_references(data, features, given, progress=not quiet, **more)
    if as_json:
        return as_text({"references": rows})
    return "\n".join(line for row in rows for line in _lines(row))


def _lines(row: dict):
    yield f"{row['features']}: {row['n']} images, {row['d']} features"
    for key in ("path", "data", "extractor"):
        yield f"  {key:<10} {row[key] or 'not kept: the features call back to Python'}"


def _shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d{0,4}(x[1-9]\d{0,4})*", text):
        raise UsageError(f"--shape is {text!r}; it must look like 32x32x3.")
    return tuple(map(int, text.split("x")))

"""samplerzoo reference"""

import re

import click

from ._common import Wrong, debug_option, json_option, quiet_option, usage


@click.command()
@click.argument("data")
@click.option("--features", required=True, metavar="NAME,...",
              help="Feature spaces, separated by commas.")  # fmt: skip
@click.option("--model", help="Model whose samples are to be compared with the data.")
@click.option("--shape", help="Or their shape alone, such as 32x32x3, with the range [-1, 1].")
@click.option("--split", help="Part of the data, as in search.")
@click.option("--crop", is_flag=True, help="Likewise.")
@click.option("--held-out", metavar="DATA", help="Data that the model was not trained on, too.")
@click.option("--held-out-split", metavar="SPLIT", help="Part of these.")
@json_option
@quiet_option
@debug_option
def reference(data, features, model, shape, split, crop, held_out, held_out_split, as_json, quiet):
    """Compute the features of DATA ahead, which searches and evaluations then find in the cache.

    Tells where they are kept: such a file can be given as --data where the images are not.
    """
    if (model is None) == (shape is None):
        raise Wrong("Give --model or --shape, one of them.")
    if held_out_split and not held_out:
        raise Wrong("--held-out-split is a part of --held-out; give this too.")
    with usage():
        from ..runs.names import split as split_names
        from ..runs.parts import kept, load_data, load_features, load_held_out, load_model

        loaded = None if model is None else load_model(model)
        where = (loaded.shape, loaded.clip) if loaded else (_shape(shape), (-1.0, 1.0))
        sets = [load_data(data, *where, split, crop)]
        if held_out:
            sets.append(load_held_out(held_out, *where, held_out_split, crop))
        names = split_names(features)
        found = {name: load_features(name, where[0], rounding=True) for name in names}
        rows = [row for images in sets for row in kept(images, found, not quiet)]
    if as_json:
        from ._show import print_json

        print_json({"references": rows})
        return
    for row in rows:
        click.echo(f"{row['features']}: {row['n']} images, {row['d']} features")
        for key in ("path", "data", "extractor"):
            click.echo(f"  {key:<10} {row[key] or 'not kept: the features call back to Python'}")


def _shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d{0,4}(x[1-9]\d{0,4})*", text):
        raise Wrong(f"--shape is {text!r}; it must look like 32x32x3.")
    return tuple(map(int, text.split("x")))

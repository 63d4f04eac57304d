"""samplerzoo sample"""

import io
from pathlib import Path
from typing import Any

import click

from ..runs.errors import RunError
from ..runs.names import label_of
from ..wording import phrase, printable
from .common import UsageError, as_text, command, debug_option, json_option, run_argument


@command()
@run_argument
@click.option("--n", default=64, show_default=True, help="How many samples.")
@click.option("--seed", default=0, show_default=True, help="Another seed, other samples.")
@click.option(
    "--out",
    default="samples.png",
    show_default=True,
    type=click.Path(path_type=Path),
    help="A picture (.png), or an array (.npz: `samples`, float32).",
)
@click.option("--model", help="Model to sample, of a sampler in .json; a run has its own.")
@json_option
@debug_option
def sample(run: str, n: int, seed: int, out: Path, model: str | None, as_json: bool):
    """Draw samples with the searched sampler of RUN, a folder or hf:owner/name.

    RUN may also be a sampler that `import` or `export --to json` wrote; then give its --model.
    """
    _check(n, seed, out)
    import numpy as np

    from ..files import write
    from ..runs.pictures import draw_grid, is_image
    from ..runs.run import Run
    from ..runs.sampling import bind, sample as draw

    found, used = bind(run, model)
    if out.suffix == ".png" and not is_image(used.shape):
        raise UsageError(f"Samples of shape {used.shape} are not pictures; give an --out in .npz.")
    samples = draw(found, n, seed, model=None if isinstance(found, Run) else used)
    own = _of_run(found) if isinstance(found, Run) else _of_numbers(found, str(model))
    about = {**own, "n": n, "Seed": seed}
    told = {key: printable(str(value)) for key, value in about.items()}
    try:
        write(out, draw_grid(samples, told) if out.suffix == ".png" else _npz(samples))
    except OSError as error:
        raise RunError(f"{out} cannot be written: {phrase(error)}.") from error
    if not as_json:
        return str(out)
    finite = int(np.isfinite(samples.reshape(n, -1)).all(axis=1).sum())
    drawn = {"samples": str(out), "n": n, "seed": seed, "shape": list(samples.shape)}
    name = found.config.model if isinstance(found, Run) else model
    nfe = found.table.nfe * used.passes
    names = {"model": name, "sampler": about["Sampler"], "nfe": nfe}
    return as_text({**drawn, "finite": finite, "run": run, **names})


def _check(n: int, seed: int, out: Path) -> None:
    from ..runs.spec import check_seed

    if n < 1:
        raise UsageError(f"--n is {n}; it must be at least 1.")
    check_seed(seed)
    if out.suffix not in (".png", ".npz"):
        raise UsageError(f"--out is {str(out)!r}; it must end in .png or .npz.")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out is {str(out)!r}, but there is no folder {out.absolute().parent}.")


def _of_numbers(sampler, model: str) -> dict[str, Any]:
    """What the samples of a sampler in JSON are of."""
    return {"Model": label_of(model), "Sampler": sampler.name, "K": len(sampler.family.times)}


def _of_run(run) -> dict[str, Any]:
    """What the samples of a run are of, with its score where it is finished."""
    config = run.config
    told = {"Model": label_of(config.model), "Sampler": label_of(config.family)}
    told["K"] = config.steps
    if run.finished:
        space, mine = config.report_features, run.result["sampler"]
        for row in run.scores.rows:
            if (row.sampler, row.features) == (mine, space) and "fd" in row.scores:
                told[f"FD in {label_of(space)}"] = f"{row.scores['fd']:.2f}"
    return told


def _npz(samples) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, samples=samples)
    return buffer.getvalue()

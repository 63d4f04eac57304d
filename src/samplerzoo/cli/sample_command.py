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
@json_option
@debug_option
def sample(run: str, n: int, seed: int, out: Path, as_json: bool):
    """Draw samples with the searched sampler of RUN, a folder or hf:owner/name."""
    _check(n, seed, out)
    import numpy as np

    from ..files import write
    from ..runs.pictures import draw_grid, is_image
    from ..runs.run import load_run

    found = load_run(run)
    if out.suffix == ".png" and not is_image(found.model.shape):
        raise UsageError(
            f"Samples of shape {found.model.shape} are not pictures; give an --out in .npz."
        )
    samples = found.sample(n, seed)
    try:
        write(
            out,
            draw_grid(samples, _about(found, n, seed)) if out.suffix == ".png" else _npz(samples),
        )
    except OSError as error:
        raise RunError(f"{out} cannot be written: {phrase(error)}.") from error
    if not as_json:
        return str(out)
    finite = int(np.isfinite(samples.reshape(n, -1)).all(axis=1).sum())
    told = {"samples": str(out), "n": n, "seed": seed, "shape": list(samples.shape)}
    return as_text({**told, "finite": finite, "run": run, **_told(found)})


def _check(n: int, seed: int, out: Path) -> None:
    from ..runs.spec import check_seed

    if n < 1:
        raise UsageError(f"--n is {n}; it must be at least 1.")
    check_seed(seed)
    if out.suffix not in (".png", ".npz"):
        raise UsageError(f"--out is {str(out)!r}; it must end in .png or .npz.")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out is {str(out)!r}, but there is no folder {out.absolute().parent}.")


def _about(run, n: int, seed: int) -> dict[str, str]:
    """What the samples are of."""
    config = run.config
    told = {"Model": label_of(config.model), "Sampler": label_of(config.family)}
    told |= {"K": config.steps, "n": n, "Seed": seed}
    if run.finished:
        space = config.report_features
        own = [
            r for r in run.scores.rows if (r.sampler, r.features) == (run.result["sampler"], space)
        ]
        told |= {f"FD in {label_of(space)}": r.scores["fd"] for r in own if "fd" in r.scores}
    return {key: printable(str(value)) for key, value in told.items()}


def _told(run) -> dict[str, Any]:
    """Of a run, what its samples depend on."""
    config = run.config
    return {"model": config.model, "sampler": label_of(config.family), "nfe": run.table.nfe}


def _npz(samples) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, samples=samples)
    return buffer.getvalue()

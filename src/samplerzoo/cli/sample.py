"""samplerzoo sample"""

import sys
from contextlib import redirect_stdout
from pathlib import Path

import click

from ..runs.errors import phrase
from ._common import Failed, Wrong, check_seeds, debug_option, run_argument, usage


@click.command()
@run_argument
@click.option("--n", default=64, show_default=True, help="How many samples.")
@click.option("--seed", default=0, show_default=True, help="Another seed, other samples.")
@click.option("--out", default="samples.png", show_default=True, type=click.Path(path_type=Path),
              help="A picture (.png), or an array (.npz: `samples`, float32).")  # fmt: skip
@debug_option
def sample(run: Path, n: int, seed: int, out: Path):
    """Draw samples with the searched sampler of the folder RUN, or of one on the Hub, as
    hf:owner/name."""
    if n < 1:
        raise Wrong(f"--n is {n}; it must be at least 1.")
    check_seeds(seed)
    if out.suffix not in (".png", ".npz"):
        raise Wrong(f"--out is {str(out)!r}; it must end in .png or .npz.")
    if not out.absolute().parent.is_dir():
        raise Wrong(f"--out is {str(out)!r}, but there is no folder {out.absolute().parent}.")
    with usage():
        from ..core.drawing import draw_samples, report_key
        from ..reports import is_image, save_grid
        from ..runs.store import load_sampler
        from ._load import load_model, load_run

        run, config = load_run(run.as_posix())
        table, _ = load_sampler(run / "sampler.safetensors")
        if config.allow_code:
            sys.path.insert(0, config.directory)
        where = (config.model, config.dtype, config.label, config.guidance)
        model = load_model(*where, allow_code=config.allow_code)
        if out.suffix == ".png" and not is_image(model.shape):
            raise Wrong(f"Samples of shape {model.shape} are no pictures; give an --out in .npz.")
    with redirect_stdout(sys.stderr):
        samples = draw_samples(table, model, report_key(seed), n)
    _warn_of_nan(samples)
    try:
        if out.suffix == ".png":
            save_grid(out, samples)
        else:
            _save_npz(out, samples)
    except OSError as error:
        raise Failed(f"{out} cannot be written: {phrase(error)}.") from error
    click.echo(str(out))


def _warn_of_nan(samples) -> None:
    import numpy as np

    bad = np.sum(~np.isfinite(samples.reshape(len(samples), -1)).all(axis=1))
    if bad:
        click.echo(f"Warning: {bad} of {len(samples)} samples are not finite.", err=True)


def _save_npz(path: Path, samples) -> None:
    import io

    import numpy as np

    from ..files import write

    buffer = io.BytesIO()
    np.savez_compressed(buffer, samples=samples)
    write(path, buffer.getvalue())

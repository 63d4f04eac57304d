"""samplerzoo export"""

from pathlib import Path

import click

from ..runs.errors import RunError
from ..wording import phrase
from .common import UsageError, command, debug_option, quiet_option, run_argument


@command()
@run_argument
@click.option(
    "--to",
    required=True,
    metavar="TOOL",
    help="diffusers, k-diffusion, comfyui, json, or a plugin's; `samplerzoo list "
    "exporters` names them.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder to write to. A ComfyUI pack takes further samplers.",
)
@click.option("--name", help="What the sampler is called there.  [default: its family and K]")
@click.option(
    "--grid-only",
    is_flag=True,
    help="With --to json: the best list for each scheduler of diffusers that takes one, and the FD "
    "of that scheduler with it, with its own list, and of the sampler.",
)
@click.option("--n", default=10_000, show_default=True, help="Samples that lists are scored with.")
@click.option("--seed", default=0, show_default=True, help="Of these samples.")
@click.option(
    "--shift", default=1.0, show_default=True, help="Shift of a flow's scheduler, undone in lists."
)
@quiet_option
@debug_option
def export(run: str, to: str, out: Path, name: str | None, quiet: bool, **of_lists):
    """Write the searched sampler of RUN as files that another tool runs without samplerzoo."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; give a folder.")
    from ..exporters.exporting import export as write

    try:
        written = write(run, to, out, name, **of_lists, progress=not quiet)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {phrase(error)}.") from error
    return "\n".join(map(str, written))

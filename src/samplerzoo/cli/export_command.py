"""samplerzoo export"""

from pathlib import Path

import click

from ..runs.errors import RunError
from ..wording import phrase
from .common import UsageError, command, debug_option, run_argument


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
@debug_option
def export(run: str, to: str, out: Path, name: str | None):
    """Write the searched sampler of RUN as files that another tool runs without samplerzoo."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; give a folder.")
    from ..exporters.exporting import export as write

    try:
        written = write(run, to, out, name)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {phrase(error)}.") from error
    return "\n".join(map(str, written))

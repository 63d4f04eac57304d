"""samplerzoo pull"""

from pathlib import Path

import click

from .common import command, debug_option, quiet_option


@command()
@click.argument("name", metavar="OWNER/NAME[@REVISION]")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the run.  [default: NAME under runs/]"
)
@click.option(
    "--allow-code",
    is_flag=True,
    help="Let the run name code and files of this machine, "
    "which commands then import and read: look into its config.toml first.",
)
@quiet_option
@debug_option
def pull(name: str, out: Path | None, allow_code: bool, quiet: bool):
    """Fetch a published run into a folder, as `sample` and `evaluate` take it."""
    from ..runs.published import pull as call

    return str(call(name, out, allow_code))

"""samplerzoo zoo"""

from pathlib import Path

import click

from .common import command, debug_option, quiet_option


@command("zoo")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for index.html and pictures/: a new or empty one, or an earlier zoo.",
)
@quiet_option
@debug_option
def zoo(runs: tuple[str, ...], out: Path, quiet: bool):
    """Write a static page that shows finished runs side by side.

    A RUN is a folder, that of a sweep for all its runs, or one published as hf:owner/name. The page
    has each one's scores beside the best baseline's, its samples, and the commands to use it in
    each tool; it needs nothing else than the pictures beside it.
    """
    from ..reports.zoo_page import zoo as call

    return str(call(runs, out))

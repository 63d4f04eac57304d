"""samplerzoo pull"""

from pathlib import Path

import click

from ._common import Wrong, debug_option, quiet_option, usage


@click.command()
@click.argument("name", metavar="OWNER/NAME[@REVISION]")
@click.option("--out", type=click.Path(path_type=Path),
              help="Folder of the run.  [default: NAME under runs/]")  # fmt: skip
@quiet_option
@debug_option
def pull(name: str, out: Path | None, quiet: bool):
    """Fetch a published run into a folder, as `sample` and `evaluate` take it."""
    with usage():
        from ..hub import parse
        from ..runs.published import pull as fetch

        reference = parse(name)
        out = out or Path("runs") / reference.repository.partition("/")[2]
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise Wrong(f"{out} exists and is no empty folder; give another --out.")
        fetch(reference, out)
    click.echo(str(out))

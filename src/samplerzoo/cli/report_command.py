"""samplerzoo report"""

from pathlib import Path

import click

from .common import command, debug_option, json_option, quiet_option

OUT = (
    "The page.  [default: report.html in the folder of the run or sweep, or in the current one "
    "where there are several]"
)


@command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN|EVALUATION...")
@click.option("--out", type=click.Path(path_type=Path), help=OUT)
@json_option
@quiet_option
@debug_option
def report(runs: tuple[str, ...], out: Path | None, as_json: bool, quiet: bool):
    """Write one HTML page that compares the samplers of finished runs.

    A RUN is a folder, that of a sweep for all its runs, or one published as hf:owner/name; an
    EVALUATION is the folder of `samplerzoo evaluate --out`, whose scores are added. The page says
    which sampler is best and whether that holds in features that no search saw; it opens from disk
    and needs nothing else.
    """
    from ..reports.reporting import report as call

    made = call(runs, out=out or "auto", progress=not quiet)
    return made.json() if as_json else str(made.path)

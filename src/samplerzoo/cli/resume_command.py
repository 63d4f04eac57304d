"""samplerzoo resume"""

import click

from .common import (
    command,
    debug_option,
    json_option,
    microbatch,
    process_options,
    quiet_option,
    run_argument,
)


@command()
@run_argument
@click.option(
    "--microbatch",
    callback=microbatch,
    metavar="N|auto",
    help="Another micro-batch, for other devices.  [default: as it began]",
)
@process_options
@json_option
@quiet_option
@debug_option
def resume(run: str, microbatch, coordinator, processes, process_id, as_json: bool, quiet: bool):
    """Continue an interrupted search, or a sweep of such, in the folder RUN.

    It ends as if it had never been interrupted: to the last bit on the same devices, to rounding
    on others. Of a finished run the result is printed again.
    """
    from ..runs.processes import joined
    from ..runs.searching import resume as call
    from .texts import search_text

    with joined(coordinator, processes, process_id) as crew:
        found = call(run, microbatch=microbatch, progress=not quiet, crew=crew)
    return search_text(found, as_json) if crew.first else None

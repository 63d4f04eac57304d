"""The `samplerzoo` program: one click command a file."""

import os
import sys
import traceback
from contextlib import suppress

import click

from ..runs.interruptions import heed_interruptions
from .evaluate_command import evaluate
from .export_command import export
from .inspect_command import inspect
from .list_command import list_
from .pull_command import pull
from .push_command import push
from .reference_command import reference
from .report_command import report
from .resume_command import resume
from .sample_command import sample
from .search_command import search
from .version_command import version


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def program():
    """Search fast samplers for frozen diffusion models by gradient descent.

    Begin with: samplerzoo search --family rddim
    """


for command in (
    search,
    resume,
    sample,
    evaluate,
    reference,
    report,
    export,
    inspect,
    push,
    pull,
    list_,
    version,
):
    program.add_command(command)


def main() -> None:
    """Run the program; every error is a sentence on stderr and an exit status.

    0 is success, 1 a failed run, 2 wrong usage, 130 an interruption.
    """
    heed_interruptions()
    try:
        program.main(standalone_mode=False, prog_name="samplerzoo")
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        _exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(0)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except Exception as error:
        kind = f"{type(error).__name__}: " if str(error) else type(error).__name__
        _fail(f"{kind}{error}".strip().splitlines()[0] + " (--debug shows where.)", 1)


def _fail(message: str, status: int) -> None:
    if "--debug" in sys.argv:
        traceback.print_exc()
    click.echo(f"Error: {message}", err=True)
    _exit(status)


def _exit(status: int) -> None:
    """End the program at once.

    JAX's threads may be computing and crash while Python takes itself down, or wait for other
    processes at a last barrier.
    """
    with suppress(OSError):  # of a pipe that nobody reads
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)

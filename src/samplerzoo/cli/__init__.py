"""The `samplerzoo` program: one click command a file."""

import os
import sys
import traceback
from contextlib import suppress

import click

from ..caches import keep_compiled
from ..cores import use_all_cores
from ..notices import say
from ..runs.interruptions import exit_status, heed_interruptions
from .common import StoppedError
from .evaluate_command import evaluate
from .export_command import export
from .import_command import import_
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
from .zoo_command import zoo


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="samplerzoo", message="%(prog)s %(version)s")
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
    import_,
    zoo,
    inspect,
    push,
    pull,
    list_,
    version,
):
    program.add_command(command)


def main() -> None:
    """Run the program; every error is a sentence on stderr and an exit status.

    0 is success, 1 a failed run, 2 wrong usage, 130 an interruption, 143 one by SIGTERM.
    """
    heed_interruptions()
    keep_compiled()
    use_all_cores()
    try:
        program.main(standalone_mode=False, prog_name="samplerzoo")
    except (KeyboardInterrupt, click.Abort):
        say("info", "Interrupted.")
        _exit(exit_status())
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(0)
    except BrokenPipeError:
        os._exit(1)  # nobody reads, so there is nothing to say, nor to flush
    except StoppedError as error:
        _fail(error.format_message(), exit_status())
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except Exception as error:
        kind = f"{type(error).__name__}: " if str(error) else type(error).__name__
        _fail(f"{kind}{error}".strip().splitlines()[0] + " (--debug shows where.)", 1)


def _fail(message: str, status: int) -> None:
    if "--debug" in sys.argv:
        traceback.print_exc()
    say("error", message)
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

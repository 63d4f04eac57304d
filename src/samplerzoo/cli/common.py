"""What the commands share: their options, their errors as exit statuses, and what they print."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from typing import Any

import click

from ..notices import log_as_json
from ..runs.errors import InterruptedRunError, RunError
from ..runs.interruptions import INTERRUPTED
from ..wording import sentence

LABELS = (
    "Classes to sample, each sample being of one of them at random: all, or numbers and ranges "
    "such as 3, 0-9 or 1,5-7.  [default: all of a model with labels of its own]"
)
CONDITIONS = "Safetensors file of conditions such as embeddings (N, ...); each sample has one."


class UsageError(click.ClickException):
    """Wrong usage: exit status 2."""

    exit_code = 2


class FailedError(click.ClickException):
    """A run that failed: exit status 1."""


class StoppedError(click.ClickException):
    """A run that was interrupted: exit status 130, or 143 by SIGTERM."""

    exit_code = INTERRUPTED


@contextmanager
def as_click_errors() -> Iterator[None]:
    """Turn what a command's call raises into a sentence and an exit status."""
    try:
        yield
    except BrokenPipeError:
        raise
    except InterruptedRunError as error:
        raise StoppedError(str(error)) from None
    except (ConnectionError, RunError) as error:
        raise FailedError(sentence(error)) from error
    except (ValueError, OSError) as error:
        raise UsageError(sentence(error)) from error


class Command(click.Command):
    """A command that returns the text which is printed on stdout.

    While it works, what plugins and libraries print goes to stderr. All that is missing is asked
    for at once.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words of the command line."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.MissingParameter as error:
            found, _, _ = self.make_parser(ctx).parse_args(given)
            lacking = [p for p in self.params if p.required and not _is_given(found.get(p.name))]
            names = [_typed(parameter, ctx) for parameter in lacking]
            if len(names) < 2:
                raise
            words = f"{', '.join(names[:-1])} and {names[-1]}"
            raise UsageError(
                f"{words} are missing; `{ctx.command_path} --help` says what they are."
            ) from error

    def invoke(self, ctx: click.Context) -> None:
        """Run the command and print its text."""
        with as_click_errors(), redirect_stdout(sys.stderr):
            text = super().invoke(ctx)
        if text is not None:
            click.echo(text)


def _is_given(value: Any) -> bool:
    return isinstance(value, str | int | float | tuple | list) and value != ()


def _typed(parameter: click.Parameter, ctx: click.Context) -> str:
    """A parameter as it is typed."""
    is_option = isinstance(parameter, click.Option)
    return parameter.opts[-1] if is_option else parameter.make_metavar(ctx)


command = partial(click.command, cls=Command)


run_argument = click.argument("run")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def _log_format(
    _context: click.Context, _parameter: click.Parameter, form: str | None
) -> str | None:
    if form == "json":
        log_as_json()
    return form


_debug = click.option("--debug", is_flag=True, help="Show tracebacks.", expose_value=False)
_log = click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    callback=_log_format,
    is_eager=True,
    expose_value=False,
    help="Progress, warnings and errors on stderr: lines of text, or JSON objects, a line each.",
)


def debug_option(function: Callable) -> Callable:
    """Add the options of how a command tells what happens."""
    return _debug(_log(function))


def _silence(_context: click.Context, _parameter: click.Parameter, quiet: bool) -> bool:
    """Tell the Hub's client too, which reads its environment when it is imported."""
    if quiet or not sys.stderr.isatty():
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    return quiet


quiet_option = click.option("--quiet", is_flag=True, callback=_silence, help="Show no progress.")


def process_options(command: Callable) -> Callable:
    """Add the options of commands that several processes can run together."""
    for name, kind, text in (
        ("--process-id", int, "Which of them this one is, from 0; number 0 writes the run."),
        ("--processes", int, "How many processes run this command together."),
        (
            "--coordinator",
            str,
            "HOST:PORT where process 0 listens, reached by all. Under Slurm, Open MPI or a "
            "Kubernetes job none of the three is needed.",
        ),
    ):
        command = click.option(name, type=kind, help=text)(command)
    return command


def pairs(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> dict | None:
    """Read `key=value` options as a dict; None where `help` is asked for."""
    from ..runs.names import options

    if "help" in values:
        return None
    with as_click_errors():
        return options(values)


def numbers(_context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    """Read a list of different integers given as `5,10,20`."""
    try:
        found = list(dict.fromkeys(int(part) for part in value.split(",")))
    except ValueError:
        raise UsageError(
            f"--{parameter.name} is {value!r}; it must be whole numbers such as 5,10,20."
        ) from None
    least = 1 if parameter.name == "steps" else 0
    if min(found) < least:
        raise UsageError(f"--{parameter.name} is {value!r}; each must be at least {least}.")
    return found


def counts(context: click.Context, parameter: click.Parameter, value: str | int) -> int | list[int]:
    """Read a whole number, or a list of such given as `4,5,6`."""
    if "," in str(value):
        return numbers(context, parameter, str(value))
    try:
        return int(value)
    except ValueError:
        raise UsageError(
            f"--{parameter.name} is {value!r}; it must be a whole number, or several such as 4,5,6."
        ) from None


def microbatch(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> int | str | None:
    """Read a number of samples, or `auto`."""
    return int(value) if value and value.isdecimal() else value


def terminal_width() -> int | None:
    """Return the characters in a line of the terminal on stdout; None where it leads elsewhere."""
    return shutil.get_terminal_size((0, 0)).columns or None


def as_text(value: Any) -> str:
    """Write a value as one JSON object."""
    return json.dumps(value, indent=2)

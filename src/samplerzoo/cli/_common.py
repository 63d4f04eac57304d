"""What the commands share: their options, and errors as sentences."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import click

from ..runs.errors import sentence


class Wrong(click.ClickException):
    """Wrong usage: exit status 2."""

    exit_code = 2


class Failed(click.ClickException):
    """A run that failed: exit status 1."""


class Interrupted(click.ClickException):
    """A run that was interrupted: exit status 130."""

    exit_code = 130


@contextmanager
def usage() -> Iterator[None]:
    """Errors in here come from what the user gave; what plugins print goes to stderr."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except ConnectionError as error:
        raise Failed(sentence(error)) from error
    except (ValueError, OSError) as error:
        raise Wrong(sentence(error)) from error


@contextmanager
def locked(folder: Path | None, how: str) -> Iterator[None]:
    """Refuse a second process in a folder; an interruption says how to go on."""
    try:
        with _lock(folder) if folder else nullcontext():
            yield
    except KeyboardInterrupt:
        raise Interrupted(f"Interrupted; {how}." if folder else "Interrupted.") from None


_asked = threading.Event()  # to stop


def heed_interruptions() -> None:
    """Raise KeyboardInterrupt for SIGTERM too, and remember what was raised.

    Python drops an exception that is raised in some callbacks, such as the garbage collector's,
    where JAX has one. SIGINT stays ignored where the parent process has said so.
    """

    def interrupt(_signal: int, _frame: Any) -> None:
        _asked.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)


def stop_if_asked(*_: Any) -> None:
    """Raise an interruption again that was dropped; for loops to call."""
    if _asked.is_set():
        raise KeyboardInterrupt


def working_on(folder: Path) -> AbstractContextManager[None]:
    """The same for a run's folder."""
    return locked(folder, f"`{resuming(folder)}` goes on")


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Wrong(f"Another process is at work on {folder}; wait or stop it.") from None
        yield
    finally:
        os.close(handle)


def resuming(folder: Path) -> str:
    """The command that goes on with a run."""
    from ..runs.store import resuming

    return resuming(folder)


run_argument = click.argument("run", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def _silence(_context: click.Context, _parameter: click.Parameter, quiet: bool) -> bool:
    """Tell the Hub's client too, which reads its environment when it is imported."""
    if quiet or not sys.stderr.isatty():
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    return quiet


quiet_option = click.option("--quiet", is_flag=True, callback=_silence, help="Show no progress.")
debug_option = click.option("--debug", is_flag=True, help="Show tracebacks.", expose_value=False)


def pairs(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict:
    """`key=value` options as a dict."""
    from ..runs.names import options

    with usage():
        return options(values)


def numbers(_context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    """A list of different integers given as `5,10,20`."""
    try:
        found = list(dict.fromkeys(int(part) for part in value.split(",")))
    except ValueError:
        raise Wrong(
            f"--{parameter.name} is {value!r}; it must be whole numbers such as 5,10,20."
        ) from None
    least = 1 if parameter.name == "steps" else 0
    if min(found) < least:
        raise Wrong(f"--{parameter.name} is {value!r}; each must be at least {least}.")
    return found


def check_seeds(*seeds: int) -> None:
    """Refuse seeds that stand for no series of random numbers of their own."""
    from ..runs.spec import check_seed

    with usage():
        for seed in seeds:
            check_seed(seed)


def microbatch(
    _context: click.Context, _parameter: click.Parameter, value: str
) -> int | str | None:
    """A number of samples, or `auto`."""
    return int(value) if value and value.isdecimal() else value


def check_hashes(config, now: dict[str, str]) -> None:
    """Refuse to go on with another model, other data or other features than a run began with."""
    from ..references import same

    if changed := [k for k, then in config.hashes.items() if not same(then, now.get(k, ""))]:
        raise ValueError(
            f"{' and '.join(changed)}: not what it was when this run began, so the run cannot go "
            "on as if nothing had changed; search again."
        )

"""What the commands share: their options, and errors as sentences."""

import ast
import inspect
import os
import signal
import sys
import threading
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import click


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


def phrase(error: Exception) -> str:
    """An exception's message as one line, to put inside a sentence."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def sentence(error: Exception) -> str:
    """An exception's message as one line that ends as a sentence."""
    line = phrase(error)
    return line if line.endswith((")", "?", "!")) else f"{line}."


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
    return pairs_of(values)


def pairs_of(values: Iterable[str]) -> dict[str, Any]:
    """`key=value` words as a dict, values read as TOML or Python, else as strings."""
    found = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key.isidentifier():
            raise Wrong(f"{value!r} must look like key=value.")
        found[key] = _value(text)
    return found


def _value(text: str) -> Any:
    """A value as a configuration can hold it: TOML, or Python that is TOML once written as such."""
    import tomli_w

    for read in (lambda: text, lambda: tomli_w.dumps({"x": ast.literal_eval(text)})[4:]):
        try:
            found = tomllib.loads(f"x = {read()}")
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError, AttributeError):
            continue
        if len(found) == 1:
            return found["x"]
    return text


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
    from ..runs.store import MAX_SEED

    for seed in seeds:
        if not 0 <= seed <= MAX_SEED:
            raise Wrong(f"The seed is {seed}; it must lie between 0 and {MAX_SEED}.")


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


def construct(cls: type, what: str, fixed: dict[str, Any], options: dict[str, Any]) -> Any:
    """`cls(**fixed, **options)` with options that it does not take refused in a sentence."""
    from ..runs.store import fits, type_name

    allowed = {k: p for k, p in inspect.signature(cls).parameters.items() if k not in fixed}
    for key, value in options.items():
        if key not in allowed:
            raise ValueError(
                f"{what} has no option {key!r}; it takes {', '.join(allowed) or 'none'}."
            )
        if not fits(value, allowed[key].annotation):
            kind = type_name(allowed[key].annotation)
            raise ValueError(f"{what} was given {key} = {value!r}; it must be of type {kind}.")
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    try:
        return cls(**fixed, **options)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(
            f"{what} cannot be made: {type(error).__name__}: {phrase(error)}."
        ) from error


def call(found: Any, what: str) -> Any:
    """What a callable without arguments makes; anything else as it is."""
    if not callable(found):
        return found
    try:
        return found()
    except ConnectionError:
        raise
    except Exception as error:
        raise ValueError(
            f"{what} cannot be made: {type(error).__name__}: {sentence(error)}"
        ) from error

"""What the commands share: their options, and errors as sentences."""

import inspect
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
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
    """Errors in here come from what the user gave."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise Wrong(sentence(error)) from error


def sentence(error: Exception) -> str:
    """An exception's message as one line."""
    return " ".join(str(error).split()) or type(error).__name__


run_argument = click.argument("run", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
quiet_option = click.option("--quiet", is_flag=True, help="Show no progress.")
debug_option = click.option("--debug", is_flag=True, help="Show tracebacks.", expose_value=False)


def pairs(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict:
    """`key=value` options as a dict, values read as TOML where they are and as strings else."""
    found = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key.isidentifier():
            raise Wrong(f"{value!r} must look like key=value.")
        try:
            found[key] = tomllib.loads(f"x = {text}")["x"]
        except tomllib.TOMLDecodeError:
            found[key] = text
    return found


def numbers(_context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    """A list of integers given as `5,10,20`."""
    try:
        found = [int(part) for part in value.split(",")]
    except ValueError:
        raise Wrong(
            f"--{parameter.name} is {value!r}; it must be whole numbers such as 5,10,20."
        ) from None
    least = 1 if parameter.name == "steps" else 0
    if min(found) < least:
        raise Wrong(f"--{parameter.name} is {value!r}; each must be at least {least}.")
    return found


def construct(cls: type, what: str, fixed: dict[str, Any], options: dict[str, Any]) -> Any:
    """`cls(**fixed, **options)` with options that it does not take refused in a sentence."""
    from ..artifact import fits

    allowed = {k: p for k, p in inspect.signature(cls).parameters.items() if k not in fixed}
    for key, value in options.items():
        if key not in allowed:
            raise ValueError(
                f"{what} has no option {key!r}; it takes {', '.join(allowed) or 'none'}."
            )
        if not fits(value, allowed[key].annotation):
            name = getattr(allowed[key].annotation, "__name__", str(allowed[key].annotation))
            raise ValueError(f"{what}'s {key} is {value!r}; it must be of type {name}.")
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    try:
        return cls(**fixed, **options)
    except TypeError as error:
        raise ValueError(f"{what} cannot be made of these options: {error}.") from error

"""Names to objects: entry points of any installed distribution, built-ins included.

Uses the standard library only. Listing names imports nothing.
"""

import difflib
import importlib
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

# Each group of entry points `samplerzoo.<group>`, and what one member is called.
GROUPS = {
    "families": "family",
    "kernels": "kernel",
    "models": "model",
    "formats": "model format",
    "features": "feature extractor",
    "datasets": "data set",
    "metrics": "metric",
}


class RegistryError(ValueError):
    """A name that is unknown, offered twice, or whose plugin does not load."""


def entries(group: str) -> dict[str, list[EntryPoint]]:
    """All that is installed in a group: every name with those who offer it (one, or a clash)."""
    found: dict[str, list[EntryPoint]] = {}
    for point in sorted(entry_points(group=f"samplerzoo.{group}"), key=lambda p: p.name):
        twins = found.setdefault(point.name, [])
        if all(origin(point) != origin(twin) for twin in twins):
            twins.append(point)
    return found


def origin(point: EntryPoint) -> str:
    """The distribution and version that an entry point comes from."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown distribution"


def entry(group: str, name: str) -> EntryPoint:
    """Find the one entry point of a name, without loading it.

    Raises:
        RegistryError: The name is unknown or ambiguous.
    """
    kind, known = GROUPS[group], entries(group)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise RegistryError(
            f"No {kind} is called {name!r}{hint}; installed: {', '.join(known) or 'none'}."
        )
    point, *others = known[name]
    if others:
        raise RegistryError(
            f"The {kind} {name!r} is offered by {' and by '.join(map(origin, known[name]))}; "
            "uninstall all but one."
        )
    return point


def load(group: str, name: str, base: type | None = None) -> Any:
    """Load the object that a name stands for.

    Args:
        group: The group of entry points.
        name: The name.
        base: The class that the object must be derived from, if any.

    Raises:
        RegistryError: The name is unknown or ambiguous, or its plugin fails.
    """
    kind, point = GROUPS[group], entry(group, name)
    try:
        found = point.load()
    except (Exception, SystemExit) as error:
        raise RegistryError(
            f"The {kind} {name!r} of {origin(point)} does not load: {_brief(error)}"
        ) from error
    _check_base(found, base, f"The {kind} {name!r} of {origin(point)}")
    return found


def _check_base(found: Any, base: type | None, what: str) -> None:
    if base is not None and not (isinstance(found, type) and issubclass(found, base)):
        raise RegistryError(f"{what} is not a class derived from {base.__name__}.")


def resolve(group: str, reference: str, base: type | None = None) -> Any:
    """Find the object behind a registered name or behind `python:package.module:attribute`.

    With `()` at its end, `python:package.module:attribute()` stands for what the attribute, called
    without arguments, returns. Modules are also looked for in the current directory.
    """
    if not reference.startswith("python:"):
        return load(group, reference, base)
    module, _, attribute = reference.removeprefix("python:").partition(":")
    if not module or not attribute:
        raise RegistryError(f"{reference!r} must look like python:package.module:attribute.")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.removesuffix("()").split("."):
            found = getattr(found, part)
        found = found() if attribute.endswith("()") else found
    except (Exception, SystemExit) as error:
        raise RegistryError(f"{reference!r} does not load: {_brief(error)}") from error
    _check_base(found, base, f"The {GROUPS[group]} {reference!r}")
    return found


def _brief(error: BaseException) -> str:
    """The kind of an exception and its first line."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first.rstrip('.')}." if first else f"{type(error).__name__}."

"""Names to objects: entry points of any installed distribution, built-ins included.

Listing names imports no plugin. What a distribution says of itself,
its name and those that it offers, is a text of others: messages show what can be seen of it.
"""

import difflib
import importlib
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

from .notices import warn
from .wording import phrase, printable, visible

LONGEST = 200  # characters of a name
_SHOWN = 100  # names in a message

# Each group of entry points `samplerzoo.<group>`, and what one member is called.
GROUPS = {
    "families": "family",
    "kernels": "kernel",
    "objectives": "objective",
    "optimisers": "optimiser",
    "models": "model",
    "formats": "model format",
    "features": "feature extractor",
    "datasets": "data set",
    "metrics": "metric",
    "exporters": "exporter",
}


class RegistryError(ValueError):
    """A name that is unknown, offered twice, or whose plugin does not load."""


def entries(group: str) -> dict[str, list[EntryPoint]]:
    """Find all that is installed in a group: every name with those who offer it.

    One offers a name, or there is a clash. Names that look alike, because they differ in characters
    that show nothing or in their width, are one name.
    """
    points = [point for own in _distributions() for point in own.entry_points]
    points = [point for point in points if point.group == f"samplerzoo.{group}"]
    for point in points:
        if len(point.name) > LONGEST:
            warn(
                f"{origin(point)} offers a name of {len(point.name)} characters, which is left out."
            )
    points = [point for point in points if len(point.name) <= LONGEST]
    found: dict[str, list[EntryPoint]] = {}
    names: dict[str, str] = {}  # by what can be seen of them
    for point in sorted(points, key=lambda p: (visible(p.name) != p.name, p.name)):
        twins = found.setdefault(names.setdefault(visible(point.name), point.name), [])
        if all((origin(point), point.name) != (origin(twin), twin.name) for twin in twins):
            twins.append(point)
    return dict(sorted(found.items()))


def _distributions() -> Iterator[Distribution]:
    """The distributions whose entry points can be read, each once; of others it is said."""
    seen = set()
    for distribution in distributions():
        try:
            ours = any(point.group.startswith("samplerzoo.") for point in distribution.entry_points)
        except Exception as error:
            warn(f"The entry points of {_origin(distribution)} cannot be read: {phrase(error)}.")
            continue
        name = _origin(distribution).partition(" ")[0] if ours else ""
        if ours and name not in seen:
            seen.add(name)
            yield distribution


def origin(point: EntryPoint) -> str:
    """Return the distribution and version that an entry point comes from."""
    return _origin(point.dist)


def _origin(distribution: Distribution | None) -> str:
    try:
        about = distribution and f"{distribution.name} {distribution.version}"
    except Exception:  # metadata that are missing or damaged
        about = None
    return printable(about or "an unknown distribution", 80)


def entry(group: str, name: str) -> EntryPoint:
    """Find the one entry point of a name, without loading it.

    Args:
        group: The group of entry points, one of `GROUPS`.
        name: The name.

    Raises:
        RegistryError: The name is unknown or ambiguous.
    """
    kind, known = GROUPS[group], entries(group)
    alike = next((own for own in known if visible(own) == visible(name)), None)
    if alike is None:
        near = difflib.get_close_matches(name, known, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        installed = ", ".join(printable(own, 80) for own in [*known][:_SHOWN]) or "none"
        raise RegistryError(
            f"No {kind} is called {printable(name, 80)!r}{hint}; installed: {installed}."
        )
    point, *others = known[alike]
    if others:
        offers = " and by ".join(_offer(own, alike) for own in known[alike])
        raise RegistryError(
            f"The {kind} {printable(name, 80)!r} is offered by {offers}; uninstall all but one."
        )
    return point


def load(group: str, name: str, base: type | None = None) -> Any:
    """Load the object that a name stands for.

    Args:
        group: The group of entry points, one of `GROUPS`.
        name: The name.
        base: The class that it must be derived from, if any; or it is a function.

    Raises:
        RegistryError: The name is unknown or ambiguous, or its plugin fails.
    """
    point = entry(group, name)
    what = f"The {GROUPS[group]} {printable(name, 80)!r}"
    try:
        found = point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise RegistryError(f"{what} of {origin(point)} does not load: {_brief(error)}") from error
    _check_base(found, base, f"{what} of {origin(point)}")
    return found


def _offer(point: EntryPoint, name: str) -> str:
    """Who offers a name, and how it is written there if that is another way."""
    return origin(point) + (f" (as {point.name[:80]!a})" if point.name != name else "")


def _check_base(found: Any, base: type | None, what: str) -> None:
    """Refuse what is not a subclass; of a function, what it makes is seen once it is made."""
    fits = issubclass(found, base or object) if isinstance(found, type) else callable(found)
    if base is not None and not fits:
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
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise RegistryError(f"{reference!r} does not load: {_brief(error)}") from error
    _check_base(found, base, f"The {GROUPS[group]} {reference!r}")
    return found


def _brief(error: BaseException) -> str:
    """The kind of an exception and its first line."""
    try:
        first = (str(error).strip().splitlines() or [""])[0]
    except Exception:
        first = "its message cannot be shown"
    kind, first = printable(type(error).__name__, 80), printable(first).rstrip(".")
    return f"{kind}: {first}." if first else f"{kind}."

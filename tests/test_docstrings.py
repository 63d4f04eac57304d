"""The docstrings of public names, read: arguments, returns and a verb in the first line."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import samplerzoo
import samplerzoo.testing

SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Source")
# What a first line begins with: what the function does, or what an object of the class does.
VERBS = {
    "Bring",
    "Check",
    "Choose",
    "Combine",
    "Compare",
    "Compile",
    "Compute",
    "Continue",
    "Describe",
    "Draw",
    "Estimate",
    "Evaluate",
    "Fetch",
    "Find",
    "Follow",
    "Give",
    "Hold",
    "Interpolate",
    "Iterate",
    "Join",
    "Let",
    "Load",
    "Make",
    "Map",
    "Measure",
    "Open",
    "Pad",
    "Place",
    "Preserve",
    "Publish",
    "Read",
    "Report",
    "Resample",
    "Return",
    "Run",
    "Sample",
    "Save",
    "Say",
    "Score",
    "Search",
    "Set",
    "Solve",
    "Stand",
    "Start",
    "Step",
    "Take",
    "Tell",
    "Write",
}
TESTING = [name for name in vars(samplerzoo.testing) if name.startswith("check_")]


def documented() -> Iterator[tuple[str, Any]]:
    """Every public function and class, and the methods and properties that the classes have."""
    for name in samplerzoo.__all__:
        found = getattr(samplerzoo, name)
        yield name, found
        if inspect.isclass(found):
            yield from ((f"{name}.{inner}", member) for inner, member in members(found))
    for name in [*TESTING, "gaussian_model"]:
        yield f"testing.{name}", getattr(samplerzoo.testing, name)


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class defines, calling it among them."""
    for name, member in vars(cls).items():
        plain = inspect.unwrap(getattr(member, "__func__", member))
        shown = name == "__call__" or not name.startswith("_")
        kept = isinstance(plain, property) or hasattr(plain, "func")  # such as cached_property
        if shown and (inspect.isfunction(plain) or kept):
            yield name, getattr(cls, name) if inspect.isfunction(plain) else plain


def sections(text: str) -> dict[str, str]:
    """A docstring in Google's style: what stands before its sections as "", and each section."""
    parts = re.split(rf"^({'|'.join(SECTIONS)}):\n", text, flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def entries(section: str) -> set[str]:
    """The names that a section explains."""
    return set(re.findall(r"^    \*{0,2}(\w+)(?: \(.*?\))?: ", section, flags=re.MULTILINE))


def parameters(documented: Callable) -> set[str]:
    """The parameters that a caller gives."""
    given = inspect.signature(documented).parameters
    return {name for name in given if name != "self" and not name.startswith("_")}


CASES = dict(documented())


def without_sections(found: Any) -> bool:
    """Abstract classes take no arguments, and properties and errors none that are ours."""
    error = inspect.isclass(found) and issubclass(found, BaseException)
    return inspect.isabstract(found) or not callable(found) or error


@pytest.mark.parametrize("name", CASES)
def test_first_line_is_a_sentence_that_begins_with_a_verb(name):
    first = inspect.getdoc(CASES[name]).splitlines()[0]
    assert first.split()[0].rstrip(":,.") in VERBS, first
    assert first.endswith("."), first


@pytest.mark.parametrize("name", [n for n in CASES if not without_sections(CASES[n])])
def test_every_argument_is_explained(name):
    found = CASES[name]
    said = sections(inspect.getdoc(found))
    wanted = parameters(found)
    attributes = entries(said.get("Attributes", "")) if inspect.isclass(found) else set()
    assert entries(said.get("Args", "")) == wanted or attributes == wanted


@pytest.mark.parametrize("name", [n for n in CASES if not without_sections(CASES[n])])
def test_what_is_returned_is_said(name):
    found = CASES[name]
    returns = None if inspect.isclass(found) else inspect.signature(found).return_annotation
    wanted = returns not in (None, "None", inspect.Parameter.empty)
    said = sections(inspect.getdoc(found))
    assert ("Returns" in said or "Yields" in said) == wanted

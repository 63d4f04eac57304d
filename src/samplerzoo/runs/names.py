"""The names of models, data, features and other parts: one parser and one resolver for all.

    digits                      a registered name of the part's group, see `samplerzoo list`
    python:module:attribute     code on this machine
    hf:owner/name[@revision]    a model on the Hugging Face Hub
    FORMAT:[ARGUMENT:]path      a model of a format, see `samplerzoo list formats`; for the path,
                                hf:owner/name may stand too
    resnet:path                 a feature extractor's file
    path                        a file or a folder
    object:Name                 an object that was given in Python, which no name leads to

Names of runs of others are trusted with nothing: they lead to what is registered and to models on
the Hub, and with `allow_code=False` neither to code nor to files of this machine.
"""

import ast
import re
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import tomli_w

from ..hub import Address, parse as parse_address
from ..registry import GROUPS, RegistryError, entries, entry, load, resolve as resolve_registered
from ..wording import printable, shown
from .errors import UntrustedNameError
from .spec import NamedModel

if TYPE_CHECKING:
    from ..formats import Format

PYTHON, HUB, RESNET = "python", "hf", "resnet"
PATH, OBJECT, REGISTERED = "path", "object", ""
_SCHEMES = {"models": (HUB,), "features": (RESNET,)}  # of each group, beside python
_ABSOLUTE = re.compile(r"((?:[\w.-]+:)*)(/.*)", re.DOTALL)


class Name(NamedTuple):
    """A name, taken apart.

    Attributes:
        scheme: What stands before the first colon; `PATH`, or `REGISTERED` where there is none.
        rest: What stands behind it.
        argument: Of a model format's name, what is said to the format.
        place: Where the files are: a path of this machine or `hf:owner/name`. None for names that
            lead to no files.
        runs_code: Whether code runs because the name says so.
    """

    scheme: str
    rest: str
    argument: str = ""
    place: str | None = None
    runs_code: bool = False

    def __str__(self) -> str:
        return self.rest if self.scheme in (PATH, REGISTERED) else f"{self.scheme}:{self.rest}"

    def at(self, place: str) -> str:
        """Write the same name with its files at another place."""
        assert self.place is not None
        return str(self).removesuffix(self.place) + place

    @property
    def on_hub(self) -> bool:
        """Whether the files are on the Hub, rather than on this machine."""
        return self.place is not None and self.place.startswith(f"{HUB}:")


def parse(group: str, text: str) -> Name:
    """Take a name apart.

    Args:
        group: The group of entry points that it belongs to, such as `"models"`.
        text: The name.

    Raises:
        ValueError: The name of a model looks like a path, and there is nothing at it; or it does
            not look like its format's names.
    """
    if text in entries(group):
        return Name(REGISTERED, text)
    scheme, colon, rest = text.partition(":")
    if colon and scheme in (PYTHON, OBJECT):
        return Name(scheme, rest, runs_code=scheme == PYTHON)
    if colon and scheme in _SCHEMES.get(group, ()):
        return Name(scheme, rest, place=text if scheme == HUB else rest)
    if colon and group == "models" and scheme in entries("formats"):
        return _of_format(load_format(scheme), scheme, rest)
    if group == "datasets":
        return Name(PATH, text, place=text)
    if group == "models" and Path(text).exists():
        return Name(PATH, text, place=text)
    if group == "models" and "/" in text:
        raise ValueError(
            f"There is no folder or file {text!r}; a model on the Hub is hf:owner/name."
        )
    return Name(REGISTERED, text)


def _of_format(form: "Format", scheme: str, rest: str) -> Name:
    """The name of a model of a format, by what stands behind the format."""
    if not form.has_path:
        return Name(scheme, rest, rest, None, form.runs_code)
    argument, colon, place = rest.partition(":") if form.argument else ("", ":", rest)
    if not (colon and place) or bool(argument) != bool(form.argument):
        look = ":".join(filter(None, (scheme, form.argument, "PATH")))
        raise ValueError(f"The model {scheme}:{rest} must look like {look}; it is {form.layout}.")
    return Name(scheme, rest, argument, place, form.runs_code)


def load_format(name: str) -> "Format":
    """Load a model format.

    Raises:
        RegistryError: There is no such format, or it does not load.
    """
    from ..formats import Format

    found = load("formats", name)
    if not isinstance(found, Format):
        raise RegistryError(f"The model format {name!r} is a {type(found).__name__}, not a Format.")
    return found


def load_formats() -> dict[str, "Format"]:
    """Load all model formats, but those whose plugins fail, by name."""
    found = {}
    for name in entries("formats"):
        with suppress(RegistryError):
            found[name] = load_format(name)
    return found


def registered(group: str) -> list[str]:
    """List the names that are installed in a group, without loading what they stand for."""
    return list(entries(group))


def split(names: str) -> list[str]:
    """Return the different names of a list such as `fd,kid`, in their order."""
    return list(dict.fromkeys(name.strip() for name in names.split(",")))


def check_trusted(group: str, name: Name, allow_code: bool) -> None:
    """Refuse a name that leads to code, or to files of this machine, where that is not allowed.

    Args:
        group: The group of entry points that it belongs to.
        name: The name.
        allow_code: Whether it may; False for all that was read in a run of others.

    Raises:
        UntrustedNameError: It leads there, and may not.
    """
    if allow_code:
        return
    part = GROUPS[group]
    if name.runs_code:
        raise UntrustedNameError(
            f"The {part} is {printable(str(name))}, code on this machine, which is not run because "
            "a run of others says so; `samplerzoo pull` it with --allow-code once you have read "
            "its config.toml."
        )
    if name.place is not None and not name.on_hub:
        raise UntrustedNameError(
            f"The {part} is {shown(str(name))}, a path, and a run of others names no files of this "
            "machine; give yours."
        )


def find(group: str, text: str, base: type | None = None, *, allow_code: bool) -> Any:
    """Find the object behind a registered name or behind `python:module:attribute`.

    Args:
        group: The group of entry points.
        text: The name. Modules are also looked for in the current folder.
        base: The class that it must be derived from, if any.
        allow_code: Whether it may lead to code.

    Raises:
        UntrustedNameError: It leads to code, and may not.
        ValueError: There is no such object, it does not load, or is not derived from the class.
    """
    name = parse(group, text)
    check_trusted(group, name, allow_code)
    if name.scheme == OBJECT:
        raise ValueError(
            f"The {GROUPS[group]} was an object ({name.rest}), which config.toml cannot hold; give "
            "it again, in Python."
        )
    if name.scheme == PATH:
        known = ", ".join(entries(group)) or "none"
        raise RegistryError(f"The {GROUPS[group]} {text!r} is a path; installed: {known}.")
    return resolve_registered(group, text, base)


def check_known(group: str, text: str) -> None:
    """Refuse a name that is not registered, before anything is loaded; other names are left.

    Raises:
        ValueError: Nothing is registered under the name, or several are.
    """
    if parse(group, text).scheme == REGISTERED:
        entry(group, text)


def check_there(group: str, text: str) -> None:
    """Refuse a name behind which there is nothing, before other options are asked for.

    Args:
        group: The group of entry points that it belongs to.
        text: A name that the user gave: code that it names is imported.

    Raises:
        ValueError: Nothing is registered under the name, there is no such code, or nothing at its
            path.
        ConnectionError: The Hub is out of reach.
    """
    check_known(group, text)
    name = parse(group, text)
    if name.scheme == PYTHON:
        find(group, text, allow_code=True)
    elif name.place is not None and not name.on_hub and not Path(name.place).exists():
        raise ValueError(f"The {GROUPS[group]} {shown(text)} is not there: give a file or folder.")
    elif name.on_hub:
        pinned(group, text)


def defaults(model: str) -> dict[str, str]:
    """Return the names of the data and the features that belong to a model, by part.

    They are empty where the model's entry point is not a `NamedModel`.
    """
    if model not in entries("models"):
        return {}
    found = load("models", model)
    if not isinstance(found, NamedModel):
        return {}
    return {part: getattr(found, part) for part in ("data", "features", "report_features")}


def pinned(group: str, text: str) -> str:
    """Return a name that stays the same wherever and whenever it is used on this machine.

    Paths become absolute; a branch or tag of the Hub becomes the commit that it stands for now.

    Raises:
        ValueError: The name is not well formed, or the repository is not there.
        ConnectionError: The Hub is out of reach, and the commit is not in its cache.
    """
    name = parse(group, text)
    if name.place is None:
        return text
    if not name.on_hub:
        return name.at(str(Path(name.place).absolute()))
    from ..hub.models import pin_model

    return name.at(str(pin_model(parse_address(name.place))))


def repository(model: str) -> Address | None:
    """Return where on the Hub the files of a model lie, by its name; None where they do not."""
    try:
        name = parse("models", model)
    except ValueError:
        return None
    return parse_address(str(name.place)) if name.on_hub else None


def published_name(group: str, text: str) -> str:
    """Return a name without the path of this machine in it: the last part of the path stays."""
    short = _without_folders(text)
    return f"./{short}" if short != text and short in entries(group) else short


def label_of(text: str) -> str:
    """Return what a part is called in tables and titles.

    Of code and objects it is the last word, of a path of this machine its last part: tables and
    pictures are published.
    """
    scheme, _, rest = text.partition(":")
    return rest.rpartition(":")[2] if scheme in (PYTHON, OBJECT) else _without_folders(text)


def _without_folders(text: str) -> str:
    if not (found := _ABSOLUTE.fullmatch(text)):
        return text
    before, path = found.groups()
    return f"{before}{PurePath(path).name}"


def name_of(given: Any) -> str:
    """Return what an object is called where a name stands."""
    return f"{OBJECT}:{getattr(given, '__name__', type(given).__name__)}"


def options(words: Iterable[str]) -> dict[str, Any]:
    """Read `key=value` words as a dict, values as TOML or Python, else as strings.

    Raises:
        ValueError: A word does not look like that.
    """
    found = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"{word!r} must look like key=value.")
        found[key] = _value(text)
    return found


def _value(text: str) -> Any:
    """A value as a configuration can hold it: TOML, or Python that is TOML once written as such."""
    for read in (_toml, _python):
        found = read(text)
        if found is not None:
            return found
    return text


def _toml(text: str) -> Any:
    """The one value that a text is in TOML, or None."""
    try:
        found = tomllib.loads(f"x = {text}")
    except (ValueError, RecursionError):
        return None
    return found["x"] if len(found) == 1 else None


def _python(text: str) -> Any:
    """The value that a text is in Python, if TOML can hold it, or None."""
    try:
        return _toml(tomli_w.dumps({"x": ast.literal_eval(text)})[4:])
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError, AttributeError):
        return None

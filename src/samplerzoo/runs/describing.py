"""What installed parts say of themselves: a line from their source, which is not run; or all."""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache, partial, singledispatch
from importlib.metadata import EntryPoint
from itertools import dropwhile
from pathlib import Path
from typing import Any

from ..registry import entry, load, origin
from ..wording import printable
from .spec import type_name

_MOST = 2**20  # characters of a source file
_HOPS = 8  # imports that lead from a name to where it is defined
_LINE = 100  # characters of a description
_ARGUMENT = re.compile(r" {4}(\w+)(?: \(.*?\))?: (.*)")
# Types as a user types their values.
_TYPED = {"AbstractFamily": "sampler's name or JSON file", "bool": "true or false", "str": "text"}
# The groups whose members take options, and what the run gives rather than the user.
_GIVEN = {"families": ("steps", "times"), "kernels": (), "objectives": ("setting",)}


def summary(point: EntryPoint) -> str:
    """Return the first line that says what an entry point is, without loading it.

    It is read in the source, as it lies on the disk; empty where nothing is found there.
    """
    module, _, attribute = point.value.partition(":")
    try:
        found = _definition(module, attribute.split("[")[0].strip(), _HOPS)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    return printable(found.strip().splitlines()[0], _LINE) if found.strip() else ""


def _definition(module: str, name: str, hops: int) -> str:
    """The docstring of a name of a module."""
    path = _source(module)
    if path is None or not hops or "." in name:
        return ""
    body = _parsed(path).body
    for number, node in enumerate(body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return ast.get_docstring(node) or ""
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _definition(_absolute(node, module, path), alias.name, hops - 1)
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in _targets(node):
            return _assigned(node.value, body[number + 1 :], module, hops - 1)
    return ""


def _assigned(value: ast.expr | None, rest: list[ast.stmt], module: str, hops: int) -> str:
    """What is said of an assignment: the text below it, or the words of what it calls."""
    below = rest[0].value if rest and isinstance(rest[0], ast.Expr) else None
    if isinstance(below, ast.Constant) and isinstance(below.value, str):
        return below.value
    if not isinstance(value, ast.Call):
        return ""
    called: ast.expr = value.func
    given: list[ast.keyword] = []
    if isinstance(called, ast.Name) and called.id == "partial" and value.args:
        called, given = value.args[0], value.keywords
    first = (_definition(module, called.id, hops) if isinstance(called, ast.Name) else "").strip()
    if not first:
        return ""
    options = ", ".join(f"{word.arg} = {ast.unparse(word.value)}" for word in given)
    line = first.splitlines()[0]
    return f"{line.rstrip('.')} ({options})." if options else line


def _targets(node: ast.Assign | ast.AnnAssign) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _absolute(node: ast.ImportFrom, module: str, path: Path) -> str:
    """The module that a `from` names."""
    if not node.level:
        return node.module or ""
    package = module if path.name.startswith("__init__.") else module.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{node.module}" if node.module else package


@cache
def _source(module: str) -> Path | None:
    """The file of a module, which is not imported; for a package that loads late, its stub."""
    parts = module.split(".")
    for folder in map(Path, filter(None, sys.path)):
        base = folder.joinpath(*parts)
        for path in (base / "__init__.pyi", base / "__init__.py", base.with_suffix(".py")):
            if path.is_file():
                return path
    return None


@cache
def _parsed(path: Path) -> ast.Module:
    with path.open(encoding="utf-8") as file:
        return ast.parse(file.read(_MOST))


def details(group: str, name: str) -> dict[str, Any]:
    """Describe a part: what it is, its options with their defaults, where it comes from.

    Args:
        group: The group of entry points.
        name: The name.

    Returns:
        Names with values, as JSON holds them; `options` is a list of `name`, `type`, `default`
        (None where there is none, and one must be given) and `required`.

    Raises:
        ValueError: There is no such part, or it does not load.
    """
    point = entry(group, name)
    found = load(group, name)
    made = _made(found)
    text = _said(made)
    return {
        "name": name,
        "distribution": origin(point),
        "object": point.value,
        "source": _place(made),
        "description": text or summary(point),
        "options": options_of(found, _GIVEN[group]) if group in _GIVEN else [],
    }


def options_of(found: Any, given: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """List the options that a class or a function takes, beside those that it is given anyway."""
    from .parts import declared

    kinds, defaults, said = declared(found), defaults_of(found), arguments(_said(_made(found)))
    return [
        {
            "name": name,
            "type": printable(type_name(kinds[name])),
            "default": printable(repr(defaults[name])) if name in defaults else None,
            "required": name not in defaults,
            "description": printable(said.get(name, "")),
        }
        for name in kinds
        if name not in given
    ]


def _made(found: Any) -> Any:
    """The class or the function itself, of one with some of its arguments given."""
    return inspect.unwrap(getattr(found, "func", found))


def _said(made: Any) -> str:
    return (inspect.getdoc(made) or "") if callable(made) else ""


def arguments(text: str) -> dict[str, str]:
    """Read what a docstring in Google's style says of its arguments, a line each by name."""
    lines = iter(text.splitlines())
    found: dict[str, str] = {}
    name = ""
    for line in dropwhile(lambda line: line.rstrip() != "Args:", lines):
        if started := _ARGUMENT.match(line):
            name = started[1]
            found[name] = started[2]
        elif name and line.startswith(" " * 8):
            found[name] += f" {line.strip()}"
        elif name and not line.startswith(" "):
            break
    return found


@singledispatch
def defaults_of(make: Any) -> dict[str, Any]:
    """Return the defaults of the arguments of a function, a class or a partial, by name."""
    spec = inspect.getfullargspec(make)
    own = spec.defaults or ()
    named = dict(zip(spec.args[len(spec.args) - len(own) :], own, strict=True))
    return named | (spec.kwonlydefaults or {})


@defaults_of.register
def _(make: type) -> dict[str, Any]:
    return defaults_of(make.__init__)


@defaults_of.register
def _(make: partial) -> dict[str, Any]:
    return defaults_of(make.func) | make.keywords


def _place(found: Any) -> str | None:
    """The file and the line where something is defined."""
    try:
        return f"{inspect.getsourcefile(found)}:{inspect.getsourcelines(found)[1]}"
    except (OSError, TypeError):
        return None


def option_lines(options: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write options for a terminal: a line each, and below it what it is."""
    if not options:
        return ["  It takes no options."]
    lines = []
    for option in options:
        lines.append(f"  {option['name']}  {_words(option)}")
        lines += textwrap.wrap(
            option["description"], 80, initial_indent=" " * 6, subsequent_indent=" " * 6
        )
    return lines


def _words(option: Mapping[str, Any]) -> str:
    """The type of an option and its default, as they are typed."""
    kind = _TYPED.get(option["type"], option["type"]) or "anything"
    if option["required"]:
        return f"{kind}  [required]"
    return kind if option["default"] == "None" else f"{kind}  [default: {option['default']}]"

"""What files that others wrote must say: rules for JSON-like values, as data.

A rule is made of the functions below and given to `read_json`, `read_toml`, `read_lines`,
`read_front` or `check`:

    INDEX = record({"weight_map": mapping(text())})
    content = read_json(path, INDEX)

What breaks a rule is a ValueError that names the file, the place in it, what was found there and
what is allowed: `config.json: layers[2].width is 0; it must be a whole number from 1 to 64.`
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .limits import CONFIG_BYTES, TEXT_BYTES, Limit
from .opening import open_file, read_file
from .wording import phrase, printable, shown

LARGE = 1e300  # above every number that means something
_MOST_DEPTH = 50  # of YAML
# A key of so many parts that reading it takes the square of its length.
_LONG_KEY = re.compile(r"""(?:[\w"'-]{1,64}[ \t]{0,4}\.[ \t]{0,4}){16}""")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Fault(NamedTuple):
    """Where a value breaks a rule: the place inside it, and a sentence's end that says how."""

    place: str
    words: str


class Rule(NamedTuple):
    """What a value must be.

    `words` say it behind "it must be"; `fault(value)` is None where the value is that.
    """

    words: str
    fault: Callable[[Any], Fault | None]


def check(value: Any, rule: Rule, file: str) -> None:
    """Check a value, from whatever kind of file, against a rule.

    Args:
        value: Dicts, lists, texts, numbers, booleans and None.
        rule: What it must be.
        file: What the message calls the file.

    Raises:
        ValueError: It breaks the rule; the message says the file, the place, what was found and
            what is allowed.
    """
    if fault := rule.fault(value):
        place = fault.place.removeprefix(".")
        raise ValueError(f"{file}: {place} {fault.words}" if place else f"{file} {fault.words}")


def read_json(path: Path, rule: Rule, limit: Limit = TEXT_BYTES) -> Any:
    """Read a JSON file and check it against a rule.

    Args:
        path: The file.
        rule: What the content must be.
        limit: How large it may be.

    Raises:
        ValueError: Where it cannot be read, or `parse_json` refuses it.
    """
    return parse_json(_read(path, limit), rule, _named(path))


def parse_json(data: bytes, rule: Rule, file: str) -> Any:
    """Parse JSON and check it against a rule.

    Args:
        data: The bytes of a file, or of a line.
        rule: What the content must be.
        file: What messages call the file.

    Returns:
        The content. Its texts hold no lone surrogates, so that they can be written again.

    Raises:
        ValueError: Where it is not JSON in UTF-8, is nested too deeply, holds a number of too many
            digits, or breaks the rule.
    """
    return _parse(_json, "JSON", data, rule, file)


def read_toml(path: Path, rule: Rule, limit: Limit = CONFIG_BYTES) -> Any:
    """Read a TOML file and check it against a rule.

    Args:
        path: The file.
        rule: What the content must be.
        limit: How large it may be.

    Raises:
        ValueError: Where it cannot be read, is not TOML in UTF-8, is nested too deeply, or breaks
            the rule.
    """
    return _parse(_toml, "TOML", _read(path, limit), rule, _named(path))


def read_lines(
    path: Path, rule: Rule, limit: Limit = TEXT_BYTES, to_damage: bool = False
) -> list[Any]:
    """Read the whole lines of a file of JSON lines, and check each against a rule.

    A last line that is cut off, as a process that is killed leaves it, is not read; neither is one
    without its end, unless reading ends at damage.

    Args:
        path: The file.
        rule: What each line must be.
        limit: How large the file may be.
        to_damage: Whether reading ends before the first line that is damaged.

    Returns:
        What the lines hold.

    Raises:
        ValueError: A line is not JSON or breaks the rule, and reading does not end there; the
            message says its number.
    """
    *lines, last = _read(path, limit).split(b"\n")
    if to_damage and last:
        lines.append(last)  # it may be whole but for its end
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(parse_json(line, rule, f"{_named(path)}, line {number}"))
        except ValueError:
            if to_damage:
                break
            raise
    return found


def read_front(path: Path, rule: Rule, limit: Limit = CONFIG_BYTES) -> Any:
    """Read the YAML between two lines of dashes at the top of a Markdown file, such as a card.

    All scalars are texts. Anchors and aliases, with which a short file says a long thing, are
    refused.

    Args:
        path: The file.
        rule: What the content must be; where there is no such part, it is an empty dict.
        limit: How large the part may be. What follows it is not read.

    Raises:
        ValueError: Where it is not YAML in UTF-8, is nested too deeply, or breaks the rule.
    """
    found = re.match(rb"---[ \t]*\r?\n(.*?\n)---[ \t]*(\r?\n|$)", _start(path, limit), re.DOTALL)
    data = found[1] if found else b""
    return _parse(_yaml, "YAML", data, rule, _named(path))


def _read(path: Path, limit: Limit) -> bytes:
    try:
        return read_file(path, limit)
    except OSError as error:
        raise ValueError(f"{_named(path)} cannot be read: {error.strerror}.") from error


def _start(path: Path, limit: Limit) -> bytes:
    """As much of the begin of a file as is allowed."""
    try:
        with open_file(path) as file:
            return file.read(limit.most)
    except OSError as error:
        raise ValueError(f"{_named(path)} cannot be read: {error.strerror}.") from error


def _named(path: Path) -> str:
    return printable(str(path), 1000)


def _parse(parse: Callable[[str], Any], kind: str, data: bytes, rule: Rule, file: str) -> Any:
    try:
        content = parse(data.decode())
    except RecursionError as error:
        raise ValueError(f"{file} cannot be read as {kind}: it is nested too deeply.") from error
    except UnicodeError as error:
        raise ValueError(f"{file} cannot be read as {kind}: its text is not Unicode.") from error
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{file} cannot be read as {kind}: {phrase(error)}.") from error
    check(content, rule, file)
    return content


def _json(text: str) -> Any:
    content = json.loads(text)
    if _ESCAPED_SURROGATE.search(text):
        json.dumps(content, ensure_ascii=False).encode()
    return content


def _toml(text: str) -> Any:
    if _LONG_KEY.search(text):
        raise ValueError("a key has too many parts")
    return tomllib.loads(text)


def _yaml(text: str) -> Any:
    """YAML whose scalars are texts. Events come first: they take no depth and no repetition."""
    import yaml

    depth = 0
    try:
        for event in yaml.parse(text, yaml.BaseLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _MOST_DEPTH:
                raise RecursionError
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("it has aliases")
        return yaml.load(text, yaml.BaseLoader) or {}
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _scalar(words: str, test: Callable[[Any], bool]) -> Rule:
    """Make the rule of values without parts."""
    return Rule(words, lambda value: None if test(value) else _wrong(value, words))


def _wrong(value: Any, words: str) -> Fault:
    return Fault("", f"is {shown(value)}; it must be {words}.")


def whole(low: int, high: int) -> Rule:
    """Make the rule of whole numbers from `low` to `high`."""
    return _scalar(
        f"a whole number from {low} to {high}", lambda v: type(v) is int and low <= v <= high
    )


def number(low: float = -LARGE, high: float = LARGE) -> Rule:
    """Make the rule of finite numbers from `low` to `high`."""
    bounded = (low, high) != (-LARGE, LARGE)
    words = f"a number from {low:g} to {high:g}" if bounded else "a finite number"
    return _scalar(words, lambda v: type(v) in (int, float) and low <= v <= high)


def number_above(low: float, high: float) -> Rule:
    """Make the rule of numbers above `low` and at most `high`."""
    return _scalar(
        f"a number above {low:g} and at most {high:g}",
        lambda v: type(v) in (int, float) and low < v <= high,
    )


def text(most: int = 10_000, pattern: str = ".*") -> Rule:
    """Make the rule of texts of at most `most` characters that a pattern matches as a whole."""
    words = f"a text of at most {most} characters"
    if pattern != ".*":
        words += f" that matches {pattern}"
    compiled = re.compile(pattern, re.DOTALL)
    return _scalar(
        words, lambda v: type(v) is str and len(v) <= most and bool(compiled.fullmatch(v))
    )


def choice(*values: str | int | bool | None) -> Rule:
    """Make the rule of a few values, told apart by type too."""
    return _scalar(
        " or ".join(map(shown, values)),
        lambda v: any(type(v) is type(value) and v == value for value in values),
    )


def either(*rules: Rule) -> Rule:
    """Make the rule of values that one of the rules allows."""
    words = ", or ".join(rule.words for rule in rules)
    return _scalar(words, lambda v: any(rule.fault(v) is None for rule in rules))


def or_null(rule: Rule) -> Rule:
    """Make the rule that allows null beside what a rule allows."""
    words = f"{rule.words}, or null"

    def fault(value: Any) -> Fault | None:
        found = None if value is None else rule.fault(value)
        return found if found is None or found.place else _wrong(value, words)

    return Rule(words, fault)


def list_of(rule: Rule, least: int = 0, most: int = 100_000) -> Rule:
    """Make the rule of lists of `least` to `most` items that keep a rule each."""
    words = f"a list of {least} to {most} items, each {rule.words}"
    a_row = _scalar(words, lambda v: isinstance(v, list | tuple) and least <= len(v) <= most)

    def fault(value: Any) -> Fault | None:
        return a_row.fault(value) or _first(rule, {f"[{n}]": v for n, v in enumerate(value)})

    return Rule(words, fault)


def mapping(rule: Rule, most: int = 100_000) -> Rule:
    """Make the rule of names with values that keep a rule each."""
    words = f"at most {most} names with values, each {rule.words}"
    a_mapping = _scalar(words, lambda v: isinstance(v, dict) and len(v) <= most)

    def fault(value: Any) -> Fault | None:
        return a_mapping.fault(value) or _first(rule, {_dot(name): v for name, v in value.items()})

    return Rule(words, fault)


def record(
    needed: Mapping[str, Rule], optional: Mapping[str, Rule] | None = None, closed: bool = False
) -> Rule:
    """Make the rule of names with values, each name with a rule of its own.

    Args:
        needed: The rules of what must be there.
        optional: The rules of what may be.
        closed: Whether all other names are refused, rather than left alone.
    """
    known = {**needed, **(optional or {})}
    words = "names with values"
    a_record = _scalar(words, lambda v: isinstance(v, dict))

    def fault(value: Any) -> Fault | None:
        if found := a_record.fault(value):
            return found
        for name, rule in known.items():
            if name in value and (found := rule.fault(value[name])):
                return Fault(_dot(name) + found.place, found.words)
            if name in needed and name not in value:
                return Fault(_dot(name), f"is missing; it must be {rule.words}.")
        if closed and (odd := [name for name in value if name not in known]):
            return Fault(_dot(odd[0]), f"is not known here; known are {', '.join(known)}.")
        return None

    return Rule(words, fault)


def _first(rule: Rule, parts: Mapping[str, Any]) -> Fault | None:
    """Find the first part that breaks a rule."""
    for place, part in parts.items():
        if found := rule.fault(part):
            return Fault(place + found.place, found.words)
    return None


def _dot(name: Any) -> str:
    plain = isinstance(name, str) and len(name) <= 80 and re.fullmatch(r"[\w-]+", name, re.ASCII)
    return f".{name}" if plain else f"[{shown(name)}]"


ANYTHING = _scalar("anything", lambda v: True)
FLAG = _scalar("true or false", lambda v: isinstance(v, bool))
NUMBER = number()
# A number, or what stands for one that is not finite.
MEASURED = _scalar("a number", lambda v: type(v) is float or (type(v) is int and abs(v) <= LARGE))
TEXT = text()
NAMES = mapping(ANYTHING)  # whatever they stand for

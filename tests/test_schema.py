"""Rules for files of others: what they allow, and the sentences about what they do not."""

import json
import math

import pytest
from hypothesis import given, settings, strategies as st

from samplerzoo.schema import (
    ANYTHING,
    FLAG,
    NAMES,
    NUMBER,
    TEXT,
    check,
    choice,
    either,
    mapping,
    number,
    number_above,
    or_null,
    parse_json,
    read_json,
    record,
    row,
    text,
    whole,
)
from samplerzoo.wording import phrase, printable, sentence, shown

NETWORK = record(
    {"width": whole(1, 64), "layers": row(record({"size": whole(1, 9)}), 1, 3)},
    {"bias": FLAG, "scale": or_null(number_above(0.0, 1.0)), "kind": choice("a", None, 1)},
    closed=True,
)
GOOD = {"width": 8, "layers": [{"size": 3}], "bias": True, "scale": None, "kind": 1}
BAD = [
    ([], "f is []; it must be names with values."),
    (GOOD | {"width": 0}, "f: width is 0; it must be a whole number from 1 to 64."),
    (GOOD | {"width": True}, "f: width is true; it must be a whole"),
    (GOOD | {"width": 8.0}, "f: width is 8.0; it must be a whole"),
    (GOOD | {"width": 10**4000}, "f: width is 1000"),
    (GOOD | {"layers": [{"size": 3}, {"size": "3"}]}, "f: layers[1].size is '3'; it must be"),
    (GOOD | {"layers": []}, "f: layers is []; it must be a list of 1 to 3 items, each"),
    (GOOD | {"layers": {"size": 3}}, "f: layers is {'size': 3}; it must be a list"),
    (GOOD | {"bias": 1}, "f: bias is 1; it must be true or false."),
    (GOOD | {"scale": 0}, "f: scale is 0; it must be a number above 0 and at most 1, or null"),
    (GOOD | {"scale": math.nan}, "f: scale is nan"),
    (GOOD | {"kind": True}, "f: kind is true; it must be 'a' or null or 1."),
    (GOOD | {"depth": 3}, "f: depth is not known here; known are width, layers, bias"),
    (GOOD | {"a\x1b[0m b" * 99: 3}, "f: ['a\\x1b[0m ba"),
    ({"layers": []}, "f: width is missing; it must be a whole number from 1 to 64."),
]


@pytest.mark.parametrize(("value", "words"), BAD)
def test_what_breaks_a_rule_is_named_with_its_place(value, words):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        check(value, NETWORK, "f")
    assert str(caught.value).startswith(words)
    assert len(str(caught.value)) < 500


def test_what_keeps_the_rules_passes():
    check(GOOD, NETWORK, "f")
    check({"a": 1.5, "b": [None]}, mapping(either(NUMBER, row(choice(None)))), "f")
    check("layer.0", text(20, r"layer\.\d+"), "f")
    check("two\nlines", TEXT, "f")
    for value, rule in (("layer", text(20, r"layer\.\d+")), ("ab", text(1)), (3, number(0.0, 2.5))):
        with pytest.raises(ValueError, match="it must be"):
            check(value, rule, "f")
    with pytest.raises(ValueError, match="a finite number, or a list"):
        check("x", either(NUMBER, row(NUMBER)), "f")


HOSTILE = {
    "empty": b"",
    "deep": b"[" * 10**6,
    "deep-closed": b'{"a":' * 10**5 + b"1" + b"}" * 10**5,
    "digits": b"1" * 10**5,
    "surrogate": b'{"a": "\\ud800"}',
    "surrogate-key": b'{"\\udfff": 1}',
    "latin": b'{"a": "\xe9"}',
    "utf-16": '{"a": 1}'.encode("utf-16"),
    "cut": b'{"a": 1',
    "two": b"{} {}",
    "zeros": bytes(64),
    "page": b"<!DOCTYPE html>",
    "large": b" " * 2**20 + b"1",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_json(case, tmp_path):
    path = tmp_path / "file.json"
    path.write_bytes(HOSTILE[case])
    with pytest.raises(ValueError, match=r"\.$") as caught:
        read_json(path, ANYTHING, most=2**20)
    said = str(caught.value)
    assert said.startswith(f"{path} cannot be read as JSON: ")
    assert len(said) < 300 + len(str(path))
    said.encode()


def test_pairs_of_surrogates_are_texts():
    assert parse_json(b'{"a": "\\ud83d\\ude00"}', NAMES, "f") == {"a": "\N{GRINNING FACE}"}


def test_what_is_no_file_is_said(tmp_path):
    for path in (tmp_path, tmp_path / "missing.json"):
        with pytest.raises(ValueError, match="cannot be read"):
            read_json(path, ANYTHING)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=JSON)
@settings(max_examples=200, deadline=None)
def test_any_json_passes_or_is_refused_in_one_short_line(value):
    data = json.dumps(value).encode()
    try:
        assert parse_json(data, NETWORK, "f") == value
    except ValueError as error:
        said = str(error)
        assert said.startswith("f")
        assert said.endswith(".")
        assert len(said) < 500
        assert said.isprintable()
        said.encode()


@given(value=JSON)
@settings(max_examples=100, deadline=None)
def test_shown_values_are_short_and_printable(value):
    assert shown(value).isprintable()
    assert len(shown(value)) < 400


def test_words():
    assert (shown(None), shown(True), shown("a\n\ud800")) == ("null", "true", "'a\\n\\ud800'")
    assert phrase(ValueError("two\nlines.")) == "two lines"
    assert (phrase(KeyError()), sentence(ValueError("why?"))) == ("KeyError", "why?")
    assert sentence(ValueError("so")) == "so."
    assert printable("a\x1b[31mred\u202e\ud800 \n end") == "a [31mred end"
    assert len(printable("x" * 10**6)) == 200

"""Rules for files of others: what they allow, and the sentences about what they do not."""

import json
import math

import pytest
from hypothesis import given, settings, strategies as st

from samplerzoo.limits import Limit
from samplerzoo.schema import (
    ANYTHING,
    FLAG,
    NAMES,
    NUMBER,
    TEXT,
    check,
    choice,
    either,
    list_of,
    mapping,
    number,
    number_above,
    or_null,
    parse_json,
    read_front,
    read_json,
    read_lines,
    read_toml,
    record,
    text,
    whole,
)
from samplerzoo.wording import phrase, printable, sentence, shown

NETWORK = record(
    {"width": whole(1, 64), "layers": list_of(record({"size": whole(1, 9)}), 1, 3)},
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
    check({"a": 1.5, "b": [None]}, mapping(either(NUMBER, list_of(choice(None)))), "f")
    check("layer.0", text(20, r"layer\.\d+"), "f")
    check("two\nlines", TEXT, "f")
    for value, rule in (("layer", text(20, r"layer\.\d+")), ("ab", text(1)), (3, number(0.0, 2.5))):
        with pytest.raises(ValueError, match="it must be"):
            check(value, rule, "f")
    with pytest.raises(ValueError, match="a finite number, or a list"):
        check("x", either(NUMBER, list_of(NUMBER)), "f")


SMALL = Limit("SAMPLERZOO_TESTS_BYTES", 2**20, "bytes")
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
        read_json(path, ANYTHING, SMALL)
    said = str(caught.value)
    large = f"{path} has 1,048,577 bytes; at most 1,048,576 bytes are taken."
    assert said.startswith(large if case == "large" else f"{path} cannot be read as JSON: ")
    assert len(said) < 300 + len(str(path))
    said.encode()


TOML = {
    "empty-key": (b"= 1", "cannot be read as TOML"),
    "deep": (b"a = " + b"[" * 20_000, "nested too deeply"),
    "deep-tables": (b"a = " + b"{a = " * 9_000, "nested too deeply"),
    "long-key": (b"a." * 30_000 + b"a = 1", "a key has too many parts"),
    "long-table": (b"[" + b"'a' . " * 9_000 + b"a]", "a key has too many parts"),
    "large": (b"a = '" + b"x" * 10**6 + b"'", "at most 65,536 bytes are taken"),
    "value": (b"width = '" + b"x" * 60_000 + b"'\nlayers = []", "width is 'xxxx"),
    "digits": (b"width = " + b"9" * 9_000, "cannot be read as TOML"),
    "hexadecimal": (b"width = 0x" + b"f" * 60_000, "width is a number of 240000 bits"),
    "hexadecimals": (b"width = [0x" + b"f" * 60_000 + b"]", "width is [a number of 240000 bits]"),
    "date": (b"width = 1979-05-27", "width is datetime.date(1979, 5, 27)"),
    "infinite": (b"width = inf", "width is inf; it must be a whole number"),
    "unicode": (b"a = '\xff'", "its text is not Unicode"),
    "surrogate": (b'a = "\\ud800"', "cannot be read as TOML"),
    "terminal": (b'"\\u001b[2J\\u202e" = 1', "is missing"),
    "twice": (b"a = 1\na = 2", "cannot be read as TOML"),
    "null": (b"a = 1\0", "cannot be read as TOML"),
}


@pytest.mark.parametrize("case", TOML)
def test_hostile_toml(case, tmp_path):
    data, word = TOML[case]
    refused(read_toml, tmp_path / "file.toml", data, word)


def refused(reader, path, data, word):
    """The file is refused in one printable line that names it."""
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"\.$") as caught:
        reader(path, NETWORK)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert word in said
    assert said.isprintable()
    assert len(said) < 500 + len(str(path))


FRONT = {
    "aliases": (b"width: &a [x, x]\nlayers: [*a, *a]", "it has aliases"),
    "laughs": (
        b"a0: &a0 [x, x]\n"
        + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 40)),
        "it has aliases",
    ),
    "merge": (b"a: &a {b: c}\nd: {<<: *a}", "it has aliases"),
    "itself": (b"a: &a [*a]", "it has aliases"),
    "deep": (b"a: " + b"[" * 9_000, "nested too deeply"),
    "deep-rows": (b"- " * 9_000, "nested too deeply"),
    "code": (b"!!python/object/apply:os.system [touch owned]", "must be names with values"),
    "sexagesimal": (b"width: " + b"1:" * 20_000 + b"1", "width is '1:1:1"),
    "digits": (b"width: " + b"9" * 50_000, "width is '9999"),
    "date": (b"width: 2001-99-99", "width is '2001-99-99'"),
    "row": (b"[a, b]", "must be names with values"),
    "list-key": (b"? [a, b]\n: c", "cannot be read as YAML"),
    "tab": (b"a:\n\t- b", "cannot be read as YAML"),
    "documents": (b"a: b\n... \n--- \nc: d", "width is missing"),
    "unicode": (b"a: \xff", "its text is not Unicode"),
    "terminal": (b"a: \x1b[2J", "cannot be read as YAML"),
    "escaped": (b'width: "\\e[2J\\u202e"', "width is '\\x1b[2J"),
}


@pytest.mark.parametrize("case", FRONT)
def test_hostile_cards(case, tmp_path):
    data, word = FRONT[case]
    refused(read_front, tmp_path / "README.md", b"---\n" + data + b"\n---\n# A card", word)


def test_cards(tmp_path):
    path = tmp_path / "README.md"
    for plain in ("# No front", "", "---\nlicense: mit", "a\n---\nb: c\n---\n", "---\n---\n"):
        path.write_text(plain)
        assert read_front(path, ANYTHING) == {}
    card = "---\r\nlicense: mit\ntags:\n- a\n- 1.0\n---\n" + "x" * 10**6
    path.write_bytes(card.encode())
    assert read_front(path, ANYTHING) == {"license": "mit", "tags": ["a", "1.0"]}


LINE = record({"step": whole(1, 10**9), "kid": or_null(NUMBER)})
LOGS = {
    "kind": (b'{"step": 1, "kid": 2}\n[]\n', "line 2 is []; it must be names with values"),
    "missing": (b'{"step": 1}\n', "line 1: kid is missing"),
    "huge": (b'{"step": 1' + b"0" * 9999 + b', "kid": 2}\n', "line 1 cannot be read as JSON"),
    "deep": (b"[" * 10**5 + b"\n", "line 1 cannot be read as JSON: it is nested too deeply"),
    "nan": (b'{"step": 1, "kid": NaN}\n', "kid is nan; it must be a finite number, or null"),
    "torn-inside": (b'{"step": 1\n{"step": 1, "kid": 2}\n', "line 1 cannot be read as JSON"),
    "float": (b'{"step": 1.5, "kid": 2}\n', "step is 1.5; it must be a whole number"),
    "surrogate": (b'{"step": 1, "kid": "\\ud800"}\n', "line 1 cannot be read as JSON"),
}


@pytest.mark.parametrize("case", LOGS)
def test_hostile_logs(case, tmp_path):
    data, word = LOGS[case]
    refused(lambda path, _: read_lines(path, LINE), tmp_path / "log.jsonl", data, word)


def test_a_line_that_is_cut_off_is_not_read(tmp_path):
    whole_line = b'{"step": 1, "kid": null}\n'
    for rest in (b"", b"{", b'{"step": 2, "kid": null}', b"\xff"):
        (tmp_path / "log.jsonl").write_bytes(whole_line + rest)
        assert read_lines(tmp_path / "log.jsonl", LINE) == [{"step": 1, "kid": None}]


def test_pairs_of_surrogates_are_texts():
    assert parse_json(b'{"a": "\\ud83d\\ude00"}', NAMES, "f") == {"a": "\N{GRINNING FACE}"}


def test_what_is_no_file_is_said(tmp_path):
    for path, word in ((tmp_path, "is a folder"), (tmp_path / "missing.json", "cannot be read")):
        with pytest.raises(ValueError, match=word):
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

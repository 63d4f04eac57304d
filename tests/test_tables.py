"""Tables, intervals and rows: what every table of scores is made of."""

import csv
import io
import json
import math
from html.parser import HTMLParser

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, strategies as st

from samplerzoo.metrics import Interval, decimals, mean_interval, normal_interval, ratio_interval
from samplerzoo.runs.rows import Row, Scores, read_row, summarise
from samplerzoo.tables import Table

SPACE = "a feature space with a long name"


def row(sampler="ddim", nfe=5, features="a", seed=0, run=None, **scores) -> Row:
    return Row(sampler, nfe, features, 8, seed, scores, run)


def two() -> Scores:
    return Scores(
        [
            row("ddim", 5, "a", fd=3.0, kid=0.5, kid_se=0.1),
            row("ddim", 5, "b", fd=0.25, **{"is": 2.0}),
            row("run", 10, "a", fd=0.025, kid=-0.003, kid_se=0.002),
            row("run", 10, "b", fd=1.0, **{"is": 4.0}),
        ]
    )


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9))
def test_the_interval_of_a_mean_is_scipys(values):
    found, error = mean_interval(values), scipy.stats.sem(values)
    np.testing.assert_allclose(found.value, np.mean(values), atol=1e-9)
    assert found.count == len(values)
    if error > 1e-6:
        expected = scipy.stats.t.interval(0.95, len(values) - 1, np.mean(values), error)
        np.testing.assert_allclose((found.low, found.high), expected, rtol=1e-6, atol=1e-9)


def test_one_value_has_no_interval():
    assert mean_interval([2.0]) == Interval(2.0, None, None, 1)
    assert mean_interval([2.0, math.inf]).half is None
    assert mean_interval([2.0]).text(2) == "2.00"
    assert mean_interval([math.nan]).text(2) == "not finite"


def test_an_interval_of_a_known_error_covers_95_percent():
    found = normal_interval(1.0, 0.5)
    assert (found.error, found.count) == (0.5, 1)
    share = scipy.stats.norm.cdf(found.high, 1, 0.5) - scipy.stats.norm.cdf(found.low, 1, 0.5)
    np.testing.assert_allclose(share, 0.95, atol=1e-12)


@pytest.mark.parametrize(
    ("one", "other", "below", "apart"),
    [
        (mean_interval([1.0, 1.1]), mean_interval([9.0, 9.1]), True, True),
        (mean_interval([9.0, 9.1]), mean_interval([1.0, 1.1]), False, True),
        (mean_interval([1.0, 1.1]), mean_interval([1.05, 1.2]), False, False),
        (mean_interval([1.0]), mean_interval([9.0, 9.1]), None, None),
    ],
)
def test_intervals_are_compared(one, other, below, apart):
    assert one.below(other) is below
    assert one.apart(other) is other.apart(one) is apart


def test_the_interval_of_a_ratio_covers_95_percent():
    """Of ratios of two means of three values each, about 95% of the intervals hold the truth."""
    random, held = np.random.default_rng(0), 0
    for _ in range(2000):
        values, base = random.normal(2, 0.1, 3).tolist(), random.normal(5, 0.2, 3).tolist()
        found = ratio_interval(mean_interval(values), mean_interval(base))
        held += found.low <= 0.4 <= found.high
    assert 0.93 < held / 2000 < 0.995
    assert ratio_interval(mean_interval([1.0]), mean_interval([2.0])) == Interval(0.5)
    assert ratio_interval(Interval(-1.0, half=0.1), Interval(2.0, half=0.1)).half > 0


def test_decimals_show_two_digits_of_the_smallest():
    assert [decimals(v) for v in ([3.0], [0.25], [0.025], [0.0031], [0.0], [], [math.nan])] == [
        2,
        2,
        3,
        4,
        2,
        2,
        2,
    ]


def test_searches_count_once_however_often_they_are_scored():
    """Two searches scored with two seeds each are two values, not four."""
    rows = [
        row(run=run, seed=seed, fd=fd)
        for run, seed, fd in (("one", 0, 1.0), ("one", 1, 2.0), ("two", 0, 5.0), ("two", 1, 6.0))
    ]
    assert summarise(rows)["ddim", 5, "a"]["fd"] == mean_interval([1.5, 5.5])
    assert summarise(rows[:2])["ddim", 5, "a"]["fd"] == mean_interval([1.0, 2.0])


def test_a_table_shows_what_applies_and_intervals():
    lines = two().text().splitlines()
    assert lines[0].split() == ["a", "b"]
    assert lines[1].split() == ["sampler", "NFE", "FD", "KID", "FD", "IS"]
    assert lines[3].split() == ["ddim", "5", "3.000", "0.5000", "±", "0.1960", "0.25", "2.00"]
    assert lines[4].split() == ["run", "10", "0.025", "-0.0030", "±", "0.0039", "1.00", "4.00"]
    assert len({len(line) for line in lines[:-1]}) == 1
    assert lines[-1] == "n = 8; seed 0; ± 95% interval"
    assert str(two()) == two().text()


def test_several_seeds_are_a_mean_and_its_interval():
    fds = [1.0, 2.0, 4.0]
    scores = Scores([row(seed=n, fd=fd) for n, fd in enumerate(fds)])
    half = scipy.stats.t.interval(0.95, 2, loc=0, scale=scipy.stats.sem(fds))[1]
    assert f"2.33 ± {half:.2f}" in scores.text()
    assert f"| ddim | 5 | 2.33 ± {half:.2f} |" in scores.markdown()


def test_metrics_that_do_not_apply_are_a_dash_in_a_column_that_others_have():
    scores = Scores([row("x", fd=1.0, **{"is": 2.0}), row("y", fd=1.0)])
    assert scores.text().splitlines()[4].split() == ["y", "5", "1.00", "-"]


def test_some_columns_and_the_roles_of_spaces():
    scores = Scores(two().rows, roles={"a": "searched"})
    lines = scores.text(columns=["fd"]).splitlines()
    assert lines[0].split() == ["a", "(searched)", "b"]
    assert lines[1].split() == ["sampler", "NFE", "FD", "FD"]


@pytest.mark.parametrize("width", [30, 60])
def test_a_narrow_table_is_folded_to_a_block_for_each_feature_space(width):
    """It says the same: every number is there, below the name of its space."""
    scores = two()
    wide = scores.text().splitlines()
    assert scores.text(len(wide[1])) == scores.text()
    lines = scores.text(len(wide[1]) - 1).splitlines()
    assert max(map(len, lines)) < len(wide[1])
    assert [line.split() for line in lines if "FD" in line] == [
        ["sampler", "NFE", "FD", "KID"],
        ["sampler", "NFE", "FD", "IS"],
    ]
    assert [line.split() for line in lines if line.startswith("ddim")] == [
        ["ddim", "5", "3.000", "0.5000", "±", "0.1960"],
        ["ddim", "5", "0.25", "2.00"],
    ]
    assert lines[-1] == wide[-1]
    one = Scores([row(features=SPACE, fd=1.0)])
    assert one.text(width) == one.text()


def test_csv_keeps_every_digit_and_leaves_gaps():
    found = list(csv.DictReader(io.StringIO(two().csv())))
    assert [line["is"] for line in found] == ["", "2.0", "", "4.0"]
    assert float(found[2]["kid"]) == -0.003
    names = ["sampler", "nfe", "features", "fd", "kid", "kid_se", "is", "n", "seed"]
    assert list(found[0]) == names


def test_json_is_what_rows_are_read_from():
    scores = Scores(two().rows, {"model": "toy"})
    content = json.loads(scores.json())
    assert content["model"] == "toy"
    assert [read_row(given, "here") for given in content["rows"]] == list(scores.rows)


@pytest.mark.parametrize("form", ["txt", "md", "csv", "json", "html"])
def test_scores_are_saved_in_the_form_of_the_name(form, tmp_path):
    two().save(tmp_path / f"scores.{form}")
    text = (tmp_path / f"scores.{form}").read_text()
    assert "0.025" in text
    assert text.endswith("\n")
    with pytest.raises(ValueError, match=r"ends in none of .txt, .md"):
        two().save(str(tmp_path / "scores.xls"))


class Cells(HTMLParser):
    """The texts of a table's cells, and the names of all elements."""

    def __init__(self, text: str):
        super().__init__()
        self.cells: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        if tag in ("th", "td"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8
)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3))
def test_any_text_stays_in_its_cell(lines):
    """Whatever a name holds, Markdown keeps the number of columns and HTML gives the text back."""
    table = Table(["name", "value"], [list(line) for line in lines])
    assert all(
        len(line.replace("\\\\", "").replace("\\|", "").split("|")) == 4
        for line in table.markdown().splitlines()
    )
    found = Cells(table.html())
    assert found.names == {"table", "thead", "tbody", "tr", "th", "td"}
    assert found.cells == ["name", "value", *(cell for line in lines for cell in line)]
    assert len(table.text().splitlines()) == 3 + len(lines)

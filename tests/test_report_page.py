"""The page of a report, from made-up facts: what is on it, and that it stands by itself."""

import dataclasses
import math
import re

import numpy as np
import pytest
from hypothesis import given, strategies as st

from report_facts import BASELINES, make_drawn, make_facts, make_rows, make_run
from report_page import check_page
from samplerzoo.metrics import mean_interval
from samplerzoo.reports.charts import asinh_ticks, log_ticks, smooth, spread
from samplerzoo.reports.coefficients_section import STEP_HEADS, reach_table, step_table
from samplerzoo.reports.facts import Facts
from samplerzoo.reports.looks import SHEET
from samplerzoo.reports.reporting import Report
from samplerzoo.reports.samples_section import columns, strip
from samplerzoo.reports.tables import surely_best
from samplerzoo.reports.templating import visible

HOSTILE = """<script>alert("1")</script>'"><img src=x onerror=alert(1)>&amp;</style>\N{RLO}"""


def page(facts: Facts) -> str:
    return Report.of(facts).html


@pytest.fixture(scope="module")
def report():
    return make_facts()


def test_a_page_stands_by_itself(report):
    text = page(report)
    found = check_page(text)
    assert found.text("h1") == "gddim is best at 3 and 5 evaluations"
    assert "In unseen, features that no search saw, the best FD is 0.12 of" in found.text("p")
    for heading in (
        "Samples side by side",
        "Scores",
        "Searches",
        "The samplers as numbers",
        "Departure from the marginals",
        "Cost",
        "Provenance",
    ):
        assert heading in found.text("h2")
    assert len(text) < 400_000
    assert page(report) == text


def test_samples_are_those_drawn_the_best_first(report):
    found = check_page(page(report)).images
    names = [re.sub(r"^5 samples of |,.*", "", alt) for alt, _ in found]
    order = ["5 of the data", "gddim", "rddim", *reversed(BASELINES)]
    assert names == order * 2
    drawn = {(d.sampler, d.nfe): d.samples for d in report.drawn}
    expected = np.round((drawn["gddim", 3] + 1) * 127.5)
    pixels = found[1][1].reshape(4, -1, 4)
    for n in range(5):
        image = pixels[:, 5 * n : 5 * n + 4]
        np.testing.assert_array_equal(
            image, np.append(*np.broadcast_arrays(expected[n], 255.0), axis=-1)[..., [0, 0, 0, 1]]
        )
    assert not pixels[:, 4::5].any()


def test_all_scores_are_in_the_tables(report):
    found = check_page(page(report))
    cells = found.text("td")
    # rddim's FD is 0.300 and 0.301: 12.706 times half their distance is the half-width.
    assert "0.30 ± 0.01 \N{MINUS SIGN}0.0010 ± 0.0000 0.90 ± 0.00 0.10 ± 0.00 2 searches" in cells
    heads = found.text("th")
    assert "FD ↓ KID ↓ RECALL ↑ KID SE over" in heads
    assert found.text("caption").count("(searched)") == 1
    assert found.text("caption").count("(not searched)") == 1


def test_samplers_that_are_drawn_and_not_scored(report):
    rows = tuple(row for row in report.rows if row.sampler != "ddpm-linear")
    found = check_page(page(dataclasses.replace(report, rows=rows)))
    assert "ddpm-linear not scored" in found.text()


def test_the_answer_does_not_depend_on_where_scores_stand(report):
    turned = dataclasses.replace(report, rows=report.rows[::-1])
    assert check_page(page(turned)).text("h1") == check_page(page(report)).text("h1")


def test_no_name_can_inject_anything(report):
    runs = [
        make_run(
            "rddim",
            3,
            seed,
            name=f"{HOSTILE}{seed}",
            sampler=HOSTILE,
            features=HOSTILE,
            report_features=f"{HOSTILE} too",
            directory=HOSTILE,
            data=HOSTILE,
            model=f"python:{HOSTILE}",
            kernel=HOSTILE,
            family_options={"x": HOSTILE},
            hashes={HOSTILE: HOSTILE},
            versions={HOSTILE: HOSTILE},
        )
        for seed in (0, 1)
    ]
    rows = make_rows(runs, (HOSTILE, f"{HOSTILE} too"))
    rows = tuple(dataclasses.replace(r, scores={**r.scores, HOSTILE: 1.0}) for r in rows)
    rows += (dataclasses.replace(rows[-1], sampler=f"{HOSTILE} other"),)
    hostile = make_facts(
        runs,
        rows=rows,
        model=HOSTILE,
        device=HOSTILE,
        command=HOSTILE,
        evaluations=(HOSTILE,),
        data=None,
        no_data=HOSTILE,
        left_out=3,
        versions={HOSTILE: "1"},
    )
    found = check_page(page(hostile))
    plain = make_facts([make_run("rddim", 3, seed) for seed in (0, 1)])
    assert {name for name, _ in found.elements} == {
        name for name, _ in check_page(page(plain)).elements
    }
    assert "\N{RLO}" not in page(hostile)
    for place in ("h1", "title", "th", "b", "pre", "p", "summary", "code", "span", "text"):
        assert "<script>alert" in found.text(place), place


def test_vectors_are_points():
    drawn = make_facts(shape=(3,))
    found = check_page(page(drawn))
    assert not found.images
    assert "first and last number of each sample" in found.text("p")
    marks = found.marks("5 samples of")
    inside = 5 * 2 * (2 + len(BASELINES))
    assert sum(mark.points for mark in marks if mark.title == "data") == inside
    assert 0 < sum(mark.points for mark in marks if mark.title == "samples") <= inside
    check_page(page(make_facts(shape=(1,), data=None, no_data="They are far away.")))


def test_numbers_that_are_not_finite():
    runs = [make_run("gddim", 3, seed) for seed in (0, 1)]
    runs[0] = dataclasses.replace(runs[0], kids=(math.nan,) * 5)
    runs[1] = dataclasses.replace(runs[1], kids=())
    drawn = make_drawn(runs, (4, 4, 3))
    drawn[0].samples[:] = np.nan
    nothing = {"fd": math.nan, "kid": math.nan}
    rows = tuple(
        dataclasses.replace(row, scores=nothing) if row.sampler == "gddim" else row
        for row in make_rows(runs)
    )
    found = check_page(page(make_facts(runs, rows=rows, drawn=drawn, shape=(4, 4, 3))))
    assert found.text("h1").startswith("ddim-quadratic")
    assert "not scored" in found.text("span")
    assert f"There is no log of {runs[1].name}" in found.text("p")
    assert "not finite" in found.text("td")
    grey = next(pixels for alt, pixels in found.images if "of gddim" in alt)
    assert set(grey[grey[..., 3] > 0][:, :3].ravel()) == {128}
    with pytest.raises(ValueError, match="No fd in unseen is finite"):
        page(make_facts(runs, rows=tuple(r for r in rows if r.sampler == "gddim")))


def test_guidance_and_what_is_left_out_are_said(report):
    changed = dataclasses.replace(report, passes=2, left_out=7, evaluations=("scores",))
    text = check_page(page(changed)).text("p")
    assert "with guidance, 2 a step" in text
    assert "7 scores with other n are left out" in text
    assert "the evaluation in scores" in text


def test_tables_of_coefficients_are_the_samplers():
    run = make_run("gddim", 4)
    clean = np.asarray(run.table.clean)
    steps = step_table(run)
    assert len(STEP_HEADS) + 2 == len(steps[0])
    for n, row in enumerate(steps):
        expected = [
            run.table.times[n],
            clean[n, 0],
            run.clean[n],
            clean[n, 0] - run.clean[n],
            run.table.noise[n, 0],
            run.noise[n],
            run.table.noise[n, 0] - run.noise[n],
            abs(run.table.fresh[n]),
        ]
        np.testing.assert_allclose([number(cell) for cell in row], expected, atol=6e-4)
    reach = reach_table(clean, run.clean)
    for m, row in enumerate(reach):
        assert [cell is not None for cell in row] == [n <= m for n in range(4)]
        for n in range(m + 1):
            expected = clean[n, m - n] - (run.clean[n] if n == m else 0)
            np.testing.assert_allclose(number(row[n]), expected, atol=6e-3)
    shown = check_page(page(make_facts([run]))).text("td")
    assert all(cell.text in shown for row in (*steps, *reach) for cell in row if cell)


def number(cell) -> float:
    return float(cell.text.replace("\N{MINUS SIGN}", "-"))


def test_large_images_are_reduced():
    pixels = strip(np.linspace(-1, 1, 2 * 256 * 256 * 3).reshape(2, 256, 256, 3))
    assert pixels.shape == (128, 2 * 129 - 1, 4)
    assert [columns(shape) for shape in ((8, 8, 1), (32, 32, 3), (256, 256, 3), (3,))] == [
        20,
        13,
        6,
        200,
    ]


def test_what_hides_is_shown():
    """Marks that turn or hide text cannot make one name look like another."""
    assert visible("a\N{RLO}b\x1b[2J\N{ZERO WIDTH SPACE}\nc\u2028") == "a�b�[2J�\nc�"
    assert visible(3) == 3


@pytest.mark.parametrize(("low", "high"), [(0.03, 40), (2, 9), (1e-9, 1e6), (0.5, 2.1)])
def test_ticks_of_a_logarithmic_axis(low, high):
    ticks = log_ticks(low, high)
    assert len(ticks) >= 2
    assert ticks == sorted(set(ticks))
    assert low <= ticks[0] < ticks[-1] <= high


@pytest.mark.parametrize(("low", "high"), [(-0.2, 900.0), (0.0, 3.0), (-50.0, 1.0)])
def test_ticks_of_an_axis_that_bends(low, high):
    ticks = asinh_ticks(low, high, 0.01)
    assert 0 in ticks
    assert 3 <= len(ticks) <= 11
    assert ticks == sorted(set(ticks))
    assert low <= ticks[0] < ticks[-1] <= high


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_every_step_of_a_short_search_is_a_point(steps):
    kids = tuple(np.linspace(1, 2, steps).tolist())
    assert smooth(kids) == [(n + 1.0, kid) for n, kid in enumerate(kids)]
    run = dataclasses.replace(make_run(), kids=kids)
    found = check_page(page(make_facts([run])))
    (mark,) = found.marks("What was minimised")
    assert (mark.title, mark.points) == ("rddim, seed 0", steps)


@given(st.lists(st.floats(0, 1), min_size=41, max_size=2000))
def test_a_long_search_is_means_of_neighbours(kids):
    found = smooth(kids)
    assert len(found) <= 160
    assert found[-1][0] == len(kids)
    assert min(kids) - 1e-9 <= min(m for _, m in found) <= max(m for _, m in found)


def test_bold_is_what_is_surely_best():
    column = {"a": [1.0, 1.1, 1.2], "b": [2.0, 2.1, 2.2], "c": [2.1, 2.2, 2.3]}
    scores = {name: mean_interval(values) for name, values in column.items()}
    assert surely_best(scores, "smaller") == "a"
    assert surely_best(scores, "larger") is None
    assert surely_best(scores, "neither") is None
    assert surely_best({"a": scores["a"]}, "smaller") is None
    once = {name: mean_interval(values[:1]) for name, values in column.items()}
    assert surely_best(once, "smaller") is None


def test_labels_are_spread():
    found = np.array(spread([10.0, 11.0, 10.5, 100.0], 14.0, 0.0, 110.0))
    assert np.all(np.diff(np.sort(found)) > 13.9)
    assert list(np.argsort(found)) == [0, 2, 1, 3]
    assert found[3] == 100


def luminance(colour: np.ndarray) -> float:
    channels = np.where(colour <= 0.03928, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(channels @ [0.2126, 0.7152, 0.0722])


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def hexadecimal(word: str) -> np.ndarray:
    word = "".join(c * 2 for c in word) if len(word) == 3 else word
    return np.array([int(word[i : i + 2], 16) for i in (0, 2, 4)]) / 255


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read(theme):
    """WCAG AA: 4.5 to 1 for all text, on the darkest shade too."""
    root = re.findall(r":root \{(.*?)\}", SHEET, re.DOTALL)[theme]
    colours = {k: hexadecimal(v) for k, v in re.findall(r"--(\w+): #(\w+)", root)}
    for name in ("ink", "soft", *(f"s{n}" for n in range(6))):
        assert contrast(colours[name], colours["page"]) >= 4.5, name
    assert contrast(colours["grey"], colours["page"]) >= 3
    for shade in ("more", "less"):
        red, green, blue = re.search(rf"--{shade}: (\d+), (\d+), (\d+)", root).groups()
        deepest = max(float(o) for o in re.findall(rf"var\(--{shade}\), ([\d.]+)\)", SHEET))
        colour = np.array([int(red), int(green), int(blue)]) / 255
        mixed = deepest * colour + (1 - deepest) * colours["page"]
        assert contrast(colours["ink"], mixed) >= 4.5, shade

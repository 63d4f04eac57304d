"""What a report reads of runs and evaluations: checked, matched, and compared only where alike."""

import json
import math
import shlex
from pathlib import Path

import pytest

from report_facts import make_run
from samplerzoo.cli.search_command import search
from samplerzoo.files import digest
from samplerzoo.reports.cost_section import duration
from samplerzoo.reports.provenance_section import command_of_search
from samplerzoo.reports.reading import (
    check_alike,
    evaluation_rows,
    finished,
    labels,
    one_n,
    recorded,
    run_rows,
)
from samplerzoo.runs.evaluation import load_evaluation
from samplerzoo.runs.rows import Row, read_row
from samplerzoo.runs.run import Run
from samplerzoo.runs.setup import configure
from samplerzoo.runs.spec import Config

GIVEN = {"data": "digits", "features": "digits-cnn", "report_features": "digits-mlp"}
ROW = {"sampler": "ddim-linear", "nfe": 5, "features": "f", "fd": 1.5, "n": 64, "seed": 0}


def config(**changes) -> Config:
    return Config(**GIVEN | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "other"}, r"one and two differ in model \(digits and other\)"),
        ({"guidance": 2.0}, "differ in guidance"),
        ({"data": "elsewhere"}, "differ in data"),
        ({"crop": True}, "differ in crop"),
        ({"hashes": {"digits-cnn": "b"}}, "another digits-cnn of the same name"),
    ],
)
def test_runs_that_cannot_be_compared(changes, words):
    with pytest.raises(ValueError, match=words):
        check_alike({"one": config(hashes={"digits-cnn": "a"}), "two": config(**changes)})


def test_runs_that_can_be_compared():
    check_alike(
        {
            "a": config(hashes={"model": "m", "digits-cnn": "c"}),
            "b": config(family="gddim", steps=5),
            "c": config(features="pixels", hashes={"model": "m", "pixels": "p"}, n=50, seed=7),
        }
    )


def test_samplers_are_called_by_what_sets_them_apart():
    found = labels(
        {
            "a": config(family="gddim", family_options={"depth": 2}),
            "b": config(family="gddim", family_options={"depth": 2}, seed=1),
            "c": config(family="gddim", kernel="rbf", kernel_options={"scales": [1, 2]}),
            "d": config(family="rddim", iterations=9, microbatch=4, versions={}),
            "e": config(family="rddim", iterations=9, steps=5),
        }
    )
    assert found == {
        "a": "gddim (kernel linear, depth 2)",
        "b": "gddim (kernel linear, depth 2)",
        "c": "gddim (kernel rbf, kernel's scales [1, 2])",
        "d": "rddim",
        "e": "rddim",
    }


def test_copies_of_a_run_are_not_several_searches():
    with pytest.raises(ValueError, match="a and b are the same search with the same seed"):
        labels({"a": config(), "b": config(n=50)})


def test_unfinished_runs(tmp_path):
    with pytest.raises(
        ValueError, match=r"run is not finished; `samplerzoo resume .*` finishes it"
    ):
        finished("run", Run(config(), tmp_path))


def test_the_record_of_a_search():
    assert recorded("run", {"search_seconds": 3, "cost": {"devices": 1}}) == (3.0, {"devices": 1})
    seconds, cost = recorded("run", {})
    assert math.isnan(seconds)
    assert cost == {}
    for damaged in ({"cost": 5}, {"cost": {"devices": "many"}}, {"search_seconds": "long"}):
        with pytest.raises(ValueError, match="The result of run is damaged"):
            recorded("run", damaged)


def test_rows_of_a_run():
    rows = [ROW, ROW | {"sampler": "rddim", "kid": None, "fd": 2}]
    found = run_rows("runs/a", "rddim (kernel rbf)", {"sampler": "rddim", "rows": rows})
    assert found == [
        Row("ddim-linear", 5, "f", 64, 0, {"fd": 1.5}),
        Row("rddim (kernel rbf)", 5, "f", 64, 0, {"fd": 2.0}, "runs/a"),
    ]
    for damaged in (5, [5], [{}]):
        with pytest.raises(ValueError, match=r"The result of runs/a (is damaged|has a row)"):
            run_rows("runs/a", "rddim", {"sampler": "rddim", "rows": damaged})


@pytest.mark.parametrize(
    "change",
    [
        {"sampler": None},
        {"sampler": ""},
        {"features": 3},
        {"nfe": 5.5},
        {"n": "64"},
        {"seed": None},
        {"fd": "1.5"},
        {"fd": True},
        {"fd": [1.0]},
    ],
    ids=str,
)
def test_rows_that_are_no_scores(change):
    with pytest.raises(ValueError, match="here has a row that does not hold scores"):
        read_row(ROW | change, "here")


def write_evaluation(
    folder: Path, rows: list, depends_on: dict, samplers: dict, kinds: dict | None = None
) -> None:
    folder.mkdir()
    content = {"about": {"depends_on": depends_on}, "samplers": samplers, "rows": rows}
    content |= {} if kinds is None else {"kinds": kinds}
    (folder / "evaluation.json").write_text(json.dumps(content))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def rows_of(folder: Path, runs: dict, config: Config) -> list[Row]:
    return evaluation_rows(folder.name, load_evaluation(folder).scores, runs, config)


@pytest.fixture(scope="module")
def searched():
    return make_run("rddim", 3, hashes={"model": "m", "data": "d"})


def test_rows_of_an_evaluation(tmp_path, searched):
    """A run is known by its table, whatever its folder was called; a torn line is not read."""
    name = "elsewhere/a run"
    rows = [ROW, ROW | {"sampler": name, "nfe": 3}, ROW | {"sampler": "ddim-linear:eta=0.5"}]
    samplers = {f"{name} 3": digest(searched.table), "ddim-linear 5": "x"}
    write_evaluation(tmp_path / "e", rows, {"model": "m", "data": "d"}, samplers)
    with (tmp_path / "e/rows.jsonl").open("a") as file:
        file.write('{"sampler": "torn')
    runs = {"runs/a": ("rddim", searched.table)}
    assert rows_of(tmp_path / "e", runs, searched.config) == [
        Row("ddim-linear", 5, "f", 64, 0, {"fd": 1.5}),
        Row("rddim", 3, "f", 64, 0, {"fd": 1.5}, "runs/a"),
        Row("ddim-linear:eta=0.5", 5, "f", 64, 0, {"fd": 1.5}),
    ]


def test_evaluations_of_something_else(tmp_path, searched):
    runs = {"runs/a": ("rddim", searched.table)}
    write_evaluation(tmp_path / "model", [ROW], {"model": "another"}, {})
    with pytest.raises(ValueError, match="scores of another model"):
        rows_of(tmp_path / "model", runs, searched.config)
    write_evaluation(tmp_path / "data", [ROW], {"data": "another"}, {})
    with pytest.raises(ValueError, match="scores of another data"):
        rows_of(tmp_path / "data", runs, searched.config)
    stale = [ROW | {"sampler": "runs/a", "nfe": 3}]
    write_evaluation(tmp_path / "stale", stale, {}, {"runs/a 3": "of an older search"})
    with pytest.raises(ValueError, match="none of the runs given, or was searched again since"):
        rows_of(tmp_path / "stale", runs, searched.config)
    given = [ROW | {"sampler": "mine"}]
    write_evaluation(tmp_path / "mine", given, {}, {"mine 5": "x"}, {"mine 5": "object"})
    assert rows_of(tmp_path / "mine", runs, searched.config)[0].sampler == "mine"
    for content in ("{", "[]", "5", '{"about": 5}', '{"about": {}}'):
        (tmp_path / "stale/evaluation.json").write_text(content)
        with pytest.raises(ValueError, match=r"evaluation.json is damaged"):
            rows_of(tmp_path / "stale", runs, searched.config)


def test_only_scores_of_one_n_are_compared():
    def row(n, run=None, sampler="ddim-linear", **scores):
        return Row(sampler, 5, "f", n, 0, scores, run)

    rows = [
        row(64, "a", "rddim", fd=9.0),
        row(100, "a", "rddim", fd=1.0),
        row(100, fd=2.0),
        row(100, "a", "rddim", recall=0.5),
        row(64, fd=3.0),
    ]
    kept, left_out = one_n(rows, ["a"])
    assert kept == [row(100, "a", "rddim", fd=1.0, recall=0.5), row(100, fd=2.0)]
    assert left_out == 2
    with pytest.raises(ValueError, match="hold no scores"):
        one_n([], ["a"])
    with pytest.raises(ValueError, match="b has no scores at n = 100, as others have"):
        one_n([*rows, row(64, "b", "rddim", fd=1.0)], ["a", "b"])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"family": "gddim", "family_options": {"depth": 2}, "steps": 5, "seed": 3, "n": 64},
        {
            "kernel": "rbf",
            "kernel_options": {"scales": [0.5, 2.0], "x": "a b"},
            "dtype": "bfloat16",
        },
        {"learning_rate": 0.1, "times": "linear-decoupled", "batch": 8, "iterations": 2},
        {"data": "/a/my images", "split": "train", "crop": True},
    ],
)
def test_the_command_of_a_search_is_the_search(changes):
    """The program reads it as the configuration that it was made from."""
    wanted = config(**changes)
    program, command, *words = shlex.split(command_of_search(wanted, "runs/my run"))
    assert (program, command) == ("samplerzoo", "search")
    given = search.make_context("search", words).params
    assert given.pop("out") == Path("runs/my run")
    fields = {key: value for key, value in given.items() if key in vars(wanted)}
    found, _ = configure(fields)
    recorded = {"allow_code", "microbatch", "checkpoint_every", "directory", "hashes", "versions"}
    for key, value in vars(wanted).items():
        assert key in recorded or getattr(found, key) == value, key


def test_durations():
    assert [duration(s) for s in (2e-5, 0.0123, 1.5, 119.0, 600.0)] == [
        "20 µs",
        "12.3 ms",
        "1.5 s",
        "119 s",
        "10 min",
    ]

"""`sz.evaluate` and `sz.report` as Python calls: names or objects, on disk or in memory."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplerzoo as sz
from cli_tools import TOY, succeed, write_toys
from report_page import check_page
from samplerzoo.metrics.builtin import fd
from samplerzoo.runs.evaluation import load_evaluation
from samplerzoo.runs.samplers import Families, named_samplers, sampler_tables
from samplerzoo.runs.store import save_sweep

SHAPE = (4, 4, 1)
MODEL = sz.DiffusionModel(lambda x, t: 0.5 * x * t, sz.LinearVP(), SHAPE)
DATA = np.random.default_rng(0).uniform(-1, 1, (32, *SHAPE)).astype(np.float32)


def features(x):
    return jnp.tanh(x.reshape(-1)[:5])


def other(x):
    return x.reshape(-1)[5:8] ** 2


PARTS = {"model": MODEL, "data": DATA, "progress": False}
ON = {**PARTS, "features": features, "metrics": fd, "n": 16}
TINY = {
    **PARTS,
    "features": features,
    "report_features": other,
    "batch": 8,
    "iterations": 3,
    "n": 16,
    "steps": 3,
}


@pytest.fixture(autouse=True, scope="module")
def users_settings():
    """Whole runs are for users, who have JAX's own rules of promotion, as optax has."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def run() -> sz.Run:
    """A run in memory, all of whose parts are objects."""
    return sz.search("gddim", **TINY)


def named(scores: sz.Scores) -> list[tuple]:
    return [row.place for row in scores.rows]


def test_objects_of_all_kinds_are_scored(run):
    mine = sz.DDIM(3, "linear", eta=0.5)
    found = sz.evaluate([mine, run.table, run, sz.DDPM, "ddim-linear:eta=0.5"], steps=[3], **ON)
    names = [(row.sampler, row.nfe) for row in found.rows]
    assert names == [
        ("ddim", 3),
        ("steptable", 3),
        ("gddim", 3),
        ("ddpm-linear", 3),
        ("ddpm-quadratic", 3),
        ("ddim-linear:eta=0.5", 3),
    ]
    scores = {row.sampler: dict(row.scores) for row in found.rows}
    assert scores["ddim"] == scores["ddim-linear:eta=0.5"]
    assert scores["steptable"] == scores["gddim"]
    assert found.kinds["ddim 3"] == found.kinds["steptable 3"] == "object"
    assert (found.kinds["gddim 3"], found.kinds["ddpm-linear 3"]) == ("run", "family")
    assert found.about["model"] == "object:DiffusionModel"


def test_names_may_be_given_and_are_told_apart():
    table = sz.DDIM(2).table(MODEL.schedule)
    found = sz.evaluate({"one": table, "two": sz.DDIM(2)}, **ON)
    assert [row.sampler for row in found.rows] == ["one", "two"]
    assert found.rows[0].scores == found.rows[1].scores
    twice = sz.evaluate([table, table], **ON)
    assert [row.sampler for row in twice.rows] == ["steptable", "steptable-2"]


def test_a_sweep_is_its_runs(run, digits_run, tmp_path):
    """In memory, by a name, or as a folder; so for a zoo, and for the command."""
    sweep = sz.Sweep({3: run})
    found = sz.evaluate([sweep, sweep], n=16, metrics="fd", progress=False)
    assert {row.sampler for row in found.rows} == {"sweep/k3", "sweep-2/k3"}
    named = sz.evaluate({"mine": sweep, "one": run}, n=16, metrics="fd", progress=False)
    scores = {row.sampler: row.scores for row in named.rows if row.features == "object:features"}
    assert scores["mine/k3"] == scores["one"]
    folder = tmp_path / "sweep"
    folder.mkdir()
    save_sweep(folder, {3: digits_run.config, 4: digits_run.config})
    shutil.copytree(digits_run.path, folder / "k3")
    with pytest.raises(ValueError, match=r"sweep/k4 holds no run"):
        sz.evaluate(folder, n=16)
    shutil.copytree(digits_run.path, folder / "k4")
    for given in (folder, str(folder), f"{folder}/", folder / "sweep.toml"):
        names = [f"{os.path.normpath(given)}/k{steps}" for steps in (3, 4)]
        loaded = named_samplers(given)
        assert list(loaded) == names
        assert [one.config for one in loaded.values()] == [digits_run.config] * 2
    with pytest.raises(ValueError, match=r"sweep/k3 and .*sweep/k4 are the same search"):
        sz.zoo([folder], tmp_path / "zoo")


def test_it_is_the_command(tmp_path):
    """The same rows, bit for bit, from objects as from the names of the same parts."""
    write_toys(tmp_path)
    words = (
        "--features=python:toys:features,python:toys:other_features",
        "--n=16",
        "--steps=3",
        "--seeds=0,1",
        "--baselines",
        "--json",
        "--quiet",
    )
    printed = succeed("evaluate", "ddim-linear", *TOY[:2], *words, cwd=tmp_path).out
    spaces = {"python:toys:features": features, "python:toys:other_features": other}
    given = {**PARTS, "n": 16, "steps": 3, "seeds": (0, 1), "baselines": True}
    found = sz.evaluate("ddim-linear", features=spaces, **given)
    for ours, theirs in zip(found.records, json.loads(printed)["rows"], strict=True):
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            assert value == (
                pytest.approx(theirs[key], rel=1e-5) if type(value) is float else theirs[key]
            )


def test_runs_bring_their_own_parts(run):
    found = sz.evaluate(run, n=16, metrics="fd", progress=False)
    own = [row for row in run.scores.rows if row.sampler == "gddim"]
    assert [(row.features, row.scores["fd"]) for row in found.rows] == [
        (row.features, pytest.approx(row.scores["fd"], rel=1e-5)) for row in own
    ]
    assert found.about["depends_on"]["model"] == run.config.hashes["model"]
    other_model = dataclasses.replace(MODEL, clip=None)
    elsewhere = dataclasses.replace(run, objects={**run.objects, "model": other_model})
    with pytest.raises(ValueError, match="The runs differ in model"):
        sz.evaluate([run, elsewhere], n=16, progress=False)


def test_a_folder_keeps_what_is_scored_and_grows(tmp_path):
    told = []
    first = sz.evaluate("ddim", steps=2, out=tmp_path / "kept", callback=told.append, **ON)
    assert named(first) == [row.place for rows in told for row in rows]
    told.clear()
    more = sz.evaluate(
        "ddim", steps=2, seeds=[0, 1], out=str(tmp_path / "kept"), callback=told.append, **ON
    )
    assert [rows[0].seed for rows in told] == [1, 1]
    assert [row for row in more.rows if row.seed == 0] == list(first.rows)
    kept = load_evaluation(tmp_path / "kept").scores
    assert sorted(named(kept)) == sorted(named(more))
    assert (tmp_path / "kept/scores.md").read_text() == kept.markdown() + "\n"


def test_an_interruption_loses_nothing(tmp_path):
    told = []

    def stop(rows):
        told.append(rows)
        if len(told) == 2:
            raise KeyboardInterrupt

    given = {**ON, "steps": 2, "seeds": [0, 1], "out": tmp_path}
    with pytest.raises(sz.InterruptedRunError, match="the same evaluation continues in"):
        sz.evaluate("ddim", callback=stop, **given)
    after = []
    found = sz.evaluate("ddim", callback=after.append, **given)
    assert len(told) == len(after) == 2
    assert found.rows == sz.evaluate("ddim", **{**given, "out": None}).rows


@pytest.mark.parametrize(
    ("samplers", "changes", "said"),
    [
        ("ddim", {"n": 1}, "n is 1; it must be at least 2"),
        ("ddim", {"seeds": []}, "seeds is"),
        ("ddim", {"seeds": -1}, "at least 0"),
        ("ddim", {"seeds": 2**32}, "The seed is"),
        ("ddim", {"steps": 0}, "steps is 0"),
        ("ddim", {"held_out_split": "x"}, "--held-out; give"),
        ("ddim", {"data": None}, "has no default for --data; give it"),
        ("ddim", {"data": None, "features": None}, "no default for --data and --features; give"),
        ("ddim", {"metrics": "nope"}, "No metric is called 'nope'"),
        ("ddim", {"metrics": ["fd", "inception-score"]}, "'inception-score' does not apply"),
        ("nope", {}, "No family is called 'nope'"),
        ("no/such/run", {}, "No family is called|neither the folder"),
        (sz.DDIM(2).table(sz.CosineVP()), {"model": dataclasses.replace(MODEL)}, None),
        (sz.DDIM(2).table(sz.EDM()), {}, "at times that are not above 0 and at most 1"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(samplers, changes, said):
    if said is None:
        assert sz.evaluate(samplers, **{**ON, **changes}).rows
        return
    with pytest.raises(ValueError, match=said):
        sz.evaluate(samplers, **{**ON, **changes})


def test_other_objects_are_refused():
    with pytest.raises(ValueError, match="is a int; it must be a run, a family or its name"):
        sampler_tables(3, "three", Families([1], {}), MODEL)


def test_a_folder_that_cannot_be_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="is a file; give a new folder"):
        sz.evaluate("ddim", out=tmp_path / "file", **ON)
    with pytest.raises(ValueError, match="is not empty and holds no evaluation"):
        sz.evaluate("ddim", out=tmp_path, **ON)


@pytest.mark.slow
def test_an_embedded_model_has_its_own_data_and_features():
    found = sz.evaluate("ddim-linear", model="cifar10", steps=1, n=4, metrics="fd", progress=False)
    assert [row.features for row in found.rows] == ["cifar10-resnet", "cifar10-cnn"]
    assert found.about["data"] == "cifar10"


def test_a_report_of_objects_in_memory(run, tmp_path):
    scores = sz.evaluate(
        [run, "ddim-linear", sz.DDIM(3)],
        steps=3,
        seeds=[0, 1, 2],
        features=[features, other],
        metrics=["fd", "precision-recall"],
        n=16,
        **PARTS,
    )
    made = sz.report([run, scores], progress=False)
    page = check_page(made.html)
    assert made.path is None
    assert page.text("h1") == made.headline
    assert "the evaluation in scores 2" in page.text("p")
    assert "samplerzoo" not in page.text("pre")
    assert "# run 1 was searched in Python, with objects that no name leads to" in page.text("pre")
    assert "<iframe srcdoc=" in made._repr_html_()
    saved = sz.report(run, out=tmp_path / "page.html", progress=False)
    assert check_page((tmp_path / "page.html").read_text()).text("h1") == saved.headline
    said = json.loads(saved.json())
    assert said["report"] == str(tmp_path / "page.html")
    assert said["headline"] == saved.headline
    assert {row["features"] for row in said["standings"]} == {"object:features", "object:other"}
    best = said["standings"][0]["best"]
    row = next(
        r
        for r in run.scores.rows
        if r.sampler == best["sampler"] and r.features == said["standings"][0]["features"]
    )
    assert best["value"] == row.scores["fd"]


def test_reports_that_cannot_be_made(run, tmp_path):
    scores = sz.evaluate("ddim", steps=3, **ON)
    with pytest.raises(ValueError, match="needs the folder of a run"):
        sz.report(scores)
    with pytest.raises(ValueError, match="is a folder; give a file"):
        sz.report(run, out=tmp_path)
    with pytest.raises(ValueError, match="there is no folder"):
        sz.report(run, out=tmp_path / "no/where.html")
    with pytest.raises(ValueError, match="holds no run"):
        sz.report(tmp_path)


def test_a_run_in_memory_has_its_page_in_the_current_folder(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sz.report(run, out="auto", progress=False).path == Path("report.html")
    saved = run.save("kept")
    assert sz.report(saved, out="auto", progress=False).path == Path("kept/report.html")

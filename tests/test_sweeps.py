"""Sweeps: searches at several numbers of steps, each from the result before or its own start."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest

import samplerzoo as sz
from cli_tools import contents, fail, succeed, write_toys
from samplerzoo.core.history import has_stalled
from samplerzoo.metrics import Interval
from samplerzoo.runs import setup
from samplerzoo.runs.curves import curve_table, curves_of
from samplerzoo.runs.pictures import draw_scores
from samplerzoo.runs.store import load_sweep
from test_runs import parts, promotion, stop_at  # noqa: F401

STEPS = [3, 2]
SMALL = {"batch": 8, "iterations": 6, "n": 64, "progress": False}
NAMED = {
    "model": "python:toys:model",
    "data": "python:toys:data",
    "features": "python:toys:features",
    "report_features": "python:toys:other_features",
}


@pytest.fixture(scope="module")
def sweep() -> sz.Sweep:
    """A sweep in memory, whose second search starts from the first's result."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(setup, "choose_warm", prefer_neighbour)
        return sz.search(**parts(), **SMALL, steps=STEPS)


def prefer_neighbour(own, carried, name, *more) -> dict[str, float]:
    return {"start": 2.0, name: 1.0}


def seen(folder: Path) -> dict[str, bytes]:
    """What of a sweep is the same whenever it was made."""
    last = (".png", ".svg", ".md", "sampler.safetensors", "warm.safetensors")
    return {name: data for name, data in contents(folder).items() if name.endswith(last)}


@pytest.mark.slow
def test_each_run_is_one_of_its_own(sweep):
    assert list(sweep.runs) == [2, 3]
    assert sweep.path is None
    assert [run.table.nfe for run in sweep.runs.values()] == [2, 3]
    assert repr(sweep) == "Sweep(rddim, 2, 3 steps, in memory)"
    first, second = (run.result["warm_start"] for run in sweep.runs.values())
    assert first is None
    assert second == {"neighbour": "k2", "taken": True, "score": 1.0, "start_score": 2.0}
    assert [run.config.warm for run in sweep.runs.values()] == [0, 2]


@pytest.mark.slow
def test_its_table_and_pictures_show_all_runs(sweep):
    table = sweep.table
    assert table.heads == ["NFE", "rddim", "best unsearched", "DDIM", "start", "steps"]
    assert [line[0] for line in table.lines] == ["2", "3"]
    assert [line[-1] for line in table.lines] == ["6 of 6", "6 of 6"]
    assert table.lines[1][-2] == "k2"
    for run, line in zip(sweep.runs.values(), table.lines, strict=True):
        assert f"({run.result['unsearched']})" in line[2]
    assert sweep.pictures["fd.png"].startswith(b"\x89PNG")
    assert b"<svg" in sweep.pictures["fd.svg"]
    page = sweep._repr_html_()
    assert "<table" in page
    assert "data:image/png;base64," in page
    assert set(sweep.result["curves"]) == {"rddim", "best unsearched", "DDIM"}
    json.dumps(sweep.result)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "step"), [(6, 6), (7, 1)])
def test_interrupted_between_two_runs_it_continues_to_the_same(
    number, step, sweep, tmp_path, monkeypatch
):
    """At the last step of the first run, or the first of the second."""
    monkeypatch.setattr(setup, "choose_warm", prefer_neighbour)
    calls = []

    def callback(now, kid, state):
        calls.append(now)
        if len(calls) == number:
            assert now == step
            raise KeyboardInterrupt

    given = {**parts(), **SMALL, "steps": STEPS, "out": tmp_path / "sweep"}
    with pytest.raises(
        sz.InterruptedRunError, match=r"resume .*sweep` continues the sweep"
    ) as error:
        sz.search(**given, callback=callback)
    assert error.value.folder == tmp_path / "sweep"
    objects = parts()
    if step == 1:  # one call for what may restart, or the one that continues
        done = sz.search(**given, resume=True)
    else:
        done = sz.resume(tmp_path / "sweep", **objects, progress=False)
    for ours, theirs in zip(done.runs.values(), sweep.runs.values(), strict=True):
        assert ours.scores.records == theirs.scores.records
        assert ours.pictures == theirs.pictures
        jax.tree.map(np.testing.assert_array_equal, ours.family, theirs.family)
    assert done.pictures == sweep.pictures
    assert (tmp_path / "sweep/fd.md").read_text() == sweep.table.markdown() + "\n"
    before = seen(tmp_path / "sweep")
    assert "k3/warm.safetensors" in before
    again = sz.resume(tmp_path / "sweep", **objects)
    assert again.result == done.result
    assert seen(tmp_path / "sweep") == before
    check_refused(given)
    one = sz.resume(tmp_path / "sweep/k3", **objects, progress=False)
    assert one.scores.records == done.runs[3].scores.records


def check_refused(given: dict) -> None:
    """Another sweep is not continued in the folder of this one, and nothing is overwritten."""
    for change, words in {
        ("steps", (2, 4)): "holds a sweep of 2, 3 steps where 2, 4 are asked for",
        ("seed", 1): "holds a search whose seed is 0 where 1 is asked for",
        ("steps", 2): "holds another sweep; give a new folder",
    }.items():
        with pytest.raises(ValueError, match=words):
            sz.search(**{**given, "resume": True, change[0]: change[1]})
    with pytest.raises(ValueError, match="holds another sweep; give a new folder"):
        sz.search(**given)
    with pytest.raises(ValueError, match="holds a sweep; give one of the runs in it"):
        sz.load_run(given["out"])


@pytest.mark.slow
def test_the_command_and_its_report_say_the_same(tmp_path, monkeypatch):
    """The same files as from Python; a report shows the sweep's table and chart."""
    write_toys(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = [f"--{part.replace('_', '-')}={name}" for part, name in NAMED.items()]
    words += ["--batch=8", "--iterations=6", "--n=64", "--quiet"]
    done = succeed("search", *words, "--steps=2,3", "--out=command", "--json", cwd=tmp_path)
    told = json.loads(done.out)
    assert told["steps"] == [2, 3]
    ours = sz.search(**NAMED, **SMALL, steps=STEPS, out="python")
    assert seen(tmp_path / "command") == seen(tmp_path / "python")
    assert told["curves"] == ours.result["curves"]
    warm = ours.runs[3].result["warm_start"]
    assert warm["taken"] == (warm["score"] < warm["start_score"])
    assert warm["taken"] == (ours.runs[3].config.warm == 2)
    told = json.loads(succeed("report", "command", "--json", "--quiet", cwd=tmp_path).out)
    assert told["report"] == "command/report.html"
    page = (tmp_path / "command/report.html").read_text()
    assert 'id="sweep"' in page
    for name in ("rddim", "best unsearched", "DDIM"):
        assert f'<th scope="col">{name}</th>' in page
    words = ("--n=64", "--metrics=fd", "--json", "--quiet")
    rows = json.loads(succeed("evaluate", "command", *words, cwd=tmp_path).out)["rows"]
    again = {(row["sampler"], row["nfe"], row["features"]): row["fd"] for row in rows}
    for steps, run in ours.runs.items():
        for row in run.scores.rows:
            if row.sampler == "rddim":
                found = again[f"command/k{steps}", row.nfe, row.features]
                assert found == pytest.approx(row.scores["fd"], rel=1e-5)
    (tmp_path / "command/k3/result.json").unlink()
    assert "k3 is not finished" in fail("report", "command", cwd=tmp_path)


@pytest.mark.slow
def test_a_search_that_does_not_improve_ends_early():
    run = sz.search(**parts(), **SMALL, steps=2, patience=1)
    kids = [line["kid"] for line in run.log]
    stop = next(n for n in range(1, 7) if has_stalled(kids[:n], 1) or n == 6)
    assert len(kids) == stop < 6
    assert run.result["stopped_at"] == stop
    assert int(run.found.state.step) == stop


WRONG = {
    "none": ([], "must be a whole number, or several"),
    "below 1": ([4, 0], "steps is 0; it must be at least 1"),
    "too many": ([4, 10**9], "has 1,000,000,000 steps; at most"),
}


@pytest.mark.parametrize("case", WRONG)
def test_steps_that_are_not_numbers_are_refused(case, tmp_path):
    steps, words = WRONG[case]
    with pytest.raises(ValueError, match=words):
        sz.search(**parts(), **SMALL, steps=steps, out=tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize("steps", ["4,5", [4, 5.5], [True, 2]])
def test_other_values_are_no_steps(steps):
    with pytest.raises(ValueError, match="must be a whole number, or several"):
        setup.configure_sweep({}, steps)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"family": sz.RDDIM(3)}, "A family that is an object has its own number of steps"),
        ({"times": [1, 0.6, 0.3]}, "numbers for one number of steps"),
        ({"patience": -1}, "patience is -1; it must be at least 0"),
        ({"resume": True}, "--resume needs --out"),
    ],
)
def test_what_fits_one_number_of_steps_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        sz.search(**{**parts(), **SMALL, "steps": [2, 3], **change})


def test_the_command_refuses_what_is_no_list(tmp_path):
    for steps, words in {
        "4,x": "--steps is '4,x'",
        "4,0": "each must be at least 1",
        "four": "--steps is 'four'; it must be a whole number, or several",
    }.items():
        assert words in fail("search", f"--steps={steps}", "--out=sweep", cwd=tmp_path)
    assert not (tmp_path / "sweep").exists()


def test_a_sweep_that_was_edited_is_refused(tmp_path):
    (tmp_path / "sweep.toml").write_text('data = "a"\nfeatures = "b"\nreport_features = "c"\n')
    for steps in ("", "steps = 3\n", "steps = []\n", "steps = [0]\n", 'steps = ["2"]\n'):
        (tmp_path / "sweep.toml").write_text(f'data = "a"\nfeatures = "b"\n{steps}')
        with pytest.raises(ValueError, match=r"sweep\.toml"):
            load_sweep(tmp_path)


def test_curves_are_of_the_better_and_have_intervals():
    def fd(value, half=None):
        return {"fd": Interval(value, half=half, count=1 if half is None else 3)}

    summary = {
        ("rddim", 5, "a"): fd(0.5, 0.1),
        ("ddim-linear", 5, "a"): fd(3.0),
        ("ddim-quadratic", 5, "a"): fd(2.0),
        ("unipc-3-karras", 5, "a"): fd(1.0),
        ("heun-linear", 5, "a"): fd(0.1),  # which was not chosen at 5
        ("heun-linear", 10, "a"): fd(0.25),
        ("rddim", 10, "a"): fd(0.125),
        ("rddim", 10, "b"): fd(9.0),
    }
    found = curves_of(summary, "a", ["rddim"], {5: ["unipc-3-karras"], 10: ["heun-linear"]})
    table = curve_table(found, "FD in a", {"steps": {5: "300"}})
    assert table.heads == ["NFE", "rddim", "best unsearched", "DDIM", "steps"]
    assert table.lines == [
        ["5", "0.50 ± 0.10 (0.50)", "1.00 (unipc-3-karras)", "2.00 (ddim-quadratic)", "300"],
        ["10", "0.12 (0.50)", "0.25 (heun-linear)", "-", ""],
    ]
    assert draw_scores(found, "a $title$", "svg") == draw_scores(found, "a $title$", "svg")
    shifted = {
        name: {
            k: p._replace(score=dataclasses.replace(p.score, value=-1.0)) for k, p in line.items()
        }
        for name, line in found.items()
    }
    assert draw_scores(shifted).startswith(b"\x89PNG")

"""What a search starts from and is compared with: chosen once, by a short evaluation, or given."""

import jax
import numpy as np
import pytest

import samplerzoo as sz
from samplerzoo.core.unsearched import SOLVERS, TRIED_GRIDS
from samplerzoo.runs import choosing, setup
from samplerzoo.runs.choosing import named_table
from samplerzoo.runs.spec import DEFAULTS
from test_runs import SMALL, parts, promotion  # noqa: F401

STILL = {**SMALL, "iterations": 1, "learning_rate": 1e-12}  # the start, as it is


def close(table, other):
    depth = max(table.depth, other.depth)
    table, other = table.to_depth(depth), other.to_depth(depth)
    for one, two in zip(jax.tree.leaves(table), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def begun(family="rddim", **options):
    """The configuration of a search before its first step, and the table that it starts from."""
    given = {**parts(), **SMALL, "family": family, "family_options": {}, **options}
    del given["progress"]
    defaults = {name: value for name, value in DEFAULTS.items() if name not in given}
    config, objects = setup.configure(defaults | given)
    ready = setup.load_setup(config, objects, False)
    return ready.config, ready.family.table(given["model"].schedule)


@pytest.fixture(scope="module")
def run() -> sz.Run:
    return sz.search(**parts(), **STILL)


def free(config) -> dict:
    """What was tried but for Heun's method, which asks twice at most times, and the SDE's."""
    return {name: kid for name, kid in config.tried.items() if name[:3] not in ("heu", "sde")}


def test_it_is_the_best_of_all_solvers_and_grids(run):
    config = run.config
    assert set(config.tried) == {f"{s}-{grid}" for s in SOLVERS for grid in TRIED_GRIDS}
    assert config.unsearched == min(config.tried, key=config.tried.get)
    assert config.start == min(free(config), key=free(config).get)
    assert config.family_options == {}
    close(run.table, named_table(config.start, 3, parts()["model"]))
    result = run.result
    assert (result["start"], result["unsearched"]) == (config.start, config.unsearched)
    assert result["tried"] == config.tried


def test_it_stands_in_the_table(run):
    best = run.config.unsearched
    rows = [row for row in run.scores.rows if row.sampler == best]
    assert len(rows) == 2
    assert {row.nfe for row in rows} == {3}


def test_another_seed_is_compared_with_the_same(run):
    config, _ = begun(seed=5)
    assert config.tried == run.config.tried


@pytest.mark.parametrize("family", ["rddim", "gddim"])
@pytest.mark.parametrize(
    ("given", "times", "expected"),
    [
        ("dpmpp-3m-karras", "searched", "dpmpp-3m-karras"),
        ("dpmpp-3m", "karras", "dpmpp-3m-karras"),
        ("unipc-3:b=1", "logsnr-searched", "unipc-3-logsnr:b=1"),
        ("ddim", "quadratic-searched", "ddim-quadratic"),
        ("exponential", "1,0.6,0.2", None),
    ],
)
def test_a_start_that_is_given(family, given, times, expected):
    config, table = begun(family, family_options={"start": given}, times=times)
    assert config.start == ""
    if expected:
        close(table, named_table(expected, 3, parts()["model"]))
    else:
        np.testing.assert_allclose(table.times, [1, 0.6, 0.2], rtol=1e-5)


def test_a_start_that_is_given_stands_in_the_result():
    run = sz.search(family_options={"start": "ddim-karras"}, **parts(), **STILL)
    assert run.config.start == ""
    assert run.result["start"] == "ddim-karras"
    close(run.table, named_table("ddim-karras", 3, parts()["model"]))


@pytest.mark.parametrize("given", ["ddim", "dpmpp-2s"])
def test_the_best_grid_of_a_start_that_is_given(given):
    config, table = begun(family_options={"start": given})
    own = {f"{given}-{grid}": config.tried[f"{given}-{grid}"] for grid in TRIED_GRIDS}
    assert config.start == min(own, key=own.get)
    close(table, named_table(config.start, 3, parts()["model"]))


@pytest.mark.parametrize("times", ["linear-searched", "karras-5", [1, 0.6, 0.3]])
def test_the_best_solver_on_times_that_are_given(times):
    config, table = begun(times=times)
    solver = config.start.partition("-linear")[0].partition("-karras-5")[0]
    assert solver in SOLVERS
    if isinstance(times, list):
        assert solver == config.start != "heun"
        np.testing.assert_allclose(table.times, times, rtol=1e-5)
    else:
        close(table, named_table(config.start, 3, parts()["model"]))
    assert config.unsearched.rpartition("-")[2] in TRIED_GRIDS


@pytest.mark.parametrize(
    ("family", "options"), [("rddim", {"eta": 0.5}), ("ddim", {}), (sz.RDDIM(3), {})]
)
def test_nothing_is_chosen_where_it_is_said(family, options):
    config, table = begun(family, family_options=options)
    assert config.start == ""
    assert config.unsearched in config.tried
    if options:
        close(table, sz.RDDIM(3, "quadratic", **options).table(parts()["model"].schedule))


def test_two_grids_are_refused():
    with pytest.raises(ValueError, match="both name a grid; give one"):
        sz.search(family_options={"start": "ddim-linear"}, times="karras", **parts(), **SMALL)


@pytest.mark.parametrize(
    ("start", "words"),
    [("no-such", "No family is called 'no-such'"), ("unipc-3:b=7", "b is 7"), (3, "start = 3")],
)
def test_a_start_that_is_none_is_refused(start, words):
    with pytest.raises((ValueError, sz.RunError), match=words):
        sz.search(family_options={"start": start}, **parts(), **SMALL)


def test_it_is_chosen_once(tmp_path, monkeypatch):
    """A search that was interrupted continues with what was chosen, to the last bit."""

    def stop(step, kid, state):
        raise KeyboardInterrupt

    whole = sz.search(**parts(), **SMALL, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        sz.search(**parts(), **SMALL, out=tmp_path / "run", callback=stop)
    before = sz.load_run(tmp_path / "run").config
    assert before.start == whole.config.start
    monkeypatch.setattr(setup, "choose_for", None)  # is not asked again
    run = sz.resume(tmp_path / "run", **parts(), progress=False)
    assert run.config.tried == before.tried
    np.testing.assert_array_equal(run.table.clean, whole.table.clean)
    assert run.result["tried"] == whole.result["tried"]


def test_an_interruption_of_the_choice_leaves_nothing(tmp_path, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(choosing, "stop_if_asked", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sz.search(**parts(), **STILL, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_evaluation_has_it_among_the_baselines(run):
    found = sz.evaluate(run, baselines=True, n=64, progress=False)
    names = {row.sampler for row in found.rows}
    others = names - {"rddim", "ddpm-linear", "ddpm-quadratic", "ddim-linear", "ddim-quadratic"}
    assert len(others) <= 1
    assert others <= set(run.config.tried)


@pytest.mark.parametrize(
    ("times", "name"), [("karras-5", "ddim-karras-5"), ("1,0.6:0.58,0.2", "ddim-own")]
)
def test_an_evaluation_on_given_times(times, name):
    found = sz.evaluate("ddim", times=times, steps=3, n=16, progress=False, **_scored())
    assert {row.sampler for row in found.rows} == {name}


def _scored():
    given = parts()
    given["features"] = {"a": given["features"]}
    del given["report_features"]
    return given


@pytest.mark.parametrize("times", ["searched", "karras-searched", "cubic"])
def test_an_evaluation_needs_a_grid(times):
    with pytest.raises(ValueError, match="times is"):
        sz.evaluate("ddim", times=times, steps=3, n=16, progress=False, **_scored())

"""The adaptive ODE and the likelihood in evaluations."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplerzoo as sz
from samplerzoo.core.drawing import report_key
from samplerzoo.core.ode import follow_ode_batch
from samplerzoo.runs.likelihoods import level_width
from samplerzoo.testing import gaussian_model
from test_runs import promotion  # noqa: F401

MEAN, SCALE, SIZE = 0.3, 0.5, 4


def given() -> dict:
    data = np.random.default_rng(0).normal(MEAN, SCALE, (400, SIZE)).astype(np.float32)
    return {
        "model": gaussian_model(sz.EDM(), MEAN, SCALE, SIZE),
        "data": data,
        "features": {"numbers": lambda x: x},
        "progress": False,
    }


@pytest.fixture(scope="module")
def scores() -> sz.Scores:
    parts = given()
    return sz.evaluate(["ode", "ddim-quadratic"], metrics="fd,nll", n=300, seeds=[0, 1], **parts)


def test_the_ode_is_a_sampler_whose_evaluations_are_counted(scores):
    rows = [row for row in scores.rows if row.sampler == "ode" and row.features == "numbers"]
    indices = jnp.arange(300)
    found = jax.jit(lambda key: follow_ode_batch(given()["model"], key, indices, None, 1e-5, 1e-5))
    for row in rows:
        counts = np.asarray(found(report_key(row.seed)).nfe)
        assert abs(row.nfe - counts.mean()) < 1.5
        assert row.nfe > 30
        assert row.scores["fd"] < 0.1
    assert len(rows) == 2


def test_the_likelihood_of_a_gaussian_is_its_entropy(scores):
    entropy = math.log2(SCALE * math.sqrt(2 * math.pi * math.e))
    rows = [row for row in scores.rows if "nll" in row.scores]
    assert [(row.sampler, row.features, row.n, row.seed) for row in rows] == [
        ("ode", "data", 300, 0),
        ("ode", "data", 300, 1),
    ]
    for row in rows:
        assert abs(row.scores["nll"] - entropy) < 4 * row.scores["nll_se"] + 5e-3
        spread = 1 / math.sqrt(2) / math.log(2) / math.sqrt(SIZE * 300)
        assert row.scores["nll_se"] == pytest.approx(spread, rel=0.2)
    assert "NLL" in scores.text()


def test_it_is_of_held_out_data_and_done_once(tmp_path):
    parts = given()
    apart = 3 * parts["data"][:50]
    first = sz.evaluate("ode", metrics="nll", held_out=apart, out=tmp_path / "e", **parts)
    assert [row.features for row in first.rows] == ["held-out data"]
    seen = []
    again = sz.evaluate(
        "ode", metrics="nll", held_out=apart, out=tmp_path / "e", callback=seen.append, **parts
    )
    assert (again.records, seen) == (first.records, [])
    assert first.rows[0].scores["nll"] > 2  # three times the spread


@pytest.mark.slow
def test_the_tolerance_is_an_option():
    coarse, fine = (
        sz.evaluate(f"ode:rtol={tol},atol={tol}", metrics="fd", n=50, **given()).rows[0].nfe
        for tol in (1e-2, 1e-6)
    )
    assert coarse < fine
    with pytest.raises(ValueError, match="has no option 'colour'"):
        sz.evaluate("ode:colour=1", n=50, **given())
    with pytest.raises(ValueError, match="rtol is -1"):
        sz.evaluate("ode:rtol=-1.0", n=50, **given())


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_the_width_of_levels(levels):
    images = np.random.default_rng(0).integers(levels, size=(300, 6, 6, 1))
    x = (2 * images / (levels - 1) - 1).astype(np.float32)
    assert level_width(x) == pytest.approx(2 / (levels - 1), rel=1e-5)


def test_real_numbers_have_no_levels():
    draw = np.random.default_rng(0)
    assert level_width(draw.normal(size=(300, 4))) is None
    assert level_width(draw.normal(size=(3, 4))) is None
    assert level_width(np.zeros((3, 4))) is None

"""The best unsearched sampler: chosen by scores, on samples of its own, compiled once."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplerzoo import DDIM, KID, CosineVP, Linear, Polynomial, Times, deis, heun, ipndm
from samplerzoo.core.drawing import make_table, report_key, search_key
from samplerzoo.core.unsearched import (
    SOLVERS,
    TRIED_GRIDS,
    choice_key,
    choose,
    distance_of,
    unsearched_tables,
)
from samplerzoo.testing import gaussian_model


def tables():
    schedule = CosineVP()
    return {
        "ddim": make_table(DDIM(5), schedule),
        "ipndm": make_table(ipndm(5), schedule),
        "heun": make_table(heun(5), schedule),
    }


def test_the_least_score_is_chosen():
    order = iter([0.3, 0.1, 0.1])
    depths = []

    def score(table):
        depths.append(table.depth)
        return next(order)

    choice = choose(tables(), score)
    assert choice.name == "ipndm"
    assert choice.scores == {"ddim": 0.3, "ipndm": 0.1, "heun": 0.1}
    assert depths == [4, 4, 4]


def test_a_score_that_is_not_finite_is_never_the_best():
    order = iter([math.nan, -math.inf, 2.0])
    choice = choose(tables(), lambda table: next(order))
    assert choice == ("heun", {"ddim": math.inf, "ipndm": math.inf, "heun": 2.0})
    with pytest.raises(ValueError, match="None of the unsearched samplers"):
        choose(tables(), lambda table: math.nan)
    with pytest.raises(ValueError, match="None of the unsearched samplers"):
        choose({"ddim": tables()["ddim"]}, lambda table: math.nan)


@pytest.mark.parametrize("steps", [1, 6])
def test_they_are_all_solvers_on_all_grids(x64, steps):
    schedule = CosineVP()
    found = unsearched_tables(steps, schedule)
    assert list(found) == [f"{solver}-{grid}" for solver in SOLVERS for grid in TRIED_GRIDS]
    assert {table.nfe for table in found.values()} == {steps}
    for name in ("ddim-karras", "unipc-3-logsnr", "heun-quadratic", "ipndm-linear"):
        solver, grid = name.rsplit("-", 1)
        same(found[name], make_table(SOLVERS[solver](steps, grid), schedule))


def test_on_times_without_a_name(x64):
    """By the solvers that take as many; what is told apart from the grid is told so."""
    schedule = CosineVP()
    own = Times.fit(np.array([0.9, 0.5, 0.2, 0]), np.array([0.9, 0.52, 0.19]), schedule.t_max)
    found = unsearched_tables(3, schedule, ("linear",), own)
    assert {name for name in found if name in SOLVERS} == set(SOLVERS) - {"heun"}
    same(found["deis-2"], make_table(deis(3, own), schedule))
    assert list(unsearched_tables(3, schedule, (), own)) == [
        name for name in SOLVERS if name != "heun"
    ]


def same(table, other):
    other = other.to_depth(table.depth)
    for one, two in zip(jax.tree.leaves(table), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-10)


def test_keys_are_apart():
    keys = [search_key(0), report_key(0), choice_key()]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == 3


def spread_objective(scale, size):
    """The distance of means and second moments from a Gaussian's."""
    data = 0.3 + scale * np.random.default_rng(0).normal(size=(20_000, size))

    def moments(x):
        return jnp.concatenate([x, x**2])

    return KID(moments, Linear(), np.concatenate([data, data**2], axis=1))


def test_a_better_solver_is_found():
    """The exact model of a Gaussian in few steps: DDIM loses spread, others less."""
    model = gaussian_model(CosineVP(), 0.3, 0.5, 8)
    score = distance_of(model, spread_objective(0.5, 8), choice_key(), n=512)
    choice = choose(tables(), score)
    assert choice.name != "ddim"
    assert choice.scores[choice.name] < choice.scores["ddim"] / 2


def test_all_tables_are_scored_by_one_program():
    traced = []
    exact = gaussian_model(CosineVP(), 0.3, 0.5, 4)

    def network(x, t):
        traced.append(1)
        return exact.network(x, t)

    model = dataclasses.replace(exact, network=network)
    objective = KID(lambda x: x, Polynomial(), np.random.default_rng(0).normal(size=(50, 4)))
    once = distance_of(model, objective, choice_key(), n=20)
    found = tables()
    once(found["ddim"].to_depth(4))
    first = len(traced)
    choose(found, once)
    assert len(traced) == first

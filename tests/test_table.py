"""Tables, and the marginals of Theorem 1 by an independent recursion and by simulation."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplerzoo import (
    DDIM,
    GDDIM,
    RDDIM,
    CosineVP,
    DiffusionModel,
    StepTable,
    Times,
    departure,
    marginals,
    run_table,
    sample_batch,
)
from samplerzoo.core.engine import draw, start_of
from samplerzoo.testing import gaussian_model
from schedules import MAKERS


def levels(schedule, grid):
    grid = jnp.asarray(grid)
    return np.array(jax.vmap(schedule.alpha)(grid)), np.array(jax.vmap(schedule.sigma)(grid))


def move(family, scale, seed=0):
    """The family with its own free parameters, not its times, moved at random."""
    rng = np.random.default_rng(seed)
    times = family.start.times
    moved = jax.tree.map(
        lambda a: a + scale * rng.normal(size=a.shape) if eqx.is_inexact_array(a) else a, family
    )
    return eqx.tree_at(lambda f: f.start.times, moved, times)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(("stride", "eta"), [("linear", 0.0), ("quadratic", 0.6)])
@pytest.mark.parametrize("depth", [None, 1, 3])
def test_ddim_as_gddim_has_the_forward_marginals(x64, name, eta, depth, stride):
    schedule = MAKERS[name]()
    table = GDDIM(8, stride, eta=eta, depth=depth).table(schedule)
    assert table.depth == (depth or 8)
    a, v = marginals(table, schedule)
    alpha, sigma = levels(schedule, Times.of(stride, 8)(schedule)[1])
    np.testing.assert_allclose(a, alpha, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(v, sigma**2, rtol=1e-12, atol=1e-12)
    for gone in departure(table, schedule):
        np.testing.assert_allclose(gone / (1 + sigma[0] ** 2), 0, atol=1e-12)


def test_departure_is_that_of_the_marginals(x64):
    schedule = CosineVP()
    family = eqx.tree_at(lambda f: f.mu, RDDIM(4), jnp.asarray([0.0, 0.1, 0.0, 0.0]))
    gone, spread = departure(family.table(schedule), schedule)
    np.testing.assert_allclose(gone[:2], 0, atol=1e-12)
    np.testing.assert_allclose(gone[2], 0.1, rtol=1e-12)  # alpha^2 + sigma^2 is 1 at every state
    assert np.all(np.abs(gone[3:4]) > 1e-3)
    np.testing.assert_allclose(spread, 0, atol=1e-12)


def theorem_1(mu, deviation):
    """The recursion as the paper has it: `mu[t, u]` for states `t < u <= T`, `mu[t, 0]` for data.

    States count down, `t = T` being where sampling starts and `t = 1` the sample; in the paper the
    sample is 0 itself, whose number the data's weight already takes here.
    """
    last = len(deviation) - 1
    a, v = mu.copy(), deviation**2
    means, variances = np.zeros(last + 1), np.zeros(last + 1)
    for t in range(last, 0, -1):
        row, total = a[t].copy(), v[t]
        for i in range(1, last - t + 1):
            weight = row[t + i]
            row = weight * mu[t + i] + row
            total = total + (weight * deviation[t + i]) ** 2
        means[t], variances[t] = row[0], total
    return means[:0:-1], variances[:0:-1]


def gddim_process(family, schedule):
    """`mu` and the deviations of a GDDIM from its fields' meaning, not from its table."""
    steps, depth = family.mu.shape
    grid = family.start.times(schedule)[1]
    alpha, sigma = levels(schedule, grid)
    scale = np.hypot(alpha, sigma)
    mu, deviation = np.zeros((steps + 2, steps + 2)), np.zeros(steps + 2)
    number = steps + 1 - np.arange(steps + 1)  # of state x_n
    mu[steps + 1, 0], deviation[steps + 1] = alpha[0], sigma[0]
    for n in range(steps):
        t, s = number[n], number[n + 1]
        forward = np.sqrt(max(0, sigma[n] ** 2 - (alpha[n] * sigma[n + 1] / alpha[n + 1]) ** 2))
        fresh = family.start.eta * forward * sigma[n + 1] / sigma[n]
        mu[s, t] = np.sqrt(sigma[n + 1] ** 2 - fresh**2) / sigma[n]
        mu[s, 0] = alpha[n + 1] - mu[s, t] * alpha[n] + family.mu0[n] * scale[n + 1]
        deviation[s] = fresh + family.sigma[n] * scale[n + 1]
    for n in range(steps):
        for d in range(min(depth, steps - n)):
            m = n + 1 + d
            mu[number[m], number[n]] += family.mu[n, d] * scale[m] / scale[n]
    return mu, deviation


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(("depth", "eta"), [(None, 0.0), (None, 0.7), (1, 0.7), (3, 0.7)])
def test_marginals_are_those_of_theorem_1(x64, name, depth, eta):
    schedule = MAKERS[name]()
    times = Times(jnp.asarray(np.random.default_rng(2).normal(size=7) / 2), jnp.zeros(7), "linear")
    family = move(GDDIM(7, times, eta=eta, depth=depth), 0.2, seed=1)
    a, v = marginals(family.table(schedule), schedule)
    means, variances = theorem_1(*gddim_process(family, schedule))
    np.testing.assert_allclose(a, means, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(v, variances, rtol=1e-12, atol=1e-12)
    # and the search has left the forward marginals
    assert np.max(np.abs(a - levels(schedule, family.start.times(schedule)[1])[0])) > 0.01


@pytest.mark.parametrize("depth", [1, 3, None])
@pytest.mark.parametrize("name", ["cosine", "edm"])
def test_marginals_are_those_of_samples(x64, name, depth):
    """With data that are one point, known to the network, a state is `a x0 + sqrt(v) z`."""
    schedule, point, n = MAKERS[name](), np.array([0.8, -0.4]), 20_000
    family = move(GDDIM(6, eta=0.8, depth=depth), 0.15)
    table = family.table(schedule)
    a, v = marginals(table, schedule)
    model = DiffusionModel(lambda x, t: jnp.asarray(point), schedule, (2,), "x0", clip=None)
    for rows in (3, 6):
        head = StepTable(
            table.times[:rows],
            table.clean[:rows, :rows],
            table.noise[:rows, :rows],
            table.fresh[:rows],
        )

        @eqx.filter_jit
        def one(key, head=head):
            x = a[0] * point + jnp.sqrt(v[0]) * draw(key, 0, (2,))
            return run_table(head, model, x, key)

        found = np.asarray(jax.vmap(one)(jax.random.split(jax.random.key(rows), n)))
        error = np.sqrt(v[rows] / n)
        assert np.all(np.abs(found.mean(0) - a[rows] * point) < 4 * error)
        spread = found.var(0, ddof=1)
        assert np.all(np.abs(spread / v[rows] - 1) < 4 * np.sqrt(2 / n))


def test_marginals_of_a_table_that_forgets_the_noise_are_wrong(x64):
    """A table with half of DDIM's noise has less variance than the forward process."""
    schedule = CosineVP()
    table = DDIM(8).table(schedule)
    table = StepTable(table.times, table.clean, table.noise / 2, table.fresh)
    _, v = marginals(table, schedule)
    _, sigma = levels(schedule, Times.of("linear", 8)(schedule)[1])
    assert np.all(v[1:-1] < sigma[1:-1] ** 2 / 2)


def test_a_greater_depth_is_the_same_sampler():
    table = DDIM(5, eta=0.5).table(CosineVP())
    wide = table.to_depth(3)
    assert (wide.nfe, wide.depth) == (5, 3)
    np.testing.assert_array_equal(wide.clean[:, 0], table.clean[:, 0])
    np.testing.assert_array_equal(wide.noise[:, 1:], 0)
    model = DiffusionModel(lambda x, t: jnp.sin(x) * t, CosineVP(), (2,))
    x, key = jnp.asarray([0.5, -1.0]), jax.random.key(0)
    np.testing.assert_allclose(
        run_table(table, model, x, key), run_table(wide, model, x, key), rtol=1e-6, atol=1e-6
    )


def test_nfe_and_depth():
    table = RDDIM(6).table(CosineVP())
    assert (table.nfe, table.depth) == (6, 1)
    assert GDDIM(6).table(CosineVP()).depth == 6


ROWS = (jnp.ones(3), jnp.ones((3, 2)), jnp.ones((3, 2)), jnp.ones(3))


def refuse(match, *arrays):
    """Shapes that jaxtyping would refuse first, in the tests, are refused without it too."""
    table = object.__new__(StepTable)
    for name, array in zip(("times", "clean", "noise", "fresh"), arrays, strict=True):
        object.__setattr__(table, name, array)
    with pytest.raises(ValueError, match=match):
        StepTable.__check_init__(table)


def test_shapes_that_do_not_fit_are_refused():
    times, clean, noise, fresh = ROWS
    StepTable(*ROWS)
    refuse("A table needs times", times[:, None], clean, noise, fresh)
    refuse("A table needs times", times, clean, noise[:, :1], fresh)
    refuse("A table needs times", times, clean, noise, fresh[:2])
    refuse("A table needs times", times, clean[:, 0], noise[:, 0], fresh)
    refuse("A table of 3 rows", times, clean[:2], noise[:2], fresh)
    refuse("A table of 3 rows", times, jnp.ones((3, 4)), jnp.ones((3, 4)), fresh)
    refuse("A table of 3 rows", times, jnp.ones((3, 0)), jnp.ones((3, 0)), fresh)


def test_a_spread_is_where_samples_start(x64):
    """And a greater depth keeps it."""
    schedule = CosineVP()
    model = gaussian_model(schedule)
    table = dataclasses.replace(DDIM(3).table(schedule), spread=jnp.asarray(0.25)).to_depth(2)
    own = jax.random.fold_in(jax.random.key(3), 7)
    x, key = start_of(table, model, jax.random.key(3), jnp.asarray(7))
    np.testing.assert_array_equal(x, 0.25 * draw(own, 0, model.shape))
    (found,) = sample_batch(table, model, jax.random.key(3), jnp.asarray([7]))
    np.testing.assert_allclose(found, run_table(table, model, x, key), rtol=1e-14)

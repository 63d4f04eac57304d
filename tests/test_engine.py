"""The engine against a loop that pulls from a history, closed forms and trace counts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplerzoo import (
    DDIM,
    EDM,
    GDDIM,
    CosineVP,
    DiffusionModel,
    LinearVP,
    StepTable,
    Times,
    run_table,
    sample_batch,
)
from samplerzoo.core.engine import draw
from samplerzoo.testing import gaussian_model
from schedules import MAKERS

WEIGHTS = np.random.default_rng(0).normal(size=(3, 3))

depths = pytest.mark.parametrize("depth", [1, 2, 3, 6])


def network(x, t):
    return jnp.tanh(x @ WEIGHTS + t)


def make_model(clip=None):
    return DiffusionModel(network, CosineVP(), (3,), clip=clip)


def random_table(steps, depth, seed=0):
    rng = np.random.default_rng(seed)
    times = jnp.asarray(np.sort(rng.uniform(0.1, 0.9, steps))[::-1].copy())
    clean, noise = map(jnp.asarray, rng.normal(size=(2, steps, depth)) / 2)
    return StepTable(times, clean, noise, jnp.asarray(rng.normal(size=steps)))


def pull(table, x, noises, clip):
    """In NumPy: each state gathers what it gets from all rows before it."""
    clean, noise, fresh = map(np.asarray, (table.clean, table.noise, table.fresh))
    history = []
    for n, t in enumerate(np.asarray(table.times)):
        start, width = np.pi / 2 * 0.008 / 1.008, np.pi / 2 / 1.008
        alpha = np.cos(start + width * t) / np.cos(start)
        sigma = np.sqrt(1 - alpha**2)
        eps = np.tanh(x @ WEIGHTS + t)
        x0 = (x - sigma * eps) / alpha
        if clip is not None:
            x0 = np.clip(x0, *clip)
            eps = (x - alpha * x0) / sigma
        history.append((x0, eps))
        x = fresh[n] * noises[n]
        for past, (x0, eps) in enumerate(history):
            d = n - past
            if d < clean.shape[1]:
                x = x + clean[past, d] * x0 + noise[past, d] * eps
    return x


@depths
@pytest.mark.parametrize("clip", [None, (-1.0, 1.0)])
def test_a_random_table_is_a_loop_over_its_history(x64, depth, clip):
    key, x = jax.random.key(0), np.array([0.3, -1.0, 2.0])
    for seed in range(3):
        table = random_table(6, depth, seed)
        noises = [np.asarray(draw(key, n, (3,))) for n in range(1, 7)]
        found = eqx.filter_jit(run_table)(table, make_model(clip), jnp.asarray(x), key)
        np.testing.assert_allclose(found, pull(table, x, noises, clip), rtol=1e-12, atol=1e-12)


def unrolled(table, model, x, key):
    """In JAX, without scan or checkpoint."""
    history = []
    for n in range(table.nfe):
        history.append(model(x, table.times[n]))
        x = table.fresh[n] * draw(key, n + 1, x.shape)
        for past, (x0, eps) in enumerate(history):
            if n - past < table.depth:
                x = x + table.clean[past, n - past] * x0 + table.noise[past, n - past] * eps
    return x


@depths
def test_gradients_are_those_of_a_plain_loop(x64, depth):
    table, x, key = random_table(6, depth), jnp.asarray([0.3, -1.0, 2.0]), jax.random.key(0)
    model, way = make_model(), jnp.asarray([1.0, -2.0, 0.5])

    def gradients(runner):
        return jax.jit(jax.grad(lambda table, x: way @ runner(table, model, x, key), (0, 1)))(
            table, x
        )

    found, expected = (jax.tree.leaves(gradients(runner)) for runner in (run_table, unrolled))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)
        assert np.any(other != 0)


def test_samples_start_at_the_noise_of_their_index(x64):
    """Of a table that only scales its first noise, by hand."""
    model = gaussian_model(EDM())
    t = jnp.asarray([80.0])
    table = StepTable(t, jnp.zeros((1, 1)), jnp.ones((1, 1)), jnp.asarray([2.0]))
    key = jax.random.key(5)
    for index, found in zip(
        (4, 9), sample_batch(table, model, key, jnp.asarray([4, 9])), strict=True
    ):
        own = jax.random.fold_in(key, index)
        x = 80 * draw(own, 0, (3,))
        expected = model(x, t[0]).eps + 2 * draw(own, 1, (3,))
        np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_noises_are_standard_and_independent(x64):
    keys = jax.random.split(jax.random.key(0), 20_000)
    noises = np.asarray(jax.vmap(lambda k: jnp.stack([draw(k, n, (2,)) for n in range(3)]))(keys))
    flat = noises.reshape(20_000, 6)
    np.testing.assert_allclose(np.cov(flat, rowvar=False), np.eye(6), atol=4 * np.sqrt(2 / 20_000))
    assert np.all(np.abs(flat.mean(0)) < 4 / np.sqrt(20_000))


@pytest.mark.parametrize("depth", [1, 5])
def test_samples_do_not_depend_on_how_the_batch_is_cut(x64, depth):
    table, model, key = (
        GDDIM(5, eta=0.7, depth=depth).table(CosineVP()),
        make_model(),
        jax.random.key(0),
    )
    draws = eqx.filter_jit(sample_batch)

    def samples(*indices):
        return np.asarray(draws(table, model, key, jnp.asarray(indices)))

    whole = samples(*range(8))
    for cut in (2, 4):
        chunks = [samples(*range(first, first + cut)) for first in range(0, 8, cut)]
        np.testing.assert_allclose(np.concatenate(chunks), whole, rtol=1e-13)
    order = [5, 0, 7, 2, 1, 6, 3, 4]
    np.testing.assert_allclose(samples(*order), whole[order], rtol=1e-13)
    np.testing.assert_allclose(samples(3, 3), whole[[3, 3]], rtol=1e-13)
    assert np.min(np.std(whole, axis=0)) > 0.01


@pytest.mark.parametrize("steps", [2, 20])
@pytest.mark.parametrize("markov", [True, False])
def test_the_network_is_traced_once(steps, markov):
    """In a compiled gradient too, whatever the number of steps."""
    calls = []

    def counted(x, t):
        calls.append(1)
        return network(x, t)

    model = DiffusionModel(counted, CosineVP(), (3,))
    table = GDDIM(steps, depth=1 if markov else None).table(CosineVP())

    @jax.jit
    def gradient(table, key):
        return jax.grad(lambda t: jnp.sum(sample_batch(t, model, key, jnp.arange(4)) ** 2))(table)

    slopes = gradient(table, jax.random.key(0))
    assert len(calls) == 1
    gradient(table, jax.random.key(1))
    assert len(calls) == 1
    assert np.any(slopes.clean != 0)


def test_learned_variances_are_left_out():
    def wide(x, t):
        return jnp.concatenate([network(x, t), jnp.exp(x)], axis=-1)

    table, key = DDIM(4, eta=0.5).table(CosineVP()), jax.random.key(0)
    one, two = (
        sample_batch(table, DiffusionModel(n, CosineVP(), (3,)), key, jnp.arange(4))
        for n in (network, wide)
    )
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", MAKERS)
def test_a_point_mass_is_returned_in_one_step(name):
    """To the last bit but one where the network knows x0; less so where it knows eps."""
    schedule, point = MAKERS[name](), jnp.asarray([0.25, -0.7])

    def noise(x, t):
        return (x - schedule.alpha(t) * point) / schedule.sigma(t)

    table, keys = DDIM(1).table(schedule), (jax.random.key(0), jnp.arange(3))
    model = DiffusionModel(lambda x, t: point, schedule, (2,), "x0")
    np.testing.assert_allclose(
        sample_batch(table, model, *keys), jnp.stack([point] * 3), rtol=1.2e-7
    )
    if name != "flow":  # there nothing of x0 is left at t_max
        model = DiffusionModel(noise, schedule, (2,), "eps")
        np.testing.assert_allclose(
            sample_batch(table, model, *keys), jnp.stack([point] * 3), atol=2e-3
        )


MEAN, SCALE = 0.3, 0.5


def affine(runner):
    """`(a, b)` of a map `x -> a x + b` of one number."""
    low, high = runner(jnp.asarray([0.0])), runner(jnp.asarray([1.0]))
    return float(high[0] - low[0]), float(low[0])


def ddim_by_hand(schedule, grid):
    """DDIM of the exact Gaussian denoiser: a product of affine maps, in NumPy."""
    alpha, sigma = (np.asarray(jax.vmap(f)(grid)) for f in (schedule.alpha, schedule.sigma))
    a, b = 1.0, 0.0
    for n in range(len(grid) - 1):
        gain = alpha[n] * SCALE**2 / (alpha[n] ** 2 * SCALE**2 + sigma[n] ** 2)
        slope, base = gain, MEAN - gain * alpha[n] * MEAN  # x0 = slope x + base
        ratio = sigma[n + 1] / sigma[n]
        factor = ratio + (alpha[n + 1] - ratio * alpha[n]) * slope
        a, b = factor * a, factor * b + (alpha[n + 1] - ratio * alpha[n]) * base
    return a, b


@pytest.mark.parametrize("name", MAKERS)
def test_ddim_with_many_steps_returns_the_gaussian(x64, name):
    """Its map is affine: from N(0, sigma(t_max)^2), mean and deviation are exact numbers."""
    schedule = MAKERS[name]()
    family = DDIM(1000, Times.fit((1 - np.arange(1001) / 1000) ** 2.5))
    table, model = family.table(schedule), gaussian_model(schedule, MEAN, SCALE, 1)
    key = jax.random.key(0)
    a, b = affine(jax.jit(lambda x: run_table(table, model, x, key)))
    np.testing.assert_allclose(
        (a, b), ddim_by_hand(schedule, family.times(schedule)[1]), rtol=1e-10
    )
    t_max, tolerance = jnp.asarray(schedule.t_max), 6e-3 if name == "edm" else 2e-3
    alpha, sigma = float(schedule.alpha(t_max)), float(schedule.sigma(t_max))
    # The probability-flow ODE carries quantiles to quantiles.
    spread = np.hypot(alpha * SCALE, sigma)
    np.testing.assert_allclose(a, SCALE / spread, rtol=tolerance)
    np.testing.assert_allclose(b, MEAN - SCALE * alpha * MEAN / spread, atol=tolerance)
    # What starting without the signal costs is alpha(t_max) of the mean.
    np.testing.assert_allclose(b, MEAN, atol=tolerance + alpha * MEAN)
    np.testing.assert_allclose(a * sigma, SCALE, rtol=2 * tolerance)


def test_ddim_converges_at_first_order(x64):
    """Ten times the steps, a tenth of the error."""
    schedule = LinearVP(t_max=0.5)
    model, key, errors = gaussian_model(schedule, MEAN, SCALE, 1), jax.random.key(0), []
    alpha, sigma = (float(f(jnp.asarray(0.5))) for f in (schedule.alpha, schedule.sigma))
    for steps in (100, 1000):
        table = DDIM(steps, "quadratic").table(schedule)
        a, _ = affine(jax.jit(lambda x, table=table: run_table(table, model, x, key)))
        errors.append(abs(a - SCALE / np.hypot(alpha * SCALE, sigma)))
    assert 8 < errors[0] / errors[1] < 12


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_noisy_ddim_returns_the_gaussian(eta):
    schedule = CosineVP()
    table, model = DDIM(200, eta=eta).table(schedule), gaussian_model(schedule, MEAN, SCALE, 4)
    found = np.asarray(
        eqx.filter_jit(sample_batch)(table, model, jax.random.key(0), jnp.arange(4000))
    )
    error = SCALE / np.sqrt(found.size)
    assert abs(found.mean() - MEAN) < 4 * error + 2e-3
    assert abs(found.std() / SCALE - 1) < 4 / np.sqrt(2 * found.size) + 0.02

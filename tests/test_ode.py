"""The reference solver against closed forms, and DDIM against the reference."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplerzoo import (
    DDIM,
    EDM,
    CosineVP,
    DiffusionModel,
    DiscreteVP,
    LinearVP,
    RectifiedFlow,
    follow_ode,
    follow_ode_batch,
    run_table,
    sample_batch,
    solve_ode,
)
from samplerzoo.core.drawing import make_table
from samplerzoo.testing import gaussian_model

MEAN, SCALE = 0.3, 0.5
# (schedule, where to end)
CASES = {
    "discrete": (lambda: DiscreteVP.from_betas(np.linspace(1e-4, 0.02, 1000)), 1e-3),
    "linear": (LinearVP, 1e-6),
    "cosine": (CosineVP, 1e-6),
    "edm": (EDM, 1e-6),
    "flow": (RectifiedFlow, 1e-6),
}


def quantile(schedule, t):
    """Deviation and mean of the Gaussian at time `t`."""
    alpha, sigma = (float(f(jnp.asarray(t))) for f in (schedule.alpha, schedule.sigma))
    return np.hypot(alpha * SCALE, sigma), alpha * MEAN


@pytest.mark.parametrize("name", CASES)
def test_a_gaussian_is_carried_to_itself(x64, name):
    """Quantiles go to quantiles; at the end the estimate of x0 is returned."""
    make, t_end = CASES[name]
    schedule = make()
    model, x = gaussian_model(schedule, MEAN, SCALE, 3), jnp.asarray([-1.0, 0.2, 1.7])
    x = x * schedule.sigma(jnp.asarray(schedule.t_max))
    found = jax.jit(lambda x: solve_ode(model, x, t_end, 1e-9, 1e-9))(x)
    (before, shift), (after, end) = quantile(schedule, schedule.t_max), quantile(schedule, t_end)
    expected = model(end + after * (x - shift) / before, jnp.asarray(t_end)).x0
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found, MEAN + SCALE * (np.asarray(x) - shift) / before, rtol=1e-4)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n == "discrete" else ()) for n in CASES]
)
def test_many_steps_of_ddim_come_near(x64, name):
    """With a network that is nobody's exact denoiser."""
    make, t_end = CASES[name]
    schedule = make()
    weights = np.array([[0.5, -1.0], [0.8, 0.3]])

    def network(x, t):
        return jnp.tanh(x @ weights / jnp.hypot(schedule.alpha(t), schedule.sigma(t)))

    model = DiffusionModel(network, schedule, (2,), "x0", clip=None)
    x = jnp.asarray([0.4, -1.1]) * schedule.sigma(jnp.asarray(schedule.t_max))
    exact = jax.jit(lambda x: solve_ode(model, x, t_end, 1e-7, 1e-7))(x)

    def error(steps):
        table = DDIM(steps, "quadratic").table(schedule)
        return np.max(
            np.abs(jax.jit(lambda x: run_table(table, model, x, jax.random.key(0)))(x) - exact)
        )

    coarse, fine = error(100), error(1000)
    assert fine < 3e-2
    assert fine < coarse / 7


def test_a_tighter_tolerance_is_nearer(x64):
    schedule = EDM()
    model, x = gaussian_model(schedule, MEAN, SCALE, 1), jnp.asarray([100.0])
    exact = MEAN + SCALE * (100.0 - MEAN) / np.hypot(SCALE, 80.0)
    errors = [abs(float(solve_ode(model, x, 1e-6, tol, tol)[0]) - exact) for tol in (1e-3, 1e-9)]
    assert errors[1] < errors[0]
    assert errors[1] < 1e-6


def test_float32(x64):
    """Without float64 too, to its digits."""
    with jax.enable_x64(False):
        schedule = CosineVP()
        model = gaussian_model(schedule, MEAN, SCALE, 2)
        found = solve_ode(model, jnp.asarray([0.5, -1.0]), 1e-3)
        assert found.dtype == "float32"
        before, shift = quantile(schedule, schedule.t_max)
        expected = MEAN + SCALE * (np.array([0.5, -1.0]) - shift) / before
        np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("name", ["edm", "flow"])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-7])
def test_evaluations_are_those_that_were_made(x64, name, tolerance):
    """Counted as the program runs; each sample has its own number."""
    schedule, count = CASES[name][0](), []
    exact = gaussian_model(schedule, MEAN, SCALE, 2)

    def network(x, t):
        jax.debug.callback(lambda: count.append(1))
        return exact.network(x, t)

    model = dataclasses.replace(exact, network=network)
    x = jnp.asarray([0.4, -1.1]) * schedule.sigma(jnp.asarray(schedule.t_max))
    found = jax.jit(lambda x: follow_ode(model, x, None, tolerance, tolerance))(x)
    jax.effects_barrier()
    assert len(count) == int(found.nfe) > 15
    np.testing.assert_allclose(found.sample, solve_ode(exact, x, None, tolerance, tolerance))


def test_a_batch_starts_where_tables_do(x64):
    schedule = CosineVP()
    model, key = gaussian_model(schedule, MEAN, SCALE, 3), jax.random.key(4)
    found = jax.jit(lambda: follow_ode_batch(model, key, jnp.arange(5)))()
    assert found.nfe.shape == (5,)
    table = make_table(DDIM(400, "quadratic"), schedule)
    expected = jax.jit(lambda: sample_batch(table, model, key, jnp.arange(5)))()
    np.testing.assert_allclose(found.sample, expected, atol=0.02)

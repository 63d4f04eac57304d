"""Likelihoods against closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from samplerzoo import DiffusionModel, log_likelihood, nll
from samplerzoo.testing import gaussian_model
from schedules import MAKERS

MEAN, SCALE, END = 0.3, 0.5, 1e-4


def exact(schedule, x, t_end):
    """The flow is affine: quantiles of the Gaussian at `t_end` go to those at `t_max`."""
    (alpha, sigma), (last_alpha, last_sigma) = (
        [float(f(jnp.asarray(t))) for f in (schedule.alpha, schedule.sigma)]
        for t in (t_end, schedule.t_max)
    )
    before, after = (np.hypot(a * SCALE, s) for a, s in ((alpha, sigma), (last_alpha, last_sigma)))
    end = last_alpha * MEAN + (np.asarray(x) - alpha * MEAN) * after / before
    prior = scipy.stats.norm.logpdf(end, scale=last_sigma)
    return np.sum(prior) + x.size * np.log(after / before)


@pytest.mark.parametrize("name", ["linear", "cosine", "edm", "flow"])
@pytest.mark.parametrize("probes", [None, 2])
def test_of_a_gaussian(x64, name, probes):
    """For a multiple of the identity any direction gives the trace exactly."""
    schedule = MAKERS[name]()
    model = gaussian_model(schedule, MEAN, SCALE, 4)
    x = jnp.asarray([0.3, -0.9, 0.8, 1.4])
    found = log_likelihood(
        model, x, jax.random.key(0), probes, END * schedule.t_max, rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(found, exact(schedule, x, END * schedule.t_max), atol=1e-6)


def test_it_is_nearly_the_density_of_the_data(x64):
    """What differs is the prior, which has no mean and no spread of the data."""
    schedule = MAKERS["edm"]()
    x = jnp.asarray([0.3, -0.9, 0.8, 1.4])
    model = gaussian_model(schedule, MEAN, SCALE, 4)
    expected = np.sum(scipy.stats.norm.logpdf(x, MEAN, SCALE))
    np.testing.assert_allclose(log_likelihood(model, x), expected, atol=5e-3)


def turned(schedule, size):
    """The exact model of a Gaussian with a full covariance, and that covariance."""
    root = np.random.default_rng(0).normal(size=(size, size)) / np.sqrt(size)
    covariance = root @ root.T + 0.1 * np.eye(size)

    def network(x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        whole = alpha**2 * covariance + sigma**2 * jnp.eye(size)
        return alpha * covariance @ jnp.linalg.solve(whole, x)

    return DiffusionModel(network, schedule, (size,), "x0", clip=None), covariance


def test_of_dependent_numbers(x64):
    """The exact trace, and its estimates without bias, of a Jacobian not a multiple of one."""
    schedule = MAKERS["edm"]()
    model, covariance = turned(schedule, 3)
    x = jnp.asarray([0.2, -0.4, 0.5])
    expected = scipy.stats.multivariate_normal.logpdf(x, cov=covariance)
    follow = jax.jit(lambda key, probes: log_likelihood(model, x, key, probes), static_argnums=1)
    np.testing.assert_allclose(follow(jax.random.key(0), None), expected, atol=2e-3)
    keys = jax.random.split(jax.random.key(1), 400)
    estimates = jax.jit(jax.vmap(lambda key: log_likelihood(model, x, key, 1)))(keys)
    assert np.std(estimates) > 0.05
    error = np.std(estimates) / np.sqrt(len(keys))
    assert abs(np.mean(estimates) - expected) < 4 * error + 2e-3


@pytest.mark.slow
def test_bits_per_dimension(x64):
    """The mean over data, its standard error, and what bins add."""
    schedule = MAKERS["edm"]()
    model = gaussian_model(schedule, MEAN, SCALE, 2)
    x = np.random.default_rng(0).normal(MEAN, SCALE, size=(7, 2))
    density = -scipy.stats.norm.logpdf(x, MEAN, SCALE).mean(axis=1) / math.log(2)
    found = nll(model, x, jax.random.key(0), bin_width=None, batch=3)
    np.testing.assert_allclose(found.bits, np.mean(density), atol=1e-3)
    np.testing.assert_allclose(found.error, np.std(density, ddof=1) / np.sqrt(7), atol=1e-3)
    fine = nll(model, x, jax.random.key(0), bin_width=1e-6)
    np.testing.assert_allclose(fine.bits, found.bits + 6 * math.log2(10), atol=1e-4)
    wide = nll(model, x, jax.random.key(0), bin_width=4.0)
    assert wide.bits > found.bits - 2  # noise of that width is far from the data


def test_clipping_plays_no_part(x64):
    schedule = MAKERS["edm"]()
    model = gaussian_model(schedule, MEAN, SCALE, 2)
    clipped = DiffusionModel(model.network, schedule, (2,), "x0", clip=(-0.1, 0.1))
    x = jnp.asarray([0.3, 0.9])
    np.testing.assert_allclose(log_likelihood(clipped, x), log_likelihood(model, x))


def test_bad_data_are_refused():
    model = gaussian_model(MAKERS["edm"](), size=2)
    for shape in ((5, 3), (1, 2), (2,)):
        with pytest.raises(ValueError, match="two or more samples of the model's shape"):
            nll(model, np.zeros(shape), jax.random.key(0))
    with pytest.raises(ValueError, match="random directions need one"):
        log_likelihood(model, jnp.zeros(2), probes=1)

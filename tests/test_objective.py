"""The gradient of the search's objective, through the public entry, against finite differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from samplerzoo import (
    DDIM,
    DDPM,
    GDDIM,
    RBF,
    RDDIM,
    CosineVP,
    DiffusionModel,
    Linear,
    Objective,
    Polynomial,
    RationalQuadratic,
    extract,
    free_parameters,
    sample_batch,
)

WEIGHTS = np.random.default_rng(0).normal(size=(2, 3, 3))
KERNELS = (Linear(), Polynomial(), RBF((0.5, 2.0)), RationalQuadratic((0.5, 2.0)))
STEPS = 4

# Every family, and of it everything free: eta is inside (0, 1), where nothing is cut.
FAMILIES = {
    "ddpm": lambda: DDPM(STEPS, per_step=True),
    "ddpm-forward": lambda: DDPM(STEPS, variance="forward", per_step=True),
    "ddim": lambda: DDIM(STEPS, eta=0.5, per_step=True),
    "ddim-times": lambda: DDIM(STEPS, "quadratic"),
    "rddim": lambda: RDDIM(STEPS, eta=0.5),
    "gddim": lambda: GDDIM(STEPS, eta=0.5),
    "gddim-2": lambda: GDDIM(STEPS, depth=2),
}


def network(x, t):
    return jnp.tanh(x @ WEIGHTS[0] + t)


def features(x):
    return jnp.tanh(x @ WEIGHTS[1])


SLOW = ("ddpm", "ddpm-forward", "gddim-2")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in FAMILIES]
)
def test_gradient_agrees_with_finite_differences(x64, name):
    """In every free parameter, times and told times included; every kernel, both estimators."""
    model = DiffusionModel(network, CosineVP(), (3,), prediction="v", clip=None)
    reference = features(np.random.default_rng(1).normal(size=(20, 3)))
    objectives = [Objective(features, k, reference, u) for k in KERNELS for u in (True, False)]
    family = FAMILIES[name]()
    searched, rest = eqx.partition(family, free_parameters(family, decoupled=True))
    start, rebuild = ravel_pytree(searched)
    start = start + 0.05 * np.random.default_rng(2).normal(size=start.shape)
    key, indices = jax.random.key(3), jnp.arange(6)

    def distances(flat):
        table = eqx.combine(rebuild(flat), rest).table(model.schedule)
        samples = sample_batch(table, model, key, indices)
        return jnp.stack([objective(samples) for objective in objectives])

    exact = np.asarray(jax.jit(jax.jacrev(distances))(start))
    ways = 1e-5 * jnp.eye(start.size)
    moved = jax.jit(jax.vmap(distances))(start[None] + jnp.concatenate([ways, -ways]))
    numeric = np.asarray((moved[: start.size] - moved[start.size :]) / 2e-5).T
    assert exact.shape == (8, start.size)
    scale = np.max(np.abs(exact), axis=1, keepdims=True)
    assert np.all(scale > 1e-3)
    np.testing.assert_allclose(exact / scale, numeric / scale, rtol=0, atol=1e-8)


def test_the_constant_makes_it_a_distance_to_itself(x64):
    """Biased, the distance of the reference to itself is 0."""
    reference = features(np.random.default_rng(1).normal(size=(20, 3)))
    for kernel in KERNELS:
        objective = Objective(lambda x: x, kernel, reference, unbiased=False)
        assert abs(objective(reference)) < 1e-14


def test_the_order_of_samples_is_of_no_account(x64):
    samples = jnp.asarray(np.random.default_rng(2).normal(size=(9, 3)))
    objective = Objective(features, Polynomial(), features(samples + 0.5))
    np.testing.assert_allclose(objective(samples[::-1]), objective(samples), rtol=1e-12)


@pytest.mark.parametrize("n", [1, 7, 10, 23])
def test_features_of_batches_are_those_of_the_whole(x64, n):
    images = np.random.default_rng(3).normal(size=(n, 3))
    found = extract(features, images, batch=10)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, np.tanh(images @ WEIGHTS[1]), rtol=1e-13)


@pytest.mark.slow
def test_gram_matrices_of_large_batches_come_in_blocks():
    """The whole one of 16,384 features by 50,000 has 3.3 GB; its derivative as much again."""
    objective = Objective(jnp.tanh, Polynomial(), jnp.zeros((2, 64)))
    objective = eqx.tree_at(lambda o: o.reference, objective, jnp.zeros((50_000, 64)))
    slope = eqx.filter_jit(lambda objective, x: jax.value_and_grad(objective.distance)(x))
    program = slope.lower(objective, jnp.zeros((16_384, 64))).compile().compiled
    assert program.memory_analysis().temp_size_in_bytes < 0.2 * 4 * 16_384 * 50_000

"""The kernel distance that a search minimises."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplerzoo import (
    KID,
    RBF,
    Linear,
    Polynomial,
    RationalQuadratic,
    extract,
)

WEIGHTS = np.random.default_rng(0).normal(size=(2, 3, 3))
KERNELS = (Linear(), Polynomial(), RBF((0.5, 2.0)), RationalQuadratic((0.5, 2.0)))


def features(x):
    return jnp.tanh(x @ WEIGHTS[1])


def test_the_constant_makes_it_a_distance_to_itself(x64):
    """Biased, the distance of the reference to itself is 0."""
    reference = features(np.random.default_rng(1).normal(size=(20, 3)))
    for kernel in KERNELS:
        objective = KID(lambda x: x, kernel, reference, unbiased=False)
        assert abs(objective(reference)) < 1e-14


def test_the_order_of_samples_is_of_no_account(x64):
    samples = jnp.asarray(np.random.default_rng(2).normal(size=(9, 3)))
    objective = KID(features, Polynomial(), features(samples + 0.5))
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
    objective = KID(jnp.tanh, Polynomial(), jnp.zeros((2, 64)))
    objective = eqx.tree_at(lambda o: o.reference, objective, jnp.zeros((50_000, 64)))
    slope = eqx.filter_jit(lambda objective, x: jax.value_and_grad(objective.distance)(x))
    program = slope.lower(objective, jnp.zeros((16_384, 64))).compile().compiled
    assert program.memory_analysis().temp_size_in_bytes < 0.2 * 4 * 16_384 * 50_000

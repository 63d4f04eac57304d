"""Kernels and the MMD against NumPy, closed forms and their own statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplerzoo import KID, RBF, Linear, Polynomial, RationalQuadratic, mmd
from samplerzoo.core.kernels import across, mean_gram, within


def square(x, y):
    return np.mean((x - y) ** 2)


# (a kernel, the same for two vectors in NumPy)
KERNELS = {
    "linear": (Linear(), lambda x, y: np.mean(x * y)),
    "polynomial": (Polynomial(), lambda x, y: (np.mean(x * y) + 1) ** 3),
    "quadratic": (Polynomial(2, 0.5), lambda x, y: (np.mean(x * y) + 0.5) ** 2),
    "rbf": (
        RBF((0.3, 2.0)),
        lambda x, y: np.mean([np.exp(-square(x, y) / (2 * b**2)) for b in (0.3, 2.0)]),
    ),
    "rational": (
        RationalQuadratic((0.2, 5.0)),
        lambda x, y: np.mean([(1 + square(x, y) / (2 * s)) ** -s for s in (0.2, 5.0)]),
    ),
}

every = pytest.mark.parametrize("name", KERNELS)
estimators = pytest.mark.parametrize("unbiased", [True, False])


def points(n, m, d=4, shift=0.3):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(n, d))), jnp.asarray(rng.normal(size=(m, d)) + shift)


def loop_mmd(k, x, y, unbiased):
    """The three sums over pairs, written out."""

    def own(z):
        total = sum(
            k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j or not unbiased
        )
        return total / (len(z) * (len(z) - 1) if unbiased else len(z) ** 2)

    cross = sum(k(a, b) for a in x for b in y) / (len(x) * len(y))
    return own(x) + own(y) - 2 * cross


@every
def test_gram(x64, name):
    kernel, k = KERNELS[name]
    x, y = points(6, 9)
    expected = [[k(a, b) for b in np.asarray(y)] for a in np.asarray(x)]
    np.testing.assert_allclose(kernel(x, y), expected, rtol=1e-12)


@every
@estimators
def test_mmd_is_a_double_loop(x64, name, unbiased):
    kernel, k = KERNELS[name]
    x, y = points(7, 11)
    expected = loop_mmd(k, np.asarray(x), np.asarray(y), unbiased)
    np.testing.assert_allclose(mmd(kernel, x, y, unbiased), expected, rtol=1e-11, atol=1e-13)


@every
def test_unbiased_mmd_of_equal_distributions_averages_to_zero(x64, name):
    kernel, _ = KERNELS[name]
    x, y = jax.random.normal(jax.random.key(0), (2, 1500, 8, 3))
    found = np.asarray(jax.jit(jax.vmap(lambda x, y: mmd(kernel, x, y)))(x, y))
    error = found.std(ddof=1) / np.sqrt(len(found))
    assert abs(found.mean()) < 3.5 * error
    assert np.any(found < 0)
    # the biased one does not: it is larger by (own - pairs) / n for each set
    biased = np.asarray(jax.jit(jax.vmap(lambda x, y: mmd(kernel, x, y, False)))(x, y))
    assert biased.mean() > 10 * error
    assert np.all(biased > -1e-12)


def test_mmd_of_gaussians_is_the_closed_form(x64):
    """RBF with bandwidth b in one dimension: E k(x, y) for x - y ~ N(m, s^2)."""
    n, gap, b = 2000, 1.5, 0.8

    def expected(mean, variance):
        return b / np.sqrt(b**2 + variance) * np.exp(-(mean**2) / (2 * (b**2 + variance)))

    x, y = jax.random.normal(jax.random.key(1), (2, n, 1))
    found = mmd(RBF((b,)), x, y + gap)
    np.testing.assert_allclose(found, 2 * expected(0, 2) - 2 * expected(gap, 2), atol=0.03)


@every
@estimators
def test_condensed_points_stand_for_all(x64, name, unbiased):
    """The full Gram matrix gives the same: for the linear kernel one point stands for all."""
    kernel, _ = KERNELS[name]
    x, y = points(9, 300)
    assert len(kernel.condense(x)) == (1 if name == "linear" else 9)
    np.testing.assert_allclose(across(kernel, x, y), jnp.mean(kernel(x, y)), rtol=1e-12)
    gram = kernel(x, x)
    whole = (jnp.sum(gram) - jnp.trace(gram)) / (9 * 8) if unbiased else jnp.mean(gram)
    np.testing.assert_allclose(within(kernel, x, unbiased), whole, rtol=1e-12)


@every
@pytest.mark.parametrize("block", [1, 3, 8, 1024])
def test_blocks_are_the_whole(x64, name, block):
    kernel, _ = KERNELS[name]
    x, y = points(8, 5)

    def whole(x, y):
        return jnp.mean(kernel(x, y))

    def blocks(x, y):
        return mean_gram(kernel, x, y, block)

    np.testing.assert_allclose(blocks(x, y), whole(x, y), rtol=1e-13)
    for found, expected in zip(
        jax.grad(blocks, (0, 1))(x, y), jax.grad(whole, (0, 1))(x, y), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-14)


@every
@estimators
def test_the_objective_is_the_mmd(x64, name, unbiased):
    kernel, _ = KERNELS[name]
    x, y = points(10, 25)
    objective = KID(lambda sample: jnp.tanh(sample), kernel, jnp.tanh(y), unbiased)
    expected = mmd(kernel, jnp.tanh(x), jnp.tanh(y), unbiased)
    np.testing.assert_allclose(objective(x), expected, rtol=1e-12)


@every
@estimators
def test_gradient_agrees_with_finite_differences(x64, name, unbiased):
    kernel, _ = KERNELS[name]
    x, y = points(6, 7)
    way = jnp.asarray(np.random.default_rng(1).normal(size=x.shape))

    def distance(x):
        return mmd(kernel, x, y, unbiased)

    numeric = (distance(x + 1e-6 * way) - distance(x - 1e-6 * way)) / 2e-6
    np.testing.assert_allclose(jnp.vdot(jax.grad(distance)(x), way), numeric, rtol=1e-7)


@every
def test_gradient_is_finite_where_points_coincide(name):
    kernel, _ = KERNELS[name]
    x = jnp.ones((4, 3))
    assert np.all(np.isfinite(jax.grad(lambda x: mmd(kernel, x, x + 0))(x)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: RBF(()),
        lambda: RBF((0.5, 0.0)),
        lambda: RationalQuadratic((-1.0,)),
        lambda: Polynomial(0),
        lambda: Polynomial(3, -1.0),
    ],
)
def test_bad_options_are_refused(make):
    with pytest.raises(ValueError, match=r"must be at least|is needed"):
        make()

"""Frechet and kernel distances against closed forms and NumPy."""

import jax
import numpy as np
import pytest
import scipy.linalg

from samplerzoo import frechet_distance, kernel_distance


def gaussian_set(mean, covariance, n):
    """`n` points with exactly this mean and (unbiased) covariance."""
    d = len(mean)
    white = np.random.default_rng(0).normal(size=(n, d))
    white -= white.mean(0)
    white = white @ np.linalg.inv(np.linalg.cholesky(np.cov(white, rowvar=False))).T
    values, vectors = np.linalg.eigh(covariance)
    return white @ (vectors * np.sqrt(np.maximum(values, 0))).T + mean


def random_covariance(seed, d, rank):
    root = np.random.default_rng(seed).normal(size=(d, rank))
    return root @ root.T / rank


def test_diagonal_gaussians():
    one, two = np.array([1.0, 4.0, 0.25]), np.array([9.0, 1.0, 0.25])
    m_x, m_y = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])
    x, y = gaussian_set(m_x, np.diag(one), 50), gaussian_set(m_y, np.diag(two), 70)
    expected = np.sum((m_x - m_y) ** 2) + np.sum((np.sqrt(one) - np.sqrt(two)) ** 2)
    np.testing.assert_allclose(frechet_distance(x, y), expected, rtol=1e-12)


@pytest.mark.parametrize("rank", [5, 3, 1])
def test_covariances_that_do_not_commute(rank):
    """Against scipy's matrix root, of a regular second covariance; the first may be singular."""
    d = 5
    c_x, c_y = random_covariance(1, d, rank), random_covariance(2, d, 2 * d)
    x, y = gaussian_set(np.zeros(d), c_x, 40), gaussian_set(np.ones(d), c_y, 40)
    half = np.real(scipy.linalg.sqrtm(c_y))
    inner = np.linalg.eigvalsh(half @ c_x @ half)
    cross = np.sum(np.sqrt(np.maximum(inner, 0)))
    expected = d + np.trace(c_x) + np.trace(c_y) - 2 * cross
    np.testing.assert_allclose(frechet_distance(x, y), expected, rtol=1e-7)


def test_both_singular_on_the_same_line():
    way = np.array([3.0, 4.0]) / 5
    x = gaussian_set(np.zeros(2), 4 * np.outer(way, way), 30)
    y = gaussian_set(np.zeros(2), 9 * np.outer(way, way), 30)
    np.testing.assert_allclose(frechet_distance(x, y), 1.0, rtol=1e-6)


def test_more_features_than_points():
    """Each covariance singular: the nuclear norm of the centred sets' product is the cross term."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 30)), 1 + 2 * rng.normal(size=(11, 30))
    a, b = (x - x.mean(0)) / np.sqrt(7), (y - y.mean(0)) / np.sqrt(10)
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.sum(a**2) + np.sum(b**2) - 2 * cross
    np.testing.assert_allclose(frechet_distance(x, y), expected, rtol=1e-6)


def test_one_feature():
    x, y = np.array([[0.0], [2.0]]), np.array([[5.0], [9.0]])
    expected = 6.0**2 + (np.sqrt(2) - np.sqrt(8)) ** 2
    np.testing.assert_allclose(frechet_distance(x, y), expected, rtol=1e-12)


def test_invariance():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(60, 6)), rng.normal(size=(50, 6)) * 1.5 + 0.2
    base = frechet_distance(x, y)
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    np.testing.assert_allclose(frechet_distance(y, x), base, rtol=1e-10)
    np.testing.assert_allclose(frechet_distance(x @ turn + 7, y @ turn + 7), base, rtol=1e-10)
    np.testing.assert_allclose(frechet_distance(3 * x, 3 * y), 9 * base, rtol=1e-10)
    np.testing.assert_allclose(frechet_distance(x[::-1], y), base, rtol=1e-10)
    assert abs(frechet_distance(x, x)) < 1e-10
    assert base > 0.1


def test_float32_features_are_read_in_float64():
    rng = np.random.default_rng(4)
    x, y = (rng.normal(1000, 1, size=(40, 3)).astype(np.float32) for _ in range(2))
    for distance in (frechet_distance, kernel_distance):
        assert distance(x, y) == distance(x.astype(np.float64), y.astype(np.float64))


def test_kernel_distance_is_a_double_loop():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(9, 4)), rng.normal(size=(12, 4)) + 0.3

    def k(a, b):
        return (a @ b / 4 + 1) ** 3

    def own(z):
        total = sum(k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j)
        return total / (len(z) * (len(z) - 1))

    expected = own(x) + own(y) - 2 * np.mean([[k(a, b) for b in y] for a in x])
    np.testing.assert_allclose(kernel_distance(x, y), expected, rtol=1e-12)
    assert isinstance(kernel_distance(x, y), float)


def test_kernel_distance_leaves_the_precision_as_it_was():
    x = np.random.default_rng(6).normal(size=(5, 2))
    kernel_distance(x, x + 1)
    assert jax.numpy.ones(1).dtype == "float32"


def test_kernel_distance_of_equal_distributions_averages_to_zero():
    rng = np.random.default_rng(7)
    found = [kernel_distance(*rng.normal(size=(2, 30, 3))) for _ in range(200)]
    assert abs(np.mean(found)) < 3.5 * np.std(found, ddof=1) / np.sqrt(200)
    assert min(found) < 0

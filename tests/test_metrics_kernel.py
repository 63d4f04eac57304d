"""The kernel distance's standard error, and its means over subsets."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from samplerzoo import Polynomial, extract, mmd
from samplerzoo.assets import digits_images, digits_mlp
from samplerzoo.metrics import (
    FeatureSet,
    LackingError,
    kernel,
    kernel_distance,
    kernel_distance_with_error,
    kid,
    kid_subsets,
)


def test_tiles_of_any_size(monkeypatch, x64):
    draw = np.random.default_rng(0).normal
    x, y = draw(size=(37, 5)), draw(size=(23, 5)) + 0.2
    expected = float(mmd(Polynomial(), jnp.asarray(x), jnp.asarray(y)))
    for tile in (16, 1000):
        monkeypatch.setattr(kernel, "TILE", tile)
        np.testing.assert_allclose(kernel_distance(x, y), expected, rtol=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_order_and_rotation(seed):
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(12, 4)), random.normal(size=(9, 4))
    turn, _ = np.linalg.qr(random.normal(size=(4, 4)))
    found = kernel_distance_with_error(x, y)
    shuffled = kernel_distance_with_error(random.permutation(x), random.permutation(y))
    assert shuffled == pytest.approx(found, rel=1e-9, abs=1e-9)
    assert kernel_distance_with_error(x @ turn, y @ turn) == pytest.approx(
        found, rel=1e-9, abs=1e-9
    )
    assert kernel_distance_with_error(y, x) == pytest.approx(found, rel=1e-9, abs=1e-9)


def parts_of_variance(gram, p, q, n, m):
    """For points of probabilities `p` and `q` on a finite set: the exact variance of the distance
    and the expectation that its estimate is documented to have."""
    g, f = gram @ (p - q), gram @ (q - p)
    first = 4 * (p @ g**2 - (p @ g) ** 2) / n + 4 * (q @ f**2 - (q @ f) ** 2) / m

    def z(left, right):
        rows, columns = gram @ right, gram @ left
        flat = gram - rows[:, None] - columns[None] + left @ rows
        return left @ flat**2 @ right

    second = 2 * z(p, p) / (n * (n - 1)) + 2 * z(q, q) / (m * (m - 1)) + 4 * z(p, q) / (n * m)
    twice = 4 * z(p, p) / (n * (n - 2)) + 4 * z(q, q) / (m * (m - 2)) + 8 * z(p, q) / (n * m)
    return first + second, first + twice


def test_the_expected_square_of_the_error():
    """Over all samples of 3 and of 4 points of two values: first order, and twice the second."""
    points = np.array([[0.3, 1.0], [-1.0, 0.7]])
    p, q, n, m = np.array([0.6, 0.4]), np.array([0.3, 0.7]), 3, 4
    gram = (points @ points.T / 2 + 1) ** 3
    found = []
    for left in itertools.product((0, 1), repeat=n):
        for right in itertools.product((0, 1), repeat=m):
            weight = np.prod(p[list(left)]) * np.prod(q[list(right)])
            value, se = kernel_distance_with_error(points[list(left)], points[list(right)])
            found.append(weight * np.array([value, value**2, se**2]))
    mean, square, estimate = np.sum(found, 0)
    variance, documented = parts_of_variance(gram, p, q, n, m)
    np.testing.assert_allclose(mean, (p - q) @ gram @ (p - q), rtol=1e-9)
    np.testing.assert_allclose(square - mean**2, variance, rtol=1e-9)
    np.testing.assert_allclose(estimate, documented, rtol=1e-9)


def true_distance(d, s):
    """Of `N(s, I)` from `N(0, I)`: `E u^3 + 3 E u^2 + 3 E u`, `u = x.x'/d`, of what differs."""
    return s**6 + 6 * s**4 / d + s**2 * (3 / d + 6 / d**2) + 3 * s**4 + 3 * s**2


@pytest.mark.parametrize(
    ("d", "n", "m", "shift"),
    [
        (8, 200, 200, 0.0),
        (8, 200, 300, 0.5),
        (64, 200, 200, 0.0),
        (64, 200, 300, 0.1),
        (64, 300, 200, 0.5),
        (8, 1000, 1000, 0.2),
        (64, 1000, 1000, 0.0),
    ],
)
def test_coverage(d, n, m, shift):
    """1.96 errors reach the truth in 95% of draws at least, less three deviations of such a share;
    they are as wide as the distance spreads, or up to sqrt(2) times where it is near 0."""
    draw, draws = np.random.default_rng(1).normal, 60_000 // n
    found = np.array(
        [
            kernel_distance_with_error(draw(size=(n, d)) + shift, draw(size=(m, d)))
            for _ in range(draws)
        ]
    )
    share = np.mean(np.abs(found[:, 0] - true_distance(d, shift)) <= 1.96 * found[:, 1])
    assert share >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / draws)
    width = np.sqrt(np.mean(found[:, 1] ** 2)) / np.std(found[:, 0])
    slack = 1 + 4 / np.sqrt(2 * draws)
    assert 1 / slack < width < slack * (1.1 if shift > 0.2 else np.sqrt(2))


def test_subsets():
    """Each is a kernel distance; the mean is near that of all and the deviation larger."""
    draw = np.random.default_rng(2).normal
    x, y = draw(size=(80, 4)), draw(size=(60, 4)) + 0.3
    random, found = np.random.RandomState(5), []
    for _ in range(7):
        left, right = (random.choice(n, 20, replace=False) for n in (80, 60))
        found.append(kernel_distance(x[left], y[right]))
    expected = np.mean(found), np.std(found)
    assert kid_subsets(x, y, subsets=7, size=20, seed=5) == pytest.approx(expected, rel=1e-9)


def test_subsets_larger_than_a_set():
    x = np.random.default_rng(3).normal(size=(30, 2))
    with pytest.raises(LackingError, match="1000 images cannot be drawn from 30; take"):
        kid_subsets(x, x)
    for options in ({"size": 1}, {"size": 30, "subsets": 0}):
        with pytest.raises(LackingError, match="cannot be drawn"):
            kid_subsets(x, x, **options)


def test_too_few_for_an_error():
    x = FeatureSet(np.random.default_rng(4).normal(size=(2, 3)))
    with pytest.raises(LackingError, match="needs at least 3 samples; 2 are given"):
        kid(x, x)
    assert np.isfinite(kernel_distance(x, x))


def test_two_halves_of_one_set():
    """The interval of the distance between random halves of the digits' features holds 0."""
    features = extract(digits_mlp(), digits_images())
    draw, inside, distances = np.random.default_rng(0), 0, []
    for _ in range(100):
        order = draw.permutation(len(features))
        distance, error = kernel_distance_with_error(features[order[:898]], features[order[898:]])
        inside += abs(distance) <= 1.96 * error
        distances.append(distance)
    assert inside >= 90
    assert abs(np.mean(distances)) < 3.5 * np.std(distances) / 10

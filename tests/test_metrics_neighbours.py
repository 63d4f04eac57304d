"""Nearest neighbours, and precision, recall, density and coverage, against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.spatial.distance import cdist

from samplerzoo.metrics import (
    FeatureSet,
    LackingError,
    density_coverage,
    nearest_points,
    precision_recall,
)


def brute(x, y, k_pr=3, k_dc=5):
    """All four by full matrices of float64 differences, as the papers and their code say."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    within = {name: np.sort(squares(z, z), axis=1) for name, z in (("x", x), ("y", y))}
    both = squares(x, y)
    precision = np.mean(np.any(both <= within["y"][:, k_pr][None], axis=1))
    recall = np.mean(np.any(both <= within["x"][:, k_pr][:, None], axis=0))
    held = both < within["y"][:, k_dc][None]
    return precision, recall, np.mean(held.sum(1)) / k_dc, np.mean(held.any(0))


def squares(x, y):
    return np.stack([np.einsum("ij,ij->i", y - point, y - point) for point in x])


def all_four(x, y):
    return *precision_recall(x, y), *density_coverage(x, y)


def two(make):
    """A pair of sets, made one after the other."""
    return lambda draw: (make(draw), make(draw))


def with_outlier(draw):
    return draw(size=(50, 3)), np.concatenate([draw(size=(50, 3)), [[1e18] * 3]])


def copies(draw):
    y = draw(size=(60, 9)).astype(np.float32)
    return y[::2], y


SETS = {
    "apart": lambda draw: (draw(size=(90, 6)), draw(size=(70, 6)) + 0.7),
    "float32": two(lambda draw: draw(size=(80, 40)).astype(np.float32)),
    "far from zero": two(lambda draw: draw(1e4, 1, size=(60, 5))),
    "two clusters": two(lambda draw: draw(size=(80, 8)) + 1e5 * (np.arange(80) % 2)[:, None]),
    "tiny": two(lambda draw: 1e-20 * draw(size=(50, 3))),
    "huge": two(lambda draw: 1e20 * draw(size=(50, 3))),
    "an outlier": with_outlier,
    "on a grid, with many ties": two(lambda draw: np.round(draw(size=(120, 2)))),
    "all equal": two(lambda draw: np.ones((20, 3))),
    "copies": copies,
}


@pytest.mark.parametrize("name", SETS)
def test_as_brute_force(name):
    """To the last point: ties and duplicates included."""
    x, y = SETS[name](np.random.default_rng(0).normal)
    assert all_four(x, y) == pytest.approx(brute(x, y), abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(6, 30), st.integers(6, 30), st.integers(1, 4))
def test_small_sets_of_few_values(seed, n, m, d):
    """Nothing but ties."""
    random = np.random.default_rng(seed)
    x, y = (random.integers(0, 3, (size, d)).astype(np.float32) for size in (n, m))
    assert all_four(x, y) == pytest.approx(brute(x, y), abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 1.0, 64.0]))
def test_order_scale_and_rotation(seed, scale):
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(40, 5)), random.normal(size=(50, 5)) + 0.5
    found = all_four(x, y)
    turn, _ = np.linalg.qr(random.normal(size=(5, 5)))
    assert all_four(random.permutation(x), random.permutation(y)) == pytest.approx(found)
    assert all_four(scale * x, scale * y) == pytest.approx(found)
    assert all_four(x @ turn, y @ turn) == pytest.approx(found)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bounds_enclose_the_distances(dtype):
    random = np.random.default_rng(1)
    x, y = random.normal(size=(200, 300)), random.normal(size=(300, 300)) + 3
    sides = [nearest_points.side(z, np.zeros(300), 8.0, dtype) for z in (x, y)]
    high, low = nearest_points.bounds(*sides)
    exact = cdist(x, y, "sqeuclidean") / 64
    assert np.all(low <= exact)
    assert np.all(exact <= high)
    assert np.max(high - low) < 1e3 * np.finfo(dtype).eps * np.max(exact)


def test_blocks_of_any_size(monkeypatch):
    random = np.random.default_rng(2)
    x, y = random.normal(size=(31, 4)), random.normal(size=(23, 4))
    whole = all_four(x, y)
    for block in (1, 60, 200):
        monkeypatch.setattr(nearest_points, "BLOCK", block)
        assert all_four(x, y) == whole
    monkeypatch.setattr(nearest_points, "OPEN", 0)
    assert all_four(x, y) == whole


def test_radii_and_nearest():
    x, y = np.array([[0.0], [1.0], [3.0], [3.0]]), np.array([[2.0], [10.0]])
    np.testing.assert_array_equal(nearest_points.radii(x, 1), [1, 1, 0, 0])
    np.testing.assert_array_equal(nearest_points.radii(x, 3), [9, 4, 9, 9])
    np.testing.assert_array_equal(nearest_points.nearest(x, y), [4, 1, 1, 1])


def test_extremes_and_expectations():
    draw = np.random.default_rng(3).normal
    y = draw(size=(600, 2))
    assert precision_recall(y, y) == (1, 1)
    assert precision_recall(y, y + 100) == (0, 0)
    assert density_coverage(y + 100, y) == (0, 0)
    density, coverage = density_coverage(draw(size=(600, 2)), y)
    assert density == pytest.approx(1, abs=0.1)
    assert coverage == pytest.approx(1 - 2**-5, abs=0.03)
    one_mode = 0.05 * draw(size=(600, 2))
    precision, recall = precision_recall(one_mode, y)
    assert precision > 0.95
    assert recall < 0.1


def test_too_few_points():
    x = FeatureSet(np.random.default_rng(4).normal(size=(5, 2)))
    assert precision_recall(x, x, k=4) == (1, 1)
    for k in (0, 5):
        with pytest.raises(LackingError, match=rf"k is {k} .* 5 images; k must lie in 1\.\.4"):
            precision_recall(x, x, k=k)
    with pytest.raises(LackingError, match=r"k must lie in 1\.\.4"):
        density_coverage(x, x)

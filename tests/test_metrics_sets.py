"""Moments, sets of features and what a metric promises."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from samplerzoo.metrics import (
    FeatureSet,
    LackingError,
    Metric,
    Moments,
    accumulate,
    checks,
    fd,
    frechet_distance,
    load_moments,
)


def features(seed=0, n=50, d=4, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=6),
    st.integers(1, 6),
    st.sampled_from([0.0, 1e3, 1e6]),
    st.sampled_from([np.float32, np.float64]),
)
def test_chunks_give_numpys_covariance(sizes, d, offset, dtype):
    """To 1e-12 of it wherever the mean lies: NumPy centres the whole set at once."""
    x = (features(n=sum(sizes), d=d) + offset).astype(dtype)
    found = accumulate(np.split(x, np.cumsum(sizes)[:-1]))
    exact = x.astype(np.float64)
    scale = max(1e-3, exact.var())
    np.testing.assert_allclose(found.mean, exact.mean(0), rtol=1e-13, atol=1e-13)
    covariance = np.atleast_2d(np.cov(exact, rowvar=False))
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-12, atol=1e-12 * scale)
    assert found.covariance.dtype == np.float64


def test_a_set_of_many_pieces(monkeypatch):
    x = features(n=97, d=3, dtype=np.float32) + 100
    whole = FeatureSet(x).moments
    monkeypatch.setattr(checks, "CHUNK", 30)
    parts = FeatureSet(x).moments
    np.testing.assert_allclose(parts.covariance, whole.covariance, rtol=1e-12, atol=1e-13)


def test_memory_maps_are_read_a_piece_at_a_time(tmp_path, monkeypatch):
    x = features(n=40, dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    monkeypatch.setattr(checks, "CHUNK", 20)
    mapped = FeatureSet(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert not mapped.features.flags.owndata
    assert frechet_distance(mapped, FeatureSet(x)) == pytest.approx(0, abs=1e-10)


def test_moments_of_one_point():
    with pytest.raises(ValueError, match="at least 2 points; 1 are given"):
        accumulate([np.ones((1, 3))])
    with pytest.raises(ValueError, match="at least 2 points; 0 are given"):
        accumulate([])


def test_moments_to_a_file_and_back(tmp_path):
    moments = FeatureSet(features()).moments
    moments.save(tmp_path / "stats.npz")
    with np.load(tmp_path / "stats.npz") as file:
        assert set(file.files) == {"mu", "sigma"}
    back = load_moments(tmp_path / "stats.npz")
    np.testing.assert_array_equal(back.mean, moments.mean)
    np.testing.assert_array_equal(back.covariance, moments.covariance)


def test_a_set_of_moments_alone(tmp_path):
    x, y = features(), features(1, n=30) + 0.5
    FeatureSet(y).moments.save(tmp_path / "stats.npz")
    known = FeatureSet(moments=load_moments(tmp_path / "stats.npz"))
    assert known.width == 4
    assert fd(FeatureSet(x), known) == {"fd": frechet_distance(x, y)}
    with pytest.raises(LackingError, match="Only the mean and the covariance"):
        _ = known.features
    with pytest.raises(ValueError, match="neither is given"):
        FeatureSet()


EYE = np.eye(3)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"mu": np.zeros(3)}, "cannot be read as an .npz file of the arrays 'mu' and 'sigma'"),
        ({"mu": np.zeros(3), "sigma": EYE[:2]}, r"mu of shape \(3,\) and sigma of shape \(2, 3\)"),
        ({"mu": np.zeros((3, 1)), "sigma": EYE}, r"mu of shape \(3, 1\)"),
        ({"mu": np.zeros(0), "sigma": np.zeros((0, 0))}, "are needed"),
        ({"mu": np.zeros(3), "sigma": EYE * np.nan}, "not finite"),
        ({"mu": np.full(3, np.inf), "sigma": EYE}, "not finite"),
        ({"mu": np.zeros(3), "sigma": np.triu(np.ones((3, 3)))}, "not a covariance"),
        ({"mu": np.zeros(3), "sigma": -EYE}, "not a covariance"),
        ({"mu": np.zeros(3), "sigma": np.array([[object()] * 3] * 3)}, "cannot be read"),
        ({"mu": np.zeros(3), "sigma": EYE.astype(str)}, "cannot be read"),
        ({"mu": np.zeros(3), "sigma": EYE * 1j}, "cannot be read"),
    ],
)
def test_files_that_hold_no_moments(tmp_path, arrays, sentence):
    np.savez(tmp_path / "stats.npz", **arrays)
    with pytest.raises(ValueError, match=sentence) as error:
        load_moments(tmp_path / "stats.npz")
    assert "stats.npz" in str(error.value)


def test_files_that_are_no_archive(tmp_path):
    path = tmp_path / "stats.npz"
    with pytest.raises(ValueError, match="There is no file"):
        load_moments(path)
    np.save(tmp_path / "one.npy", EYE)
    for data in (b"", b"PK\x03\x04broken", (tmp_path / "one.npy").read_bytes()):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"stats\.npz cannot be read"):
            load_moments(path)


@pytest.mark.parametrize("bad", [np.ones((1, 3)), np.array([[1.0], [np.nan]]), np.ones((3, 0))])
def test_features_that_are_none(bad):
    with pytest.raises(ValueError, match=r"Features of shape .* are given"):
        FeatureSet(bad)


def test_only_float32_is_kept_as_it_is():
    x = features()
    assert FeatureSet(x.astype(np.float16)).features.dtype == np.float64
    assert FeatureSet(x.astype(np.float32)).features.dtype == np.float32


def test_logits_come_from_the_head(monkeypatch):
    x, matrix = features(n=30, dtype=np.float32), jnp.ones((4, 7))
    monkeypatch.setattr(checks, "CHUNK", 40)
    np.testing.assert_allclose(
        FeatureSet(x, head=lambda z: z @ matrix).logits, x @ np.ones((4, 7)), rtol=1e-5
    )
    assert FeatureSet(x).logits is None


def test_what_is_computed_once_is_kept():
    calls = []

    def total(x, power):
        calls.append(power)
        return float(np.sum(x**power))

    points = FeatureSet(features())
    assert points.once(total, 1) == points.once(total, 1) != points.once(total, 2)
    assert calls == [1, 2]


def test_a_metric_keeps_to_its_columns():
    x = FeatureSet(features())
    both = Metric(lambda a, b: {"b": 2.0, "a": 1.0}, {"a": "smaller", "b": "neither"})
    assert list(both(x, x)) == ["a", "b"]
    for found, sentence in [
        ({"a": 1.0}, "computed a"),
        ({"a": 1.0, "b": np.nan}, "must be finite"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            Metric(lambda a, b, found=found: found, both.better)(x, x)
    for better in ({}, {"a": "less"}):
        with pytest.raises(ValueError, match="it must say 'smaller'"):
            Metric(lambda a, b: {}, better)


def test_sets_of_different_widths():
    x, y = FeatureSet(features()), FeatureSet(features(d=5))
    for compare in (fd, frechet_distance):
        with pytest.raises(ValueError, match="The samples have 4 features and the reference 5"):
            compare(x, y)


def test_moments_are_what_they_say():
    assert isinstance(FeatureSet(features()).moments, Moments)

"""Inception Score, CMMD, memorisation and the bootstrap."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings, strategies as st

from samplerzoo.metrics import (
    FeatureSet,
    LackingError,
    Metric,
    bootstrap,
    builtin,
    cmmd,
    fd,
    frechet_distance,
    inception_score,
    kid,
    memorisation,
)
from samplerzoo.registry import entries, load


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.floats(1e-3, 1e3), st.booleans())
def test_laws_of_the_frechet_distance(seed, d, scale, few):
    """Symmetric; unmoved by order, rotation and shift; quadratic in scale; 0 to itself."""
    random = np.random.default_rng(seed)
    n = 3 if few else 40  # fewer points than features make singular covariances
    x, y = random.normal(size=(n, d)), random.normal(size=(n + 5, d)) * random.uniform(0.1, 3, d)
    found = frechet_distance(x, y)
    turn, _ = np.linalg.qr(random.normal(size=(d, d)))
    near = {"rel": 1e-6, "abs": 1e-6}
    assert found >= -1e-9
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-7)
    assert frechet_distance(y, x) == pytest.approx(found, **near)
    assert frechet_distance(random.permutation(x), y) == pytest.approx(found, **near)
    assert frechet_distance(x @ turn + 5, y @ turn + 5) == pytest.approx(found, **near)
    assert frechet_distance(scale * x, scale * y) / scale**2 == pytest.approx(found, **near)


def test_inception_score_by_entropies():
    """exp(H(y) - H(y|x)) in each split."""
    logits, scores = 2 * normal(0, 50, 4), []
    order = np.random.RandomState(2020).permutation(50)
    for part in np.split(logits[order], 5):
        p = np.exp(part) / np.exp(part).sum(1, keepdims=True)
        entropy = scipy.stats.entropy
        scores.append(np.exp(entropy(p.mean(0)) - np.mean(entropy(p, axis=1))))
    expected = np.mean(scores), np.std(scores)
    assert inception_score(logits, splits=5) == pytest.approx(expected, rel=1e-12)


def test_inception_score_of_extremes():
    sure = 1e4 * np.eye(6)[np.arange(60) % 6]
    assert inception_score(sure, splits=1) == pytest.approx((6, 0))
    assert inception_score(sure[:1].repeat(20, 0)) == pytest.approx((1, 0))
    assert inception_score(np.zeros((20, 3))) == pytest.approx((1, 0))


def test_inception_score_lacks():
    with pytest.raises(LackingError, match=r"splits is 10 .* 4 images; it must lie in 1\.\.4"):
        inception_score(normal(0, 4, 3))
    x = FeatureSet(normal(0, 20, 3))
    with pytest.raises(LackingError, match="no head that gives logits"):
        builtin.inception_score(x, x)


def plain_cmmd(x, y):
    """All pairs, as the paper's equation has them."""

    def mean(a, b):
        gaps = np.sum((a[:, None] - b[None]) ** 2, axis=2)
        return np.mean(np.exp(-gaps / (2 * 10**2)))

    x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    return 1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100))
def test_cmmd(seed, scale):
    x, y = normal(seed, 30, 5), normal(seed + 1, 20, 5) + 0.5
    found = cmmd(x, y)
    assert found == pytest.approx(plain_cmmd(x, y), rel=1e-8)
    assert cmmd(scale * x[::-1], y) == pytest.approx(found, rel=1e-9)
    assert cmmd(x, x) == pytest.approx(0, abs=1e-9)


def test_cmmd_has_no_direction_of_zero():
    with pytest.raises(ValueError, match="All features of an image are 0"):
        cmmd(np.zeros((3, 2)), normal(0, 4, 2))


@pytest.mark.parametrize("seed", range(8))
def test_fresh_samples_are_no_copies(seed):
    train, held_out, x = normal(seed, 3, 1000, 16)
    found = memorisation(x, train, held_out)
    assert found.copies < 0.035
    assert abs(found.copy_auc - 0.5) < 0.05
    assert abs(found.copy_z) < 3.5


@pytest.mark.parametrize("noise", [0.0, 1e-3, 0.1])
def test_copies_are_flagged(noise):
    train, held_out, fresh, shake = normal(3, 4, 1000, 16)
    found = memorisation(train + noise * shake, train, held_out)
    assert found.copies == pytest.approx(1)
    assert found.copy_auc == pytest.approx(1)
    assert found.copy_z > 30
    few = np.concatenate([train[:100] + noise * shake[:100], fresh[:900]])
    found = memorisation(few, train, held_out)
    assert found.copies == pytest.approx(0.11, abs=0.03)
    assert found.copy_auc > 0.52


def test_memorisation_is_right_on_average():
    """1% of an honest sampler's samples are called copies, and z is standard normal."""
    found = np.array([memorisation(*normal(seed, 3, 150, 3)) for seed in range(300)])
    assert np.mean(found[:, 0]) == pytest.approx(0.01, abs=0.002)
    assert np.mean(found[:, 2]) == pytest.approx(0, abs=3 / 300**0.5)
    assert np.std(found[:, 2]) == pytest.approx(1, abs=0.15)


def test_rank_statistic_is_scipys():
    train, held_out, x = np.round(normal(5, 3, 200, 2), 1)
    found = memorisation(x, train, held_out)
    ours, theirs = (np.min(np.sum((z[:, None] - train[None]) ** 2, 2), 1) for z in (x, held_out))
    expected = scipy.stats.mannwhitneyu(
        theirs, ours, use_continuity=False, method="asymptotic", alternative="greater"
    )
    assert found.copy_auc == pytest.approx(expected.statistic / 200**2)
    assert scipy.stats.norm.sf(found.copy_z) == pytest.approx(expected.pvalue, rel=1e-6)


METRICS = {name: load("metrics", name) for name in entries("metrics")}


@pytest.mark.parametrize("name", METRICS)
def test_metrics_declare_all_that_they_need(name):
    """They compute on sets of the least sizes without what is not declared, and not without it."""
    metric = METRICS[name]
    least = {"samples": 2, "reference": 2, "held_out": 2} | metric.least
    points = {part: normal(n, size, 3) for n, (part, size) in enumerate(least.items())}
    head = (lambda x: x) if "head" in metric.needs else None
    held_out = FeatureSet(points["held_out"]) if "held_out" in metric.needs else None
    reference = FeatureSet(points["reference"], held_out=held_out)
    samples = FeatureSet(points["samples"], head=head)
    if "features" not in metric.needs:
        reference = FeatureSet(moments=reference.moments, held_out=held_out)
    assert metric.lacks(least["samples"], head is not None, reference) is None
    assert list(metric(samples, reference)) == list(metric.better)
    for need in metric.needs:
        fewer = {
            "features": (samples, FeatureSet(moments=reference.moments, held_out=held_out)),
            "head": (FeatureSet(points["samples"]), reference),
            "held_out": (samples, FeatureSet(points["reference"])),
        }
        with pytest.raises(LackingError):
            metric(*fewer[need])
    for part, size in metric.least.items():
        few = FeatureSet(points[part][: size - 1], head=head)
        wrong = {
            "samples": (few, reference),
            "reference": (samples, FeatureSet(few.features, held_out=held_out)),
            "held_out": (samples, FeatureSet(points["reference"], held_out=few)),
        }
        with pytest.raises(LackingError, match=f"at least {size} .*; {size - 1} are given"):
            metric(*wrong[part])


def test_what_a_metric_may_declare():
    for wrong in ({"needs": {"labels"}}, {"least": {"features": 3}}):
        with pytest.raises(ValueError, match="needs are of features, head, held_out, least of"):
            Metric(builtin.fd.compute, {"fd": "smaller"}, **wrong)


def test_memorisation_lacks():
    x = FeatureSet(normal(0, 120, 3))
    with pytest.raises(LackingError, match="the reference has none"):
        builtin.memorisation(x, x)
    with pytest.raises(LackingError, match="needs at least 100 held-out images; 99 are given"):
        builtin.memorisation(x, FeatureSet(normal(1, 50, 3), held_out=FeatureSet(normal(2, 99, 3))))
    same = np.ones((120, 3))
    assert memorisation(same, same, same) == (1, 0.5, 0)


def test_bootstrap_finds_the_deviation():
    """Of FD from sets of 300 in 4 dimensions, well above 0, and of the Inception Score."""
    reference = FeatureSet(normal(0, 2000, 4))
    many = [frechet_distance(normal(seed, 300, 4) + 0.5, reference) for seed in range(1, 200)]
    found = [
        bootstrap(fd, normal(seed, 300, 4) + 0.5, reference, draws=50, seed=seed)["fd"]
        for seed in range(300, 330)
    ]
    assert np.mean([one.error for one in found]) == pytest.approx(np.std(many), rel=0.15)
    assert np.mean([one.low < np.mean(many) < one.high for one in found]) >= 0.8
    one = FeatureSet(normal(1, 300, 4), head=lambda x: 2 * x)
    scores = bootstrap(builtin.inception_score, one, reference, draws=50)
    assert scores["is"].value == builtin.inception_score(one, reference)["is"]
    assert 0 < scores["is"].error < 0.3


def test_bootstrap_is_not_too_narrow_without_a_distance():
    reference = FeatureSet(normal(0, 2000, 4))
    many = [frechet_distance(normal(seed, 300, 4), reference) for seed in range(1, 200)]
    error = bootstrap(fd, normal(200, 300, 4), reference)["fd"].error
    assert np.std(many) < error < 3 * np.std(many)


def test_bootstrap_of_memorisation():
    train, held_out, x = normal(0, 3, 200, 3)
    reference = FeatureSet(train, held_out=FeatureSet(held_out))
    found = bootstrap(builtin.memorisation, x, reference)
    plain = memorisation(x, train, held_out)
    assert [one.value for one in found.values()] == pytest.approx(plain)
    assert 0.01 < found["copy_auc"].error < 0.04
    again = bootstrap(builtin.memorisation, x, reference)
    assert again == found != bootstrap(builtin.memorisation, x, reference, seed=1)


@pytest.mark.parametrize("metric", [kid, builtin.precision_recall, builtin.cmmd])
def test_bootstrap_refuses_metrics_of_pairs(metric):
    x = normal(0, 20, 3)
    with pytest.raises(LackingError, match="would not give the error"):
        bootstrap(metric, x, x)
    with pytest.raises(ValueError, match="draws is 1"):
        bootstrap(fd, x, x, draws=1)

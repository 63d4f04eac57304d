"""Metrics at the sizes of published scores, against the usual tools on the same features.

FD is timed with its statistics, of 50,000 x 2048 float32 features, against stored moments; what
torch-fidelity and clean-fid compute for that is NumPy's mean and covariance and a matrix root.
"""

import functools
import time
from collections.abc import Callable

import numpy as np
import pytest

from fidelity_oracle import torchvision
from measure import peak_rss
from samplerzoo.metrics import FeatureSet, distance_of_moments, precision_recall

pytestmark = pytest.mark.benchmark(group="metric against other tools")
WIDTH = 2048
GIGABYTE = 1000  # in the megabytes of peak_rss


@functools.cache
def features(n: int, seed: int) -> np.ndarray:
    """Positive and correlated, as Inception's are."""
    draw = np.random.default_rng(seed)
    x = np.empty((n, WIDTH), np.float32)
    mix = np.random.default_rng(99).normal(size=(64, WIDTH)).astype(np.float32)
    for part in np.array_split(x, 50):
        part[:] = 0.1 * draw.standard_normal((len(part), 64), np.float32) @ mix
        part += 0.1 * draw.standard_normal(part.shape, np.float32) + 0.3 + 0.02 * seed
        np.maximum(part, 0, out=part)
    return x


def compare(benchmark, metric: str, sides: dict[str, Callable]) -> tuple[dict, dict]:
    """What each side finds, and the megabytes that it takes at most; its seconds are reported.

    Ours, which the benchmark reports, is called before and after the others, and its mean taken:
    the machine's load changes.
    """
    found, seconds = {}, {name: [] for name in sides}

    def call(name):
        begin = time.perf_counter()
        found[name] = sides[name]()
        seconds[name].append(time.perf_counter() - begin)

    peaks = {name: peak_rss(lambda name=name: call(name)) for name in sides}
    benchmark.pedantic(lambda: call("ours"), rounds=1)
    means = {name: float(np.mean(times)) for name, times in seconds.items()}
    benchmark.extra_info["metric"] = metric
    for name, peak in peaks.items():
        benchmark.extra_info |= {f"{name}_seconds": means[name], f"{name}_megabytes": peak}
    return found, peaks


def test_fd(benchmark):
    """The same distance, in a third of a gigabyte beside the features."""
    with torchvision():
        fidelity = pytest.importorskip("torch_fidelity.metric_fid")
        clean = pytest.importorskip("cleanfid.fid")
    x, known = features(50_000, 0), FeatureSet(features(10_000, 1)).moments

    def statistics():
        return x.mean(0), np.cov(x, rowvar=False)

    def torch_fidelity():
        mean, covariance = statistics()
        one = {"mu": mean, "sigma": covariance}
        two = {"mu": known.mean.astype(mean.dtype), "sigma": known.covariance}
        return fidelity.fid_statistics_to_metric(one, two, False)["frechet_inception_distance"]

    sides = {
        "ours": lambda: distance_of_moments(FeatureSet(x).moments, known),
        "torch_fidelity": torch_fidelity,
        "clean_fid": lambda: clean.frechet_distance(*statistics(), known.mean, known.covariance),
    }
    found, peaks = compare(benchmark, "FD with statistics, 50,000 x 2048", sides)
    assert found["ours"] == pytest.approx(found["torch_fidelity"], rel=1e-5)
    assert found["ours"] == pytest.approx(found["clean_fid"], rel=1e-5)
    assert peaks["ours"] is None or peaks["ours"] < GIGABYTE / 3


def test_precision_recall(benchmark):
    """10,000 images each, in less than 2 gigabytes."""
    torch = pytest.importorskip("torch")
    with torchvision():
        fidelity = pytest.importorskip("torch_fidelity.metric_prc")
    x, y = features(10_000, 0), features(10_000, 1)
    tensors = [torch.from_numpy(z) for z in (x, y)]
    sides = {
        "ours": lambda: precision_recall(x, y),
        "torch_fidelity": lambda: fidelity.calculate_precision_recall_full(*tensors),
    }
    found, peaks = compare(benchmark, "precision and recall, 10,000 x 10,000 x 2048", sides)
    assert found["ours"] == pytest.approx(found["torch_fidelity"], abs=5e-4)
    assert peaks["ours"] is None or peaks["ours"] < 2 * GIGABYTE

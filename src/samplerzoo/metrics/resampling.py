"""Standard errors of scores by resampling the samples (Efron 1979)."""

import numpy as np

from .checks import LackingError
from .intervals import Interval, normal_interval
from .metric import Metric
from .sets import Points, pair


def bootstrap(
    metric: Metric, samples: Points, reference: Points, draws: int = 100, seed: int = 0
) -> dict[str, Interval]:
    """Compute a metric with the standard error that the choice of the samples gives it.

    The samples are drawn again with replacement from the features that are there; the reference
    stays. The interval lies around the score, not at the draws' percentiles: a draw repeats
    samples, which biases FD upward a second time. So for FD it is an interval of the expected score
    at this number of samples, which is itself above that of infinitely many, and where little but
    this bias is left of the score, the error is up to twice too large.

    Args:
        metric: A metric that resampling suits: FD and the Inception Score, not those of pairs or
            neighbours.
        samples: The samples' features (N, d), or a FeatureSet.
        reference: The data's features (M, d), or a FeatureSet.
        draws: How many times the samples are drawn, at least 2.
        seed: The seed of the draws.

    Returns:
        For each column its value, standard error, and 95% interval: 1.96 errors to each side.

    Raises:
        ValueError: The metric is of pairs or neighbours of samples, where a repeated sample is a
            pair or a neighbour of its own and the draws say nothing of the error: KID has its own
            (`kid_se`), for the others take several seeds. Or there are too few draws.

    Source:
        Efron 1979 (Annals of Statistics 7).
    """
    if metric.resample is None:
        raise LackingError(
            f"A bootstrap of {', '.join(metric.better)} would not give the error: repeated samples "
            "are pairs or neighbours of themselves. Take kid, which has its own error, or "
            "several seeds."
        )
    if draws < 2:
        raise ValueError(f"draws is {draws}; it must be at least 2.")
    left, right = pair(samples, reference)
    whole = metric(left, right)
    random, n = np.random.default_rng(seed), len(left.features)
    again = metric.resample(left, right)
    found = [again(random.integers(n, size=n)) for _ in range(draws)]
    errors = [float(np.std([one[name] for one in found], ddof=1)) for name in whole]
    return {
        name: normal_interval(value, error)
        for (name, value), error in zip(whole.items(), errors, strict=True)
    }

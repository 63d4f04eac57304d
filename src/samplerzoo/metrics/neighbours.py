"""Precision and recall, density and coverage: metrics of balls around nearest neighbours."""

import numpy as np

from .checks import Lacking
from .nearest import inside, radii
from .sets import FeatureSet, Points, pair


def precision_recall(x: Points, y: Points, k: int = 3) -> tuple[float, float]:
    """The share of samples `x` in the reference's manifold and of the reference `y` in theirs.

    A set's manifold is the union of closed balls around its points, each reaching to its `k`-th
    nearest other point (Kynkaanniemi et al. 2019). Both depend on the numbers of points: compare
    only scores of equal numbers.
    """
    x, y = _checked(x, y, k)
    limits = y.once(radii, k)[None, :], x.once(radii, k)[:, None]
    of_reference, of_samples = inside(x.features, y.features, limits, closed=True)
    return float(np.mean(of_reference[0] > 0)), float(np.mean(of_samples[1] > 0))


def density_coverage(x: Points, y: Points, k: int = 5) -> tuple[float, float]:
    """How many of the reference's balls hold a sample, over `k`, and the share that holds any.

    The balls are open and reach to the `k`-th nearest other point (Naeem et al. 2020). Where both
    distributions are equal, and the numbers of points, density is 1 on average and coverage about
    `1 - 2^-k`; density can be above 1.
    """
    x, y = _checked(x, y, k)
    limits = (y.once(radii, k)[None, :],)
    ((balls, holds),) = inside(x.features, y.features, limits, closed=False)
    return float(np.mean(balls) / k), float(np.mean(holds > 0))


def _checked(x: Points, y: Points, k: int) -> tuple[FeatureSet, FeatureSet]:
    x, y = pair(x, y)
    n = min(len(x.features), len(y.features))
    if not 1 <= k < n:
        raise Lacking(f"k is {k} and the smaller set has {n} images; k must lie in 1..{n - 1}.")
    return x, y

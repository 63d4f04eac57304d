"""Precision and recall, density and coverage: metrics of balls around nearest neighbours."""

import numpy as np

from .checks import LackingError
from .nearest_points import inside, radii
from .sets import FeatureSet, Points, pair


def precision_recall(x: Points, y: Points, k: int = 3) -> tuple[float, float]:
    """Compute the shares of samples in the data's manifold and of data in the samples'.

    A set's manifold is the union of closed balls around its points, each reaching to its `k`-th
    nearest other point. Both depend on the numbers of points: compare only scores of equal numbers.

    Args:
        x: The samples' features (N, d), or a FeatureSet.
        y: The data's features (M, d), or a FeatureSet.
        k: Which neighbour a ball reaches to, from 1 to the smaller set's number less 1.

    Returns:
        The precision and the recall, each in [0, 1].

    Raises:
        ValueError: The sets differ in d, or k is too large.

    Source:
        Kynkaanniemi et al. 2019 (arXiv 1904.06991), eq. 1 and 2.
    """
    x, y = _checked(x, y, k)
    limits = y.once(radii, k)[None, :], x.once(radii, k)[:, None]
    of_reference, of_samples = inside(x.features, y.features, limits, closed=True)
    return float(np.mean(of_reference[0] > 0)), float(np.mean(of_samples[1] > 0))


def density_coverage(x: Points, y: Points, k: int = 5) -> tuple[float, float]:
    """Compute the density of samples among the data, and how much of the data they cover.

    Density is the number of the data's balls that a sample lies in, over `k`, on average; coverage
    is the share of balls that hold a sample.

    The balls are open and reach to the `k`-th nearest other point. Where both distributions are
    equal, and the numbers of points, density is 1 on average and coverage about `1 - 2^-k`; density
    can be above 1.

    Args:
        x: The samples' features (N, d), or a FeatureSet.
        y: The data's features (M, d), or a FeatureSet.
        k: Which neighbour a ball reaches to, from 1 to the smaller set's number less 1.

    Returns:
        The density and the coverage.

    Raises:
        ValueError: The sets differ in d, or k is too large.

    Source:
        Naeem et al. 2020 (arXiv 2002.09797).
    """
    x, y = _checked(x, y, k)
    limits = (y.once(radii, k)[None, :],)
    ((balls, holds),) = inside(x.features, y.features, limits, closed=False)
    return float(np.mean(balls) / k), float(np.mean(holds > 0))


def _checked(x: Points, y: Points, k: int) -> tuple[FeatureSet, FeatureSet]:
    x, y = pair(x, y)
    n = min(len(x.features), len(y.features))
    if not 1 <= k < n:
        raise LackingError(
            f"k is {k} and the smaller set has {n} images; k must lie in 1..{n - 1}."
        )
    return x, y

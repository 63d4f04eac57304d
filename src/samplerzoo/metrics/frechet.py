"""The Fréchet distance between Gaussians fitted to features (Heusel et al. 2017)."""

import numpy as np
import scipy.linalg
from jaxtyping import Float

from .moments import Moments
from .sets import Points, pair


def frechet_distance(x: Points, y: Points) -> float:
    """Compute the Fréchet distance of two sets: the FID, where features are Inception's.

    That of Gaussians fitted to both, `|m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^{1/2})`. It is
    biased: its expectation falls with the number of points. Compare only scores of equal numbers.

    Args:
        x: The samples' features (N, d), or a FeatureSet.
        y: The data's features (M, d), or a FeatureSet.

    Returns:
        The distance, at least 0 to rounding.

    Raises:
        ValueError: The sets differ in d.

    Source:
        Heusel et al. 2017 (arXiv 1706.08500), eq. 6.
    """
    left, right = pair(x, y)
    return distance_of_moments(left.moments, right.moments)


def distance_of_moments(x: Moments, y: Moments) -> float:
    """The Fréchet distance of two Gaussians, exact for singular covariances too."""
    gap = x.mean - y.mean
    # tr (C_x C_y)^{1/2} is the nuclear norm of A'B for any factors C_x = A A' and C_y = B B'.
    cross = np.sum(scipy.linalg.svdvals(_factor(x.covariance).T @ _factor(y.covariance)))
    return float(gap @ gap + np.trace(x.covariance) + np.trace(y.covariance) - 2 * cross)


def _factor(covariance: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d r"]:
    """A matrix `A` with `A A' = covariance`, of as many columns as the covariance has rank."""
    (cholesky,) = scipy.linalg.get_lapack_funcs(("pstrf",), (covariance,))
    lower, pivots, rank, _ = cholesky(covariance, lower=1)
    factor = np.empty((len(covariance), rank))
    factor[pivots - 1] = np.tril(lower)[:, :rank]
    return factor

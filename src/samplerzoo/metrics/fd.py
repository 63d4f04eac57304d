"""The Fréchet distance between Gaussians fitted to features (Heusel et al. 2017)."""

import numpy as np
import scipy.linalg
from jaxtyping import ArrayLike, Float

from ._check import check_features


def frechet_distance(x: Float[ArrayLike, "N d"], y: Float[ArrayLike, "M d"]) -> float:
    """`|m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^{1/2})`; with Inception features, the FID."""
    x, y = check_features(x), check_features(y)
    gap = x.mean(0) - y.mean(0)
    left, right = np.atleast_2d(np.cov(x, rowvar=False)), np.atleast_2d(np.cov(y, rowvar=False))
    # tr (C_x C_y)^{1/2} is the nuclear norm of C_x^{1/2} C_y^{1/2}, exact for singular C too.
    cross = np.sum(scipy.linalg.svdvals(_root(left) @ _root(right)))
    return float(gap @ gap + np.trace(left) + np.trace(right) - 2 * cross)


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = scipy.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T

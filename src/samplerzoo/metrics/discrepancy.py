"""The CLIP maximum mean discrepancy (CMMD, Jayasumana et al. 2024)."""

import numpy as np
from jaxtyping import Float

from .checks import pieces
from .sets import Points, pair

SIGMA, SCALE = 10.0, 1000.0
BLOCK = 2048


def cmmd(x: Points, y: Points) -> float:
    """Compute the CLIP maximum mean discrepancy (CMMD).

    It is 1000 times the biased squared MMD with `exp(-|x - y|^2 / 200)` on features of length 1.
    The published metric takes embeddings of CLIP's ViT-L/14 at 336 pixels; with others the number
    is another one.

    Args:
        x: The samples' features (N, d), or a FeatureSet.
        y: The data's features (M, d), or a FeatureSet.

    Returns:
        The distance, at least 0 to rounding.

    Raises:
        ValueError: The sets differ in d, or all features of an image are 0.

    Source:
        Jayasumana et al. 2024 (arXiv 2401.09603).
    """
    x, y = pair(x, y)
    across = _mean(_unit(x.features), _unit(y.features))
    return SCALE * (x.once(_within) + y.once(_within) - 2 * across)


def _within(x: Float[np.ndarray, "N d"]) -> float:
    unit = _unit(x)
    return _mean(unit, unit)


def _unit(x: Float[np.ndarray, "N d"]) -> Float[np.ndarray, "N d"]:
    """The features of each image divided by their norm."""
    norms = np.concatenate([np.linalg.norm(p.astype(np.float64), axis=1) for p in pieces(x)])
    if not np.all(norms > 0):
        raise ValueError("All features of an image are 0; they have no direction to compare.")
    return x / norms[:, None]


def _mean(x: Float[np.ndarray, "N d"], y: Float[np.ndarray, "M d"]) -> float:
    """The mean of the kernel less 1, a constant that the distance does not feel."""
    total = 0.0
    for i in range(0, len(x), BLOCK):
        for j in range(0, len(y), BLOCK):
            cosines = x[i : i + BLOCK] @ y[j : j + BLOCK].T
            total += float(np.sum(np.expm1((cosines - 1) / SIGMA**2)))
    return total / (len(x) * len(y))

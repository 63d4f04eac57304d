"""What every metric asks of features."""

import numpy as np
from jaxtyping import ArrayLike, Float

MOMENTS_ONLY = (
    "Only the mean and the covariance of the reference's features are known; this needs the "
    "features of each image."
)
CHUNK = 2**23  # numbers that are in float64 at a time: 64 MiB


class LackingError(ValueError):
    """A metric needs something that a set does not have, such as features or logits."""


def check_features(x: Float[ArrayLike, "N d"]) -> Float[np.ndarray, "N d"]:
    """Features as they are if in float32 or float64, else in float64; memory maps stay maps.

    Raises ValueError where there are fewer than two or some are not finite.
    """
    x = np.asarray(x)
    if x.dtype not in (np.float32, np.float64):
        x = x.astype(np.float64)
    if x.ndim != 2 or len(x) < 2 or x.shape[1] < 1 or not all(map(_finite, pieces(x))):
        raise ValueError(
            f"Features of shape {x.shape} are given; (N, d) with N of at least 2 is needed, and "
            "finite numbers."
        )
    return x


def pieces(x: Float[np.ndarray, "N d"]) -> list[Float[np.ndarray, "n d"]]:
    """The rows of an array in parts small enough to be held in float64."""
    size = max(1, CHUNK // x.shape[1])
    return [x[start : start + size] for start in range(0, len(x), size)]


def _finite(x: np.ndarray) -> bool:
    return bool(np.all(np.isfinite(x)))

"""What every metric asks of features."""

import numpy as np
from jaxtyping import ArrayLike, Float


def check_features(x: Float[ArrayLike, "N d"]) -> Float[np.ndarray, "N d"]:
    """Features in float64; a ValueError where there are fewer than two or some are not finite."""
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or len(x) < 2 or not np.all(np.isfinite(x)):
        raise ValueError(
            f"Features of shape {x.shape} are given; (N, d) with N of at least 2 is needed, and "
            "finite numbers."
        )
    return x

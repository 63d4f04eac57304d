"""The kernel distance (KID, Binkowski et al. 2018) between two sets of features."""

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Float

from ..kernels import Polynomial, mmd
from ._check import check_features


def kernel_distance(x: Float[ArrayLike, "N d"], y: Float[ArrayLike, "M d"]) -> float:
    """The unbiased squared MMD with the kernel `(x . y / d + 1)^3`; can be negative."""
    x, y = check_features(x), check_features(y)
    with jax.enable_x64(True):
        return float(jax.jit(mmd, static_argnums=0)(Polynomial(), jnp.asarray(x), jnp.asarray(y)))

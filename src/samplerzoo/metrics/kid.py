"""The kernel distance (KID, Binkowski et al. 2018) between two sets of features."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from ..kernels import Polynomial, mmd


def kernel_distance(x: Float[ArrayLike, "N d"], y: Float[ArrayLike, "M d"]) -> float:
    """The unbiased squared MMD with the kernel `(x . y / d + 1)^3`; can be negative."""
    with jax.enable_x64(True):
        x, y = jnp.asarray(np.asarray(x, np.float64)), jnp.asarray(np.asarray(y, np.float64))
        return float(jax.jit(mmd, static_argnums=0)(Polynomial(), x, y))

"""Features of many samples."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..compiling import jit


def extract(
    features: Callable[[Array], Array], images: Float[ArrayLike, "M ..."], batch: int = 500
) -> Float[np.ndarray, "M d"]:
    """Features of many images, a batch at a time."""
    images = np.asarray(images)
    apply = jit(lambda phi, x: jax.vmap(phi)(x))
    size = min(batch, len(images))
    chunks = []
    for start in range(0, len(images), size):
        chunk = images[start : start + size]
        padded = np.concatenate([chunk, np.repeat(chunk[-1:], size - len(chunk), axis=0)])
        chunks.append(np.asarray(apply(features, jnp.asarray(padded)))[: len(chunk)])
    return np.concatenate(chunks)

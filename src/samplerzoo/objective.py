"""What a search minimises: the kernel distance between features of samples and of data."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ._types import Scalar
from .kernels import AbstractKernel, across, within


class Objective(eqx.Module):
    """KID of a batch of samples against a fixed reference (DDSS, section 3).

    `mean_{i != j} k(x'_i, x'_j) - 2 mean_{ij} k(x'_i, x_j) + mean_{i != j} k(x_i, x_j)` on
    features `phi(x)`; the last term is a constant, kept so that the number is a KID. With
    `unbiased=False` the means run over all pairs.
    """

    features: Callable[[Array], Array]
    kernel: AbstractKernel
    reference: Float[Array, "M d"]
    constant: Scalar
    unbiased: bool = eqx.field(static=True)

    def __init__(
        self,
        features: Callable[[Array], Array],
        kernel: AbstractKernel,
        reference: Float[ArrayLike, "M d"],
        unbiased: bool = True,
    ):
        """`features` maps one sample to (d,); `reference` holds the features of the data."""
        reference = jnp.asarray(reference)
        self.features, self.kernel, self.unbiased = features, kernel, unbiased
        self.reference = kernel.condense(reference)
        self.constant = eqx.filter_jit(within)(kernel, reference, unbiased)

    def __call__(self, samples: Float[Array, "N ..."]) -> Scalar:
        """The distance of a batch of at least two samples."""
        features = jax.vmap(self.features)(samples)
        fit = across(self.kernel, features, self.reference)
        return within(self.kernel, features, self.unbiased) - 2 * fit + self.constant


def extract(
    features: Callable[[Array], Array], images: Float[ArrayLike, "M ..."], batch: int = 500
) -> Float[np.ndarray, "M d"]:
    """Features of many images, a batch at a time."""
    images = np.asarray(images)
    apply = eqx.filter_jit(lambda phi, x: jax.vmap(phi)(x))
    size = min(batch, len(images))
    chunks = []
    for start in range(0, len(images), size):
        chunk = images[start : start + size]
        padded = np.concatenate([chunk, np.repeat(chunk[-1:], size - len(chunk), axis=0)])
        chunks.append(np.asarray(apply(features, jnp.asarray(padded)))[: len(chunk)])
    return np.concatenate(chunks)

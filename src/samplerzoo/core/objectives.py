"""What a search minimises: the kernel distance between features of samples and of data."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .kernels import AbstractKernel, across, within
from .types import Scalar


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
        return self.distance(jax.vmap(self.features)(samples))

    def distance(self, features: Float[Array, "N d"]) -> Scalar:
        """The distance of a batch of which the features are known."""
        fit = across(self.kernel, features, self.reference)
        return within(self.kernel, features, self.unbiased) - 2 * fit + self.constant

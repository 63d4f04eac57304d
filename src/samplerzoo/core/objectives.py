"""What a search minimises: the kernel distance between features of samples and of data."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .kernels import AbstractKernel, across, within
from .types import Scalar


class Objective(eqx.Module):
    """Measure how far a batch of samples is from the data: the KID that a search minimises.

    `mean_{i != j} k(x'_i, x'_j) - 2 mean_{ij} k(x'_i, x_j) + mean_{i != j} k(x_i, x_j)` on features
    `phi(x)`; the last term is a constant, kept so that the number is a KID.

    Args:
        features: The extractor `phi`: a function from one sample to a vector (d,).
        kernel: The kernel `k` between such vectors.
        reference: The features of the data, (M, d), at least two.
        unbiased: Leave out the pairs of a sample with itself; if not, the means run over all pairs.

    Source:
        Watson et al. 2022 (arXiv 2202.05830), section 3.
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
        reference = jnp.asarray(reference)
        self.features, self.kernel, self.unbiased = features, kernel, unbiased
        self.reference = kernel.condense(reference)
        self.constant = eqx.filter_jit(within)(kernel, reference, unbiased)

    def __call__(self, samples: Float[Array, "N ..."]) -> Scalar:
        """Compute the distance of a batch of samples.

        Args:
            samples: N samples, at least two.

        Returns:
            The distance, a scalar; unbiased, it can be negative.
        """
        return self.distance(jax.vmap(self.features)(samples))

    def distance(self, features: Float[Array, "N d"]) -> Scalar:
        """Compute the distance of a batch of which the features are known.

        Args:
            features: The features of N samples, (N, d).

        Returns:
            The distance, a scalar; unbiased, it can be negative.
        """
        fit = across(self.kernel, features, self.reference)
        return within(self.kernel, features, self.unbiased) - 2 * fit + self.constant

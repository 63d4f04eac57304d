"""The kernel distance between features of samples and of data."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from ..kernels import AbstractKernel, across, within
from ..types import Scalar, State
from .objective import AbstractObjective


class KID(AbstractObjective):
    """Measure how far a batch of samples is from the data by a kernel on features, as DDSS does.

    `mean_{i != j} k(x'_i, x'_j) - 2 mean_{ij} k(x'_i, x_j) + mean_{i != j} k(x_i, x_j)` on features
    `phi(x)`; the last term is a constant, kept so that the number is a KID.

    Args:
        phi: The extractor: a function from one sample to a vector (d,).
        kernel: The kernel `k` between such vectors.
        reference: The features of the data, (M, d), at least two.
        unbiased: Leave out the pairs of a sample with itself; if not, the means run over all pairs.

    Source:
        Watson et al. 2022 (arXiv 2202.05830), section 3.
    """

    phi: Callable[[Array], Array]
    kernel: AbstractKernel
    reference: Float[Array, "M d"]
    constant: Scalar
    unbiased: bool = eqx.field(static=True)

    def __init__(
        self,
        phi: Callable[[Array], Array],
        kernel: AbstractKernel,
        reference: Float[ArrayLike, "M d"],
        unbiased: bool = True,
    ):
        reference = jnp.asarray(reference)
        self.phi = phi
        self.kernel = kernel
        self.unbiased = unbiased
        self.reference = kernel.condense(reference)
        self.constant = eqx.filter_jit(within)(kernel, reference, unbiased)

    def features(self, sample: State, index: Int[Array, ""]) -> Float[Array, "d"]:
        return self.phi(sample)

    def distance(self, features: Float[Array, "N d"]) -> Scalar:
        fit = across(self.kernel, features, self.reference)
        return within(self.kernel, features, self.unbiased) - 2 * fit + self.constant

    def __call__(self, samples: Float[Array, "N ..."]) -> Scalar:
        """Compute the distance of a batch of samples.

        Args:
            samples: N samples, at least two.

        Returns:
            The distance, a scalar; unbiased, it can be negative.
        """
        return self.distance(jax.vmap(self.phi)(samples))

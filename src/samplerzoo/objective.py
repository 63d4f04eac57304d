"""What a search minimises: the kernel distance between features of samples and of data."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._types import Key, Scalar
from .engine import begin, pull_back, run_keeping
from .kernels import AbstractKernel, across, within
from .model import DiffusionModel
from .table import StepTable


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


def value_and_slope(
    objective: Objective,
    table: StepTable,
    model: DiffusionModel,
    key: Key,
    batch: int,
    microbatch: int,
) -> tuple[Scalar, StepTable]:
    """The distance of samples 0..batch-1 of `key`, and its exact derivative in the table.

    The batch goes through the network `microbatch` samples at a time, twice: first all features,
    then the distance and its derivative in them, then back through the states kept. `microbatch`
    must divide `batch`. Beside one micro-batch's work, the K states of every sample are stored.
    """
    if batch % microbatch:
        raise ValueError(f"microbatch is {microbatch}; it must divide the batch, {batch}.")
    chunks = jnp.arange(batch).reshape(-1, microbatch)

    def forth(index):
        return run_keeping(table, model, *begin(table, model, key, index))

    samples, states = jax.lax.map(jax.vmap(forth), chunks)
    features = jax.lax.map(jax.vmap(objective.features), samples)
    value, slope = jax.value_and_grad(objective.distance)(features.reshape(batch, -1))

    def back(index, sample, states, slope):
        (out,) = jax.vjp(objective.features, sample)[1](slope)
        return pull_back(table, model, states, jax.random.fold_in(key, index), out)

    def step(total, chunk):
        return jax.tree.map(lambda a, b: a + jnp.sum(b, 0), total, jax.vmap(back)(*chunk)), None

    zero = jax.tree.map(jnp.zeros_like, table)
    slopes = slope.reshape(features.shape)
    return value, jax.lax.scan(step, zero, (chunks, samples, states, slopes))[0]

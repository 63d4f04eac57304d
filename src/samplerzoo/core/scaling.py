"""Weights of a sum of objectives, in units of what each is worth at the start."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from .compiling import jit
from .devices import device_put, replicate
from .loss import batch_features
from .model import DiffusionModel
from .objectives import Sum
from .table import StepTable
from .types import Key

BATCHES = 4  # from which the values at the start are estimated


def scaled(
    total: Sum,
    table: StepTable,
    model: DiffusionModel,
    key: Key,
    batch: int,
    microbatch: int | None = None,
    mesh: Mesh | None = None,
) -> Sum:
    """Divide the weight of each term of a sum by the term's value at the start of a search.

    So weights compare terms of different units. A value is the mean over a few batches, or their
    standard deviation where that is greater, since less than that a step cannot see.

    Args:
        total: The sum.
        table: The sampler at the start.
        model: The frozen model.
        key: What the batches are drawn from.
        batch: Samples a batch, as in the search.
        microbatch: The most samples that a device takes through the network at a time.
        mesh: The devices over which a batch is sharded.

    Returns:
        The sum with other weights, whose value at the start is about the sum of the weights given.

    Raises:
        ValueError: A term is not finite at the start, or `microbatch` is below 1.
    """

    def values(total, table, model, key):
        found = batch_features(table, model, total, key, batch, microbatch, mesh)
        return replicate(total.values(found), mesh)

    compute = jit(values)
    keys = [jax.random.fold_in(key, n) for n in range(BATCHES)]
    fixed = device_put((total, table, model), mesh)
    found = jnp.stack([compute(*fixed, device_put(key, mesh)) for key in keys])
    size = jnp.maximum(jnp.abs(jnp.mean(found, axis=0)), jnp.std(found, axis=0))
    if not bool(jnp.all(jnp.isfinite(size))):
        raise ValueError("An objective is not finite for the sampler that the search starts from.")
    weights = total.weights / jnp.where(size > 0, size, 1)
    return eqx.tree_at(lambda each: each.weights, total, weights)

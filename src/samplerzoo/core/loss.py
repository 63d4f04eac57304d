"""What a search differentiates: an objective of a batch, a part of the batch at a time.

An objective such as KID is a statistic of the whole batch, so the gradients of parts do not add up
by themselves. The loss is therefore written as it is: the features of all samples, a micro-batch
after the other, then the distance of all features. Its derivative keeps the states that the
networks saw, and goes back through one micro-batch at a time: K forwards and, since nothing is
searched in the first answer, K - 1 recomputations and K - 1 input-gradients a sample.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from .devices import cut_batch, replicate, shard
from .engine import run_from_noise
from .model import DiffusionModel
from .objectives import AbstractObjective, choose
from .table import StepTable
from .types import Key, Scalar


def batch_loss(
    table: StepTable,
    model: DiffusionModel,
    objective: AbstractObjective,
    key: Key,
    batch: int,
    microbatch: int | None = None,
    mesh: Mesh | None = None,
) -> Scalar:
    """Compute the objective of a batch of samples, to be differentiated.

    `jax.value_and_grad` of it is exact whatever the micro-batches and devices, with the memory of
    one micro-batch beside K states of every sample.

    Args:
        table: The sampler; its first time is held fixed, and has a derivative of 0.
        model: The frozen model.
        objective: What is minimised.
        key: What the batch is drawn from: samples 0 to `batch - 1` of its series, or of the
            objective's pool where it has one.
        batch: How many samples.
        microbatch: The most samples that a device takes through the network at a time; by default
            all of its share.
        mesh: The devices over which the batch is sharded.

    Returns:
        The objective's value.

    Raises:
        ValueError: `microbatch` is below 1, or the objective's pool is smaller than the batch.
    """
    series, chosen = choose(objective, key, batch)
    parts, size = cut_batch(batch, microbatch, mesh)
    # The last part is filled up with samples seen before, whose features are then left out.
    indices = chosen[jnp.arange(parts * size) % batch]
    features = eqx.filter_checkpoint(objective.features, prevent_cse=False)

    def one(index):
        return features(run_from_noise(table, model, series, index), index)

    cut = shard(indices.reshape(parts, size), mesh, axis=1)
    found = jax.lax.map(jax.vmap(one), cut)
    found = jax.tree.map(lambda each: each.reshape(parts * size, *each.shape[2:]), found)
    return objective.distance(jax.tree.map(lambda each: each[:batch], replicate(found, mesh)))

"""The only sampling loop: run a StepTable on a DiffusionModel, with exact gradients.

Memory for a gradient is one state a step (and two more for a sampler that reaches all its past):
each row is one checkpoint, whose network, estimates and fresh noise are made again on the way
back. States reached by several rows are carried as sums in progress, never as a history.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._types import Key, State
from .model import DiffusionModel
from .table import StepTable


def draw(key: Key, n: Int[Array, ""] | int, shape: tuple[int, ...]) -> State:
    """The noise that a sample with this key meets at state `x_n`: `n = 0` is where it starts."""
    return jax.random.normal(jax.random.fold_in(key, n), shape)


def run(table: StepTable, model: DiffusionModel, x: State, key: Key) -> State:
    """One sample: from the state `x` at the first time through all rows of the table."""

    @eqx.filter_checkpoint
    def push(x, key, time, clean, noise, fresh, n):
        """What row n adds to the next `depth` states, (depth, *shape)."""
        x0, eps = model(x, time)
        added = jnp.multiply.outer(clean, x0) + jnp.multiply.outer(noise, eps)
        return added.at[0].add(fresh * draw(key, n, x.shape))

    def step(carry, row):
        x, pending = carry
        sums = push(x, key, *row)
        sums = sums.at[:-1].add(pending)
        return (sums[0], sums[1:]), None

    rows = (table.times, table.clean, table.noise, table.fresh, jnp.arange(1, table.nfe + 1))
    pending = jnp.zeros((table.depth - 1, *x.shape), x.dtype)
    (x, _), _ = jax.lax.scan(step, (x, pending), rows)
    return x


def sample(
    table: StepTable, model: DiffusionModel, key: Key, indices: Int[Array, "N"]
) -> Float[Array, "N ..."]:
    """Samples number `indices` of the endless series that `key` stands for, (N, *model.shape).

    Every sample draws from its own key, so a sample does not depend on those computed beside it.
    """
    schedule = model.schedule
    spread = schedule.sigma(jnp.asarray(schedule.t_max, table.times.dtype))

    def one(index):
        own = jax.random.fold_in(key, index)
        return run(table, model, spread * draw(own, 0, model.shape), own)

    return jax.vmap(one)(indices)

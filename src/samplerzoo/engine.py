"""The only sampling loop: run a StepTable on a DiffusionModel, with exact gradients.

Memory for a gradient is one state a step (and two more for a sampler that reaches all its past):
each row is one checkpoint, whose network, estimates and fresh noise are made again on the way
back. States reached by several rows are carried as sums in progress, never as a history.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from ._types import Key, State
from .model import DiffusionModel
from .table import StepTable


def draw(
    key: Key, n: Int[Array, ""] | int, shape: tuple[int, ...], dtype: DTypeLike = float
) -> State:
    """The noise that a sample with this key meets at state `x_n`: `n = 0` is where it starts."""
    return jax.random.normal(jax.random.fold_in(key, n), shape, dtype)


def run(table: StepTable, model: DiffusionModel, x: State, key: Key) -> State:
    """One sample: from the state `x` at the first time through all rows of the table."""
    steps, depth = table.nfe, table.depth
    # The states in progress lie in a ring: x_{n+1+d} in slot (n + d) mod depth. It is the small
    # rows that turn, so that the states stay where they are and are updated in place.
    turn = (jnp.arange(depth)[None, :] - jnp.arange(steps)[:, None]) % depth
    inside = jnp.arange(depth)[None, :] < steps - jnp.arange(steps)[:, None]
    clean, noise = (
        jnp.take_along_axis(jnp.where(inside, c, 0), turn, 1) for c in (table.clean, table.noise)
    )

    @functools.partial(eqx.filter_checkpoint, prevent_cse=False)
    def advance(x, sums, n, keep, time, clean, noise, fresh):
        x0, eps = model(x, time)
        slot = n % depth
        x = sums[slot] * keep[slot] + clean[slot] * x0 + noise[slot] * eps
        sums = sums * keep.reshape(-1, *(1,) * x.ndim)
        sums = sums + jnp.multiply.outer(clean, x0) + jnp.multiply.outer(noise, eps)
        return x + fresh * draw(key, n + 1, x.shape, x.dtype), sums

    def step(carry, row):
        return advance(*carry, *row), None

    # Before row n writes to it, the slot of x_n is emptied; all are before the first row, so
    # that they may start with anything.
    keep = ((turn != depth - 1) & (jnp.arange(steps) > 0)[:, None]).astype(x.dtype)
    rows = (jnp.arange(steps), keep, table.times, clean, noise, table.fresh)
    sums = jnp.broadcast_to(x, (depth, *x.shape))
    (x, sums), _ = jax.lax.scan(step, (x, sums), rows)
    # The sum keeps XLA from laying out the cotangent of `sums`, else a constant 0, beside them.
    return x + 0 * jnp.sum(sums, axis=0)


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

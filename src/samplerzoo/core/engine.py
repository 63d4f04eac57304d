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

from .model import DiffusionModel, Estimate
from .table import StepTable
from .types import Key, State


def draw(
    key: Key, n: Int[Array, ""] | int, shape: tuple[int, ...], dtype: DTypeLike = float
) -> State:
    """The noise that a sample with this key meets at state `x_n`: `n = 0` is where it starts."""
    return jax.random.normal(jax.random.fold_in(key, n), shape, dtype)


def run_table(table: StepTable, model: DiffusionModel, x: State, key: Key) -> State:
    """One sample: from the state `x` at the first time through all rows of the table."""
    step = eqx.filter_checkpoint(functools.partial(advance, model, key), prevent_cse=False)
    rows, follow = turned_rows(table, x.dtype), lambda carry, row: (step(*carry, *row), None)
    (x, sums), _ = jax.lax.scan(follow, start_of(table, x), rows)
    # The sum keeps XLA from laying out the cotangent of `sums`, else a constant 0, beside them.
    return x + 0 * jnp.sum(sums, axis=0)


def turned_rows(table: StepTable, dtype: DTypeLike) -> tuple[tuple, tuple]:
    """The rows as the loop meets them: what is fixed (n, what is kept), and the table's numbers.

    The states in progress lie in a ring: x_{n+1+d} in slot (n + d) mod depth. It is the small rows
    that turn, so that the states stay where they are and are updated in place. Before row n writes
    to it, the slot of x_n is emptied; all are before the first row, so they may start as anything.
    """
    steps, depth = table.nfe, table.depth
    n = jnp.arange(steps)
    turn = (jnp.arange(depth)[None, :] - n[:, None]) % depth
    inside = jnp.arange(depth)[None, :] < steps - n[:, None]
    clean, noise = (
        jnp.take_along_axis(jnp.where(inside, c, 0), turn, 1).astype(dtype)
        for c in (table.clean, table.noise)
    )
    kept = (turn != depth - 1) & (n > 0)[:, None]
    return (n, kept), (table.times, clean, noise, table.fresh.astype(dtype))


def start_of(table: StepTable, x: State) -> tuple[State, Float[Array, "depth ..."]]:
    return x, jnp.broadcast_to(x, (table.depth, *x.shape))


def advance(model: DiffusionModel, key: Key, x: State, sums: Array, fixed: tuple, free: tuple):
    """One row: the next state, and the states in progress."""
    return combine(key, model(x, free[0]), sums, fixed, free)


def combine(key: Key, estimate: Estimate, sums: Array, fixed: tuple, free: tuple):
    """What a row makes of its network's estimates."""
    (n, kept), (_, clean, noise, fresh), (x0, eps) = fixed, free, estimate
    kept, slot = kept.astype(x0.dtype), n % len(sums)
    after = sums[slot] * kept[slot] + clean[slot] * x0 + noise[slot] * eps
    sums = sums * kept.reshape(-1, *(1,) * x0.ndim)
    sums = sums + jnp.multiply.outer(clean, x0) + jnp.multiply.outer(noise, eps)
    return after + fresh * draw(key, n + 1, x0.shape, x0.dtype), sums


def sample_batch(
    table: StepTable, model: DiffusionModel, key: Key, indices: Int[Array, "N"]
) -> Float[Array, "N ..."]:
    """Samples number `indices` of the endless series that `key` stands for, (N, *model.shape).

    Every sample draws from its own key, so a sample does not depend on those computed beside it.
    """
    return jax.vmap(lambda index: run_table(table, model, *begin(table, model, key, index)))(
        indices
    )


def begin(
    table: StepTable, model: DiffusionModel, key: Key, index: Int[Array, ""]
) -> tuple[State, Key]:
    """Where sample number `index` of the series starts, and its own key."""
    own = jax.random.fold_in(key, index)
    spread = model.schedule.sigma(jnp.asarray(model.schedule.t_max, table.times.dtype))
    return spread * draw(own, 0, model.shape), own

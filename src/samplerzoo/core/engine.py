"""The only sampling loop: run a StepTable on a DiffusionModel, with exact gradients.

Memory for a gradient is one state a step (and two more for a sampler that reaches all its past):
each row is one checkpoint, whose network, estimates and fresh noise are made again on the way
back. States reached by several rows are carried as sums in progress, never as a history.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from .model import DiffusionModel, Estimate
from .schedule import AbstractSchedule
from .table import StepTable
from .types import Key, Scalar, State


class TableRow(NamedTuple):
    """A row of a table as the loop meets it: its numbers stand by the slots of the ring.

    The states in progress lie in a ring: `x_{n+1+d}` in slot `(n + d) mod depth`. It is the small
    rows that turn, so that the states stay where they are and are updated in place.
    """

    n: Int[Array, ""]
    kept: Bool[Array, "depth"]  # the slots whose sums continue; the others start anew
    time: Scalar
    clean: Float[Array, "depth"]
    noise: Float[Array, "depth"]
    fresh: Scalar
    guidance: Scalar | None


class Progress(NamedTuple):
    """Where the loop stands: the state that is next seen, and the sums of those after it."""

    x: State
    sums: Float[Array, "depth ..."]


def run_table(table: StepTable, model: DiffusionModel, x: State, key: Key) -> State:
    """Run one sample through all rows of a table.

    Args:
        table: The sampler.
        model: The model whose network it asks.
        x: The state at the first time, of shape `model.shape`.
        key: The sample's own key, from which its fresh noises are drawn, and its condition.

    Returns:
        The sample, of shape `model.shape`; differentiable in the table and in `x`.
    """
    return _follow(_rows(table, x.dtype), model.for_sample(key), _start(table, x), key)


def run_from_noise(
    table: StepTable, model: DiffusionModel, key: Key, index: Int[Array, ""]
) -> State:
    """Draw one sample of a key's series for a search, which holds the first time fixed.

    The first state is noise and the first time is never searched, so the network's answer there
    depends on no parameter: no derivative goes through it, which saves a K-th of the way back. The
    row's other numbers have their derivatives as in `run_table`; that of the first time is 0.

    A table with a spread of its own starts elsewhere than at `t_max`, at a time that is searched
    where times are, and one with guidance weights its first answer too: of these all derivatives
    are those of `run_table`.

    Args:
        table: The sampler.
        model: The model whose network it asks.
        key: What the series of samples stands for.
        index: The sample's number in the series.

    Returns:
        The sample, of shape `model.shape`; differentiable in the table but for its first time.
    """
    x, own = start_of(table, model, key, index)
    if table.spread is not None or table.guidance is not None:
        return run_table(table, model, x, own)
    model, rows = model.for_sample(own), _rows(table, x.dtype)
    first = jax.tree.map(lambda column: column[0], rows)
    rest = jax.tree.map(lambda column: column[1:], rows)
    time = jax.lax.stop_gradient(first.time)
    x0 = jax.lax.stop_gradient(model(x, time).x0)

    def begin(x0: State, row: TableRow) -> Progress:
        # Of the first row x0 alone is kept: its state and its noises are drawn again.
        x, _ = start_of(table, model, key, index)
        eps = (x - model.schedule.alpha(time) * x0) / model.schedule.sigma(time)
        return _combine(Estimate(x0, eps), _start(table, x), row, own)

    start = eqx.filter_checkpoint(begin)(x0, first)
    return _follow(rest, model, start, own)


def sample_batch(
    table: StepTable, model: DiffusionModel, key: Key, indices: Int[Array, "N"]
) -> Float[Array, "N ..."]:
    """Draw samples by their numbers in the endless series that a key stands for.

    Every sample draws from its own key, so a sample does not depend on those computed beside it.

    Args:
        table: The sampler.
        model: The model whose network it asks.
        key: What the series of samples stands for; sample i draws from `fold_in(key, i)`.
        indices: The samples' numbers in the series.

    Returns:
        The samples (N, *model.shape); differentiable in the table.
    """

    def one(index):
        return run_table(table, model, *start_of(table, model, key, index))

    return jax.vmap(one)(indices)


def draw(
    key: Key, n: Int[Array, ""] | int, shape: tuple[int, ...], dtype: DTypeLike = float
) -> State:
    """Draw the noise that a sample with this key meets at state `x_n`; at `n = 0` it starts."""
    return jax.random.normal(jax.random.fold_in(key, n), shape, dtype)


def start_of(
    table: StepTable, model: DiffusionModel, key: Key, index: Int[Array, ""]
) -> tuple[State, Key]:
    """Give the first state of sample number `index` of a key's series, and its own key."""
    own = jax.random.fold_in(key, index)
    noise = draw(own, 0, model.shape)
    return first_spread(table, model.schedule).astype(noise.dtype) * noise, own


def first_spread(table: StepTable, schedule: AbstractSchedule) -> Scalar:
    """Give the standard deviation of a sampler's first state: its own, or `sigma(t_max)`."""
    if table.spread is not None:
        return table.spread
    return schedule.sigma(jnp.asarray(schedule.t_max, float))


def _start(table: StepTable, x: State) -> Progress:
    """Stand before the first row of a table, with no sum in progress."""
    return Progress(x, jnp.zeros((table.depth, *x.shape), x.dtype))


def _follow(rows: TableRow, model: DiffusionModel, start: Progress, key: Key) -> State:
    """Go through rows, each a checkpoint, from where the loop stands to the sample."""

    def advance(progress: Progress, row: TableRow) -> Progress:
        return _combine(model(progress.x, row.time, row.guidance), progress, row, key)

    step = eqx.filter_checkpoint(advance, prevent_cse=False)
    (x, sums), _ = jax.lax.scan(lambda progress, row: (step(progress, row), None), start, rows)
    # The sum keeps XLA from laying out the cotangent of `sums`, else a constant 0, beside them.
    return x + 0 * jnp.sum(sums, axis=0)


def _combine(answer: Estimate, progress: Progress, row: TableRow, key: Key) -> Progress:
    """Add what a row makes of its network's answer; its first slot becomes the next state."""
    x0, eps = answer
    sums = progress.sums
    kept = row.kept.astype(x0.dtype)
    slot = row.n % len(sums)
    after = sums[slot] * kept[slot] + row.clean[slot] * x0 + row.noise[slot] * eps
    sums = sums * kept.reshape(-1, *(1,) * x0.ndim)
    sums = sums + jnp.multiply.outer(row.clean, x0) + jnp.multiply.outer(row.noise, eps)
    return Progress(after + row.fresh * draw(key, row.n + 1, x0.shape, x0.dtype), sums)


def _rows(table: StepTable, dtype: DTypeLike) -> TableRow:
    """Turn a table's rows to the slots of the ring, stacked for the loop.

    Before row n writes to it, the slot of `x_n` is emptied; all are before the first row.
    """
    steps, depth = table.steps, table.depth
    n = jnp.arange(steps)
    turn = (jnp.arange(depth)[None, :] - n[:, None]) % depth
    inside = jnp.arange(depth)[None, :] < steps - n[:, None]

    def turned(column):
        return jnp.take_along_axis(jnp.where(inside, column, 0), turn, 1).astype(dtype)

    kept = (turn != depth - 1) & (n > 0)[:, None]
    clean, noise = turned(table.clean), turned(table.noise)
    guidance = None if table.guidance is None else table.guidance.astype(dtype)
    return TableRow(n, kept, table.times, clean, noise, table.fresh.astype(dtype), guidance)

"""The exact gradient of a whole batch's KID, a part of the batch at a time.

KID is a statistic of the whole batch, so the gradients of parts do not add up by themselves. All
features come first; then the distance and its derivative in them; then each part goes back through
the states that the network saw, which are all that is kept. This costs what the undivided gradient
costs: K forwards, K recomputations and K input-gradients of the network a sample.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._types import Key, Scalar, State
from .engine import advance_on, begin, start_of, turned_rows
from .model import DiffusionModel
from .objective import Objective
from .table import StepTable


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


def run_keeping(
    table: StepTable, model: DiffusionModel, x: State, key: Key
) -> tuple[State, Float[Array, "K ..."]]:
    """As `run`, with the states that the network saw: all that `pull_back` needs."""
    advance = advance_on(model, key)
    (x, _), states = jax.lax.scan(
        lambda carry, row: (advance(*carry, *row), carry[0]),
        start_of(table, x),
        turned_rows(table, x.dtype),
    )
    return x, states


def pull_back(
    table: StepTable, model: DiffusionModel, states: Float[Array, "K ..."], key: Key, out: State
) -> StepTable:
    """What `jax.vjp` of `run` gives for the table, from the kept states and a cotangent `out`.

    It costs K recomputations and K input-gradients of the network.
    """
    advance = advance_on(model, key)
    (fixed, free), back = jax.vjp(lambda t: turned_rows(t, out.dtype), table)
    any_sums = jnp.zeros((table.depth, *out.shape), out.dtype)  # a step is linear in them

    def step(outs, row):
        x, fixed, free = row
        _, pull = jax.vjp(lambda x, sums, free: advance(x, sums, fixed, free), x, any_sums, free)
        *outs, out_free = pull(tuple(outs))
        return tuple(outs), out_free

    _, out_free = jax.lax.scan(step, (out, any_sums), (states, fixed, free), reverse=True)
    no = jax.tree.map(lambda a: np.zeros(a.shape, jax.dtypes.float0), fixed)
    return back((no, out_free))[0]

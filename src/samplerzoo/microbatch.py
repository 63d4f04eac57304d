"""The exact gradient of a whole batch's KID, a part of the batch at a time.

KID is a statistic of the whole batch, so the gradients of parts do not add up by themselves. All
features come first; then the distance and its derivative in them; then each part goes back through
the states that the network saw, which are all that is kept. This costs what the undivided gradient
costs: K forwards, K recomputations and K input-gradients of the network a sample.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from ._types import Key, Scalar, State
from .devices import split, whole
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
    microbatch: int | None = None,
    mesh: Mesh | None = None,
) -> tuple[Scalar, StepTable]:
    """The distance of samples 0..batch-1 of `key`, and its exact derivative in the table.

    Each device of the mesh takes at most `microbatch` samples through the network at a time (all
    of its share by default): first for all features, then back through the states kept. Beside
    one micro-batch's work, the K states of every sample are stored.
    """
    parts, size = divide(batch, microbatch, mesh)
    # The last part is filled up with samples seen before, whose features are then left out.
    indices = split((jnp.arange(parts * size) % batch).reshape(parts, size), mesh, axis=1)

    def forth(index):
        sample, states = run_keeping(table, model, *begin(table, model, key, index))
        return sample, states, objective.features(sample)

    samples, states, features = jax.lax.map(jax.vmap(forth), indices)
    flat = whole(features.reshape(parts * size, -1), mesh)
    value, slope = jax.value_and_grad(lambda all: objective.distance(all[:batch]))(flat)

    def back(index, sample, states, slope):
        (out,) = jax.vjp(objective.features, sample)[1](slope)
        return pull_back(table, model, states, jax.random.fold_in(key, index), out)

    def step(total, part):
        return jax.tree.map(lambda a, b: a + jnp.sum(b, 0), total, jax.vmap(back)(*part)), None

    zero = jax.tree.map(jnp.zeros_like, table)
    slopes = split(slope.reshape(features.shape), mesh, axis=1)
    return value, jax.lax.scan(step, zero, (indices, samples, states, slopes))[0]


def divide(batch: int, microbatch: int | None, mesh: Mesh | None = None) -> tuple[int, int]:
    """How many parts a batch is taken in, and the size of each, a multiple of the devices.

    The parts are the fewest of at most `microbatch` samples a device, all of one size.
    """
    devices = mesh.size if mesh else 1
    share = -(-batch // devices)
    if microbatch is not None and microbatch < 1:
        raise ValueError(f"microbatch is {microbatch}; it must be at least 1.")
    parts = -(-share // min(microbatch or share, share))
    return parts, -(-share // parts) * devices


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

"""The exact gradient of a whole batch's KID, a part of the batch at a time.

KID is a statistic of the whole batch, so the gradients of parts do not add up by themselves. All
features come first; then the distance and its derivative in them; then each part goes back through
the states that the network saw, which are all that is kept. This costs K forwards, K recomputations
and K input-gradients of the network a sample, as the undivided gradient does, and K - 1 of the last
two where the first time is not searched: the first state is noise, whatever the sampler.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from .devices import cut_batch, replicate, shard
from .engine import advance, begin, combine, start_of, turned_rows
from .model import DiffusionModel, Estimate
from .objectives import Objective
from .table import StepTable
from .types import Key, Scalar, State


def value_and_slope(
    objective: Objective,
    table: StepTable,
    model: DiffusionModel,
    key: Key,
    batch: int,
    microbatch: int | None = None,
    mesh: Mesh | None = None,
    still: Bool[Array, ""] | bool = False,
) -> tuple[Scalar, StepTable]:
    """The distance of samples 0..batch-1 of `key`, and its exact derivative in the table.

    Each device of the mesh takes at most `microbatch` samples through the network at a time (all
    of its share by default): first for all features, then back through the states kept. Beside
    one micro-batch's work, K states of every sample are stored. With `still` the derivative in
    the first time is not asked for: 0 is given, at a lower cost.
    """
    parts, size = cut_batch(batch, microbatch, mesh)
    # The last part is filled up with samples seen before, whose features are then left out.
    indices = shard((jnp.arange(parts * size) % batch).reshape(parts, size), mesh, axis=1)

    def forth(index):
        sample, states = run_keeping(table, model, *begin(table, model, key, index))
        return sample, states, objective.features(sample)

    # The states lie as the loops meet them, (K, samples, ...): turning them would copy them.
    samples, states, features = jax.lax.map(jax.vmap(forth, out_axes=(0, 1, 0)), indices)
    flat = replicate(features.reshape(parts * size, -1), mesh)
    value, slope = jax.value_and_grad(lambda all: objective.distance(all[:batch]))(flat)

    def back(index, sample, states, slope):
        (out,) = jax.vjp(objective.features, sample)[1](slope)
        return pull_back(table, model, *begin(table, model, key, index), states, out, still)

    def step(total, part):
        slopes = jax.vmap(back, (0, 0, 1, 0))(*part)
        return jax.tree.map(lambda a, b: a + jnp.sum(b, 0), total, slopes), None

    slopes = shard(slope.reshape(features.shape), mesh, axis=1)
    none = jax.tree.map(jnp.zeros_like, table)
    return value, jax.lax.scan(step, none, (indices, samples, states, slopes))[0]


def run_keeping(table: StepTable, model: DiffusionModel, x: State, key: Key) -> tuple[State, Array]:
    """Run a table; also give (K, ...): the first estimate of x0, then the states that were seen."""

    def step(carry, row):
        (x, sums), (fixed, free) = carry, row
        estimate = model(x, free[0])
        kept = jnp.where(fixed[0] == 0, estimate.x0, x)
        return combine(key, estimate, sums, fixed, free), kept

    (x, _), kept = jax.lax.scan(step, start_of(table, x), turned_rows(table, x.dtype))
    return x, kept


def pull_back(
    table: StepTable,
    model: DiffusionModel,
    x: State,
    key: Key,
    kept: Float[Array, "K ..."],
    out: State,
    still: Bool[Array, ""] | bool,
) -> StepTable:
    """Pull a cotangent `out` of `run_table` from the state `x` back to the table."""
    (fixed, free), back = jax.vjp(lambda t: turned_rows(t, out.dtype), table)
    any_sums = jnp.zeros((table.depth, *out.shape), out.dtype)  # a step is linear in them
    row = lambda n: jax.tree.map(lambda a: a[n], (fixed, free))  # noqa: E731

    def step(turn, carry):
        n = table.nfe - 1 - turn
        before, (here, there) = jnp.where(n == 0, x, kept[n]), row(n)
        make = lambda x, sums, there: advance(model, key, x, sums, here, there)  # noqa: E731
        *outs, slope = jax.vjp(make, before, any_sums, there)[1](carry[0])
        return tuple(outs), jax.tree.map(lambda a, b: a.at[n].set(b), carry[1], slope)

    none = jax.tree.map(jnp.zeros_like, free)
    outs, slopes = jax.lax.fori_loop(0, table.nfe - jnp.int32(still), step, ((out, any_sums), none))
    # The first row without its network, whose estimates are known.
    alpha, sigma = model.schedule.alpha(table.times[0]), model.schedule.sigma(table.times[0])
    known, (here, there) = Estimate(kept[0], (x - alpha * kept[0]) / sigma), row(0)
    (slope,) = jax.vjp(lambda there: combine(key, known, any_sums, here, there), there)[1](outs)
    slopes = jax.tree.map(lambda a, b: a.at[0].set(jnp.where(still, b, a[0])), slopes, slope)
    no = jax.tree.map(lambda a: np.zeros(a.shape, jax.dtypes.float0), fixed)
    return back((no, slopes))[0]

"""Search: gradient descent on a family's free parameters, through the whole sampling chain."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Int, PyTree

from .compiling import jit
from .devices import cut_batch, device_put, replicate
from .families import AbstractFamily
from .microbatch import value_and_slope
from .model import DiffusionModel
from .objectives import Objective
from .table import StepTable
from .types import Key, Scalar

PATIENCE = 10  # skipped steps in a row that end a search


class SearchState(eqx.Module):
    """All that a search needs to go on: the family's searched leaves and the optimiser's."""

    parameters: PyTree
    optimiser: PyTree
    step: Int[Array, ""]


class DivergedError(RuntimeError):
    """Too many steps in a row had a loss or a gradient that is not finite."""


def adam(iterations: int, learning_rate: float, clip: float = 1.0) -> optax.GradientTransformation:
    """Adam with a warm-up (its first steps are long), cosine decay to 0 and clipped gradients."""
    warm, peak = min(30, iterations // 3), learning_rate
    rate = optax.warmup_cosine_decay_schedule(peak / (warm + 1), peak, warm, iterations)
    return optax.chain(optax.clip_by_global_norm(clip), optax.adam(rate))


def start(
    family: AbstractFamily, free: PyTree[bool], optimiser: optax.GradientTransformation
) -> SearchState:
    """The state before the first step. `free` is a filter spec, see `free_parameters`."""
    parameters = eqx.filter(family, free)
    if not jax.tree.leaves(parameters):
        raise ValueError("This family has no free parameter to search under this filter spec.")
    optimiser = optax.apply_if_finite(optimiser, PATIENCE)
    return SearchState(parameters, optimiser.init(parameters), jnp.zeros((), jnp.int32))


def finish(family: AbstractFamily, state: SearchState) -> AbstractFamily:
    """The family with the searched parameters in place."""
    return eqx.combine(state.parameters, family)


def skipped(state: SearchState) -> int:
    """How many steps were skipped because their gradient was not finite."""
    return int(state.optimiser.total_notfinite)


class Step(NamedTuple):
    """One step of a search, compiled: `advance(state, key)` gives the next state and the KID."""

    advance: Callable[[SearchState, Key], tuple[SearchState, Scalar]]
    microbatch: int  # samples that each device takes through the network at a time
    memory: int  # bytes that a step takes on each device, beside what it is given
    stored: int  # of these, the states that the network saw, kept for the way back


def compile_step(
    family: AbstractFamily,
    state: SearchState,
    model: DiffusionModel,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    batch: int,
    microbatch: int | None = None,
    mesh: Mesh | None = None,
) -> Step:
    """A step on batches of `batch` samples, split over a mesh's devices where there is one.

    With `microbatch`, each device takes at most so many samples through the network at a time;
    the gradient is that of the whole batch. A step with a gradient that is not finite leaves the
    parameters alone.
    """
    optimiser = optax.apply_if_finite(optimiser, PATIENCE)

    def advance(state, key, family, model, objective):
        own, schedule = jax.random.fold_in(key, state.step), model.schedule
        table, back = jax.vjp(lambda p: eqx.combine(p, family).table(schedule), state.parameters)
        still = ~_moves(table, back)
        kid, slope = value_and_slope(objective, table, model, own, batch, microbatch, mesh, still)
        (gradient,) = back(slope)
        updates, opt_state = optimiser.update(gradient, state.optimiser, state.parameters)
        parameters = optax.apply_updates(state.parameters, updates)
        return replicate((SearchState(parameters, opt_state, state.step + 1), kid), mesh)

    fixed = device_put((family, model, objective), mesh)
    given = device_put((state, jax.random.key(0)), mesh)
    compiled = jit(advance).lower(*given, *fixed).compile()
    analysis = compiled.compiled.memory_analysis()
    parts, size = cut_batch(batch, microbatch, mesh)
    share = size // (mesh.size if mesh else 1)
    table = eqx.filter_eval_shape(family.table, model.schedule)
    one = math.prod(model.shape) * table.clean.dtype.itemsize
    return Step(
        lambda state, key: compiled(*device_put((state, key), mesh), *fixed),
        share,
        analysis.temp_size_in_bytes + analysis.output_size_in_bytes,
        parts * share * table.nfe * one,
    )


def _moves(table: StepTable, back: Callable[[StepTable], tuple]) -> Bool[Array, ""]:
    """Whether the first time depends on any parameter; `back` takes a table's slopes to theirs."""
    none = jax.tree.map(jnp.zeros_like, table)
    first = eqx.tree_at(lambda t: t.times, none, none.times.at[0].set(1))
    return jnp.any(ravel_pytree(back(first))[0] != 0)


def descend(
    step: Step, state: SearchState, key: Key, iterations: int
) -> Iterator[tuple[SearchState, float]]:
    """Steps from `state` up to step number `iterations`: each new state and its batch's KID.

    Step n draws its batch from `fold_in(key, n)`, so a search continued from any state is the
    search that was never interrupted. PATIENCE skipped steps in a row raise DivergedError.
    """
    _check(state)
    for _ in range(int(state.step), iterations):
        state, kid = step.advance(state, key)
        yield state, float(kid)
        _check(state)


def _check(state: SearchState) -> None:
    if int(state.optimiser.notfinite_count) >= PATIENCE:
        raise DivergedError(
            f"{PATIENCE} steps in a row had a gradient that is not finite, up to step "
            f"{int(state.step)}; the sampler before them is kept. A smaller learning rate may help."
        )

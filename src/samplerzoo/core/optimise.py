"""Search: gradient descent on a family's free parameters, through the whole sampling chain."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.custom_derivatives import SymbolicZero
from jax.sharding import Mesh
from jaxtyping import Int, PyTree

from .compiling import jit, jit_once
from .devices import cut_batch, device_put, replicate
from .families import AbstractFamily
from .loss import batch_loss
from .model import DiffusionModel
from .objectives import AbstractObjective
from .schedule import AbstractSchedule
from .table import StepTable
from .types import Key, Scalar

# Makes an optimiser of the steps of a search and the highest learning rate.
MakeOptimiser: TypeAlias = Callable[[int, float], optax.GradientTransformation]
PATIENCE = 10  # skipped steps in a row that end a search


class SearchState(eqx.Module):
    """Hold all that a search needs to continue.

    Args:
        parameters: The family's searched leaves, None where it is not searched.
        optimiser: The optimiser's state.
        step: How many steps were taken, a scalar.
    """

    parameters: PyTree
    optimiser: PyTree
    step: Int[jax.Array, ""]


class DivergedError(RuntimeError):
    """Say that too many steps in a row had a loss or a gradient that is not finite."""


def adam(iterations: int, learning_rate: float, clip: float = 1.0) -> optax.GradientTransformation:
    """Make the optimiser of a search: Adam with a warm-up and cosine decay to 0.

    The warm-up, of 30 steps or a third of the search, is there because Adam's first steps are long.

    Args:
        iterations: The steps of the search, at whose end the learning rate is 0.
        learning_rate: The highest rate.
        clip: The norm to which gradients are clipped.

    Returns:
        The optimiser.
    """
    warm = min(30, iterations // 3)
    first = learning_rate / (warm + 1)
    rate = optax.warmup_cosine_decay_schedule(first, learning_rate, warm, iterations)
    return optax.chain(optax.clip_by_global_norm(clip), optax.adam(rate))


def start(
    family: AbstractFamily, free: PyTree[bool], optimiser: optax.GradientTransformation
) -> SearchState:
    """Make the state before the first step.

    Args:
        family: The family, whose values are where the search begins.
        free: A filter spec of what is searched, see `free_parameters`.
        optimiser: The optimiser, as given to `compile_step`.

    Returns:
        The state.

    Raises:
        ValueError: The spec leaves nothing to search.
    """
    parameters = eqx.filter(family, free)
    if not jax.tree.leaves(parameters):
        raise ValueError("This family has no free parameter to search under this filter spec.")
    optimiser = optax.apply_if_finite(optimiser, PATIENCE)
    return SearchState(parameters, optimiser.init(parameters), jnp.zeros((), jnp.int32))


def finish(family: AbstractFamily, state: SearchState) -> AbstractFamily:
    """Place the searched parameters in the family.

    Args:
        family: The family that the search began with.
        state: Any state of the search.

    Returns:
        The searched family.
    """
    return eqx.combine(state.parameters, family)


def skipped(state: SearchState) -> int:
    """Count the steps that were skipped because their gradient was not finite."""
    return int(state.optimiser.total_notfinite)


class Step(NamedTuple):
    """One step of a search, compiled.

    `advance(state, key)` gives the next state and the objective's value. `microbatch` is how many
    samples each device takes through the network at a time, `memory` the bytes that a step takes on
    each device beside what it is given, and `stored` how many of these are the states that the
    network saw, kept for the way back.
    """

    advance: Callable[[SearchState, Key], tuple[SearchState, Scalar]]
    microbatch: int
    memory: int
    stored: int


def _table(parameters: PyTree, family: AbstractFamily, schedule: AbstractSchedule) -> StepTable:
    return eqx.combine(parameters, family).table(schedule)


_compiled_table = jit_once(_table)


def searched_columns(
    parameters: PyTree, family: AbstractFamily, schedule: AbstractSchedule
) -> StepTable:
    """Find which columns of a table depend on the parameters that are searched.

    Args:
        parameters: The family's searched leaves.
        family: The family, with the others.
        schedule: The schedule of the model.

    Returns:
        A table of booleans.
    """
    found: list[StepTable] = []

    @jax.custom_jvp
    def look(table):
        return table

    def rule(primals, tangents):
        # Where nothing is searched the tangent is zero by construction, not by its value.
        found.append(jax.tree.map(lambda t: not isinstance(t, SymbolicZero), tangents[0]))
        return primals[0], tangents[0]

    look.defjvp(rule, symbolic_zeros=True)

    def table(parameters):
        return look(_table(parameters, family, schedule))

    jax.eval_shape(lambda p: jax.jvp(table, (p,), (p,)), parameters)
    return found[0]


def compile_step(
    family: AbstractFamily,
    state: SearchState,
    model: DiffusionModel,
    objective: AbstractObjective,
    optimiser: optax.GradientTransformation,
    batch: int,
    microbatch: int | None = None,
    mesh: Mesh | None = None,
) -> Step:
    """Compile a step of a search.

    A step with a gradient that is not finite leaves the parameters alone.

    Args:
        family: The family that is searched.
        state: A state of the search, from `start`.
        model: The frozen model.
        objective: What is minimised.
        optimiser: The optimiser, as given to `start`.
        batch: Samples a step.
        microbatch: The most samples that a device takes through the network at a time; by default
            all of its share. The gradient is that of the whole batch.
        mesh: The devices over which the batch is sharded.

    Returns:
        The step, and what it costs.

    Raises:
        ValueError: `microbatch` is below 1.
    """
    optimiser = optax.apply_if_finite(optimiser, PATIENCE)
    family, schedule = device_put((family, model.schedule), mesh)
    parameters = device_put(state.parameters, mesh)
    searched = searched_columns(parameters, family, schedule)
    columns, rest = eqx.partition(_compiled_table(parameters, family, schedule), searched)

    def value_and_grad(columns, step, key, rest, model, objective):
        own = jax.random.fold_in(key, step)

        def loss(columns):
            table = eqx.combine(columns, rest)
            return batch_loss(table, model, objective, own, batch, microbatch, mesh)

        return replicate(jax.value_and_grad(loss)(columns), mesh)

    @jit_once
    def move(state, slopes, family, schedule):
        def searched_of(parameters):
            return eqx.filter(_table(parameters, family, schedule), searched)

        (gradient,) = jax.vjp(searched_of, state.parameters)[1](slopes)
        updates, opt_state = optimiser.update(gradient, state.optimiser, state.parameters)
        parameters = optax.apply_updates(state.parameters, updates)
        return replicate(SearchState(parameters, opt_state, state.step + 1), mesh)

    # Tables are few numbers by many operations, which would be most of what is compiled: so they
    # and their derivatives are apart from the program that asks the network.
    fixed = device_put((rest, model, objective), mesh)
    given = device_put((columns, state.step, jax.random.key(0)), mesh)
    compiled = jit(value_and_grad).lower(*given, *fixed).compile()

    def advance(state, key):
        state, key = device_put((state, key), mesh)
        columns = eqx.filter(_compiled_table(state.parameters, family, schedule), searched)
        value, slopes = compiled(columns, state.step, key, *fixed)
        return move(state, slopes, family, schedule), value

    analysis = compiled.compiled.memory_analysis()
    memory = analysis.temp_size_in_bytes + analysis.output_size_in_bytes
    parts, size = cut_batch(batch, microbatch, mesh)
    share = size // (mesh.size if mesh else 1)
    table = eqx.filter_eval_shape(family.table, model.schedule)
    one = math.prod(model.shape) * table.clean.dtype.itemsize
    return Step(advance, share, memory, parts * share * table.steps * one)


def descend(
    step: Step, state: SearchState, key: Key, iterations: int
) -> Iterator[tuple[SearchState, float]]:
    """Take steps from a state.

    Step n draws its batch from `fold_in(key, n)`, so a search continued from any state is the
    search that was never interrupted.

    Args:
        step: The compiled step.
        state: Where to begin, or to continue from.
        key: What everything random in the search is drawn from.
        iterations: The number of the last step, counted from the search's beginning.

    Yields:
        Each new state, and the objective of its batch before the step.

    Raises:
        DivergedError: PATIENCE steps in a row were skipped.
    """
    _check(state)
    for _ in range(int(state.step), iterations):
        state, value = step.advance(state, key)
        yield state, float(value)
        _check(state)


def _check(state: SearchState) -> None:
    if int(state.optimiser.notfinite_count) >= PATIENCE:
        raise DivergedError(
            f"{PATIENCE} steps in a row had a gradient that is not finite, up to step "
            f"{int(state.step)}; the sampler before them is kept. A smaller learning rate may help."
        )

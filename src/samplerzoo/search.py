"""Search: gradient descent on a family's free parameters, through the whole sampling chain."""

from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from ._types import Key
from .engine import sample
from .families import AbstractFamily
from .microbatch import value_and_slope
from .model import DiffusionModel
from .objective import Objective

PATIENCE = 10  # skipped steps in a row that end a search


class SearchState(eqx.Module):
    """All that a search needs to go on: the family's searched leaves and the optimiser's."""

    parameters: PyTree
    optimiser: PyTree
    step: Int[Array, ""]


class Diverged(RuntimeError):
    """Too many steps in a row had a loss or a gradient that is not finite."""


def adam(iterations: int, learning_rate: float, clip: float = 1.0) -> optax.GradientTransformation:
    """Adam with cosine decay to 0 and the gradient's global norm clipped."""
    decay = optax.cosine_decay_schedule(learning_rate, iterations)
    return optax.chain(optax.clip_by_global_norm(clip), optax.adam(decay))


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


def descend(
    family: AbstractFamily,
    state: SearchState,
    model: DiffusionModel,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    key: Key,
    batch: int,
    iterations: int,
    microbatch: int | None = None,
) -> Iterator[tuple[SearchState, float]]:
    """Steps from `state` up to step number `iterations`: each new state and its batch's KID.

    Step n draws its batch from `fold_in(key, n)`, so a search continued from any state is the
    search that was never interrupted. With `microbatch`, a divisor of the batch, the network sees
    so many samples at a time, and the gradient is still that of the whole batch. A step with a
    gradient that is not finite leaves the parameters alone; PATIENCE in a row raise Diverged.
    """
    optimiser = optax.apply_if_finite(optimiser, PATIENCE)

    @eqx.filter_jit
    def advance(state, family, model, objective):
        own = jax.random.fold_in(key, state.step)
        table, back = jax.vjp(
            lambda parameters: eqx.combine(parameters, family).table(model.schedule),
            state.parameters,
        )
        if microbatch is None:
            kid, slope = jax.value_and_grad(
                lambda table: objective(sample(table, model, own, jnp.arange(batch)))
            )(table)
        else:
            kid, slope = value_and_slope(objective, table, model, own, batch, microbatch)
        (gradient,) = back(slope)
        updates, opt_state = optimiser.update(gradient, state.optimiser, state.parameters)
        parameters = optax.apply_updates(state.parameters, updates)
        return SearchState(parameters, opt_state, state.step + 1), kid

    _check(state)
    for _ in range(int(state.step), iterations):
        state, kid = advance(state, family, model, objective)
        yield state, float(kid)
        _check(state)


def _check(state: SearchState) -> None:
    if int(state.optimiser.notfinite_count) >= PATIENCE:
        raise Diverged(
            f"{PATIENCE} steps in a row had a gradient that is not finite, up to step "
            f"{int(state.step)}; the sampler before them is kept. A smaller learning rate may help."
        )

"""The best solver and grid that nobody searched: what a search starts from, and must beat."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from .compiling import jit, jit_once
from .drawing import each, stream
from .families import (
    DDIM,
    AbstractFamily,
    PlacedTimes,
    Times,
    deis,
    dpmpp_multistep,
    heun,
    ipndm,
    unipc,
)
from .model import DiffusionModel
from .objectives import KID
from .schedule import AbstractSchedule
from .table import StepTable
from .types import Grid, Key, Steps

# The field's solvers, of the ODE and of its SDE, and the grids on which each is tried.
SOLVERS: dict[str, Callable[..., AbstractFamily]] = {
    "ddim": DDIM,
    "dpmpp-2m": functools.partial(dpmpp_multistep, order=2),
    "dpmpp-3m": functools.partial(dpmpp_multistep, order=3),
    "unipc-2": functools.partial(unipc, order=2),
    "unipc-3": functools.partial(unipc, order=3),
    "deis-2": functools.partial(deis, degree=2),
    "ipndm": ipndm,
    "heun": heun,
    "sde-dpmpp-2m": functools.partial(dpmpp_multistep, order=2, eta=1.0),
}
TRIED_GRIDS = ("linear", "quadratic", "logsnr", "karras")


class Choice(NamedTuple):
    """The best of some samplers.

    Attributes:
        name: What it is called.
        scores: Those of all samplers by name; infinite where they are not finite.
    """

    name: str
    scores: dict[str, float]


def unsearched_tables(
    steps: int,
    schedule: AbstractSchedule,
    grids: Sequence[str] = TRIED_GRIDS,
    own: Times | None = None,
    solvers: Mapping[str, Callable[..., AbstractFamily]] = SOLVERS,
) -> dict[str, StepTable]:
    """Compute the tables of all solvers on all grids.

    Args:
        steps: K, the number of network evaluations of each.
        schedule: The levels of the model that they are for.
        grids: The names of the grids.
        own: Times that have no name, for the solvers that take as many.
        solvers: What makes each solver of a number of steps and times.

    Returns:
        The tables, of one depth, by names such as `unipc-3-karras`; on times without a name, the
        solver's alone.
    """
    families = {name: make(steps, "linear") for name, make in solvers.items()}
    found = jax.device_get(_tables(families, schedule, tuple(grids), own))

    def table(stacked: StepTable, n: int) -> StepTable:
        return jax.tree.map(lambda column: jnp.asarray(column[n]), stacked)

    return {
        f"{name}-{grid}" if grid else name: table(stacked, n)
        for name in families
        if (stacked := found.get(name))
        for n, grid in enumerate([*grids, ""][: len(stacked.times)])
    }


@jit_once
def _tables(
    families: dict[str, Any], schedule: AbstractSchedule, grids: tuple[str, ...], own: Times | None
) -> dict[str, StepTable]:
    """Stack the tables of each solver: on the named grids, then on the others where they fit."""
    lengths = {len(family.times) for family in families.values()}
    placed = {
        length: [Times.of(grid, length)(schedule) for grid in grids]
        + ([own(schedule)] if own is not None and len(own) == length else [])
        for length in lengths
    }
    found = {
        name: _on(family, schedule, placed[len(family.times)])
        for name, family in families.items()
        if placed[len(family.times)]
    }
    depth = max((table.clean.shape[-1] for table in found.values()), default=1)
    return {name: jax.vmap(lambda one: one.to_depth(depth))(t) for name, t in found.items()}


def _on(family: Any, schedule: AbstractSchedule, placed: Sequence[tuple[Steps, Grid]]) -> StepTable:
    """The tables of a solver on some times, stacked."""

    def table(told: Steps, grid: Grid) -> StepTable:
        return eqx.tree_at(lambda f: f.times, family, PlacedTimes(told, grid)).table(schedule)

    return jax.vmap(table)(*map(jnp.stack, zip(*placed, strict=True)))


def choice_key() -> Key:
    """Make the key of the samples by which the best is chosen: never those that are scored.

    It is the same for searches with any seed, so that all are compared with one sampler.
    """
    return jax.random.fold_in(jax.random.key(0), 2)


def choose(tables: Mapping[str, StepTable], score: Callable[[StepTable], float]) -> Choice:
    """Choose the sampler with the least score.

    Args:
        tables: Samplers of one number of evaluations, by name.
        score: What a table is scored by, such as `distance_of`. All tables come to it in one
            shape, so that it is compiled once.

    Returns:
        The best, the first of equals, and all scores.

    Raises:
        ValueError: No score is finite.
    """
    depth = max(table.depth for table in tables.values())
    scores = {name: score(table.to_depth(depth)) for name, table in tables.items()}
    finite = {n: value if math.isfinite(value) else math.inf for n, value in scores.items()}
    return Choice(best_of(finite), finite)


def best_of(scores: Mapping[str, float]) -> str:
    """Return the name with the least score, the first of equals.

    Raises:
        ValueError: No score is finite.
    """
    best = min(scores, key=lambda name: scores[name], default=None)
    if best is None or not math.isfinite(scores[best]):
        raise ValueError("None of the unsearched samplers has a finite score.")
    return best


def distance_of(
    model: DiffusionModel,
    objective: KID,
    key: Key,
    n: int = 512,
    batch: int | None = None,
    mesh: Mesh | None = None,
    apply: Callable[[Callable, Array], Array] = each,
) -> Callable[[StepTable], float]:
    """Make a cheap score of tables: the KID of a few samples.

    Args:
        model: The model that they sample.
        objective: The KID in the features of the search.
        key: What the samples are drawn from, such as `choice_key`; all tables start from the same
            noises, so that their differences are less random than their scores.
        n: How many samples.
        batch: Samples at a time, see `stream`.
        mesh: The devices over which a batch is sharded.
        apply: How features of a batch are computed, see `stream`.

    Returns:
        A function from a table to its distance from the data.
    """
    distance = jit(lambda features, objective: objective.distance(features))

    def score(table: StepTable) -> float:
        drawn = stream(table, model, key, n, {"": objective.phi}, batch, mesh, apply)
        features = np.concatenate([found[""] for _, found in drawn])
        return float(distance(features, objective))

    return score

"""The best solver and grid that nobody searched: what a search starts from, and must beat."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from .compiling import jit
from .drawing import each, stream
from .families import DDIM, AbstractFamily, deis, dpmpp_multistep, heun, ipndm, unipc
from .model import DiffusionModel
from .objectives import KID
from .table import StepTable
from .types import Key

# The field's solvers of the ODE, and the grids on which each is tried.
SOLVERS: dict[str, Callable[..., AbstractFamily]] = {
    "ddim": DDIM,
    "dpmpp-2m": partial(dpmpp_multistep, order=2),
    "dpmpp-3m": partial(dpmpp_multistep, order=3),
    "unipc-2": partial(unipc, order=2),
    "unipc-3": partial(unipc, order=3),
    "deis-2": partial(deis, degree=2),
    "ipndm": ipndm,
    "heun": heun,
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


def candidates(steps: int) -> dict[str, AbstractFamily]:
    """Make every solver on every grid, by names such as `unipc-3-karras`.

    Args:
        steps: K, the number of network evaluations of each.
    """
    return {
        f"{solver}-{grid}": make(steps, grid)
        for solver, make in SOLVERS.items()
        for grid in TRIED_GRIDS
    }


def choice_key(seed: int) -> Key:
    """Make the key of the samples by which the best is chosen: never those that are scored."""
    return jax.random.fold_in(jax.random.key(seed), 2)


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
    found = {name: float(score(table.to_depth(depth))) for name, table in tables.items()}
    scores = {name: value if math.isfinite(value) else math.inf for name, value in found.items()}
    best = min(scores, key=lambda name: scores[name], default=None)
    if best is None or not math.isfinite(scores[best]):
        raise ValueError("None of the unsearched samplers has a finite score.")
    return Choice(best, scores)


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

"""The best unsearched solver and grid: what a search starts from, and what it must beat."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array

from ..core.devices import all_devices
from ..core.drawing import make_table
from ..core.families import AbstractFamily, Times
from ..core.kernels import Linear
from ..core.model import DiffusionModel
from ..core.objectives import KID
from ..core.table import StepTable
from ..core.unsearched import (
    TRIED_GRIDS,
    Choice,
    best_of,
    choice_key,
    choose,
    distance_of,
    unsearched_tables,
)
from ..features import apply
from ..metrics import FeatureSet
from ..wording import sentence
from .bars import note, progress_bar
from .errors import RunError
from .guiding import beside
from .interruptions import stop_if_asked
from .parts import load_family, split_sampler, takes_start
from .saved import is_text
from .spec import Config
from .times import times_on

SAMPLES = 512  # that each sampler is tried with, at most
LEAST = 64  # samples that are enough to tell good samplers from bad
SHARE = 0.1  # of a search's network evaluations, which the choice takes at most


class Neighbour(NamedTuple):
    """The result of the search before, in a sweep.

    Attributes:
        steps: Its number of steps.
        start: The sampler that it started from, empty where that was said.
        family: What was found.
    """

    steps: int
    start: str
    family: AbstractFamily


class Choices(NamedTuple):
    """What was chosen at the beginning of a search.

    Attributes:
        start: The sampler that it starts from, empty where that was said.
        unsearched: The best of all unsearched solvers and grids.
        tried: The scores of all that were tried, by name.
    """

    start: str
    unsearched: str
    tried: dict[str, float]


def choose_for(
    config: Config, family: Any, model: DiffusionModel, measure: KID, progress: bool
) -> Choices:
    """Choose what a search starts from, and what it is compared with, by a short evaluation.

    Args:
        config: The search's configuration.
        family: The family, as it was given.
        model: The model.
        measure: The distance by which they are compared, in the search's features.
        progress: Whether a bar and what was chosen are shown on stderr.

    Raises:
        ValueError: A start cannot be made.
        RunError: None of the samplers has a finite score.
    """
    rivals = unsearched_tables(config.steps, model.schedule)
    starts = _starts(config, family, model, rivals)
    tables = beside(rivals | starts, config.family_options, config.steps)
    choice = choose_among(tables, model, measure, progress, n=_samples(config, len(tables)))
    best = best_of({name: choice.scores[name] for name in rivals})
    start = best_of({name: choice.scores[name] for name in starts}) if starts else ""
    if progress:
        own = f"; the search starts from {start}" if start else ""
        note(f"unsearched: {best} is the best of {len(rivals)} solvers and grids{own}")
    return Choices(start, best, choice.scores)


def _samples(config: Config, tried: int) -> int:
    """How many samples each of some samplers is tried with.

    A step of a search asks the network three times for each sample and row.
    """
    most = SHARE * 3 * config.batch * config.iterations / tried
    return int(min(SAMPLES, max(LEAST, most)))


def choose_among(
    tables: Mapping[str, StepTable],
    model: DiffusionModel,
    measure: KID,
    progress: bool,
    label: str = "unsearched samplers",
    n: int = SAMPLES,
) -> Choice:
    """Choose the best of some samplers by samples that are neither searched nor scored with."""
    mesh = all_devices()
    score = distance_of(model, measure, choice_key(), n, mesh=mesh, apply=apply)
    with progress_bar(len(tables), label, progress) as bar:

        def told(table: StepTable) -> float:
            found = score(table)
            bar.update()
            stop_if_asked()
            return found

        try:
            return choose(tables, told)
        except ValueError as error:
            raise RunError(sentence(error)) from error


def choose_warm(
    own: AbstractFamily,
    carried: AbstractFamily,
    name: str,
    model: DiffusionModel,
    measure: KID,
    progress: bool,
) -> dict[str, float]:
    """Compare the start of a search with its neighbour's result, carried over.

    Args:
        own: The family at its own start.
        carried: The family with what was found at another number of steps.
        name: What the neighbour is called.
        model: The model.
        measure: The distance by which they are compared, in the search's features.
        progress: Whether a bar and what was chosen are shown on stderr.

    Returns:
        The scores of both: of `start`, then of the neighbour by its name.

    Raises:
        RunError: Neither has a finite score.
    """
    families = {"start": own, name: carried}
    tables = {name: make_table(family, model.schedule) for name, family in families.items()}
    scores = choose_among(tables, model, measure, progress, "starts").scores
    if progress:
        taken = name if scores[name] < scores["start"] else "its own start"
        note(
            f"warm start: the result of {name} scores {scores[name]:.4g} here, and the search's "
            f"own start {scores['start']:.4g}; it starts from {taken}"
        )
    return scores


def linear_kid(phi: Callable[[Array], Array], reference: FeatureSet) -> KID:
    """Make the distance by which samplers are chosen: that of the features' means."""
    mean = np.asarray(reference.moments.mean, np.float32)
    return KID(phi, Linear(), np.stack([mean, mean]))


def _starts(
    config: Config, family: Any, model: DiffusionModel, rivals: Mapping[str, StepTable]
) -> dict[str, StepTable]:
    """What a search may start from; nothing where that was said, or the family has no start."""
    options, grid, schedule = config.family_options, config.grid, model.schedule
    given = options.get("start")
    if "eta" in options or not takes_start(family, allow_code=config.allow_code):
        return {}
    if given is None:
        found = dict(rivals)
        if grid:
            times = times_on(grid, schedule)
            own = isinstance(times, Times)
            found = unsearched_tables(
                config.steps, schedule, () if own else (times,), times if own else None
            )
        return {name: table for name, table in found.items() if _is_free(table)}
    if grid or not isinstance(given, str) or is_text(given) or split_sampler(given).grid:
        return {}
    return {name: _table(name, config, model) for name in _on_grids(given)}


def _is_free(table: StepTable) -> bool:
    """Whether each evaluation has a time of its own, so that a search can move it, and no noise."""
    return len(np.unique(table.times)) == table.steps and not np.any(table.fresh)


def _on_grids(sampler: str) -> list[str]:
    """A sampler's name with each of the grids that are tried."""
    family, colon, more = sampler.partition(":")
    return [f"{family}-{grid}{colon}{more}" for grid in TRIED_GRIDS]


def _table(name: str, config: Config, model: DiffusionModel) -> StepTable:
    return named_table(name, config.steps, model, allow_code=config.allow_code)


def named_table(
    name: str, steps: int, model: DiffusionModel, *, allow_code: bool = True
) -> StepTable:
    """Make the table of a sampler by its name, such as `unipc-3-karras`."""
    own = split_sampler(name)
    family = load_family(own.family, steps, own.grid, model, own.options, allow_code=allow_code)
    return make_table(family, model.schedule)

"""From runs and evaluations to the facts of a report."""

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from ..core.drawing import draw_samples, make_table, report_key
from ..core.marginal_levels import departure
from ..core.model import DiffusionModel
from ..core.table import StepTable
from ..core.types import Key
from ..files import digest
from ..runs.bars import progress_bar
from ..runs.guiding import beside, name_beside
from ..runs.names import label_of
from ..runs.parts import better_sides, load_data, model_digest, random_images
from ..runs.rows import Row, Scores
from ..runs.run import Run, kids
from ..runs.scores import baselines
from ..runs.spec import versions
from ..wording import phrase
from .facts import Drawn, Facts, Search
from .reading import check_alike, evaluation_rows, finished, labels, one_n, recorded, run_rows
from .samples_section import columns

_SECONDS = 0.3  # spent at most on repeating what is timed, after the first time


def gather(
    runs: Mapping[str, Run], evaluations: Mapping[str, Scores], command: str, progress: bool
) -> Facts:
    """Gather everything that a report says; samples are drawn for it.

    Args:
        runs: The runs by what they are called.
        evaluations: Scores that are added, by where they come from.
        command: What makes the report again.
        progress: Whether a bar is shown on stderr.

    Raises:
        ValueError: A run is not finished or damaged, or the scores cannot be compared.
    """
    configs = {name: run.config for name, run in runs.items()}
    check_alike(configs)
    for name, run in runs.items():
        finished(name, run)
    first, run = next(iter(runs.items()))
    _check_model(first, run)
    searches, rows = read_runs(runs, run.model)
    kept, left_out = read_scores(searches, rows, evaluations)
    data, no_data = _data(run)
    with progress_bar(_amount(searches), "draw", progress) as bar:
        drawn = []
        for one in _draw(searches, run.model):
            drawn.append(one)
            bar.update()
    return Facts(
        model=label_of(run.config.model),
        t_max=run.model.schedule.t_max,
        passes=run.model.passes,
        n=kept[0].n,
        rows=kept,
        better=better_sides(),
        searches=searches,
        drawn=tuple(drawn),
        data=data,
        no_data=no_data,
        device=_device(),
        command=command,
        left_out=left_out,
        evaluations=tuple(evaluations),
        versions=versions(),
    )


def _check_model(name: str, run: Run) -> None:
    """Refuse a model that is not what it was."""
    by_name = "model" not in run.objects
    now = model_digest(run.config.model, run.model) if by_name else digest(run.model)
    if run.config.hashes.get("model") not in (None, now):
        raise ValueError(
            f"The model {run.config.model!r} is not what it was when {name} began, so its samples "
            "cannot be drawn again."
        )


def _data(run: Run) -> tuple[Float[np.ndarray, "N ..."] | None, str]:
    """Images of the data, or None and why they cannot be shown."""
    config, model = run.config, run.model
    given = run.objects.get("data", config.data)
    where = (model.shape, model.clip, config.split, config.crop)
    try:
        data = load_data(given, *where, allow_code=config.allow_code)
        found = random_images(data, columns(model.shape))
    except (ValueError, OSError) as error:
        return None, phrase(error) + "."
    return found, "" if found is not None else f"{config.data} holds features, and no images."


def read_runs(
    runs: Mapping[str, Run], model: DiffusionModel
) -> tuple[tuple[Search, ...], list[Row]]:
    """Read the searches, and the rows of their results; both say what the samplers are called."""
    searches, rows, measure = [], [], eqx.filter_jit(departure)
    names = labels({name: run.config for name, run in runs.items()})
    for name, run in runs.items():
        result, table = finished(name, run), run.table_on(model)
        clean, noise = ddim_at(table, model)
        a, v = map(np.asarray, measure(table, model.schedule))
        seconds, cost = recorded(name, result)
        search = Search(
            name=name,
            sampler=names[name],
            nfe=table.nfe * model.passes,
            config=run.config,
            table=table,
            clean=clean,
            noise=noise,
            a=a,
            v=v,
            kids=tuple(kids(run.log)),
            seconds=seconds,
            cost=cost,
            kept=run.path is not None,
        )
        searches.append(search)
        rows += run_rows(name, search.sampler, result)
    return tuple(sorted(searches, key=lambda one: (one.nfe, one.sampler, one.seed))), rows


def read_scores(
    searches: Sequence[Search], rows: Sequence[Row], evaluations: Mapping[str, Scores]
) -> tuple[tuple[Row, ...], int]:
    """Take the rows of runs and evaluations at the greatest n, and count those of other n."""
    known = {search.name: (search.sampler, search.table) for search in searches}
    more = [
        row
        for name, scores in evaluations.items()
        for row in evaluation_rows(name, scores, known, searches[0].config)
    ]
    kept, left_out = one_n([*rows, *more], known)
    return tuple(kept), left_out


def ddim_at(
    table: StepTable, model: DiffusionModel
) -> tuple[Float[np.ndarray, "K"], Float[np.ndarray, "K"]]:
    """Compute DDIM's coefficients of x0 and of eps, stepping through the same times to data."""
    alpha, sigma = jax.vmap(model.schedule.alpha), jax.vmap(model.schedule.sigma)
    after = table.times[1:]
    return np.append(np.asarray(alpha(after)), 1), np.append(np.asarray(sigma(after)), 0)


def _draw(searches: Sequence[Search], model: DiffusionModel) -> Iterator[Drawn]:
    """Samples of each searched sampler (the first search's) and of the baselines, as they come.

    The same sample number starts from the same noise in every sampler.
    """
    key, count = report_key(searches[0].seed), columns(model.shape)
    tables = {(search.sampler, search.nfe): search.table for search in reversed(searches)}
    for steps, options in _kinds(searches):
        rivals = {
            name: make_table(family, model.schedule) for name, family in baselines(steps).items()
        }
        for name, table in beside(rivals, options, steps, named=True).items():
            tables[name, table.nfe * model.passes] = table
    for (sampler, nfe), table in tables.items():
        yield Drawn(sampler, nfe, *_timed(table, model, key, count))


def _kinds(searches: Sequence[Search]) -> list[tuple[int, Mapping[str, Any]]]:
    """The numbers of steps, each with the options of families whose guidance differs."""
    found = {
        (search.table.steps, name_beside("", search.config.family_options)): search
        for search in searches
    }
    return [(steps, search.config.family_options) for (steps, _), search in found.items()]


def _amount(searches: Sequence[Search]) -> int:
    """How many samplers `_draw` draws from."""
    searched = {(search.sampler, search.nfe) for search in searches}
    return len(searched) + len(baselines(1)) * len(_kinds(searches))


def _timed(
    table: StepTable, model: DiffusionModel, key: Key, count: int
) -> tuple[Float[np.ndarray, "N ..."], float]:
    """Samples, and the seconds for one when they are drawn again, compiled by then."""
    samples = draw_samples(table, model, key, count)
    taken, begun = [], time.perf_counter()
    while not taken or time.perf_counter() - begun < _SECONDS:
        before = time.perf_counter()
        draw_samples(table, model, key, count)
        taken.append(time.perf_counter() - before)
    return samples, min(taken) / count


def _device() -> str:
    """What this process draws on, in words."""
    kind = jax.devices()[0].device_kind
    return f"{os.cpu_count()} CPU cores ({platform.machine()})" if kind == "cpu" else kind

"""From runs on disk and their model to the facts of a report."""

import math
import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from ..core.drawing import draw_samples, make_table, report_key
from ..core.marginals import departure
from ..core.model import DiffusionModel
from ..core.table import StepTable
from ..core.types import Key
from ..runs.rows import Row
from ..runs.scores import baselines
from ..runs.spec import Config
from ..runs.store import load_sampler, read_log
from .facts import Drawn, Search
from .reading import evaluation_rows, finished, labels, one_n, recorded, run_rows
from .samples import columns

_SECONDS = 0.3  # spent at most on repeating what is timed, after the first time


class Found(NamedTuple):
    """A run's folder, which may be in the Hub's cache, and its configuration."""

    folder: Path
    config: Config


def read_runs(
    found: Mapping[str, Found], model: DiffusionModel
) -> tuple[tuple[Search, ...], list[Row]]:
    """All runs, the rows of their results, and what their samplers are called."""
    runs, rows, measure = [], [], eqx.filter_jit(departure)
    names = labels({name: config for name, (_, config) in found.items()})
    for name, (folder, config) in found.items():
        sampler, result = names[name], finished(name, folder)
        table, _ = load_sampler(folder / "sampler.safetensors")
        clean, noise = ddim_at(table, model)
        a, v = map(np.asarray, measure(table, model.schedule))
        kids = tuple(math.nan if k["kid"] is None else float(k["kid"]) for k in read_log(folder))
        nfe, (seconds, cost) = table.nfe * model.passes, recorded(name, result)
        runs.append(
            Search(name, sampler, nfe, config, table, clean, noise, a, v, kids, seconds, cost)
        )
        rows += run_rows(name, sampler, result)
    return tuple(sorted(runs, key=lambda run: (run.nfe, run.sampler, run.config.seed))), rows


def read_scores(
    runs: Sequence[Search], rows: list[Row], evaluations: Iterable[Path]
) -> tuple[tuple[Row, ...], int]:
    """The rows of runs and evaluations at the greatest n, and how many of other n there are."""
    known = {run.name: (run.sampler, run.table) for run in runs}
    more = [
        row for folder in evaluations
        for row in evaluation_rows(folder, known, runs[0].config)
    ]  # fmt: skip
    kept, left_out = one_n([*rows, *more], known)
    return tuple(kept), left_out


def ddim_at(
    table: StepTable, model: DiffusionModel
) -> tuple[Float[np.ndarray, "K"], Float[np.ndarray, "K"]]:
    """DDIM's coefficients of x0 and of eps, stepping through the same times to data."""
    alpha, sigma = jax.vmap(model.schedule.alpha), jax.vmap(model.schedule.sigma)
    after = table.times[1:]
    return np.append(np.asarray(alpha(after)), 1), np.append(np.asarray(sigma(after)), 0)


def draw(runs: Sequence[Search], model: DiffusionModel) -> Iterator[Drawn]:
    """Samples of each searched sampler (the first search's) and of the baselines, as they come.

    The same sample number starts from the same noise in every sampler.
    """
    key, count = report_key(runs[0].config.seed), columns(model.shape)
    tables = {(run.sampler, run.nfe): run.table for run in reversed(runs)}
    for steps in sorted({run.table.nfe for run in runs}):
        for name, family in baselines(steps).items():
            table = make_table(family, model.schedule)
            tables[name, steps * model.passes] = table
    for (sampler, nfe), table in tables.items():
        yield Drawn(sampler, nfe, *_timed(table, model, key, count))


def amount(runs: Sequence[Search]) -> int:
    """How many samplers `draw` draws from."""
    searched = {(run.sampler, run.nfe) for run in runs}
    return len(searched) + len(baselines(1)) * len({run.nfe for run in runs})


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


def device() -> str:
    """What this process draws on, in words."""
    kind = jax.devices()[0].device_kind
    return f"{os.cpu_count()} CPU cores ({platform.machine()})" if kind == "cpu" else kind

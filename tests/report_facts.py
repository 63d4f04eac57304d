"""Facts of reports that tests make up, with real samplers in them."""

import dataclasses
import math
from collections.abc import Sequence

import equinox as eqx
import jax
import numpy as np

from samplerzoo import DDIM, GDDIM, RDDIM, CosineVP, DiffusionModel, StepTable, departure
from samplerzoo.core.drawing import make_table
from samplerzoo.reports.facts import Drawn, Facts, Search
from samplerzoo.reports.gathering import ddim_at
from samplerzoo.runs.rows import Row
from samplerzoo.runs.spec import Config

BETTER = {"fd": "smaller", "kid": "smaller", "recall": "larger", "kid_se": "neither"}
BASELINES = ("ddpm-linear", "ddpm-quadratic", "ddim-linear", "ddim-quadratic")
MODEL = DiffusionModel(lambda x, t: x, CosineVP(), (4, 4, 1))
measure = eqx.filter_jit(departure)
FAMILIES = {"rddim": RDDIM, "gddim": GDDIM, "ddim": DDIM}


def perturbed(table: StepTable, size: float = 0.1) -> StepTable:
    """A sampler as a search might leave it."""
    draw = np.random.default_rng(0).normal
    return jax.tree.map(
        lambda x: x + (x.ndim > 1) * size * draw(size=x.shape).astype(x.dtype), table
    )


def make_run(
    family: str = "rddim",
    steps: int = 3,
    seed: int = 0,
    name: str = "",
    sampler: str = "",
    **config,
) -> Search:
    """A run whose log has a step that was skipped."""
    table = perturbed(make_table(FAMILIES[family](steps), MODEL.schedule))
    clean, noise = ddim_at(table, MODEL)
    a, v = map(np.asarray, measure(table, MODEL.schedule))
    given = {"data": "digits", "features": "seen", "report_features": "unseen", **config}
    return Search(
        name=name or f"runs/{family}-{steps}-{seed}",
        sampler=sampler or family,
        nfe=steps,
        config=Config(family=family, steps=steps, seed=seed, n=100, **given),
        table=table,
        clean=clean,
        noise=noise,
        a=a,
        v=v,
        kids=(1.0, math.nan, *np.linspace(0.5, -0.01, 30).tolist()),
        seconds=12.5,
        cost={"devices": 1, "microbatch": 512, "step_bytes": 20_000_000},
    )


def make_rows(
    runs: Sequence[Search], spaces: Sequence[str] = ("seen", "unseen")
) -> tuple[Row, ...]:
    """Scores of all runs and baselines, the searched ones far better."""
    rows = []
    for space in spaces:
        for run in runs:
            fd = 0.2 + 0.001 * run.config.seed + (0.1 if run.sampler != "gddim" else 0)
            scores = {"fd": fd, "kid": -0.001, "recall": 0.9, "kid_se": 0.1}
            rows.append(Row(run.sampler, run.nfe, space, 100, run.config.seed, scores, run.name))
        for nfe, seed in sorted({(run.nfe, run.config.seed) for run in runs}):
            for n, name in enumerate(BASELINES):
                scores = {"fd": 2.0 - 0.1 * n + 0.001 * seed, "kid": 0.3, "recall": 0.5 + 0.1 * n}
                rows.append(Row(name, nfe, space, 100, seed, scores))
    return tuple(rows)


def make_drawn(runs: Sequence[Search], shape: tuple[int, ...], count: int = 5) -> tuple[Drawn, ...]:
    """Samples of every sampler, of other numbers each."""
    names = sorted({(run.sampler, run.nfe) for run in runs})
    names += [(name, nfe) for nfe in sorted({run.nfe for run in runs}) for name in BASELINES]
    return tuple(
        Drawn(
            sampler, nfe, np.random.default_rng(n).uniform(-1, 1, (count, *shape)), 1e-4 * (n + 1)
        )
        for n, (sampler, nfe) in enumerate(names)
    )


def make_facts(
    runs: Sequence[Search] | None = None, shape: tuple[int, ...] = (4, 4, 1), **changes
) -> Facts:
    """Facts of two families at two K with two seeds each."""
    runs = runs or [
        make_run(family, steps, seed)
        for steps in (3, 5)
        for family in ("gddim", "rddim")
        for seed in (0, 1)
    ]
    facts = Facts(
        model="toys",
        t_max=1.0,
        passes=1,
        n=100,
        rows=make_rows(runs),
        better=BETTER,
        searches=tuple(runs),
        drawn=make_drawn(runs, shape),
        data=np.random.default_rng(99).uniform(-1, 1, (5, *shape)),
        device="a test",
        command="samplerzoo report RUN",
    )
    return dataclasses.replace(facts, **changes)

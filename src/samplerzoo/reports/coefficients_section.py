"""The tables of numbers that samplers are, against DDIM's at the same times."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from markupsafe import Markup

from .charts import times_chart
from .facts import Facts, Search
from .looks import other_look

_SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)  # of DDIM's greatest coefficient: where shades change
STEP_HEADS = ("x0", "DDIM x0", "Δ x0", "eps", "DDIM eps", "Δ eps")


class Number(NamedTuple):
    """A number in words, and the class of its shade."""

    text: str
    shade: str | None = None


def coefficients(facts: Facts) -> Mapping[str, Any]:
    """Show when each sampler asks the network, and what it makes of the answers."""
    return {
        "guided": any(search.table.guidance is not None for search in facts.searches),
        "charts": {nfe: _times(facts, nfe) for nfe in facts.steps},
        "samplers": [
            {
                "name": search.called,
                "heads": _heads(search),
                "steps": step_table(search),
                "reach": _reach(search),
            }
            for search in facts.searches
        ],
    }


def _heads(search: Search) -> tuple[str, ...]:
    """The columns of a sampler's steps."""
    guided = search.table.guidance is not None
    return ("n", "t", *STEP_HEADS, "noise", *["guidance"] * guided)


def _times(facts: Facts, nfe: int) -> Markup:
    """The times of every search at an NFE beside the two strides of the baselines."""
    searches = facts.at(nfe)
    steps = sorted({search.table.steps for search in searches})
    rows = []
    for k in steps:
        share = 1 - np.arange(k) / k
        apart = f", {k} steps" if len(steps) > 1 else ""
        for stride, power in {"linear": 1, "quadratic": 2}.items():
            rows.append((stride + apart, (facts.t_max * share**power).tolist(), other_look(0)))
    rows += [
        (f"{s.sampler}, seed {s.seed}", np.asarray(s.table.times).tolist(), facts.looks[s.sampler])
        for s in searches
    ]
    return times_chart(rows, facts.t_max, nfe, f"times-{nfe}")


def _kinds(search: Search) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The coefficients of x0 and of eps, each beside DDIM's."""
    clean, noise = (np.asarray(c, np.float64) for c in (search.table.clean, search.table.noise))
    return {"x0": (clean, search.clean), "eps": (noise, search.noise)}


def _reach(search: Search) -> dict[str, list[list[Number | None]]]:
    """The differences to DDIM of a sampler whose evaluations reach more than the next state."""
    if search.table.depth == 1:
        return {}
    return {name: reach_table(own, ddim) for name, (own, ddim) in _kinds(search).items()}


def step_table(search: Search) -> list[list[Number]]:
    """Make a row for each step: its time, its part in the next state, DDIM's, its noise.

    Last is its weight of guidance, where there is guidance.
    """
    kinds = [(own[:, 0], ddim) for own, ddim in _kinds(search).values()]
    fresh, times = (np.asarray(x, np.float64) for x in (search.table.fresh, search.table.times))
    levels = [_level(ddim) for _, ddim in kinds]
    rows = []
    for n in range(len(times)):
        row = [Number(f"{times[n]:.4g}")]
        for (own, ddim), level in zip(kinds, levels, strict=True):
            row += [Number(_text(own[n], 3)), Number(_text(ddim[n], 3))]
            row.append(shaded(float(own[n] - ddim[n]), level, 3))
        rows.append([*row, shaded(abs(float(fresh[n])), levels[1], 3)])
    weights = () if search.table.guidance is None else np.asarray(search.table.guidance)
    for row, weight in zip(rows, weights, strict=False):
        row.append(Number(_text(float(weight), 3)))
    return rows


def reach_table(
    own: Float[np.ndarray, "K depth"], ddim: Float[np.ndarray, "K"]
) -> list[list[Number | None]]:
    """Make a row for each state, a column for each evaluation: the differences to DDIM.

    None stands where an evaluation does not reach a state.
    """
    steps, depth = own.shape
    level = _level(ddim)
    rows = []
    for m in range(steps):
        row = []
        for n in range(steps):
            reached = 0 <= m - n < depth
            base = float(ddim[n]) if n == m else 0.0
            row.append(shaded(float(own[n, m - n]) - base, level, 2) if reached else None)
        rows.append(row)
    return rows


def shaded(x: int | float, level: int | float, digits: int) -> Number:
    """Make a cell of a difference, the darker the greater it is beside `level`."""
    shade = sum(abs(x) >= share * level * 0.999 for share in _SHARES)
    return Number(_text(x, digits), "z" if not shade else f"{'p' if x > 0 else 'm'}{shade}")


def _level(ddim: Float[np.ndarray, "K"]) -> float:
    return max(float(np.max(np.abs(ddim))), 1e-12)


def _text(x: int | float, digits: int) -> str:
    text = f"{x:.{digits}f}"
    return "0" if not float(text) else text.replace("-", "\N{MINUS SIGN}")

"""What sampling and searching cost."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .facts import Facts, Search

_RECORDED = ("step_bytes", "microbatch", "devices")


def cost(facts: Facts) -> Mapping[str, Any]:
    """Say what drawing a sample takes by each sampler at each NFE, and what the searches took."""
    seconds = {(d.sampler, d.nfe): d.seconds for d in facts.drawn}
    drawn = {sampler for sampler, _ in seconds}
    drawing = []
    for sampler, look in facts.looks.items():
        if sampler in drawn:
            own = [seconds.get((sampler, nfe)) for nfe in facts.steps]
            drawing.append((sampler, look, ["–" if s is None else duration(s) for s in own]))
    searching = []
    for (nfe, sampler), searches in facts.groups.items():
        spans = [_span(searches, key) for key in _RECORDED]
        taken = _mean([search.seconds for search in searches])
        cells = [str(nfe), str(len(searches)), taken, *spans]
        searching.append((sampler, facts.looks[sampler], cells))
    count = len(facts.drawn[0].samples)
    return {"count": count, "drawing": drawing, "searching": searching}


def _mean(seconds: Sequence[float]) -> str:
    mean = float(np.mean(seconds))
    return duration(mean) if math.isfinite(mean) else "–"


def _span(searches: Sequence[Search], key: str) -> str:
    """A number of all searches, or the range of it."""
    unit = 1e6 if key == "step_bytes" else 1
    values = [search.cost[key] / unit for search in searches if key in search.cost]
    if not values:
        return "–"
    low, high = f"{min(values):,.0f}", f"{max(values):,.0f}"
    return low if low == high else f"{low} to {high}"


def duration(seconds: float) -> str:
    """Write a time with a unit in which it is easily read."""
    for unit, size in (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if seconds < 120 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 60:.3g} min"

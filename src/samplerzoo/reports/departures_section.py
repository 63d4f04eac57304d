"""How far the searched samplers have left the model's marginals (Theorem 1 of the DDSS paper)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .charts import departure_chart, short, two_digits
from .facts import Facts

_NAMES = {"a": "a − α", "v": "v − σ²"}


def departures(facts: Facts) -> Mapping[str, Any]:
    """Draw the mean's and the variance's departure at each NFE, and find the greatest."""
    charts = {
        f"{quantity}, {nfe} evaluations": departure_chart(
            facts.at(nfe), facts.looks, part, quantity, f"departure-{part}-{nfe}"
        )
        for part, quantity in _NAMES.items()
        for nfe in facts.steps
    }
    rows = []
    for (nfe, sampler), searches in facts.groups.items():
        a, v = [s.a for s in searches], [s.v for s in searches]
        ends = [x[-1:] for x in a], [x[-1:] for x in v]
        rows.append((sampler, facts.looks[sampler], nfe, *map(_greatest, (a, v, *ends))))
    return {"charts": charts, "rows": rows}


def _greatest(values: Sequence[np.ndarray]) -> str:
    return short(two_digits(max(float(np.max(np.abs(v))) for v in values)))

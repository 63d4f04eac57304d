"""What sampling and searching cost."""

import math
from collections.abc import Sequence

import numpy as np

from .facts import Facts, Search
from .html import Markup, head_row, heading, scroll, table, tag


def cost_section(facts: Facts) -> Markup:
    """Measured time of each sampler, and what the searches took."""
    count = len(facts.drawn[0].samples)
    about = (
        f"Drawing was timed while this page was made, on {facts.device}: the fastest of several "
        f"repetitions, compiled before, {count} samples at a time. "
        "Searching is done once; each run recorded its time and the memory of a step. "
        "NFE counts network evaluations"
        + (f": with guidance, {facts.passes} a step." if facts.passes > 1 else ".")
    )
    tables = (
        scroll("Cost of drawing", _drawing(facts)),
        scroll("Cost of searching", _searching(facts)),
    )
    return tag("section", heading(2, "Cost", "cost"), tag("p", about),
               tag("div", *tables, class_="pair"))  # fmt: skip


def _drawing(facts: Facts) -> Markup:
    """A row for each sampler, a column for each NFE."""
    seconds = {(d.sampler, d.nfe): d.seconds for d in facts.drawn}
    rows = [
        tag("tr", tag("th", name, scope="row", class_=facts.looks[name]),
            *(tag("td", duration(seconds[name, k]) if (name, k) in seconds else "–")
              for k in facts.steps))
        for name in facts.looks if any(d.sampler == name for d in facts.drawn)
    ]  # fmt: skip
    head = head_row("sampler", *(f"NFE {k}" for k in facts.steps))
    return table("Time to draw a sample", head, *rows)


def _searching(facts: Facts) -> Markup:
    rows = [
        tag("tr", tag("th", sampler, scope="row", class_=facts.looks[sampler]), tag("td", nfe),
            tag("td", len(runs)), tag("td", _mean([run.seconds for run in runs])),
            *(tag("td", _span(runs, key)) for key in ("step_bytes", "microbatch", "devices")))
        for (nfe, sampler), runs in facts.groups.items()
    ]  # fmt: skip
    head = head_row("sampler", "NFE", "searches", "time", "MB a step", "micro-batch", "devices")
    return table("To search, on average", head, *rows)


def _mean(seconds: Sequence[float]) -> str:
    mean = float(np.mean(seconds))
    return duration(mean) if math.isfinite(mean) else "–"


def _span(runs: Sequence[Search], key: str) -> str:
    """A number of all runs, or the range of it."""
    unit = 1e6 if key == "step_bytes" else 1
    values = [run.cost[key] / unit for run in runs if key in run.cost]
    if not values:
        return "–"
    low, high = f"{min(values):,.0f}", f"{max(values):,.0f}"
    return low if low == high else f"{low} to {high}"


def duration(seconds: float) -> str:
    """A time with a unit in which it is easily read."""
    for unit, size in (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if seconds < 120 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 60:.3g} min"

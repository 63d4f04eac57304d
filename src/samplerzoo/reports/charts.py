"""Charts of the searches and of what they found: KID, departures, times."""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from .facts import Search
from .html import Markup, tag
from .svg import LEFT, WIDTH, Line, linear, panel, polyline, short, stretched, x_of, y_of

_POINTS = 160  # of a line, at most


def search_chart(runs: Sequence[Search], look: Mapping[str, str]) -> Markup | None:
    """The running mean of KID against the step, for searches at one K; None without logs."""
    logged = [run for run in runs if np.isfinite(run.kids).any()]
    if not logged:
        return None
    lines = [
        Line(smooth(run.kids), look[run.sampler], f"{run.sampler}, seed {run.config.seed}")
        for run in logged
    ]
    values = [b for line in lines for _, b in line.points if math.isfinite(b)]
    last = [line.points[-1][1] for line in lines if math.isfinite(line.points[-1][1])]
    unit = max(1e-9, 3 * float(np.median(np.abs(last))) if last else 1.0)
    low, high = min(0.0, *values), max(*values, unit)
    y = stretched(low - 0.05 * unit, high * 1.1, unit)
    most = max(len(run.kids) for run in logged)
    x = linear(0.0, float(most), whole=True)
    ends = "; ".join(
        f"{line.name} from {short(line.points[0][1])} to {short(line.points[-1][1])}"
        for line in lines
    )
    alt = f"KID in the searched features against the step of the search: {ends}."
    return panel(alt, x, y, "step of the search", [polyline(line, x, y) for line in lines])


def smooth(kids: Sequence[float]) -> list[tuple[float, float]]:
    """Step and mean of the steps around it, at most some points; skipped steps are left out."""
    count = min(_POINTS, max(1, len(kids) // 4))
    edges = np.linspace(0, len(kids), count + 1).astype(int)
    parts = [np.asarray(kids[a:b]) for a, b in itertools.pairwise(edges)]
    means = [float(np.mean(p[np.isfinite(p)])) if np.isfinite(p).any() else math.nan for p in parts]
    return [(float(b), mean) for b, mean in zip(edges[1:], means, strict=True)]


def departure_chart(
    runs: Sequence[Search], look: Mapping[str, str], part: str, name: str
) -> Markup:
    """How far the states are from the model's marginals: `part` is Search's `a` or `v`."""
    lines = [
        Line(list(enumerate(map(float, getattr(run, part)))), look[run.sampler],
             f"{run.sampler}, seed {run.config.seed}")
        for run in runs
    ]  # fmt: skip
    values = [b for line in lines for _, b in line.points if math.isfinite(b)] or [0.0]
    low, high = min(0.0, *values), max(0.0, *values)
    room = 0.06 * (high - low) or 1e-3
    y = linear(low - room, high + room)
    x = linear(0.0, len(lines[0].points) - 1.0, whole=True)
    far = "; ".join(f"{line.name} at most {short(_most(line))}" for line in lines)
    zero = tag("line", x1=LEFT, x2=x_of(x, len(lines[0].points) - 1), y1=f"{y_of(y, 0):.1f}",
               y2=f"{y_of(y, 0):.1f}", class_="zero")  # fmt: skip
    alt = f"{name} against the number of the state: {far}."
    return panel(alt, x, y, "state", [zero, *(polyline(line, x, y) for line in lines)])


def _most(line: Line) -> float:
    return float(f"{max((abs(b) for _, b in line.points), default=0.0):.2g}")


def times_chart(
    rows: Sequence[tuple[str, Sequence[float], str]], t_max: float, steps: int
) -> Markup:
    """When each sampler asks the network: a row of ticks for each, from t_max to data."""
    height, top = 22, 6
    parts = []
    for n, (name, times, look) in enumerate(rows):
        y = top + n * height
        shown = name if len(name) <= 18 else name[:17] + "…"
        parts.append(tag("text", shown, x=0, y=y + 12, class_=f"name {look}"))
        parts.append(tag("line", x1=124, x2=WIDTH * 2 - 8, y1=y + 8, y2=y + 8, class_="grid"))
        for t in times:
            at = f"{124 + (1 - t / t_max) * (WIDTH * 2 - 132):.1f}"
            parts.append(tag("line", x1=at, x2=at, y1=y + 1, y2=y + 15, class_=f"tick {look}"))
    below = top + len(rows) * height + 10
    for share in (1, 0.75, 0.5, 0.25, 0):
        at = round(124 + (1 - share) * (WIDTH * 2 - 132))
        parts.append(tag("text", short(float(f"{share * t_max:.4g}")), x=at, y=below,
                         text_anchor="middle"))  # fmt: skip
    names = ", ".join(name for name, _, _ in rows)
    alt = f"Times at which {names} ask the network, K = {steps}."
    return tag("svg", tag("title", alt), *parts, viewBox=f"0 0 {WIDTH * 2 + 8} {below + 8}",
               role="img", aria_label=alt, class_="chart wide")  # fmt: skip

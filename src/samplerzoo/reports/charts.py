"""The charts of a report: scores, searches, departures, times, and samples that are not images."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter

from ..metrics import Interval, decimals
from ..wording import printable
from .comparison import Comparison
from .facts import Drawn, Facts, Search
from .looks import PALETTE, Look
from .svg import Chart

WIDTH, HEIGHT = 420, 270
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 10, 42
_CHARACTERS = 22  # of a name in a chart, at most
_LETTER, _GAP = 6.6, 14  # pixels: of a letter across, between two names
_SEEN = 40  # steps of a search up to which each is shown
_POINTS = 160  # of a longer search, at most
_WHOLE = {"integer": True, "nbins": 6, "steps": [1, 2, 2.5, 5, 10], "min_n_ticks": 1}
_ROUND = {"nbins": 5, "steps": [1, 2, 2.5, 5, 10]}

Number: TypeAlias = int | float
Values = Float[np.ndarray, "N ..."]
Limits = Float[np.ndarray, "2 2"]  # the least and the greatest of both numbers


def short(x: Number, _: object = None) -> str:
    """Write a number in few characters."""
    if x == 0:
        return "0"
    text = f"{x:.0e}" if abs(x) < 1e-3 or abs(x) >= 1e5 else f"{x:,.6g}"
    return text.replace("e-0", "e-").replace("e+0", "e").replace("-", "\N{MINUS SIGN}")


def score_chart(facts: Facts, scores: Comparison, space: str, name: str) -> Markup | None:
    """Draw the deciding metric against NFE in one feature space; None without finite scores."""
    found: dict[str, dict[int, Interval]] = {}
    for nfe in sorted({nfe for _, nfe, features in scores.summary if features == space}):
        for sampler, score in scores.ranked(nfe, space):
            found.setdefault(sampler, {})[nfe] = score
    if not found:
        return None
    return lines_chart(found, facts.looks, f"{scores.metric.upper()} in {space}", name)


def lines_chart(
    found: Mapping[str, Mapping[int, Interval]], looks: Mapping[str, Look], what: str, name: str
) -> Markup:
    """Draw scores against NFE: a line for each sampler.

    Args:
        found: The scores by sampler and NFE; there are some.
        looks: How each sampler looks.
        what: What the scores are.
        name: What tells the chart from the others of its page.
    """
    steps = sorted({nfe for own in found.values() for nfe in own})
    longest = max(len(sampler) for sampler, own in found.items() if max(own) == steps[-1])
    margin = round(16 + _LETTER * min(longest, _CHARACTERS))
    chart = Chart(WIDTH, HEIGHT, (LEFT, margin, TOP, BOTTOM))
    chart.axes.set_xlim(-0.5, len(steps) - 0.5)
    chart.axes.set_xticks(range(len(steps)), [str(nfe) for nfe in steps])
    chart.axes.set_xlabel("network evaluations a sample", color=PALETTE["soft"])
    _score_axis(chart.axes, [score for own in found.values() for score in own.values()])
    ends = []
    for n, (sampler, own) in enumerate(found.items()):
        aside = 0.05 * (n - (len(found) - 1) / 2) / max(1, len(found) / 6)
        places = [steps.index(nfe) + aside for nfe in sorted(own)]
        points = [own[nfe] for nfe in sorted(own)]
        look = looks[sampler]
        chart.axes.plot(places, [p.value for p in points], zorder=3, **_line(look))
        for nfe, place, score in zip(sorted(own), places, points, strict=True):
            if score.half:
                bar = {"color": PALETTE[look.colour], "linewidth": 2, "alpha": 0.6}
                chart.axes.plot([place] * 2, [score.low, score.high], **bar)
            (mark,) = chart.axes.plot([place], [score.value], zorder=4, **_mark(look))
            words = f"{sampler}, NFE {nfe}: {score.text(decimals([score.value]))}"
            chart.name(mark, words)
        ends.append((sampler, steps.index(max(own)), chart.pixels(places[-1], points[-1].value)))
    _label_ends(chart, ends, looks)
    best = "; ".join(
        f"{sampler} {', '.join(f'{score.text(2)} at {nfe}' for nfe, score in sorted(own.items()))}"
        for sampler, own in found.items()
    )
    return chart.markup(f"{what} against network evaluations: {best}.", name)


def _score_axis(axes: Axes, scores: Sequence[Interval]) -> None:
    """Make it logarithmic where all values are positive and far apart, else linear."""
    values = [score.value for score in scores]
    low, high = min(score.low for score in scores), max(score.high for score in scores)
    if min(values) > 0 and max(values) / min(values) > 4:
        low, high = max(low, min(values) / 3) / 1.15, high * 1.15
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        axes.yaxis.set_major_locator(FixedLocator(log_ticks(low, high)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_minor_locator(FixedLocator([]))
    else:
        room = 0.06 * (high - low) or abs(high) or 1.0
        axes.set_ylim(low - room, high + room)
        axes.yaxis.set_major_locator(MaxNLocator(**_ROUND))
    axes.yaxis.set_major_formatter(short)


def log_ticks(low: Number, high: Number) -> list[float]:
    """Choose two or more round numbers between two positive ones, for a logarithmic axis."""
    span = math.log10(high / low)
    factors = (1,) if span > 3 else (1, 3) if span > 1.6 else (1, 2, 5)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    return [tick for tick in ticks if low <= tick <= high]


def _label_ends(
    chart: Chart, ends: Sequence[tuple[str, int, tuple[float, float]]], looks: Mapping[str, Look]
) -> None:
    """Write each name beside the last point of its line; a thin line leads to one moved aside."""
    taken: list[tuple[Number, Number]] = []  # where the names further to the right begin
    for column in sorted({column for _, column, _ in ends}, reverse=True):
        own = [(sampler, place) for sampler, at, place in ends if at == column]
        left = max(x for _, (x, _) in own) + 15
        heights = spread([y for _, (_, y) in own], _GAP, BOTTOM, HEIGHT - TOP - 4)
        begun = []
        for (sampler, (x, y)), height in zip(own, heights, strict=True):
            look, words = looks[sampler], printable(sampler, _CHARACTERS)
            end = left + _LETTER * len(words)
            up = _free(height, [height for x, height in taken if x < end])
            if abs(up - y) > 3:
                lead = [x + 4, left - 3], [y, up]
                line = Line2D(*lead, transform=None, color=PALETTE["grey"], linewidth=0.7)
                chart.figure.add_artist(line)
            chart.text(left, up, words, look.colour if look.searched else "soft")
            begun.append((left, up))
        taken += begun


def _free(height: Number, taken: Sequence[Number]) -> Number:
    """Find the height nearest to one that lies a gap away from all that are taken."""
    moves = [sign * step for step in range(0, HEIGHT, 2) for sign in (1, -1)]
    free = [height + m for m in moves if all(abs(height + m - other) >= _GAP for other in taken)]
    return next((up for up in free if BOTTOM <= up <= HEIGHT - TOP), height)


def spread(places: Sequence[Number], gap: Number, low: Number, high: Number) -> list[float]:
    """Move places as little as it takes to lie `gap` apart, in their order, between two bounds."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = [float(place) for place in places]
    for _ in range(50):
        for one, two in itertools.pairwise(order):
            lack = gap - (moved[two] - moved[one])
            if lack > 0:
                moved[one] -= lack / 2
                moved[two] += lack / 2
        moved = [float(min(max(m, low), high)) for m in moved]
    return moved


def swatch(look: Look, name: str, marked: bool) -> Markup:
    """Draw the line of a sampler, with its mark or without, for a legend."""
    chart = Chart(34, 12, (1, 1, 1, 1))
    chart.axes.set_axis_off()
    chart.axes.set(xlim=(0, 34), ylim=(0, 12))
    chart.axes.plot([1, 33], [6, 6], **_line(look))
    if marked:
        chart.axes.plot([17], [6], **_mark(look))
    return chart.markup("line", name, "swatch")


def _line(look: Look) -> dict[str, Any]:
    width = 2 if look.searched else 1.5
    dashes = (0, tuple(length / width for length in look.dashes)) if look.dashes else "solid"
    colour = PALETTE[look.colour]
    return {"color": colour, "linewidth": width, "linestyle": dashes, "clip_on": False}


def _mark(look: Look) -> dict[str, Any]:
    return {
        "marker": look.mark,
        "markersize": 6,
        "color": PALETTE[look.colour],
        "markeredgecolor": PALETTE["page"],
        "markeredgewidth": 0.8,
        "linestyle": "none",
        "clip_on": False,
    }


def search_chart(searches: Sequence[Search], looks: Mapping[str, Look], name: str) -> Markup | None:
    """Draw what was minimised against the step, for the searches at one NFE; None without logs.

    Each step of a short search is a point; of a long one, a line shows means of steps beside one
    another.
    """
    logged = [search for search in searches if np.isfinite(search.kids).any()]
    if not logged:
        return None
    lines = {_called(search): smooth(search.kids) for search in logged}
    values = [kid for line in lines.values() for _, kid in line if math.isfinite(kid)]
    last = [line[-1][1] for line in lines.values() if math.isfinite(line[-1][1])]
    unit = 3 * float(np.median(np.abs(last))) if last else 0.0
    chart = Chart(WIDTH, HEIGHT, (LEFT, RIGHT, TOP, BOTTOM))
    _value_axis(chart.axes, values, max(unit, 1e-9))
    most = max(len(search.kids) for search in logged)
    chart.axes.set_xlim(*((0.5, most + 0.5) if most <= _SEEN else (0, most)))
    chart.axes.xaxis.set_major_locator(MaxNLocator(**_WHOLE))
    chart.axes.xaxis.set_major_formatter(short)
    chart.axes.set_xlabel("step of the search", color=PALETTE["soft"])
    for search, line in zip(logged, lines.values(), strict=True):
        look = looks[search.sampler]
        marks = _mark(look) | _line(look) if len(search.kids) <= _SEEN else _line(look)
        (drawn,) = chart.axes.plot(*zip(*line, strict=True), **marks)
        chart.name(drawn, _called(search))
    ends = "; ".join(
        f"{called} from {short(line[0][1])} to {short(line[-1][1])}"
        for called, line in lines.items()
    )
    return chart.markup(f"What was minimised against the step of the search: {ends}.", name)


def _value_axis(axes: Axes, values: Sequence[float], unit: float) -> None:
    """Make it linear where the numbers are of one size, else linear within `unit` of 0 only."""
    low, high = min(0.0, *values), max(0.0, *values)
    if high - low <= 12 * unit:
        room = 0.06 * (high - low) or unit
        axes.set_ylim(low - room * (low < 0), high + room)
        axes.yaxis.set_major_locator(MaxNLocator(**_ROUND))
    else:
        axes.set_yscale("asinh", linear_width=unit)
        axes.set_ylim(low - 0.05 * unit, high * 1.15)
        axes.yaxis.set_major_locator(FixedLocator(asinh_ticks(low, high * 1.15, unit)))
        axes.yaxis.set_minor_locator(FixedLocator([]))
    axes.yaxis.set_major_formatter(short)


def asinh_ticks(low: Number, high: Number, unit: Number) -> list[float]:
    """Choose 0 and powers of ten far enough apart, for an axis that bends at `unit`."""
    powers = range(math.floor(math.log10(unit)), math.ceil(math.log10(max(-low, high))) + 1)
    sizes = [10.0**power for power in powers]
    span = math.asinh(high / unit) - math.asinh(low / unit)
    kept = [0.0]
    for tick in sorted([*sizes, *(-size for size in sizes)], key=abs, reverse=True):
        gaps = [abs(math.asinh(tick / unit) - math.asinh(k / unit)) for k in kept]
        if low <= tick <= high and min(gaps) > 0.1 * span:
            kept.append(tick)
    return sorted(kept)


def smooth(kids: Sequence[float]) -> list[tuple[float, float]]:
    """Return steps and KIDs to draw: every step of a short search, else means of neighbours.

    NaN stands where there is no step with a KID, as one that was skipped has none.
    """
    count = len(kids) if len(kids) <= _SEEN else min(_POINTS, len(kids) // 4)
    edges = np.linspace(0, len(kids), count + 1).astype(int)
    parts = [np.asarray(kids[a:b]) for a, b in itertools.pairwise(edges)]
    means = [float(np.mean(p[np.isfinite(p)])) if np.isfinite(p).any() else math.nan for p in parts]
    return [(float(b), mean) for b, mean in zip(edges[1:], means, strict=True)]


def _called(search: Search) -> str:
    return f"{search.sampler}, seed {search.seed}"


def departure_chart(
    searches: Sequence[Search], looks: Mapping[str, Look], part: str, quantity: str, name: str
) -> Markup:
    """Draw how far the states are from the model's marginals: `part` is Search's `a` or `v`."""
    lines = [np.asarray(getattr(search, part), float) for search in searches]
    finite = [x for line in lines for x in line.tolist() if math.isfinite(x)] or [0.0]
    low, high = min(0.0, *finite), max(0.0, *finite)
    room = 0.06 * (high - low) or 1e-3
    chart = Chart(WIDTH, HEIGHT, (LEFT, RIGHT, TOP, BOTTOM))
    chart.axes.set(xlim=(0, max(map(len, lines)) - 1), ylim=(low - room, high + room))
    chart.axes.set_xlabel("state", color=PALETTE["soft"])
    chart.axes.xaxis.set_major_locator(MaxNLocator(**_WHOLE))
    chart.axes.yaxis.set_major_locator(MaxNLocator(**_ROUND))
    chart.axes.yaxis.set_major_formatter(short)
    chart.axes.axhline(0, color=PALETTE["grey"], linewidth=1)
    for search, line in zip(searches, lines, strict=True):
        (drawn,) = chart.axes.plot(range(len(line)), line, **_line(looks[search.sampler]))
        chart.name(drawn, _called(search))
    far = "; ".join(
        f"{_called(search)} at most {short(two_digits(np.max(np.abs(line))))}"
        for search, line in zip(searches, lines, strict=True)
    )
    return chart.markup(f"{quantity} against the number of the state: {far}.", name)


def two_digits(x: Number) -> float:
    """Round a number to two digits."""
    return float(f"{float(x):.2g}")


def times_chart(
    rows: Sequence[tuple[str, Sequence[float], Look]], t_max: Number, nfe: int, name: str
) -> Markup:
    """Draw when each sampler asks the network: a row of ticks for each, from t_max to data."""
    width, left, high, below = 736, 200, 22, 24
    chart = Chart(width, high * len(rows) + below, (left, 20, 2, below))
    chart.axes.set(xlim=(t_max, 0), ylim=(len(rows) - 0.5, -0.5))
    chart.axes.grid(visible=False)
    chart.axes.set_yticks([])
    chart.axes.set_xticks([share * t_max for share in (1, 0.75, 0.5, 0.25, 0)])
    chart.axes.xaxis.set_major_formatter(lambda t, _: short(float(f"{t:.4g}")))
    for n, (sampler, times, look) in enumerate(rows):
        chart.axes.axhline(n, color=PALETTE["line"], linewidth=1, zorder=1)
        ticks = {"color": PALETTE[look.colour], "linewidth": 2, "clip_on": False}
        chart.name(chart.axes.vlines(times, n - 0.32, n + 0.32, **ticks), sampler)
        colour = look.colour if look.searched else "soft"
        _, up = chart.pixels(0, n)
        chart.text(0, up, printable(sampler, 30), colour)
    names = ", ".join(sampler for sampler, _, _ in rows)
    alt = f"Times at which {names} ask the network, NFE {nfe}."
    return chart.markup(alt, name, "chart wide")


def points_chart(drawn: Drawn, data: Values | None, limits: Limits, name: str) -> Markup:
    """Draw a sampler's samples, which are not images, as points over the data's."""
    chart = Chart(WIDTH, HEIGHT, (LEFT, RIGHT, TOP, BOTTOM))
    chart.axes.set(xlim=limits[:, 0], ylim=limits[:, 1])
    chart.axes.set_xlabel("first number of a sample", color=PALETTE["soft"])
    for axis in (chart.axes.xaxis, chart.axes.yaxis):
        axis.set_major_locator(MaxNLocator(**_ROUND))
        axis.set_major_formatter(short)
    for values, colour, opacity in ((data, "grey", 0.35), (drawn.samples, "s0", 0.7)):
        points = np.empty((0, 2)) if values is None else plane(values)
        inside = points[np.all((points >= limits[0]) & (points <= limits[1]), axis=1)]
        dots = {"marker": "o", "markersize": 4, "markeredgewidth": 0, "linestyle": "none"}
        (marks,) = chart.axes.plot(*inside.T, color=PALETTE[colour], alpha=opacity, **dots)
        chart.name(marks, "samples" if values is drawn.samples else "data")
    alt = f"{len(drawn.samples)} samples of {drawn.sampler} at NFE {drawn.nfe} over the data."
    return chart.markup(alt, name)


def plane(values: Values) -> Float[np.ndarray, "N 2"]:
    """Return the first and last number of each sample; of single numbers, each and its rank."""
    flat = values.reshape(len(values), -1)
    if flat.shape[1] == 1:
        return np.stack([np.sort(flat[:, 0]), (np.arange(len(flat)) + 0.5) / len(flat)], 1)
    return flat[:, [0, -1]]


def limits_of(drawn: Sequence[Drawn], data: Values | None) -> Limits:
    """Choose where points are shown: the data, or else most of what was drawn, with room around."""
    sets = [one.samples for one in drawn] if data is None else [data]
    points = np.concatenate([plane(values) for values in sets])
    points = points[np.isfinite(points).all(1)]
    if not len(points):
        return np.array([[-1.0, -1.0], [1.0, 1.0]])
    low, high = np.quantile(points, [0.01, 0.99], axis=0)
    room = 0.25 * np.where(high > low, high - low, 1.0)
    return np.stack([low - room, high + room])

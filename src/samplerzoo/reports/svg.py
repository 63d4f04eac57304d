"""Charts as SVG inside the page: drawn in the page's own colours, read in light and dark."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from .html import Markup, join, tag

Number: TypeAlias = int | float
WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 34


class Scale(NamedTuple):
    """Where a number lies along an axis, from 0 to 1, and the numbers that are written there."""

    place: Callable[[Number], float]
    ticks: tuple[tuple[float, str], ...]


class Line(NamedTuple):
    """Points joined by a line; a gap where one is not finite. `look` is its class in the page."""

    points: Sequence[tuple[Number, Number]]
    look: str
    name: str


def linear(low: Number, high: Number, whole: bool = False) -> Scale:
    """An axis between two numbers with round ones marked, or with whole ones only."""
    step = _step((high - low) / 4)
    step = math.ceil(step) if whole else step
    first = math.ceil(low / step - 1e-9)
    ticks = [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]
    return Scale(lambda x: (x - low) / (high - low), tuple((t, short(t)) for t in ticks))


def logarithmic(low: Number, high: Number) -> Scale:
    """A logarithmic axis between two positive numbers."""
    bottom, top = math.log10(low), math.log10(high)
    factors = (1,) if top - bottom > 3 else (1, 2, 5) if top - bottom < 1.6 else (1, 3)
    powers = range(math.floor(bottom), math.ceil(top) + 1)
    ticks = [f * 10.0**p for p in powers for f in factors if low <= f * 10.0**p <= high]
    return Scale(
        lambda x: (math.log10(x) - bottom) / (top - bottom) if x > low else 0.0,
        tuple((t, short(t)) for t in ticks),
    )


def stretched(low: Number, high: Number, unit: Number) -> Scale:
    """An axis that is linear within `unit` of 0 and logarithmic beyond, for any sign."""

    def bend(x: Number) -> float:
        return math.asinh(x / unit)

    powers = range(math.floor(math.log10(unit)), math.ceil(math.log10(max(-low, high, unit))) + 1)
    sizes = [10.0**p for p in powers]
    ticks = [t for t in (*(-s for s in reversed(sizes)), 0.0, *sizes) if low <= t <= high]
    place = lambda x: (bend(x) - bend(low)) / (bend(high) - bend(low))  # noqa: E731
    kept: list[float] = [0.0] if low <= 0 <= high else []
    for t in sorted(ticks, key=abs, reverse=True):
        if all(abs(place(t) - place(k)) > 0.1 for k in kept):
            kept.append(t)
    return Scale(place, tuple((t, short(t)) for t in sorted(kept)))


def named(names: Sequence[str]) -> Scale:
    """Names beside one another at equal distances; name number i is at i."""
    return Scale(lambda x: (x + 0.5) / len(names), tuple(enumerate(map(str, names))))


def short(x: Number) -> str:
    """A number in few characters."""
    if x == 0:
        return "0"
    text = f"{x:.0e}" if abs(x) < 1e-3 or abs(x) >= 1e5 else f"{x:,.6g}"
    return text.replace("e-0", "e-").replace("e+0", "e").replace("-", "\N{MINUS SIGN}")


def x_of(scale: Scale, x: Number, right: int = RIGHT) -> float:
    """A number's horizontal place in a panel."""
    return LEFT + scale.place(x) * (WIDTH - LEFT - right)


def y_of(scale: Scale, y: Number) -> float:
    """A number's vertical place in a panel."""
    return HEIGHT - BOTTOM - scale.place(y) * (HEIGHT - TOP - BOTTOM)


def panel(
    alt: str, x: Scale, y: Scale, across: str, marks: Iterable[Markup], right: int = RIGHT
) -> Markup:
    """Axes with marks inside, as a picture that `alt` describes."""
    end = WIDTH - right
    parts = []
    for tick, words in y.ticks:
        at = round(y_of(y, tick), 1)
        parts.append(tag("line", x1=LEFT, x2=end, y1=at, y2=at, class_="grid"))
        parts.append(tag("text", words, x=LEFT - 6, y=at + 4, text_anchor="end"))
    for tick, words in x.ticks:
        at = round(x_of(x, tick, right), 1)
        parts.append(tag("text", words, x=at, y=HEIGHT - BOTTOM + 16, text_anchor="middle"))
    middle = round((LEFT + end) / 2)
    parts.append(tag("text", across, x=middle, y=HEIGHT - 3, text_anchor="middle", class_="axis"))
    return tag("svg", tag("title", alt), *parts, *marks, viewBox=f"0 0 {WIDTH} {HEIGHT}",
               role="img", aria_label=alt, class_="chart")  # fmt: skip


def polyline(line: Line, x: Scale, y: Scale, right: int = RIGHT) -> Markup:
    """A line through its points, broken where one is not finite."""
    words, pen = [], "M"
    for a, b in line.points:
        if math.isfinite(b):
            words.append(f"{pen}{x_of(x, a, right):.1f} {y_of(y, b):.1f}")
            pen = "L"
        else:
            pen = "M"
    return tag("path", tag("title", line.name), d="".join(words), class_=f"line {line.look}")


def dot(cx: Number, cy: Number, look: str, name: str, r: Number = 3.5) -> Markup:
    """A point with its name."""
    where = {"cx": f"{cx:.1f}", "cy": f"{cy:.1f}", "r": str(r)}
    return tag("circle", tag("title", name), class_=f"dot {look}", **where)


def bar(cx: Number, top: Number, bottom: Number, look: str) -> Markup:
    """An interval."""
    return tag("line", x1=f"{cx:.1f}", x2=f"{cx:.1f}", y1=f"{top:.1f}", y2=f"{bottom:.1f}",
               class_=f"bar {look}")  # fmt: skip


def spread(places: Sequence[Number], gap: Number, low: Number, high: Number) -> list[float]:
    """Places moved as little as it takes to lie `gap` apart, in their order, between two bounds."""
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


def legend(names: Iterable[tuple[str, str]]) -> Markup:
    """What each look stands for."""
    items = [
        tag("span", tag("svg", tag("path", d="M0 6H22", class_=f"line {look}"),
                        viewBox="0 0 22 12", width=22, height=12, aria_hidden="true"), name)
        for name, look in names
    ]  # fmt: skip
    return tag("p", *items, class_="legend")


def figure(caption: str, *children: Markup | None) -> Markup:
    """A picture below its title."""
    return tag("figure", tag("figcaption", tag("b", caption)), join(*children))


def _step(rough: Number) -> float:
    """The round number next above."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= rough * 0.999)

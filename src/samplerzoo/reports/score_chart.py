"""Scores against the number of network evaluations."""

from collections.abc import Sequence

from ..metrics import Interval
from .comparison import Comparison, text
from .facts import Facts
from .html import Markup, tag
from .svg import (
    BOTTOM,
    HEIGHT,
    TOP,
    WIDTH,
    Line,
    Scale,
    bar,
    dot,
    linear,
    logarithmic,
    named,
    panel,
    polyline,
    spread,
    x_of,
    y_of,
)

_LABELS = 108  # pixels for the names at the right


def score_chart(facts: Facts, scores: Comparison, space: str) -> Markup | None:
    """The deciding metric against NFE in one feature space; None without finite scores."""
    found: dict[str, dict[int, Interval]] = {}
    for nfe in sorted({nfe for _, nfe, features in scores.summary if features == space}):
        for sampler, score in scores.ranked(nfe, space):
            found.setdefault(sampler, {})[nfe] = score
    if not found:
        return None
    steps = sorted({nfe for own in found.values() for nfe in own})
    x = named([str(nfe) for nfe in steps])
    y = _score_scale([s for own in found.values() for s in own.values()])
    marks, ends = [], []
    for n, (sampler, own) in enumerate(found.items()):
        aside = 0.05 * (n - (len(found) - 1) / 2) / max(1, len(found) / 6)
        points = [(steps.index(nfe) + aside, score) for nfe, score in sorted(own.items())]
        line = Line([(at, s.value) for at, s in points], facts.looks[sampler], sampler)
        marks.append(polyline(line, x, y, _LABELS))
        for (at, score), nfe in zip(points, sorted(own), strict=True):
            cx = x_of(x, at, _LABELS)
            if score.half:
                top, bottom = score.high, score.low
                marks.append(bar(cx, _inside(y, top), _inside(y, bottom), facts.looks[sampler]))
            name = f"{sampler}, NFE {nfe}: {text(score, 3)}"
            marks.append(dot(cx, y_of(y, score.value), facts.looks[sampler], name))
        ends.append((sampler, y_of(y, points[-1][1].value)))
    heights = spread([end for _, end in ends], 14, TOP + 6, HEIGHT - BOTTOM)
    for (sampler, _), at in zip(ends, heights, strict=True):
        name = sampler if len(sampler) <= 16 else sampler[:15] + "…"
        marks.append(tag("text", name, x=WIDTH - _LABELS + 6, y=f"{at + 4:.1f}",
                         class_=f"name {facts.looks[sampler]}"))  # fmt: skip
    best = "; ".join(
        f"{sampler} {', '.join(f'{text(s, 2)} at {k}' for k, s in sorted(own.items()))}"
        for sampler, own in found.items()
    )
    alt = f"{scores.metric.upper()} in {space} against network evaluations: {best}."
    return panel(alt, x, y, "network evaluations a sample", marks, _LABELS)


def _score_scale(scores: Sequence[Interval]) -> Scale:
    """Logarithmic where all means are positive and far apart, else linear with room around."""
    means = [s.value for s in scores]
    low = min(s.low for s in scores)
    high = max(s.high for s in scores)
    if min(means) > 0 and max(means) / min(means) > 4:
        return logarithmic(max(low, min(means) / 3) / 1.15, high * 1.15)
    room = 0.06 * (high - low) or abs(high) or 1.0
    return linear(low - room, high + room)


def _inside(y: Scale, value: float) -> float:
    return min(max(y_of(y, value), float(TOP)), float(HEIGHT - BOTTOM))

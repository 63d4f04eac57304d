"""FD against the number of network evaluations: what was searched, and what was not."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from ..metrics import Interval, decimals
from ..tables import Table
from .rows import ABSENT, Summary

UNSEARCHED, DDIM = "best unsearched", "DDIM"


class Point(NamedTuple):
    """The score of a sampler, and what the sampler is called."""

    sampler: str
    score: Interval


Curves: TypeAlias = Mapping[str, Mapping[int, Point]]  # by what a line is called, then by NFE


def curves_of(
    summary: Summary,
    space: str,
    searched: Iterable[str],
    unsearched: Mapping[int, Iterable[str]],
    metric: str = "fd",
) -> Curves:
    """Arrange scores in lines: one of each searched sampler, the best unsearched, and DDIM.

    Args:
        summary: The scores' intervals.
        space: The feature space.
        searched: What the searched samplers are called.
        unsearched: By NFE, what was chosen there as the best unsearched sampler.
        metric: The column of the scores, of which smaller is better.

    Returns:
        The lines that have points; of several unsearched samplers, and of DDIM's grids, the better.
    """
    own = list(searched)
    found: dict[str, dict[int, Point]] = {name: {} for name in (*own, UNSEARCHED, DDIM)}
    for (sampler, nfe, features), columns in summary.items():
        if features != space or metric not in columns:
            continue
        point = Point(sampler, columns[metric])
        if sampler in own:
            found[sampler][nfe] = point
            continue
        if sampler in unsearched.get(nfe, ()):
            _keep(found[UNSEARCHED], nfe, point)
        if sampler.startswith("ddim-"):
            _keep(found[DDIM], nfe, point)
    return {name: dict(sorted(points.items())) for name, points in found.items() if points}


def _keep(line: dict[int, Point], nfe: int, point: Point) -> None:
    """Keep a point unless there is a better one."""
    if nfe not in line or point.score.value < line[nfe].score.value:
        line[nfe] = point


def curve_table(
    lines: Curves, about: str, more: Mapping[str, Mapping[int, str]] | None = None
) -> Table:
    """Make a table of lines: a line for each NFE, a column for each sampler.

    Args:
        lines: The lines.
        about: What the scores are of, for the foot.
        more: Further columns by their heads, with texts by NFE.

    Returns:
        The table. In parentheses a searched sampler's score is a share of the best unsearched
        sampler's, and the others are named.
    """
    more = more or {}
    counts = sorted({nfe for line in lines.values() for nfe in line})
    best = lines.get(UNSEARCHED, {})
    columns = [_column(line, counts, best, name) for name, line in lines.items()]
    columns += [[texts.get(nfe, "") for nfe in counts] for texts in more.values()]
    cells = [[str(nfe), *line] for nfe, *line in zip(counts, *columns, strict=True)]
    foot = f"{about}; in parentheses the share of the best unsearched sampler's, and names"
    return Table(["NFE", *lines, *more], cells, foot=foot)


def _column(
    line: Mapping[int, Point], counts: Sequence[int], best: Mapping[int, Point], name: str
) -> list[str]:
    digits = decimals(point.score.value for point in line.values())
    named = name in (UNSEARCHED, DDIM)
    found = []
    for nfe in counts:
        if nfe not in line:
            found.append(ABSENT)
            continue
        sampler, score = line[nfe]
        share = f"{score.value / best[nfe].score.value:.2f}" if nfe in best else ABSENT
        found.append(f"{score.text(digits)} ({sampler if named else share})")
    return found

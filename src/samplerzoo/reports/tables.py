"""All scores, one table a feature space."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..metrics import Interval, decimals
from .comparison import Comparison, text
from .facts import Facts
from .looks import Look
from .verdict import listed

_ARROWS = {"smaller": " ↓", "larger": " ↑", "neither": ""}


class Cell(NamedTuple):
    """A score in words, and whether it is surely the best of its column."""

    text: str
    best: bool = False


class Line(NamedTuple):
    """A sampler's scores at one NFE, and what they are the means of."""

    sampler: str
    look: Look
    cells: list[Cell]
    over: str


class SpaceTable(NamedTuple):
    """The scores in one feature space: the columns' heads, and the lines of each NFE."""

    space: str
    role: str
    heads: list[str]
    lines: Mapping[int, list[Line]]


def score_table(facts: Facts, scores: Comparison, space: str) -> SpaceTable:
    """Make the table of a feature space: by NFE, then by the deciding metric."""
    found = {(s, k): c for (s, k, features), c in scores.summary.items() if features == space}
    ways = {name: facts.better.get(name, "neither") for c in found.values() for name in c}
    steps = sorted({nfe for _, nfe in found})
    heads = [name.upper().replace("_", " ") + _ARROWS[way] for name, way in ways.items()]
    lines = {nfe: list(_lines(facts, scores, space, nfe, ways)) for nfe in steps}
    return SpaceTable(space, _role(facts, scores, space), heads, lines)


def _lines(
    facts: Facts, scores: Comparison, space: str, nfe: int, ways: Mapping[str, str]
) -> Iterator[Line]:
    everywhere = [c for (*_, features), c in scores.summary.items() if features == space]
    digits = {name: decimals(c[name].value for c in everywhere if name in c) for name in ways}
    own = {s: c for (s, k, f), c in scores.summary.items() if (k, f) == (nfe, space)}
    best = {
        name: surely_best({s: c[name] for s, c in own.items() if name in c}, way)
        for name, way in ways.items()
    }
    order = [sampler for sampler, _ in scores.ranked(nfe, space)]
    for sampler in dict.fromkeys([*order, *own]):
        columns = own[sampler]
        cells = [
            Cell(text(columns[name], digits[name]), sampler == best[name])
            if name in columns
            else Cell("–")
            for name in ways
        ]
        yield Line(sampler, facts.looks[sampler], cells, _over(facts, sampler, nfe, space))


def surely_best(column: Mapping[str, Interval], way: str) -> str | None:
    """Find the sampler whose interval lies on the better side of every other's, if there is one."""
    for sampler, own in column.items():
        others = [score for name, score in column.items() if name != sampler]
        if way == "smaller" and others and all(own.below(other) for other in others):
            return sampler
        if way == "larger" and others and all(other.below(own) for other in others):
            return sampler
    return None


def _role(facts: Facts, scores: Comparison, space: str) -> str:
    """Whether a space was searched in, and by which samplers where not by all."""
    by = [name for name, seen in facts.searched.items() if space in seen]
    return f"searched by {listed(by)}" if 0 < len(by) < len(facts.searched) else scores.role(space)


def _over(facts: Facts, sampler: str, nfe: int, space: str) -> str:
    """What a score is the mean of."""
    rows = [row for row in facts.rows if row.place[:3] == (sampler, nfe, space)]
    runs, seeds = {row.run for row in rows}, {row.seed for row in rows}
    if len(runs) > 1:
        return f"{len(runs)} searches"
    return f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {min(seeds)}"

"""The first screen: the question, the answer, and the numbers it rests on."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..metrics import decimals
from .comparison import Comparison, text
from .facts import Facts
from .looks import Look
from .standing import Standing, Standings, is_ddim
from .verdict import listed


class Best(NamedTuple):
    """What the answer's table says of one NFE in one feature space.

    Attributes:
        sampler: The best sampler.
        look: How it looks.
        clear: Whether its interval lies apart from that of its rival.
        score: Its score.
        against: The score of the best baseline.
        ratio: The one divided by the other.
    """

    sampler: str
    look: Look
    clear: bool
    score: str
    against: str
    ratio: str


def answer(facts: Facts, order: Standings, scores: Comparison) -> Mapping[str, Any]:
    """Say what a reader who stops here takes away."""
    spaces = scores.spaces.all
    baselines = [s.baseline[0] for s in order[spaces[0]] if s.baseline]
    found = {(s.nfe, space): _best(facts, s, order) for space in spaces for s in order[space]}
    seeds, searches = len({row.seed for row in facts.rows}), len(facts.searches)
    return {
        "question": f"Which sampler draws best from the model {facts.model} with "
        f"{listed(facts.steps, 'or')} network evaluations a sample?",
        "about": f"{scores.metric.upper()}, {scores.better} is better; n = {facts.n:,}; "
        f"{counted(seeds, 'seed')}; {counted(searches, 'search', 'searches')}",
        "spaces": [(space, scores.role(space)) for space in spaces],
        "against": "DDIM" if all(map(is_ddim, baselines)) else "baseline",
        "rows": {
            nfe: [found.get((nfe, space)) for space in spaces]
            for nfe in sorted({nfe for nfe, _ in found})
        },
    }


def counted(number: int, one: str, several: str = "") -> str:
    """Write `1 seed` or `3 seeds`."""
    return f"{number} {one}" if number == 1 else f"{number} {several or one + 's'}"


def _best(facts: Facts, standing: Standing, order: Standings) -> Best:
    column = next(column for column in order.values() if standing in column)
    digits = decimals(s.best[1].value for s in column)
    (sampler, score), against, ratio = standing.best, standing.baseline, standing.ratio
    return Best(
        sampler,
        facts.looks[sampler],
        standing.clear is True,
        text(score, digits),
        text(against[1], digits) if against else "–",
        f"{ratio:.2f}" if ratio is not None else "–",
    )

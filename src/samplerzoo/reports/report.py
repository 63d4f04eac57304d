"""A report: the page that compares samplers, and what it says in words and in numbers."""

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import write
from ..metrics import Interval
from .comparison import Comparison
from .facts import Facts
from .page import page
from .standing import Scored, Standing, Standings, standings
from .verdict import judge


@dataclass(frozen=True)
class Report:
    """A report; a notebook shows its page.

    Attributes:
        html: The page, which needs nothing else.
        headline: Which sampler is best.
        sentences: What qualifies that.
        answer: The numbers it rests on, as JSON holds them.
    """

    html: str
    headline: str
    sentences: tuple[str, ...]
    answer: Mapping[str, Any]

    @classmethod
    def of(cls, facts: Facts) -> "Report":
        """Make the report of some facts.

        Raises:
            ValueError: No score can be compared.
        """
        scores = Comparison.of(facts)
        order = standings(scores, facts.searched, facts.steps)
        verdict = judge(order, scores)
        text = page(facts, scores, order, verdict)
        numbers = _answer(facts, scores, order)
        return cls(text, verdict.headline, verdict.sentences, numbers)

    def save(self, path: str | Path) -> None:
        """Write the page to a file."""
        write(Path(path), self.html.encode(errors="replace"))

    def json(self) -> str:
        """Write what the report says as one JSON object."""
        said = {"headline": self.headline, "sentences": list(self.sentences)}
        return json.dumps({**said, **self.answer}, indent=2)

    def _repr_html_(self) -> str:
        style = "width:100%;height:800px;border:0"
        return f'<iframe srcdoc="{html.escape(self.html)}" style="{style}"></iframe>'


def _answer(facts: Facts, scores: Comparison, order: Standings) -> dict[str, Any]:
    return {
        "model": facts.model,
        "n": facts.n,
        "metric": scores.metric,
        "better": scores.better,
        "standings": [
            {"features": space, "searched": space in scores.spaces.seen, **_standing(standing)}
            for space, column in order.items()
            for standing in column
        ],
    }


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "nfe": standing.nfe,
        "best": _scored(standing.best),
        "best_is_searched": standing.won,
        "clear": standing.clear,
        "baseline": _scored(standing.baseline),
        "ratio": standing.ratio,
    }


def _scored(given: Scored | None) -> dict[str, Any] | None:
    if given is None:
        return None
    sampler, score = given
    return {"sampler": sampler, **_interval(score)}


def _interval(score: Interval) -> dict[str, Any]:
    return {"value": score.value, "half": score.half, "count": score.count}

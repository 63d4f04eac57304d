"""From single scores to means, intervals and the order of samplers."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from ..metrics import Interval
from ..runs.rows import Summary, summarise
from .facts import Facts


class Spaces(NamedTuple):
    """Feature spaces that no search saw, the first of them the one that decides; and the rest."""

    unseen: tuple[str, ...]
    seen: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        return self.unseen + self.seen


def spaces(facts: Facts) -> Spaces:
    """The feature spaces of all rows, by whether any search saw them."""
    seen = frozenset().union(*facts.searched.values())
    names = dict.fromkeys(row.features for row in facts.rows)
    reported = [run.config.report_features for run in facts.searches]
    first = [name for name in dict.fromkeys(reported) if name in names]
    order = dict.fromkeys([*first, *names])
    return Spaces(
        tuple(name for name in order if name not in seen),
        tuple(name for name in order if name in seen),
    )


def deciding(facts: Facts) -> str:
    """The metric that the answer is about: FD, or the first that has a better side."""
    columns = list(dict.fromkeys(column for row in facts.rows for column in row.scores))
    known = [c for c in columns if facts.better.get(c, "neither") != "neither"]
    if not known:
        raise ValueError("No score of these runs has a better side, so nothing can be compared.")
    return "fd" if "fd" in known else known[0]


# Columns of which the answer says where they are surely worse than the baseline's.
FIDELITY_AND_DIVERSITY = ("precision", "recall", "density", "coverage")


@dataclass(frozen=True)
class Comparison:
    """All scores as intervals, and what the answer goes by.

    Attributes:
        summary: The intervals of all columns.
        spaces: The feature spaces.
        metric: The column that the answer goes by.
        better: Whether `smaller` or `larger` is better of it.
    """

    summary: Summary
    spaces: Spaces
    metric: str
    better: str

    @classmethod
    def of(cls, facts: Facts) -> "Comparison":
        """The scores of a report. Raises ValueError where none has a better side."""
        metric = deciding(facts)
        return cls(summarise(facts.rows), spaces(facts), metric, facts.better[metric])

    def get(self, sampler: str, nfe: int, space: str) -> Interval | None:
        """A sampler's score by the metric that decides, where it has one that is finite."""
        score = self.summary.get((sampler, nfe, space), {}).get(self.metric)
        return score if score and math.isfinite(score.value) else None

    def ranked(self, nfe: int, space: str) -> list[tuple[str, Interval]]:
        """The samplers with a finite score at an NFE in a space, the best first."""
        names = [s for s, steps, features in self.summary if (steps, features) == (nfe, space)]
        found = [(name, score) for name in names if (score := self.get(name, nfe, space))]
        sign = -1 if self.better == "larger" else 1
        return sorted(found, key=lambda pair: sign * pair[1].value)

    def role(self, space: str) -> str:
        """Whether a space was searched in, in words."""
        return "searched" if space in self.spaces.seen else "not searched"


def text(score: Interval, digits: int) -> str:
    """Write a score as the page shows it, with a minus sign in place of the hyphen."""
    return score.text(digits).replace("-", "\N{MINUS SIGN}")

"""From single scores to means, intervals and the order of samplers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.special

from .facts import Facts, Row

Where = tuple[str, int, str]  # sampler, NFE, features


@dataclass(frozen=True)
class Interval:
    """A mean with the half-width of its 95% interval, None of a single value."""

    mean: float
    half: float | None
    count: int


class Spaces(NamedTuple):
    """Feature spaces that no search saw, the first of them the one that decides; and the rest."""

    unseen: tuple[str, ...]
    seen: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        return self.unseen + self.seen


def interval(values: Sequence[float]) -> Interval:
    """Student's t over independent values."""
    mean, count = float(np.mean(values)), len(values)
    if count < 2 or not math.isfinite(mean):
        return Interval(mean, None, count)
    half = scipy.special.stdtrit(count - 1, 0.975) * np.std(values, ddof=1) / count**0.5
    return Interval(mean, float(half), count)


def summarise(rows: Iterable[Row]) -> dict[Where, dict[str, Interval]]:
    """Every column's interval, over searches where there are several, else over seeds."""
    found: dict[Where, dict[str, dict[tuple, float]]] = {}
    for row in rows:
        columns = found.setdefault((row.sampler, row.nfe, row.features), {})
        for column, score in row.scores.items():
            columns.setdefault(column, {})[row.run, row.seed] = score
    return {
        where: {column: interval(_independent(scores)) for column, scores in columns.items()}
        for where, columns in found.items()
    }


def _independent(scores: Mapping[tuple, float]) -> list[float]:
    """One value a search where there are several, else one a seed."""
    runs: dict[str | None, list[float]] = {}
    for (run, _), score in scores.items():
        runs.setdefault(run, []).append(score)
    return [float(np.mean(v)) for v in runs.values()] if len(runs) > 1 else list(scores.values())


def spaces(facts: Facts) -> Spaces:
    """The feature spaces of all rows, by whether any search saw them."""
    seen = frozenset().union(*facts.searched.values())
    names = dict.fromkeys(row.features for row in facts.rows)
    reported = [run.config.report_features for run in facts.runs]
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


@dataclass(frozen=True)
class Scores:
    """All scores as intervals, and what the answer goes by: a metric, and its better side."""

    summary: Mapping[Where, Mapping[str, Interval]]
    spaces: Spaces
    metric: str
    better: str

    @classmethod
    def of(cls, facts: Facts) -> "Scores":
        """The scores of a report. Raises ValueError where none has a better side."""
        metric = deciding(facts)
        return cls(summarise(facts.rows), spaces(facts), metric, facts.better[metric])

    def get(self, sampler: str, nfe: int, space: str) -> Interval | None:
        """A sampler's score by the metric that decides, where it has one that is finite."""
        score = self.summary.get((sampler, nfe, space), {}).get(self.metric)
        return score if score and math.isfinite(score.mean) else None

    def ranked(self, nfe: int, space: str) -> list[tuple[str, Interval]]:
        """The samplers with a finite score at an NFE in a space, the best first."""
        names = [s for s, steps, features in self.summary if (steps, features) == (nfe, space)]
        found = [(name, score) for name in names if (score := self.get(name, nfe, space))]
        sign = -1 if self.better == "larger" else 1
        return sorted(found, key=lambda pair: sign * pair[1].mean)

    def role(self, space: str) -> str:
        """Whether a space was searched in, in words."""
        return "searched" if space in self.spaces.seen else "not searched"


def apart(one: Interval, other: Interval) -> bool | None:
    """Whether two intervals do not overlap; None where one of them is a single value."""
    if one.half is None or other.half is None:
        return None
    return abs(one.mean - other.mean) > one.half + other.half


def decimals(means: Iterable[float]) -> int:
    """So many, from 2 to 4, that the smallest of a column's means shows two digits."""
    sizes = [abs(mean) for mean in means if math.isfinite(mean) and mean]
    return min(4, max(2, 1 - math.floor(math.log10(min(sizes))))) if sizes else 2


def text(score: Interval, digits: int) -> str:
    """A score as it is read: its mean, and the half-width where there is one."""
    if not math.isfinite(score.mean):
        return "not finite"
    mean = f"{score.mean:,.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return mean if score.half is None else f"{mean} ± {score.half:,.{digits}f}"

"""Who is best at one number of evaluations in one feature space, and how surely."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..metrics import Interval
from .comparison import Comparison

Scored = tuple[str, Interval]  # a sampler and its score


@dataclass(frozen=True)
class Standing:
    """The order of the samplers at one number of evaluations in one feature space."""

    nfe: int
    order: tuple[Scored, ...]
    searched: frozenset[str]

    @property
    def best(self) -> Scored:
        """The first in order."""
        return self.order[0]

    @property
    def won(self) -> bool:
        """Whether a searched sampler is best."""
        return self.best[0] in self.searched

    @property
    def rival(self) -> Scored | None:
        """The best of the other kind: a baseline against a searched sampler, or the reverse."""
        return next((s for s in self.order if (s[0] in self.searched) != self.won), None)

    @property
    def searcher(self) -> str | None:
        """The best of the searched samplers."""
        return next((name for name, _ in self.order if name in self.searched), None)

    @property
    def tied(self) -> tuple[str, ...]:
        """The best, and those of its kind that its interval overlaps."""
        alike = [s for s in self.order if (s[0] in self.searched) == self.won]
        return tuple(n for n, score in alike if score is self.best[1] or self._overlaps(score))

    @property
    def named(self) -> tuple[str, ...]:
        """Whom the answer names: all searched samplers that may be best, or the best baseline."""
        return self.tied if self.won else (self.best[0],)

    def _overlaps(self, score: Interval) -> bool:
        return self.best[1].apart(score) is False

    @property
    def baseline(self) -> Scored | None:
        """The best of those that nobody searched."""
        return next((s for s in self.order if s[0] not in self.searched), None)

    @property
    def ddim(self) -> Scored | None:
        """The better of DDIM's strides, where it is scored and not the best baseline."""
        found = next((s for s in self.order if is_ddim(s[0])), None)
        return None if found == self.baseline else found

    @property
    def clear(self) -> bool | None:
        """Whether the best and its rival have intervals apart; None without intervals."""
        return self.best[1].apart(self.rival[1]) if self.rival else None

    @property
    def ratio(self) -> float | None:
        """The best's score as a share of the best baseline's, None where that means nothing."""
        return self._share(self.baseline)

    @property
    def ddim_ratio(self) -> float | None:
        """The best's score as a share of the better DDIM's, None where that means nothing."""
        return self._share(self.ddim)

    def _share(self, other: Scored | None) -> float | None:
        if other is None or other == self.best:
            return None
        ours, its = self.best[1].value, other[1].value
        return ours / its if ours > 0 and its > 0 else None


Standings = Mapping[str, tuple[Standing, ...]]  # by feature space, then in the order of NFE


def is_ddim(sampler: str) -> bool:
    """Whether a sampler is one of DDIM's strides without options."""
    return sampler in ("ddim-linear", "ddim-quadratic")


def standings(scores: Comparison, searched: Iterable[str], steps: Iterable[int]) -> Standings:
    """The standing at each number of steps that has finite scores, in each feature space."""
    ours, at = frozenset(searched), tuple(steps)
    return {
        space: tuple(
            Standing(nfe, tuple(order), ours) for nfe in at if (order := scores.ranked(nfe, space))
        )
        for space in scores.spaces.all
    }

"""The mean of several scores, or a single one, with its 95% interval."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.special

CONFIDENCE = 0.95
_QUANTILE = 0.5 + CONFIDENCE / 2
NORMAL = float(scipy.special.ndtri(_QUANTILE))  # standard errors to each side: 1.96


@dataclass(frozen=True)
class Interval:
    """A score, or the mean of several, and its 95% interval.

    Attributes:
        value: The score or the mean.
        error: Its standard error; None where nothing is known of it, as of a single score.
        half: Half of the interval's width; None where the error is.
        count: How many independent scores it is the mean of.
    """

    value: float
    error: float | None = None
    half: float | None = None
    count: int = 1

    @property
    def low(self) -> float:
        """The interval's lower end; the value itself without an interval."""
        return self.value - (self.half or 0)

    @property
    def high(self) -> float:
        """The interval's upper end; the value itself without an interval."""
        return self.value + (self.half or 0)

    def below(self, other: "Interval") -> bool | None:
        """Tell whether this interval lies wholly below another; None where one has no width."""
        if self.half is None or other.half is None:
            return None
        return self.high < other.low

    def apart(self, other: "Interval") -> bool | None:
        """Tell whether two intervals do not overlap; None where one has no width."""
        if self.half is None or other.half is None:
            return None
        return self.high < other.low or other.high < self.low

    def text(self, digits: int) -> str:
        """Write the value, and half of the interval where there is one, with so many decimals."""
        if not math.isfinite(self.value):
            return "not finite"
        half = "" if self.half is None else f" ± {self.half:,.{digits}f}"
        return f"{self.value:,.{digits}f}{half}"


def mean_interval(values: Sequence[float]) -> Interval:
    """Compute the mean of independent values and its interval by Student's t.

    Args:
        values: One or more scores, such as one for each seed.

    Returns:
        The mean; without an interval where there is one value, or one that is not finite.

    Source: Student, "The probable error of a mean", Biometrika 6 (1908).
    """
    mean, count = float(np.mean(values)), len(values)
    if count < 2 or not math.isfinite(mean):
        return Interval(mean, count=count)
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    return Interval(mean, error, float(scipy.special.stdtrit(count - 1, _QUANTILE)) * error, count)


def normal_interval(value: float, error: float) -> Interval:
    """Make the interval of a score whose standard error is known: 1.96 errors to each side."""
    return Interval(value, error, NORMAL * error)


def ratio_interval(value: Interval, base: Interval) -> Interval:
    """Divide one mean by another that is independent of it, to first order in the widths.

    Args:
        value: The mean above.
        base: The mean below, not 0.

    Returns:
        The ratio; its interval adds the relative widths in squares, and there is none where one of
        the two has none.
    """
    ratio = value.value / base.value
    if value.half is None or base.half is None:
        return Interval(ratio)
    parts = value.half / value.value, base.half / base.value
    return Interval(ratio, half=abs(ratio) * math.hypot(*parts))


def decimals(values: Iterable[float]) -> int:
    """Choose so many decimals, from 2 to 4, that the smallest of a column shows two digits."""
    sizes = [abs(value) for value in values if math.isfinite(value) and value]
    return min(4, max(2, 1 - math.floor(math.log10(min(sizes))))) if sizes else 2

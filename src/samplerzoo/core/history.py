"""What the values of a search so far say about going further."""

import math
from collections.abc import Sequence


def smoothed(values: Sequence[float], decay: float = 0.9) -> list[float]:
    """Smooth the values of a search by an exponential moving average.

    Args:
        values: The objective of each step so far; those that are not finite were skipped.
        decay: What is kept of the average at each step.

    Returns:
        The average after each step, of the steps up to it alone: its weights sum to 1 from the
        first step. NaN before the first finite value.
    """
    total, weight, found = 0.0, 0.0, []
    for value in values:
        if math.isfinite(value):
            total = decay * total + (1 - decay) * value
            weight = decay * weight + (1 - decay)
        found.append(total / weight if weight else math.nan)
    return found


def has_stalled(values: Sequence[float], patience: int, decay: float = 0.9) -> bool:
    """Tell whether the smoothed objective of a search has not improved for a while.

    Args:
        values: The objective of each step so far.
        patience: The steps without a new best of the smoothed objective that are borne.
        decay: What is kept of the average at each step.

    Returns:
        Whether the last new best is `patience` steps ago, or more.

    Raises:
        ValueError: `patience` is below 1.
    """
    if patience < 1:
        raise ValueError(f"patience is {patience}; it must be at least 1.")
    found = [math.inf if math.isnan(value) else value for value in smoothed(values, decay)]
    return bool(found) and len(found) - 1 - found.index(min(found)) >= patience

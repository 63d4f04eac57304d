"""What a metric is: a function of two sets, and which way its columns are better."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Int

from .sets import FeatureSet, pair

Resampled: TypeAlias = Callable[[Int[np.ndarray, "n"]], dict[str, float]]
WAYS = {"smaller", "larger", "neither"}


@dataclass(frozen=True)
class Metric:
    """Score samples against a reference, in named columns.

    Args:
        compute: A function `compute(samples, reference)` of two FeatureSets that returns a finite
            float for each column. It raises `Lacking` where a set has not what it needs.
        better: For each column, in order, whether a `smaller` or a `larger` value is better, or
            `neither` (such as a standard error).
        resample: For metrics that a bootstrap suits, a function `resample(samples, reference)` that
            returns a function from indices of samples to the scores of these.

    Raises:
        ValueError: There is no column, or one with another word.
    """

    compute: Callable[[FeatureSet, FeatureSet], dict[str, float]]
    better: Mapping[str, str]
    resample: Callable[[FeatureSet, FeatureSet], Resampled] | None = None

    def __post_init__(self):
        if not self.better or not set(self.better.values()) <= WAYS:
            raise ValueError(
                f"better is {dict(self.better)}; it must say 'smaller', 'larger' or 'neither' of "
                "each column, of one at least."
            )

    def __call__(self, samples: FeatureSet, reference: FeatureSet) -> dict[str, float]:
        """Compute the scores.

        Args:
            samples: The samples' features.
            reference: The data's features.

        Returns:
            The scores by column, in the order of `better`.

        Raises:
            ValueError: The sets' features differ in width, or a score is not finite.
        """
        found = self.compute(*pair(samples, reference))
        if set(found) != set(self.better):
            raise ValueError(
                f"A metric that declares {', '.join(self.better)} computed {', '.join(found)}."
            )
        if odd := [name for name, value in found.items() if not math.isfinite(value)]:
            raise ValueError(f"The score {odd[0]!r} is {found[odd[0]]}; it must be finite.")
        return {name: float(found[name]) for name in self.better}

"""What a metric is: a function of two sets, and which way its columns are better."""

import math
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from jaxtyping import Int

from .checks import MOMENTS_ONLY, LackingError
from .sets import FeatureSet, pair

Resampled: TypeAlias = Callable[[Int[np.ndarray, "n"]], dict[str, float]]
WAYS = {"smaller", "larger", "neither"}
# What a metric may need, and what is said where it is lacking.
NEEDS = {
    "features": MOMENTS_ONLY,
    "head": "It needs a classifier, and these features have no head that gives logits.",
    "held_out": (
        "It needs a held-out set of images that the model was not trained on, and the reference "
        "has none."
    ),
}
WORDS = {"samples": "samples", "reference": "reference images", "held_out": "held-out images"}
SETS = {*WORDS}


@dataclass(frozen=True)
class Metric:
    """Score samples against a reference, in named columns.

    Args:
        compute: A function `compute(samples, reference)` of two FeatureSets that returns a finite
            float for each column.
        better: For each column, in order, whether a `smaller` or a `larger` value is better, or
            `neither` (such as a standard error).
        resample: For metrics that a bootstrap suits, a function `resample(samples, reference)` that
            returns a function from indices of samples to the scores of these.
        needs: What it needs beside the moments of the reference's features: `features` of each
            image of the reference, a `head` that makes logits of the samples' features, and
            `held_out` images of the reference.
        least: How many images it needs at least, of `samples`, `reference` and `held_out`, where
            that is more than 2.

    Raises:
        ValueError: There is no column, or one with another word; it needs something unknown.
    """

    compute: Callable[[FeatureSet, FeatureSet], dict[str, float]]
    better: Mapping[str, str]
    resample: Callable[[FeatureSet, FeatureSet], Resampled] | None = None
    needs: Set[str] = frozenset({"features"})
    least: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self):
        if odd := sorted({*self.needs} - {*NEEDS}) + sorted({*self.least} - SETS):
            raise ValueError(
                f"A metric needs {odd[0]!r}; needs are of {', '.join(NEEDS)}, least of "
                f"{', '.join(sorted(SETS))}."
            )
        if not self.better or not set(self.better.values()) <= WAYS:
            raise ValueError(
                f"better is {dict(self.better)}; it must say 'smaller', 'larger' or 'neither' of "
                "each column, of one at least."
            )

    def lacks(self, samples: int, has_head: bool, reference: FeatureSet) -> str | None:
        """Tell what it needs and would not have; nothing is computed.

        Args:
            samples: The number of samples.
            has_head: Whether their features have a head.
            reference: The data's features.

        Returns:
            A sentence, or None where nothing is lacking.
        """
        held_out = reference.held_out
        has = {"features": reference.count is not None, "head": has_head}
        has["held_out"] = held_out is not None
        if missing := [need for need in NEEDS if need in self.needs and not has[need]]:
            return NEEDS[missing[0]]
        counts = {"samples": samples, "reference": reference.count}
        counts["held_out"] = None if held_out is None else held_out.count
        for name, least in self.least.items():
            count = counts[name]
            if count is not None and count < least:
                words = WORDS[name]
                return f"It needs at least {least} {words}; {count} are given."
        return None

    def __call__(self, samples: FeatureSet, reference: FeatureSet) -> dict[str, float]:
        """Compute the scores.

        Args:
            samples: The samples' features.
            reference: The data's features.

        Returns:
            The scores by column, in the order of `better`.

        Raises:
            LackingError: A set has not what the metric needs.
            ValueError: The sets' features differ in width, or a score is not finite.
        """
        samples, reference = pair(samples, reference)
        if reason := self.lacks(samples.count or 0, samples.has_head, reference):
            raise LackingError(reason)
        found = self.compute(samples, reference)
        if set(found) != set(self.better):
            raise ValueError(
                f"A metric that declares {', '.join(self.better)} computed {', '.join(found)}."
            )
        if odd := [name for name, value in found.items() if not math.isfinite(value)]:
            raise ValueError(f"The score {odd[0]!r} is {found[odd[0]]}; it must be finite.")
        return {name: float(found[name]) for name in self.better}

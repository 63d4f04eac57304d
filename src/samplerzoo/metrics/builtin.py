"""The metrics that are registered: functions of two sets, and the names of their columns."""

from collections.abc import Callable

import numpy as np

from .checks import pieces
from .copies import compare, distances
from .discrepancy import cmmd as _cmmd
from .frechet import distance_of_moments, frechet_distance
from .inception import inception_score as _inception_score
from .kernel import kernel_distance_with_error, kid_subsets as _kid_subsets
from .metric import Metric, Resampled
from .moments import accumulate
from .neighbours import density_coverage as _density_coverage, precision_recall as _precision_recall
from .sets import FeatureSet


def _columns(
    function: Callable[[FeatureSet, FeatureSet], tuple], least: int, **better: str
) -> Metric:
    """The metric of a function that returns a number a column, of so many images at least."""

    def compute(samples: FeatureSet, reference: FeatureSet) -> dict[str, float]:
        return dict(zip(better, function(samples, reference), strict=True))

    both = {"samples": least, "reference": least}
    return Metric(compute, better, least=both if least > 2 else {})


def _resampled(
    prepare: Callable[[FeatureSet, FeatureSet], Resampled],
    better: dict[str, str],
    needs: set[str],
    least: dict[str, int],
) -> Metric:
    """The metric of all samples, and of any draw of them."""

    def compute(samples: FeatureSet, reference: FeatureSet) -> dict[str, float]:
        return prepare(samples, reference)(np.arange(len(samples.features)))

    return Metric(compute, better, prepare, needs, least)


def _fd(samples: FeatureSet, reference: FeatureSet) -> dict[str, float]:
    return {"fd": frechet_distance(samples, reference)}


def _fd_of_draws(samples: FeatureSet, reference: FeatureSet) -> Resampled:
    count = len(pieces(samples.features))

    def again(index):
        parts = (samples.features[part] for part in np.array_split(index, count))
        return {"fd": distance_of_moments(accumulate(parts), reference.moments)}

    return again


def _is_of_draws(samples: FeatureSet, reference: FeatureSet) -> Resampled:
    logits = samples.logits
    assert logits is not None  # the metric needs a head
    return lambda index: dict(zip(("is", "is_std"), _inception_score(logits[index]), strict=True))


def _memorisation_of_draws(samples: FeatureSet, reference: FeatureSet) -> Resampled:
    assert reference.held_out is not None  # the metric needs it
    ours, theirs = distances(samples, reference, reference.held_out)
    return lambda index: compare(ours[index], theirs)._asdict()


def _cmmd_alone(samples: FeatureSet, reference: FeatureSet) -> tuple[float]:
    return (_cmmd(samples, reference),)


fd = Metric(_fd, {"fd": "smaller"}, _fd_of_draws, needs=set())
"""The Fréchet distance of the features' normal distributions; FID in Inception's features."""
kid = _columns(kernel_distance_with_error, 3, kid="smaller", kid_se="neither")
"""The kernel distance, cubic and unbiased, with its standard error."""
kid_subsets = _columns(_kid_subsets, 1000, kid_mean="smaller", kid_std="neither")
"""The kernel distance as the mean of 100 subsets of 1000, as most papers give it."""
inception_score = _resampled(
    _is_of_draws, {"is": "larger", "is_std": "neither"}, {"head"}, {"samples": 10}
)
"""The Inception Score: how sure and how various a classifier's answers are."""
precision_recall = _columns(_precision_recall, 4, precision="larger", recall="larger")
"""How many samples lie among the data, and how many data among the samples."""
density_coverage = _columns(_density_coverage, 6, density="larger", coverage="larger")
"""How densely samples lie among the data, and how many data have samples near."""
cmmd = _columns(_cmmd_alone, 2, cmmd="smaller")
"""The CLIP distance: an RBF kernel's distance, a thousand times, as published."""
memorisation = _resampled(
    _memorisation_of_draws,
    {"copies": "neither", "copy_auc": "neither", "copy_z": "neither"},
    {"features", "held_out"},
    {"held_out": 100},
)
"""Whether samples are nearer to the training data than unseen data are."""

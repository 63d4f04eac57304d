"""The metrics that are registered: functions of two sets, and the names of their columns."""

from collections.abc import Callable

import numpy as np

from .checks import Lacking, pieces
from .cmmd import cmmd as _cmmd
from .frechet import distance_of_moments, frechet_distance
from .inception import inception_score as _inception_score
from .kernel import kernel_distance_with_error, kid_subsets as _kid_subsets
from .memorisation import compare, distances
from .metric import Metric, Resampled
from .moments import accumulate
from .neighbours import density_coverage as _density_coverage, precision_recall as _precision_recall
from .sets import FeatureSet


def _columns(function: Callable[[FeatureSet, FeatureSet], tuple], **better: str) -> Metric:
    """The metric of a function that returns a number for each column."""

    def compute(samples: FeatureSet, reference: FeatureSet) -> dict[str, float]:
        return dict(zip(better, function(samples, reference), strict=True))

    return Metric(compute, better)


def _resampled(prepare: Callable[[FeatureSet, FeatureSet], Resampled], **better: str) -> Metric:
    """The metric of all samples, and of any draw of them."""

    def compute(samples: FeatureSet, reference: FeatureSet) -> dict[str, float]:
        return prepare(samples, reference)(np.arange(len(samples.features)))

    return Metric(compute, better, prepare)


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
    if logits is None:
        raise Lacking(
            "The Inception Score needs a classifier, and these features have no head that gives "
            "logits."
        )
    return lambda index: dict(zip(("is", "is_std"), _inception_score(logits[index]), strict=True))


def _memorisation_of_draws(samples: FeatureSet, reference: FeatureSet) -> Resampled:
    if reference.held_out is None:
        raise Lacking(
            "Memorisation needs a held-out set of images that the model was not trained on, and "
            "the reference has none."
        )
    ours, theirs = distances(samples, reference, reference.held_out)
    return lambda index: compare(ours[index], theirs)._asdict()


fd = Metric(_fd, {"fd": "smaller"}, _fd_of_draws)
kid = _columns(kernel_distance_with_error, kid="smaller", kid_se="neither")
kid_subsets = _columns(_kid_subsets, kid_mean="smaller", kid_std="neither")
inception_score = _resampled(_is_of_draws, **{"is": "larger"}, is_std="neither")
precision_recall = _columns(_precision_recall, precision="larger", recall="larger")
density_coverage = _columns(_density_coverage, density="larger", coverage="larger")
cmmd = _columns(lambda x, y: (_cmmd(x, y),), cmmd="smaller")
memorisation = _resampled(
    _memorisation_of_draws, copies="neither", copy_auc="neither", copy_z="neither"
)

"""Whether samples copy the training images (after Meehan, Chaudhuri and Dasgupta 2020)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .checks import LackingError
from .nearest_points import nearest
from .sets import FeatureSet, Points, pair

QUANTILE = 0.01
LEAST = 100  # held-out images: of fewer, none is below the quantile


class Memorisation(NamedTuple):
    """Hold what the distances to the nearest training image say; see `memorisation`.

    Args:
        copies: The share of samples as near as the nearest 1% of held-out images.
        copy_auc: The probability that a sample is nearer than a held-out image.
        copy_z: Its distance from 0.5 in standard errors.
    """

    copies: float
    copy_auc: float
    copy_z: float


def memorisation(x: Points, train: Points, held_out: Points) -> Memorisation:
    """Compute how much nearer samples are to the training images than held-out images are.

    `copies` is the share of samples whose nearest training image is as near as the 1% of held-out
    images that are nearest: 0.01 on average for a sampler that copies nothing; several times that
    is copying. `copy_auc` is the probability that a sample is nearer than a held-out image (ties
    count half): 0.5 is neutral, 1 a replay. `copy_z` is its distance from 0.5 in standard errors.

    A large `copies` is a sign of copying by itself. `copy_auc` can be above 0.5 as well where
    samples are merely more typical than images (smoother, of fewer modes), and falls below it where
    they are far from all images: read it beside precision and recall. Held-out images that have
    duplicates among the training images (CIFAR-10 has) hide copies of others.

    Args:
        x: The samples' features (N, d), or a FeatureSet.
        train: Those of the images that the model was trained on.
        held_out: Those of at least 100 images that it was not trained on.

    Returns:
        `(copies, copy_auc, copy_z)`.

    Raises:
        ValueError: The sets differ in d, or there are fewer than 100 held-out images.

    Source:
        After Meehan, Chaudhuri and Dasgupta 2020 (arXiv 2004.05675).
    """
    return compare(*distances(x, train, held_out))


def distances(
    x: Points, train: Points, held_out: Points
) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "M"]]:
    """Squared distances to the nearest training image, of samples and of held-out images."""
    x, train = pair(x, train)
    held_out, _ = pair(held_out, train)
    count = len(held_out.features)
    if count < LEAST:
        raise LackingError(f"Memorisation needs {LEAST} held-out images; {count} are given.")
    return nearest(x.features, train.features), held_out.once(_to_nearest, train)


def compare(ours: Float[np.ndarray, "N"], theirs: Float[np.ndarray, "M"]) -> Memorisation:
    """What these distances say."""
    bound = np.quantile(theirs, QUANTILE, method="weibull")
    auc, z = _rank(ours, theirs)
    return Memorisation(float(np.mean(ours <= bound)), auc, z)


def _to_nearest(points: Float[np.ndarray, "N d"], train: FeatureSet) -> Float[np.ndarray, "N"]:
    return nearest(points, train.features)


def _rank(ours: Float[np.ndarray, "N"], theirs: Float[np.ndarray, "M"]) -> tuple[float, float]:
    """P(ours < theirs) and its z value under equal distributions (Mann and Whitney 1947)."""
    from scipy.stats import rankdata  # takes half a second to import

    n, m = len(ours), len(theirs)
    both = np.concatenate([ours, theirs])
    ranks = rankdata(both)
    auc = 1 - (np.sum(ranks[:n]) - n * (n + 1) / 2) / (n * m)
    ties = np.unique(both, return_counts=True)[1].astype(float)
    total = n + m
    spread = (total + 1 - np.sum(ties**3 - ties) / (total * (total - 1))) / (12 * n * m)
    return float(auc), float((auc - 0.5) / np.sqrt(spread)) if spread > 0 else 0.0

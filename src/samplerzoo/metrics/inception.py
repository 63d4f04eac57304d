"""The Inception Score (Salimans et al. 2016)."""

from itertools import pairwise

import numpy as np
import scipy.special
from jaxtyping import ArrayLike, Float

from .checks import LackingError, check_features


def inception_score(
    logits: Float[ArrayLike, "N classes"], splits: int = 10, seed: int | None = 2020
) -> tuple[float, float]:
    """Compute the Inception Score: whether classes are clear and many.

    It is the mean and the standard deviation, over splits of the samples, of `exp E KL(p(y|x) ||
    p(y))`.

    Args:
        logits: The classifier's logits of N samples, (N, classes).
        splits: The number of splits, from 1 to N.
        seed: The seed of the shuffle before, which is torch-fidelity's; None for none.

    Returns:
        The mean and the standard deviation.

    Raises:
        ValueError: The number of splits is not in 1..N, or logits are not finite.

    Source:
        Salimans et al. 2016 (arXiv 1606.03498), section 4.
    """
    logits = check_features(logits)
    if not 1 <= splits <= len(logits):
        raise LackingError(
            f"splits is {splits} and there are {len(logits)} images; it must lie in "
            f"1..{len(logits)}."
        )
    if seed is not None:
        logits = logits[np.random.RandomState(seed).permutation(len(logits))]
    ends = np.arange(splits + 1) * len(logits) // splits
    scores = [_score(logits[a:b]) for a, b in pairwise(ends)]
    return float(np.mean(scores)), float(np.std(scores))


def _score(logits: Float[np.ndarray, "n classes"]) -> float:
    log_p = scipy.special.log_softmax(logits.astype(np.float64), axis=1)
    p = np.exp(log_p)
    # An unlikely class may vanish from all of a split: it then adds 0, not 0 * inf.
    log_q = np.log(np.maximum(np.mean(p, 0), np.finfo(np.float64).tiny))
    return float(np.exp(np.mean(np.sum(p * (log_p - log_q[None, :]), axis=1))))

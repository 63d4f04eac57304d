"""Scores of a sampler: feature distances between its samples and the data."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from ..core.drawing import Extractors, report_key, stream
from ..core.engine import sample_batch
from ..core.families import DDIM, DDPM, STRIDES, AbstractFamily
from ..core.model import DiffusionModel
from ..core.ode import AdaptiveODE
from ..core.table import StepTable
from ..features import apply, as_extractor
from ..metrics import FeatureSet, Metric, check_widths
from ..metrics.builtin import fd, kid, precision_recall
from ..wording import phrase
from .errors import RunError
from .rows import Row

METRICS: dict[str, Metric] = {"fd": fd, "kid": kid, "precision-recall": precision_recall}


def score(
    table: StepTable | AdaptiveODE,
    model: DiffusionModel,
    features: Extractors,
    references: Mapping[str, FeatureSet],
    *,
    n: int,
    seed: int,
    batch: int | None = None,
    mesh: Mesh | None = None,
    show: int = 0,
    metrics: Mapping[str, Metric] = METRICS,
    advance: Callable[[int], Any] = lambda drawn: None,
    sample: Callable[..., Array] = sample_batch,
) -> tuple[dict[str, dict[str, float]], Float[np.ndarray, "show ..."]]:
    """Score a sampler against references, in several feature spaces.

    A metric that lacks something in a feature space, as the Inception Score does without a
    classifier's head, has no columns there.

    Args:
        table: The sampler.
        model: The model that it samples.
        features: The extractors by name: functions from one sample to a vector.
        references: The data's features by the same names.
        n: How many samples are drawn and scored.
        seed: The seed of the samples; those of a search with the same seed are others.
        batch: Samples at a time; by default 1000 a device, fewer of large ones.
        mesh: The devices that a batch is split over.
        show: How many of the first samples are returned.
        metrics: The metrics by name; FD, KID, precision and recall by default.
        advance: A function that is told how many samples were drawn, after each batch.
        sample: How they are drawn, see `stream`.

    Returns:
        The scores as `{features: {column: value}}`, and the first `show` samples.

    Raises:
        ValueError: `n` or the batch is below 1, or features are not finite.
    """
    shown, chunks = [], []
    drawing = stream(table, model, report_key(seed), n, features, batch, mesh, apply, sample)
    for samples, found in drawing:
        shown.append(samples[: max(0, show - sum(map(len, shown)))])
        chunks.append(found)
        advance(len(samples))

    def compared(name: str) -> dict[str, float]:
        drawn = np.concatenate([chunk.pop(name) for chunk in chunks])
        return compare(feature_set(features[name], drawn), references[name], metrics)

    with ThreadPoolExecutor() as pool:  # the feature spaces beside each other: NumPy lets it
        return dict(zip(features, pool.map(compared, features), strict=True)), np.concatenate(shown)


def feature_set(phi: Callable[[Array], Array], features: Float[np.ndarray, "N d"]) -> FeatureSet:
    """Features with the head of the classifier that they come from, if it has one."""
    return FeatureSet(features, head=as_extractor(phi).classifier())


def score_rows(
    name: str,
    table: StepTable | AdaptiveODE,
    model: DiffusionModel,
    features: Extractors,
    references: Mapping[str, FeatureSet],
    *,
    n: int,
    seed: int,
    **options: Any,
) -> tuple[list[Row], Float[np.ndarray, "show ..."]]:
    """Score a sampler as `score` does.

    Args:
        name: What the sampler is called.
        table: The sampler.
        model: The model.
        features: The extractors by name.
        references: The features of the data by the extractor's name.
        n: Samples that are scored.
        seed: Their seed.
        **options: More options of `score`.

    Returns:
        A row for each feature space, and the samples to show.

    Raises:
        RunError: The scores are not finite.
    """
    try:
        scores, shown = score(table, model, features, references, n=n, seed=seed, **options)
    except ValueError as error:
        raise RunError(f"{name} cannot be scored: {phrase(error)}.") from error
    nfe = table.nfe * model.passes
    return [Row(name, nfe, space, n, seed, own) for space, own in scores.items()], shown


def compare(
    samples: FeatureSet, reference: FeatureSet, metrics: Mapping[str, Metric]
) -> dict[str, float]:
    """Compute the columns of all metrics that lack nothing."""
    scores = {}
    for metric in metrics.values():
        if not metric.lacks(samples.count or 0, samples.has_head, reference):
            scores |= metric(samples, reference)
    return scores


def lacks(
    metric: Metric,
    phi: Callable[[Array], Array],
    shape: tuple[int, ...],
    reference: FeatureSet,
    n: int,
) -> str | None:
    """Tell what a metric of `n` samples of a shape lacks in a feature space, before any is drawn.

    Raises:
        ValueError: The reference has another number of features than the extractor.
    """
    width = jax.eval_shape(phi, jax.ShapeDtypeStruct(shape, jnp.float32)).shape[0]
    check_widths(width, reference.width)
    return metric.lacks(n, as_extractor(phi).classifier() is not None, reference)


def baselines(steps: int) -> dict[str, AbstractFamily]:
    """Make what every searched sampler is compared with: DDPM and DDIM, each with both strides.

    Args:
        steps: K, the number of network evaluations.

    Returns:
        The families by name, such as `ddim-linear`.
    """
    families = {"ddpm": DDPM, "ddim": DDIM}
    return {f"{n}-{s}": family(steps, s) for n, family in families.items() for s in STRIDES}

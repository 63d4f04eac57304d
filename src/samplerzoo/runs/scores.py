"""Scores of a sampler: feature distances between its samples and the data."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from ..core.compiling import jit
from ..core.devices import place, split, whole
from ..core.engine import sample
from ..core.families import DDIM, DDPM, STRIDES, AbstractFamily
from ..core.model import DiffusionModel
from ..core.schedule import AbstractSchedule
from ..core.table import StepTable
from ..core.types import Key
from ..features import apply
from ..metrics import FeatureSet, Lacking, Metric
from ..metrics.builtin import fd, kid, precision_recall

Extractors = Mapping[str, Callable[[Array], Array]]
NUMBERS = 2**20  # in the samples that a device draws at a time
METRICS: dict[str, Metric] = {"fd": fd, "kid": kid, "precision-recall": precision_recall}


@eqx.filter_jit
def make_table(family: AbstractFamily, schedule: AbstractSchedule) -> StepTable:
    """A family's table, compiled."""
    return family.table(schedule)


def _chunk(table, model, features, key, start, size, mesh):
    samples = sample(table, model, key, split(start + jnp.arange(size), mesh))
    found = {name: apply(phi, samples) for name, phi in features.items()}
    return whole((samples, found), mesh)


@functools.cache
def _compiled_chunk() -> Callable:
    return jit(_chunk)


def stream(
    table: StepTable,
    model: DiffusionModel,
    key: Key,
    n: int,
    features: Extractors,
    batch: int | None = None,
    mesh: Mesh | None = None,
) -> Iterator[tuple[Float[np.ndarray, "b ..."], dict[str, Float[np.ndarray, "b d"]]]]:
    """The first `n` samples of `key`'s series with their features, a batch at a time.

    A batch is split over a mesh's devices; by default each takes 1000 samples, fewer of large ones.
    """
    devices = mesh.size if mesh else 1
    if batch is None:
        batch = devices * max(1, min(1000, NUMBERS // math.prod(model.shape)))
    if n < 1 or batch < 1:
        raise ValueError(f"n is {n} and batch {batch}; they must be at least 1.")
    size = -(-min(batch, n) // devices) * devices
    fixed = place((table, model, dict(features), key), mesh)
    for first in range(0, n, size):
        chunk = _compiled_chunk()(*fixed, jnp.asarray(first), size, mesh)
        yield jax.tree.map(lambda array: np.asarray(array)[: n - first], chunk)  # noqa: B023


def draw_samples(
    table: StepTable,
    model: DiffusionModel,
    key: Key,
    n: int,
    batch: int | None = None,
    mesh: Mesh | None = None,
) -> Float[np.ndarray, "n ..."]:
    """The first `n` samples of `key`'s series; see `stream` for the batch."""
    return np.concatenate([found for found, _ in stream(table, model, key, n, {}, batch, mesh)])


def score(
    table: StepTable,
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
) -> tuple[dict[str, dict[str, float]], Float[np.ndarray, "show ..."]]:
    """`{features: {column: ...}}` of `n` samples, and the first `show` of the samples.

    A metric that lacks something in a feature space, as the Inception Score does without a
    classifier's head, has no columns there. `advance` is told how many samples were drawn.
    """
    shown, chunks = [], []
    for samples, found in stream(table, model, report_key(seed), n, features, batch, mesh):
        shown.append(samples[: max(0, show - sum(map(len, shown)))])
        chunks.append(found)
        advance(len(samples))
    scores = {}
    for name, phi in features.items():
        drawn = feature_set(phi, np.concatenate([chunk.pop(name) for chunk in chunks]))
        scores[name] = compare(drawn, references[name], metrics)
    return scores, np.concatenate(shown)


def feature_set(phi: Callable[[Array], Array], features: Float[np.ndarray, "N d"]) -> FeatureSet:
    """Features with the head of the classifier that they come from, if it has one."""
    return FeatureSet(features, head=getattr(phi, "head", None))


def compare(
    samples: FeatureSet, reference: FeatureSet, metrics: Mapping[str, Metric]
) -> dict[str, float]:
    """The columns of all metrics that lack nothing."""
    scores = {}
    for metric in metrics.values():
        with suppress(Lacking):
            scores |= metric(samples, reference)
    return scores


def lacks(
    metric: Metric,
    phi: Callable[[Array], Array],
    shape: tuple[int, ...],
    reference: FeatureSet,
    n: int,
) -> str | None:
    """What a metric of `n` samples of a shape lacks in a feature space, tried on a few points.

    Raises ValueError where the reference has another number of features than the extractor.
    """
    width = jax.eval_shape(phi, jax.ShapeDtypeStruct(shape, jnp.float32)).shape[0]
    points = np.random.default_rng(0).normal(size=(min(n, 1000), width))
    try:
        metric(feature_set(phi, points.astype(np.float32)), reference)
    except Lacking as error:
        return str(error)
    return None


def baselines(steps: int) -> dict[str, AbstractFamily]:
    """What every searched sampler is compared with, by name."""
    families = {"ddpm": DDPM, "ddim": DDIM}
    return {f"{n}-{s}": family(steps, s) for n, family in families.items() for s in STRIDES}


def search_key(seed: int) -> Key:
    """The key of everything random in a search."""
    return jax.random.fold_in(jax.random.key(seed), 0)


def report_key(seed: int) -> Key:
    """The key of the samples that are scored: never those of a search with the same seed."""
    return jax.random.fold_in(jax.random.key(seed), 1)

"""Many samples of a table on the host: compiled once, a batch at a time, from keys of their own."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from .compiling import jit, jit_once
from .devices import device_put, replicate, shard
from .engine import sample_batch
from .families import AbstractFamily
from .model import DiffusionModel
from .schedule import AbstractSchedule
from .table import StepTable
from .types import Key

NUMBERS = 2**20  # in the samples that a device draws at a time
Extractors = Mapping[str, Callable[[Array], Array]]


@jit_once
def make_table(family: AbstractFamily, schedule: AbstractSchedule) -> StepTable:
    """Compute a family's table, compiled.

    Args:
        family: The sampler's family with its parameters.
        schedule: The noise schedule of the model that it will sample.

    Returns:
        The sampler as numbers.
    """
    return family.table(schedule)


def search_key(seed: int) -> Key:
    """Make the key of everything random in a search with this seed."""
    return jax.random.fold_in(jax.random.key(seed), 0)


def report_key(seed: int) -> Key:
    """Make the key of the samples that are scored: never those of a search with the same seed."""
    return jax.random.fold_in(jax.random.key(seed), 1)


def objective_key(seed: int) -> Key:
    """Make the key of what an objective draws before a search: never the samples of a search."""
    return jax.random.fold_in(jax.random.key(seed), 3)


def each(phi: Callable[[Array], Array], samples: Float[Array, "b ..."]) -> Float[Array, "b d"]:
    """Compute the features of a batch of samples, all at once."""
    return jax.vmap(phi)(samples)


def stream(
    table: Any,
    model: DiffusionModel,
    key: Key,
    n: int,
    features: Extractors,
    batch: int | None = None,
    mesh: Mesh | None = None,
    apply: Callable[[Callable, Array], Array] = each,
    sample: Callable[..., Array] = sample_batch,
) -> Iterator[tuple[Float[np.ndarray, "b ..."], dict[str, Float[np.ndarray, "b d"]]]]:
    """Draw the first `n` samples of a key's series, with their features, a batch at a time.

    Args:
        table: The sampler.
        model: The model that it samples.
        key: What the series of samples stands for; sample i draws from `fold_in(key, i)`.
        n: How many samples.
        features: Functions of one sample, by name.
        batch: Samples at a time over all devices; by default 1000 a device, fewer of large ones.
        mesh: The devices over which a batch is sharded.
        apply: How a function of one sample is computed for a batch, `apply(phi, samples)`, such
            as `samplerzoo.apply`, which bounds the memory that it takes.
        sample: How samples are drawn, `sample(table, model, key, indices)`; with another than
            `sample_batch`, the table may be something else.

    Yields:
        Samples (b, *model.shape) and their features (b, d) by name, on the host.

    Raises:
        ValueError: `n` or `batch` is below 1.
    """
    devices = mesh.size if mesh else 1
    if batch is None:
        batch = devices * max(1, min(1000, NUMBERS // math.prod(model.shape)))
    if n < 1 or batch < 1:
        raise ValueError(f"n is {n} and batch {batch}; they must be at least 1.")
    size = -(-min(batch, n) // devices) * devices
    fixed = device_put((table, model, dict(features), key), mesh)
    draw = _compiled_draw()
    for first in range(0, n, size):
        drawn, found = draw(*fixed, jnp.asarray(first), size, mesh, apply, sample)
        wanted = slice(0, n - first)
        yield (
            np.asarray(drawn)[wanted],
            {name: np.asarray(array)[wanted] for name, array in found.items()},
        )


def draw_samples(
    table: StepTable,
    model: DiffusionModel,
    key: Key,
    n: int,
    batch: int | None = None,
    mesh: Mesh | None = None,
) -> Float[np.ndarray, "n ..."]:
    """Draw the first `n` samples of a key's series.

    Args:
        table: The sampler.
        model: The model that it samples.
        key: What the series of samples stands for; sample i draws from `fold_in(key, i)`.
        n: How many samples.
        batch: Samples at a time over all devices; by default 1000 a device, fewer of large ones.
        mesh: The devices over which a batch is sharded.

    Returns:
        The samples (n, *model.shape), on the host.

    Raises:
        ValueError: `n` or `batch` is below 1.
    """
    drawn = [samples for samples, _ in stream(table, model, key, n, {}, batch, mesh)]
    return np.concatenate(drawn)


def _draw(
    table: Any,
    model: DiffusionModel,
    features: Extractors,
    key: Key,
    first: Int[Array, ""],
    size: int,
    mesh: Mesh | None,
    apply: Callable[[Callable, Array], Array],
    sample: Callable[..., Array],
) -> tuple[Array, dict[str, Array]]:
    """Draw samples number `first` to `first + size - 1`, and compute their features."""
    indices = shard(first + jnp.arange(size), mesh)
    samples = sample(table, model, key, indices)
    found = {name: apply(phi, samples) for name, phi in features.items()}
    return replicate((samples, found), mesh)


@functools.cache
def _compiled_draw() -> Callable:
    """Compile `_draw` when it is first used: the options depend on the backend."""
    return jit(_draw)

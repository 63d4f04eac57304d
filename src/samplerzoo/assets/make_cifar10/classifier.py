"""The classifier whose features searches use, and a bank of features of real images."""

import math
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike
from jaxtyping import Array

from ..._files import to_tensors, write_tensors
from ..._types import Key, Scalar
from ...features import extract
from ...features.resnet import ResNetClassifier
from .loop import Data, Loss, Task, cast, to_range

CLASSES = 10
WIDTHS, DEPTHS = (32, 64, 128), (3, 3, 2)
CLASSIFIER = partial(ResNetClassifier, 3, WIDTHS, DEPTHS, CLASSES)
BATCH, PEAK, DECAY, SMOOTHING, MARGIN = 512, 2e-3, 0.05, 0.1, 4
ROWS = 5000  # of the bank


def total_steps(epochs: float, images: int, chunk: int) -> int:
    """The steps of so many epochs, a whole number of chunks."""
    return chunk * math.ceil(epochs * images / (BATCH * chunk))


def task(steps: int, dtype: DTypeLike) -> Task:
    """How the classifier is trained in a fixed number of steps, computing in `dtype`."""
    schedule = optax.cosine_onecycle_schedule(steps, PEAK, pct_start=0.2)
    optimiser = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=DECAY)
    )
    return Task(classifying(dtype), optimiser, BATCH)


def classifying(dtype: DTypeLike) -> Loss:
    """Cross-entropy with smoothed labels on shifted and mirrored images."""

    def loss(network: ResNetClassifier, batch: Data, key: Key) -> Scalar:
        rounded = cast(network, dtype)
        targets = optax.smooth_labels(jax.nn.one_hot(batch.labels, CLASSES), SMOOTHING)

        def one(image, own):
            x = to_range(distort(image, own)).astype(dtype)
            return rounded.logits(x).astype(jnp.float32)

        logits = jax.vmap(one)(batch.images, jax.random.split(key, len(batch.images)))
        return jnp.mean(optax.softmax_cross_entropy(logits, targets))

    return loss


def distort(image: Array, key: Key) -> Array:
    """An image (H, W, C), shifted by up to 4 pixels and mirrored at random."""
    keys = jax.random.split(key)
    padded = jnp.pad(image, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), "reflect")
    corner = jax.random.randint(keys[0], (2,), 0, 2 * MARGIN + 1)
    cut = jax.lax.dynamic_slice(padded, (corner[0], corner[1], 0), image.shape)
    return jnp.where(jax.random.bernoulli(keys[1]), cut[:, ::-1], cut)


@eqx.filter_jit
def _guesses(network: ResNetClassifier, images: Array) -> Array:
    one = lambda image: jnp.argmax(network.logits(to_range(image)))  # noqa: E731
    return jax.lax.map(one, images, batch_size=500)


def accuracy(network: ResNetClassifier, data: Data) -> float:
    """The share of images whose class is recognised."""
    return float(jnp.mean(_guesses(network, data.images) == data.labels))


def export(folder: Path, network: ResNetClassifier, data: Data) -> None:
    """Write the classifier in half precision, and its features of the data.

    The bank holds `features` (rows, d) of evenly spread images, in half precision, and the `mean`
    (d,) and `covariance` (d, d) of all, of the network as it is written.
    """
    half = {name: array.astype(np.float16) for name, array in to_tensors(network).items()}
    write_tensors(folder / "classifier.safetensors", half, {"images": str(len(data.images))})
    rounded = cast(cast(network, jnp.float16), jnp.float32)
    features = extract(rounded, np.asarray(to_range(data.images)))
    # Images lie in the order of their classes: rows evenly spread hold as many of each.
    rows = np.linspace(0, len(features) - 1, min(ROWS, len(features))).round().astype(int)
    bank = {
        "features": features[rows].astype(np.float16),
        "mean": np.mean(features, 0, np.float64).astype(np.float32),
        "covariance": np.cov(features.astype(np.float64), rowvar=False).astype(np.float32),
    }
    write_tensors(folder / "reference.safetensors", bank, {"images": str(len(features))})

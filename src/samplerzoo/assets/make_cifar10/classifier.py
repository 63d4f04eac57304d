"""The classifiers whose features searches and reports use, and banks of those of real images."""

import math
from functools import partial
from pathlib import Path
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike
from jaxtyping import Array

from ...core.compiling import jit
from ...core.types import Key, Scalar
from ...data import Images
from ...features import extract_batches
from ...features.plain import PlainClassifier
from ...features.resnet import ResNetClassifier
from ...features.trained import ClassifierShape, load_classifier, save_classifier
from ...references import fingerprint
from ...references.files import write_features
from .loop import Data, Loss, Task, cast, to_range

Classifier: TypeAlias = ResNetClassifier | PlainClassifier
CLASSES = 10
# The one searches use and, of another kind, the one for reports.
NETWORKS = {
    "cifar10-resnet": partial(
        ResNetClassifier, ClassifierShape(3, (64, 128, 144), (1, 2, 1), CLASSES, 2)
    ),
    "cifar10-cnn": partial(
        PlainClassifier, ClassifierShape(3, (64, 128, 192), (2, 2, 2), CLASSES, 2)
    ),
}
BATCH, PEAK, DECAY, SMOOTHING, MARGIN = 256, 3e-3, 0.05, 0.1, 4
ROWS = 2500  # of a bank


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

    def loss(network: Classifier, batch: Data, key: Key) -> Scalar:
        rounded = cast(network, dtype)
        targets = optax.smooth_labels(jax.nn.one_hot(batch.labels, CLASSES), SMOOTHING)

        def one(image, own):
            x = to_range(distort(image, own)).astype(dtype)
            return rounded.head(rounded(x)).astype(jnp.float32)

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


@jit
def _guesses(network: Classifier, images: Array) -> Array:
    def guess(image: Array) -> Array:
        return jnp.argmax(network.head(network(to_range(image))))

    return jax.lax.map(guess, images, batch_size=500)


def accuracy(network: Classifier, data: Data) -> float:
    """The share of images whose class is recognised."""
    return float(jnp.mean(_guesses(network, data.images) == data.labels))


def export(folder: Path, name: str, network: Classifier, data: Data) -> None:
    """Write the classifier in half precision, and its features of evenly spread images.

    The features lie in `reference/`, in files such as `samplerzoo reference` keeps.
    """
    path = folder / f"{name}.safetensors"
    save_classifier(path, network, network.shape)
    # Images lie in the order of their classes: rows evenly spread hold as many of each.
    rows = np.linspace(0, len(data.images) - 1, min(ROWS, len(data.images))).round().astype(int)
    images = Images.of(np.asarray(data.images)[rows], (-1.0, 1.0))
    written = load_classifier(path, type(network))
    about = {
        "features": name,
        "extractor": fingerprint(written, images.shape),
        "data": images.digest,
    }
    bank = folder / "reference" / path.name
    bank.parent.mkdir(exist_ok=True)
    with bank.open("w+b") as file:
        shape = len(rows), written.head.weight.shape[0]
        write_features(file, extract_batches(written, images), shape, about)

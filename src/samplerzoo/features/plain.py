"""A plain convolutional classifier of small images, without shortcuts."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..backbones import Conv, Dense, GroupNorm
from ..backbones.layers import activated, fold_pixels
from ..core.types import Key
from .extractor import AbstractExtractor, Head
from .trained import ClassifierShape, group_norm


class PlainClassifier(AbstractExtractor):
    """Stages of normalised 3x3 convolutions with maxima over blocks of 2x2 pixels between them.

    The kind of Simonyan and Zisserman (2015). The last-but-one activations are the means over the
    pixels of the last stage.
    """

    stages: tuple[tuple[tuple[Conv, GroupNorm], ...], ...]
    head: Dense
    shape: ClassifierShape = eqx.field(static=True)

    def __init__(self, shape: ClassifierShape, *, key: Key):
        """Make the classifier with random weights; `depths` are numbers of convolutions."""
        channels, widths, depths, classes, patch = shape
        keys = iter(jax.random.split(key, sum(depths) + 1))
        before, stages, self.shape = channels * patch**2, [], shape
        for width, depth in zip(widths, depths, strict=True):
            inner = [before, *[width] * (depth - 1)]
            stages.append(tuple((Conv(c, width, key=next(keys)), group_norm(width)) for c in inner))
            before = width
        self.stages = tuple(stages)
        self.head = Dense(before, classes, key=next(keys))

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "d"]:
        """The last-but-one activations."""
        x = fold_pixels(x, self.shape.patch)
        for number, stage in enumerate(self.stages):
            x = _halve_by_maxima(x) if number else x
            for conv, norm in stage:
                x = activated(jax.nn.relu, norm, conv(x))
        return jnp.mean(x, (0, 1))

    def classifier(self) -> Head:
        return self.head

    def rounded(self) -> "PlainClassifier":
        return self


def _halve_by_maxima(x: Float[Array, "H W C"]) -> Float[Array, "h w C"]:
    height, width, channels = x.shape
    return jnp.max(x.reshape(height // 2, 2, width // 2, 2, channels), (1, 3))

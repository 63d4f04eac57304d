"""A residual classifier of small images, without statistics of batches."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..backbones import Conv, Dense, GroupNorm
from ..backbones.layers import activated, fold_pixels, halve_by_mean
from ..core.types import Key
from .extractor import AbstractExtractor, Head
from .trained import ClassifierShape, group_norm


class _Block(eqx.Module):
    """Two normalised convolutions beside a shortcut (He et al. 2016, pre-activation)."""

    norm1: GroupNorm
    conv1: Conv
    norm2: GroupNorm
    conv2: Conv
    shortcut: Dense | None
    halving: bool = eqx.field(static=True)

    def __init__(self, channels: int, out: int, halving: bool, *, key: Key):
        keys = jax.random.split(key, 3)
        self.norm1, self.norm2 = group_norm(channels), group_norm(out)
        self.conv1 = Conv(channels, out, key=keys[0])
        self.conv2 = Conv(out, out, key=keys[1])
        self.shortcut = Dense(channels, out, key=keys[2]) if channels != out else None
        self.halving = halving

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "h w D"]:
        h = activated(jax.nn.silu, self.norm1, x)
        if self.halving:
            x, h = halve_by_mean(x), halve_by_mean(h)
        h = self.conv2(activated(jax.nn.silu, self.norm2, self.conv1(h)))
        return h + (x if self.shortcut is None else self.shortcut(x))


class ResNetClassifier(AbstractExtractor):
    """Stages of residual blocks, each after the first at half the resolution.

    Blocks of pixels are folded into channels before the first. The last-but-one activations are
    the means over the pixels of the last stage.
    """

    stem: Conv
    blocks: tuple[_Block, ...]
    norm: GroupNorm
    head: Dense
    shape: ClassifierShape = eqx.field(static=True)

    def __init__(self, shape: ClassifierShape, *, key: Key):
        """Make the classifier with random weights; `depths` are numbers of blocks."""
        channels, widths, depths, classes, patch = shape
        keys = iter(jax.random.split(key, sum(depths) + 2))
        self.shape = shape
        self.stem = Conv(channels * patch**2, widths[0], key=next(keys))
        before, blocks = widths[0], []
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for n in range(depth):
                blocks.append(_Block(before, width, n == 0 and stage > 0, key=next(keys)))
                before = width
        self.blocks = tuple(blocks)
        self.norm = group_norm(before)
        self.head = Dense(before, classes, key=next(keys))

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "d"]:
        """The last-but-one activations."""
        x = self.stem(fold_pixels(x, self.shape.patch))
        for block in self.blocks:
            x = block(x)
        return jnp.mean(activated(jax.nn.silu, self.norm, x), (0, 1))

    def classifier(self) -> Head:
        return self.head

    def rounded(self) -> "ResNetClassifier":
        return self

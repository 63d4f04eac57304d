"""A residual classifier of small images, without statistics of batches."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..backbones import Conv, Dense, GroupNorm
from ..backbones.layers import activated, halve_by_mean
from ..core.types import Key
from ..files import from_tensors, read_tensors, to_tensors, write_tensors
from .extractor import AbstractExtractor, Head

GROUPS = 8


def _norm(channels: int) -> GroupNorm:
    return GroupNorm(jnp.ones(channels), jnp.zeros(channels), GROUPS)


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
        self.norm1, self.norm2 = _norm(channels), _norm(out)
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

    The last-but-one activations are the means over the pixels of the last stage.
    """

    stem: Conv
    blocks: tuple[_Block, ...]
    norm: GroupNorm
    head: Dense
    widths: tuple[int, ...] = eqx.field(static=True)
    depths: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        channels: int,
        widths: tuple[int, ...],
        depths: tuple[int, ...],
        classes: int,
        *,
        key: Key,
    ):
        """`depths` are the numbers of blocks; the widths are multiples of 8."""
        keys = iter(jax.random.split(key, sum(depths) + 2))
        self.widths, self.depths = widths, depths
        self.stem = Conv(channels, widths[0], key=next(keys))
        before, blocks = widths[0], []
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for n in range(depth):
                blocks.append(_Block(before, width, n == 0 and stage > 0, key=next(keys)))
                before = width
        self.blocks = tuple(blocks)
        self.norm = _norm(before)
        self.head = Dense(before, classes, key=next(keys))

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "d"]:
        """The last-but-one activations."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return jnp.mean(activated(jax.nn.silu, self.norm, x), (0, 1))

    def classifier(self) -> Head:
        return self.head

    def rounded(self) -> "ResNetClassifier":
        return self

    def logits(self, x: Float[Array, "H W C"]) -> Float[Array, "classes"]:
        """Unnormalised log-probabilities of the classes."""
        return self.head(self(x))

    def save(self, path: Path) -> None:
        """Write a safetensors file in half precision, which `load` reads."""
        half = {name: array.astype(np.float16) for name, array in to_tensors(self).items()}
        about = {
            "channels": self.stem.kernel.shape[2],
            "widths": " ".join(map(str, self.widths)),
            "depths": " ".join(map(str, self.depths)),
            "classes": self.head.bias.size,
        }
        write_tensors(path, half, {name: str(value) for name, value in about.items()})

    @staticmethod
    def load(path: Path) -> "ResNetClassifier":
        """The classifier in a file that `save` wrote, in single precision."""
        tensors, about = read_tensors(path)
        channels, classes = int(about["channels"]), int(about["classes"])
        widths, depths = (tuple(map(int, about[name].split())) for name in ("widths", "depths"))
        like = eqx.filter_eval_shape(
            lambda key: ResNetClassifier(channels, widths, depths, classes, key=key),
            jax.random.key(0),
        )
        return from_tensors(like, {n: a.astype(np.float32) for n, a in tensors.items()})

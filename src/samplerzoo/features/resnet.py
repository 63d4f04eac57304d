"""A residual classifier of small images, without statistics of batches."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Key
from ..backbones import Conv, Dense, GroupNorm
from ..backbones.layers import halve_by_mean

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
        h = jax.nn.silu(self.norm1(x))
        if self.halving:
            x, h = halve_by_mean(x), halve_by_mean(h)
        h = self.conv2(jax.nn.silu(self.norm2(self.conv1(h))))
        return h + (x if self.shortcut is None else self.shortcut(x))


class ResNetClassifier(eqx.Module):
    """Stages of residual blocks, each after the first at half the resolution.

    The last-but-one activations are the means over the pixels of the last stage.
    """

    stem: Conv
    blocks: tuple[_Block, ...]
    norm: GroupNorm
    head: Dense

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
        return jnp.mean(jax.nn.silu(self.norm(x)), (0, 1))

    def logits(self, x: Float[Array, "H W C"]) -> Float[Array, "classes"]:
        """Unnormalised log-probabilities of the classes."""
        return self.head(self(x))

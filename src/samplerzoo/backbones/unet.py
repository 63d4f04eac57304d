"""diffusers' `UNet2DModel`, channels last: the network of DDPM, improved DDPM and ADM."""

from collections.abc import Iterator, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.types import Key, Scalar
from .layers import Conv, Dense, GroupNorm, activated, endless, single
from .unet_blocks import DownBlock, MidBlock, UpBlock, norm
from .unet_config import DOWN_BLOCKS, UP_BLOCKS, UNetConfig


class Fourier(eqx.Module):
    """Random frequencies of the logarithm of a noise level (Song et al. 2021)."""

    frequencies: Float[Array, "half"]

    def __call__(self, t: Scalar) -> Array:
        angles = 2 * np.pi * jnp.log(t) * self.frequencies.astype(t.dtype)
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)])


class Positional(eqx.Module):
    """Sines and cosines of a time, (width,)."""

    width: int = eqx.field(static=True)
    freq_shift: float = eqx.field(static=True)
    cosines_first: bool = eqx.field(static=True)

    def __call__(self, t: Scalar) -> Array:
        # The frequencies' last bits count, times 1000: they are made as PyTorch makes them.
        half = self.width // 2
        steps = np.arange(half, dtype=t.dtype) * -np.log(np.asarray(10_000, t.dtype))
        angles = t * np.exp(steps / np.asarray(half - self.freq_shift, t.dtype))
        parts = [jnp.sin(angles), jnp.cos(angles)]
        row = jnp.concatenate(parts[::-1] if self.cosines_first else parts)
        return jnp.pad(row, (0, self.width % 2))


class Perceptron(eqx.Module):
    """Two dense layers."""

    linear_1: Dense
    linear_2: Dense

    def __init__(self, width: int, out: int, *, keys: Iterator[Key]):
        self.linear_1 = Dense(width, out, key=next(keys))
        self.linear_2 = Dense(out, out, key=next(keys))

    def __call__(self, x: Float[Array, "C"]) -> Float[Array, "E"]:
        return self.linear_2(jax.nn.silu(self.linear_1(x)))


class Embedding(eqx.Module):
    """A row of a table for each label."""

    table: Float[Array, "labels E"]

    def __call__(self, label: Array) -> Float[Array, "E"]:
        return self.table[label]


class UNet(eqx.Module):
    """A network `(x, t) -> output` or, with class embeddings, `(x, t, label) -> output`.

    `x` is one image (H, W, in_channels), the output (H, W, out_channels), and `t` the time that
    the network was trained with, e.g. a timestep from 0. A label is a class's number, or a scalar
    time or a row of `config.embedding` numbers where `class_embed_type` is "timestep" or
    "identity". Fields are named as in the checkpoints of diffusers' `UNet2DModel`.
    """

    conv_in: Conv
    time_proj: Positional | Fourier
    time_embedding: Perceptron
    class_embedding: Embedding | Perceptron | None
    down_blocks: tuple[DownBlock, ...]
    mid_block: MidBlock | None
    up_blocks: tuple[UpBlock, ...]
    conv_norm_out: GroupNorm
    conv_out: Conv
    config: UNetConfig = eqx.field(static=True)

    def __init__(self, config: UNetConfig, *, key: Key):
        keys, widths = endless(key), config.block_out_channels
        fourier = config.time_embedding_type == "fourier"
        self.config = config
        self.conv_in = Conv(config.in_channels, widths[0], key=next(keys))
        self.time_proj = (
            Fourier(16 * jax.random.normal(next(keys), (widths[0],)))
            if fourier
            else Positional(widths[0], float(config.freq_shift), config.flip_sin_to_cos)
        )
        inputs = widths[0] * (1 + fourier)
        self.time_embedding = Perceptron(inputs, config.embedding, keys=keys)
        self.class_embedding = _class_embedding(config, inputs, keys)
        self.down_blocks = _down_blocks(config, keys)
        self.mid_block = MidBlock(widths[-1], config, keys=keys) if config.mid_block_type else None
        self.up_blocks = _up_blocks(config, keys)
        self.conv_norm_out = norm(widths[0], config.norm_num_groups, config.norm_eps)
        self.conv_out = Conv(widths[0], config.out_channels, key=next(keys))

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, key: Key) -> "UNet":
        """A network with random weights, from the content of a `UNet2DModel`'s config.json."""
        return cls(UNetConfig.from_dict(config), key=key)

    def __call__(
        self, x: Float[Array, "H W C"], t: Scalar, label: Array | None = None
    ) -> Float[Array, "H W D"]:
        self.config.check_size(*x.shape[:2])
        e = self._embed(t, label).astype(x.dtype)
        h = self.conv_in(2 * x - 1 if self.config.center_input_sample else x)
        skips = [h]
        for block in self.down_blocks:
            skips += block(skips[-1], e)
        h = skips[-1] if self.mid_block is None else self.mid_block(skips[-1], e)
        for block in self.up_blocks:
            number = len(block.resnets)
            h = block(h, skips[-number:], e)
            del skips[-number:]
        h = self.conv_out(activated(jax.nn.silu, self.conv_norm_out, h))
        return h / t.astype(h.dtype) if self.config.time_embedding_type == "fourier" else h

    def _embed(self, t: Scalar, label: Array | None) -> Float[Array, "E"]:
        if (label is not None) != self.config.conditional:
            state = "needs a label" if self.config.conditional else "takes no label"
            raise ValueError(f"This UNet {state}: see num_class_embeds and class_embed_type.")
        e = self.time_embedding(self._project(t))
        if label is None:
            return e
        if self.config.class_embed_type == "timestep":
            label = self._project(label)
        return e + (label if self.class_embedding is None else self.class_embedding(label))

    def _project(self, t: Scalar) -> Array:
        """A time's sines and cosines, made in float32 at least: bfloat16 cannot count to 1000."""
        weight = self.time_embedding.linear_1.weight
        return self.time_proj(t.astype(single(weight.dtype))).astype(weight.dtype)


def _class_embedding(
    config: UNetConfig, inputs: int, keys: Iterator[Key]
) -> Embedding | Perceptron | None:
    if config.class_embed_type == "timestep":
        return Perceptron(inputs, config.embedding, keys=keys)
    if config.class_embed_type is None and config.num_class_embeds is not None:
        shape = (config.num_class_embeds, config.embedding)
        return Embedding(jax.random.normal(next(keys), shape))
    return None


def _down_blocks(config: UNetConfig, keys: Iterator[Key]) -> tuple[DownBlock, ...]:
    widths, blocks = config.block_out_channels, []
    for level, name in enumerate(config.down_block_types):
        attention, how = DOWN_BLOCKS[name]
        last = level == len(widths) - 1
        sampling = None if last else how or config.downsample_type
        before = widths[max(level - 1, 0)]
        blocks.append(DownBlock(before, widths[level], attention, sampling, config, keys=keys))
    return tuple(blocks)


def _up_blocks(config: UNetConfig, keys: Iterator[Key]) -> tuple[UpBlock, ...]:
    widths, blocks, before = config.block_out_channels[::-1], [], config.block_out_channels[-1]
    for level, name in enumerate(config.up_block_types):
        attention, how = UP_BLOCKS[name]
        last, out = level == len(widths) - 1, widths[level]
        sampling = None if last else how or config.upsample_type
        skips = [*[out] * config.layers_per_block, out if last else widths[level + 1]]
        blocks.append(UpBlock(before, skips, out, attention, sampling, config, keys=keys))
        before = out
    return tuple(blocks)

"""The blocks of a `UNet2DModel`, channels last, with the names of its checkpoints."""

from collections.abc import Callable, Iterator
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core.types import Key
from .layers import Conv, Dense, GroupNorm, HalvingConv, activated, double, halve_by_mean
from .unet_config import UNetConfig

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "mish": jax.nn.mish,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "relu": jax.nn.relu,
}
RESAMPLINGS: dict[str, Callable[[Array], Array]] = {
    "none": lambda x: x,
    "down": halve_by_mean,
    "up": double,
}


def norm(channels: int, groups: int, eps: float) -> GroupNorm:
    """A group norm with the scales 1 and the offsets 0."""
    return GroupNorm(jnp.ones(channels), jnp.zeros(channels), groups, float(eps))


class ResnetBlock(eqx.Module):
    """Two normalised convolutions with the embedded time between them, and a shortcut.

    With `scale_shift` the time scales and shifts the second norm; else it is added before it.
    """

    norm1: GroupNorm
    conv1: Conv
    time_emb_proj: Dense
    norm2: GroupNorm
    conv2: Conv
    conv_shortcut: Dense | None
    act: str = eqx.field(static=True)
    scale_shift: bool = eqx.field(static=True)
    resampling: str = eqx.field(static=True)
    divisor: float = eqx.field(static=True)

    def __init__(
        self,
        channels: int,
        out: int,
        config: UNetConfig,
        resampling: str = "none",
        divisor: float = 1.0,
        *,
        key: Key,
    ):
        keys = jax.random.split(key, 4)
        self.act, self.resampling, self.divisor = config.act_fn, resampling, divisor
        self.scale_shift = config.resnet_time_scale_shift == "scale_shift"
        self.norm1 = norm(channels, config.norm_num_groups, config.norm_eps)
        self.conv1 = Conv(channels, out, key=keys[0])
        self.time_emb_proj = Dense(config.embedding, out * (1 + self.scale_shift), key=keys[1])
        self.norm2 = norm(out, config.norm_num_groups, config.norm_eps)
        self.conv2 = Conv(out, out, key=keys[2])
        self.conv_shortcut = Dense(channels, out, key=keys[3]) if channels != out else None

    def __call__(self, x: Float[Array, "H W C"], e: Float[Array, "E"]) -> Float[Array, "..."]:
        act, resample = ACTIVATIONS[self.act], RESAMPLINGS[self.resampling]
        h, up = activated(act, self.norm1, x), self.resampling == "up"
        h = self.conv1.unbiased(h if up else resample(h), doubled=up)
        time, bias = self.time_emb_proj(act(e)), self.conv1.bias
        if self.scale_shift:
            scale, shift = jnp.split(time[None, None, :], 2, axis=-1)
            h = activated(act, lambda h: self.norm2(h, bias) * (1 + scale) + shift, h)
        else:
            h = activated(act, lambda h: self.norm2(h, bias + time), h)
        h = self.conv2(h)
        x = resample(x)
        x = x if self.conv_shortcut is None else self.conv_shortcut(x)
        return (x + h) / self.divisor


class Attention(eqx.Module):
    """Self-attention over the pixels, with biases and a residual."""

    group_norm: GroupNorm | None
    to_q: Dense
    to_k: Dense
    to_v: Dense
    to_out: Dense
    heads: int = eqx.field(static=True)
    divisor: float = eqx.field(static=True)

    def __init__(
        self,
        channels: int,
        config: UNetConfig,
        groups: int | None,
        divisor: float = 1.0,
        *,
        key: Key,
    ):
        keys = jax.random.split(key, 4)
        self.heads, width = config.heads(channels)
        self.divisor = divisor
        self.group_norm = None if groups is None else norm(channels, groups, config.norm_eps)
        self.to_q = Dense(channels, self.heads * width, key=keys[0])
        self.to_k = Dense(channels, self.heads * width, key=keys[1])
        self.to_v = Dense(channels, self.heads * width, key=keys[2])
        self.to_out = Dense(self.heads * width, channels, key=keys[3])

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        h = (x if self.group_norm is None else self.group_norm(x)).reshape(-1, x.shape[-1])
        width = self.to_q.bias.size // self.heads
        scaled = jax.tree.map(lambda a: a * width**-0.5, self.to_q)  # smaller than the image is
        q, k, v = scaled(h), self.to_k(h), self.to_v(h)
        if self.heads == 1:  # for a third axis of size 1, XLA on CPU would copy the arrays
            h = attend(q, k, v)
        else:
            split = (a.reshape(len(a), self.heads, -1) for a in (q, k, v))
            h = jax.vmap(attend, 1, 1)(*split).reshape(len(h), -1)
        return (x + self.to_out(h).reshape(x.shape)) / self.divisor


@jax.checkpoint
def attend(
    q: Float[Array, "pixels D"], k: Float[Array, "pixels D"], v: Float[Array, "pixels D"]
) -> Float[Array, "pixels D"]:
    """The means of the values, weighted by the softmax of the products.

    What there is for all pairs of pixels is made again on the way back (XLA on CPU keeps a part).
    """
    return jax.nn.softmax(q @ k.T) @ v


class Downsample(eqx.Module):
    """A convolution of stride 2."""

    conv: HalvingConv

    def __call__(self, x: Array, e: Array) -> Array:
        return self.conv(x)


class Upsample(eqx.Module):
    """Doubled pixels and a convolution."""

    conv: Conv

    def __call__(self, x: Array, e: Array) -> Array:
        return self.conv(x, doubled=True)


class DownBlock(eqx.Module):
    """Residual blocks, each with attention or none, and a halving of the resolution."""

    resnets: tuple[ResnetBlock, ...]
    attentions: tuple[Attention, ...]
    downsamplers: tuple[Downsample | ResnetBlock, ...]

    def __init__(
        self,
        channels: int,
        out: int,
        attention: bool,
        downsampling: str | None,
        config: UNetConfig,
        *,
        keys: Iterator[Key],
    ):
        inner = [channels, *[out] * (config.layers_per_block - 1)]
        self.resnets = tuple(ResnetBlock(c, out, config, key=next(keys)) for c in inner)
        self.attentions = _attentions(len(inner) * attention, out, config, keys)
        pad = (1, 1) if config.downsample_padding else (0, 1)
        if downsampling is None:
            self.downsamplers = ()
        elif downsampling == "conv":
            self.downsamplers = (Downsample(HalvingConv(out, out, pad, key=next(keys))),)
        else:
            self.downsamplers = (ResnetBlock(out, out, config, "down", key=next(keys)),)

    def __call__(self, h: Array, e: Array) -> list[Array]:
        """All states on the way, the last being the block's output."""
        states = []
        for n, resnet in enumerate(self.resnets):
            h = resnet(h, e)
            h = self.attentions[n](h) if self.attentions else h
            states.append(h)
        for sampler in self.downsamplers:
            states.append(sampler(states[-1], e))
        return states


class MidBlock(eqx.Module):
    """A residual block, attention or none, and a residual block."""

    resnets: tuple[ResnetBlock, ResnetBlock]
    attentions: tuple[Attention, ...]

    def __init__(self, channels: int, config: UNetConfig, *, keys: Iterator[Key]):
        divisor = float(config.mid_block_scale_factor)
        make = partial(ResnetBlock, channels, channels, config, divisor=divisor)
        self.resnets = (make(key=next(keys)), make(key=next(keys)))
        default = config.resnet_time_scale_shift == "default"
        groups = config.attn_norm_num_groups or (config.norm_num_groups if default else None)
        self.attentions = (
            (Attention(channels, config, groups, divisor, key=next(keys)),)
            if config.add_attention
            else ()
        )

    def __call__(self, h: Array, e: Array) -> Array:
        h = self.resnets[0](h, e)
        for attention in self.attentions:
            h = attention(h)
        return self.resnets[1](h, e)


class UpBlock(eqx.Module):
    """Residual blocks on the state joined with the way down's, attention or none, a doubling."""

    resnets: tuple[ResnetBlock, ...]
    attentions: tuple[Attention, ...]
    upsamplers: tuple[Upsample | ResnetBlock, ...]

    def __init__(
        self,
        channels: int,
        skips: list[int],
        out: int,
        attention: bool,
        upsampling: str | None,
        config: UNetConfig,
        *,
        keys: Iterator[Key],
    ):
        inner = [a + b for a, b in zip([channels, *[out] * (len(skips) - 1)], skips, strict=True)]
        self.resnets = tuple(ResnetBlock(c, out, config, key=next(keys)) for c in inner)
        self.attentions = _attentions(len(inner) * attention, out, config, keys)
        if upsampling is None:
            self.upsamplers = ()
        elif upsampling == "conv":
            self.upsamplers = (Upsample(Conv(out, out, key=next(keys))),)
        else:
            self.upsamplers = (ResnetBlock(out, out, config, "up", key=next(keys)),)

    def __call__(self, h: Array, skips: list[Array], e: Array) -> Array:
        for n, resnet in enumerate(self.resnets):
            h = resnet(jnp.concatenate([h, skips[-1 - n]], axis=-1), e)
            h = self.attentions[n](h) if self.attentions else h
        for sampler in self.upsamplers:
            h = sampler(h, e)
        return h


def _attentions(
    number: int, channels: int, config: UNetConfig, keys: Iterator[Key]
) -> tuple[Attention, ...]:
    groups = config.norm_num_groups
    return tuple(Attention(channels, config, groups, key=next(keys)) for _ in range(number))

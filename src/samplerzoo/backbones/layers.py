"""Layers that stay fast inside a loop: channels last, forward and backward.

On CPU, XLA runs a convolution in a while loop fast only if it is a plain NHWC/HWIO one. The
gradient that it derives has the kernel's input and output axes swapped and is several times
slower, so the input's gradient is written here as one more plain convolution.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Key

_LAYOUT = ("NHWC", "HWIO", "NHWC")


@jax.custom_vjp
def convolve(x: Float[Array, "N H W C"], kernel: Float[Array, "h w C D"]) -> Float[Array, "..."]:
    """A convolution of stride 1 with zero padding that keeps H and W (h and w are odd)."""
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=_LAYOUT)


def _forward(x, kernel):
    return convolve(x, kernel), (x, kernel)


def _backward(saved, out):
    x, kernel = saved
    turned = jnp.transpose(kernel[::-1, ::-1], (0, 1, 3, 2))
    to_x = jax.lax.conv_general_dilated(out, turned, (1, 1), "SAME", dimension_numbers=_LAYOUT)
    _, to_kernel = jax.vjp(
        lambda k: jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=_LAYOUT),
        kernel,
    )
    return to_x, to_kernel(out)[0]


convolve.defvjp(_forward, _backward)


class Conv(eqx.Module):
    """A 3x3 (or any odd size) convolution of one channels-last image (H, W, C)."""

    kernel: Float[Array, "h w C D"]
    bias: Float[Array, "D"]

    def __init__(self, channels: int, out: int, size: int = 3, *, key: Key):
        bound = (channels * size**2) ** -0.5
        self.kernel = jax.random.uniform(key, (size, size, channels, out), minval=-1) * bound
        self.bias = jnp.zeros(out)

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W D"]:
        return convolve(x[None], self.kernel)[0] + self.bias[None, None, :]


class Dense(eqx.Module):
    """A matrix product over the last axis."""

    weight: Float[Array, "C D"]
    bias: Float[Array, "D"]

    def __init__(self, channels: int, out: int, *, key: Key):
        self.weight = jax.random.uniform(key, (channels, out), minval=-1) * channels**-0.5
        self.bias = jnp.zeros(out)

    def __call__(self, x: Float[Array, "... C"]) -> Float[Array, "... D"]:
        return x @ self.weight + jnp.expand_dims(self.bias, range(x.ndim - 1))


class GroupNorm(eqx.Module):
    """Group normalisation of (..., C), written as per-channel sums and one affine."""

    scale: Float[Array, "C"]
    offset: Float[Array, "C"]
    groups: int = eqx.field(static=True)
    eps: float = eqx.field(static=True, default=1e-5)

    def __call__(self, x: Float[Array, "... C"]) -> Float[Array, "... C"]:
        channels = x.shape[-1]
        pixels = x.reshape(-1, self.groups, channels // self.groups)
        mean = jnp.mean(pixels, (0, 2))
        variance = jnp.mean(pixels**2, (0, 2)) - mean**2
        inverse = jnp.repeat(jax.lax.rsqrt(variance + self.eps), channels // self.groups)
        scale = self.scale * inverse
        offset = self.offset - jnp.repeat(mean, channels // self.groups) * scale
        return (pixels.reshape(-1, channels) * scale[None] + offset[None]).reshape(x.shape)


def time_embedding(t: Float[Array, ""], width: int, longest: float = 10_000.0) -> Array:
    """Sines and cosines of a scalar time, (width,), as in the Transformer."""
    half = width // 2
    shares = jnp.linspace(0, 1, half, endpoint=False, dtype=t.dtype)
    angles = t * jnp.exp(-math.log(longest) * shares)
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)])

"""Layers that stay fast inside a loop: channels last, forward and backward.

On CPU, XLA runs a convolution in a while loop fast only if it is a plain NHWC/HWIO one. The
gradient that JAX derives has the kernel's input and output axes swapped and is several times
slower. So the derivative in the input is written here as a convolution with a turned kernel,
swapped the other way: what JAX transposes it to is one more plain convolution.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.custom_derivatives import SymbolicZero
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ..core.types import Key
from . import winograd

_PLAIN = ("NHWC", "HWIO", "NHWC")
_SWAPPED = ("NHWC", "HWOI", "NHWC")
_AFFINE = "affine"  # a norm's scales and offsets, by this name for `jax.checkpoint`


def _apply(x: Array, kernel: Array, stride: int, pads, layout=_PLAIN) -> Array:
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=layout)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _convolve(x: Array, kernel: Array, stride: int, pads) -> Array:
    if pads == "SAME" and winograd.is_faster(x, kernel):
        return winograd.convolve_tiles(x, kernel)
    return _apply(x, kernel, stride, pads)


def _derivative(stride: int, pads, primals, tangents):
    (x, kernel), (dx, dkernel) = primals, tangents
    parts = []
    if not isinstance(dx, SymbolicZero):
        parts.append(_apply(dx, jnp.swapaxes(kernel, 2, 3), stride, pads, _SWAPPED))
    if not isinstance(dkernel, SymbolicZero):
        parts.append(_apply(x, dkernel, stride, pads))
    return _convolve(x, kernel, stride, pads), sum(parts[1:], parts[0])


# Not a custom_vjp: under vmap its kernel gradients would be made one by one, then summed.
_convolve.defjvp(_derivative, symbolic_zeros=True)


def convolve(x: Float[Array, "N H W C"], kernel: Float[Array, "h w C D"]) -> Float[Array, "..."]:
    """A convolution of stride 1 with zero padding that keeps H and W (h and w are odd)."""
    return _convolve(x, kernel, 1, "SAME")


def convolve_doubled(
    x: Float[Array, "N H W C"], kernel: Float[Array, "3 3 C D"]
) -> Float[Array, "N 2*H 2*W D"]:
    """`convolve(double(x), kernel)` at 4/9 of the cost, without the doubled image.

    Each of the four pixels made of one sees only 2x2 pixels of `x`, with sums of the weights.
    """
    n, height, width, _ = x.shape
    rows = []
    for a, upper in enumerate(_folded(kernel)):
        row = []
        for b, both in enumerate(_folded(jnp.swapaxes(upper, 0, 1))):
            pads = ((1 - a, a), (1 - b, b))
            row.append(_convolve(x, jnp.swapaxes(both, 0, 1), 1, pads))
        rows.append(jnp.stack(row, 3))
    return jnp.stack(rows, 2).reshape(n, 2 * height, 2 * width, -1)


def _folded(kernel: Float[Array, "3 ..."]) -> tuple[Float[Array, "2 ..."], ...]:
    """The weights in two neighbours of the first and of the second pixel of a doubled one."""
    first, second, third = kernel
    return jnp.stack([first, second + third]), jnp.stack([first + second, third])


def halve(
    x: Float[Array, "N H W C"], kernel: Float[Array, "h w C D"], pad: tuple[int, int]
) -> Float[Array, "..."]:
    """A convolution of stride 2; `pad` zeros go before and after each image axis."""
    return _convolve(x, kernel, 2, (pad, pad))


def same_pads(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """The zeros before and after an axis with which TensorFlow makes ceil(size / stride) of it."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def convolve_channels(
    x: Float[Array, "H W C"], kernel: Float[Array, "k l C"], stride: int = 1
) -> Float[Array, "h w C"]:
    """A convolution of every channel by itself, padded as TensorFlow does.

    XLA's own is some 50 times slower on CPU than these sums of shifted images. The pixels are
    sorted by their place in blocks of `stride` first: gradients of strided slices are slow too.
    """
    sizes = [-(-n // stride) for n in x.shape[:2]]
    blocks = [n - 1 + -(-k // stride) for n, k in zip(sizes, kernel.shape[:2], strict=True)]
    before = [
        same_pads(n, k, stride)[0] for n, k in zip(x.shape[:2], kernel.shape[:2], strict=True)
    ]
    pads = [
        (first, number * stride - first - size)
        for first, number, size in zip(before, blocks, x.shape[:2], strict=True)
    ]
    x = jnp.pad(x, (*pads, (0, 0))).reshape(blocks[0], stride, blocks[1], stride, -1)

    def term(i: int, j: int) -> Array:
        (row, a), (column, b) = divmod(i, stride), divmod(j, stride)
        shifted = x[row : row + sizes[0], a, column : column + sizes[1], b]
        return shifted * kernel[i, j][None, None, :]

    places = itertools.product(range(kernel.shape[0]), range(kernel.shape[1]))
    return functools.reduce(jnp.add, itertools.starmap(term, places))


def endless(key: Key) -> Iterator[Key]:
    """Keys for one layer after the other, however many there are."""
    while True:
        key, new = jax.random.split(key)
        yield new


class Conv(eqx.Module):
    """A 3x3 (or any odd size) convolution of one channels-last image (H, W, C)."""

    kernel: Float[Array, "h w C D"]
    bias: Float[Array, "D"]

    def __init__(self, channels: int, out: int, size: int = 3, *, key: Key):
        bound = (channels * size**2) ** -0.5
        self.kernel = jax.random.uniform(key, (size, size, channels, out), minval=-1) * bound
        self.bias = jnp.zeros(out)

    def __call__(self, x: Float[Array, "H W C"], doubled: bool = False) -> Float[Array, "..."]:
        """The image convolved, or `double(x)` for a size of 3."""
        return self.unbiased(x, doubled) + self.bias[None, None, :]

    def unbiased(self, x: Float[Array, "H W C"], doubled: bool = False) -> Float[Array, "..."]:
        """The same without the bias."""
        return (convolve_doubled if doubled else convolve)(x[None], self.kernel)[0]


class HalvingConv(eqx.Module):
    """A 3x3 convolution of one channels-last image that halves both its sides.

    `pad` is how many zeros go before and after each side.
    """

    kernel: Float[Array, "h w C D"]
    bias: Float[Array, "D"]
    pad: tuple[int, int] = eqx.field(static=True)

    def __init__(self, channels: int, out: int, pad: tuple[int, int], *, key: Key):
        bound = (9 * channels) ** -0.5
        self.kernel = jax.random.uniform(key, (3, 3, channels, out), minval=-1) * bound
        self.bias = jnp.zeros(out)
        self.pad = pad

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "h w D"]:
        return halve(x[None], self.kernel, self.pad)[0] + self.bias[None, None, :]


def halve_by_mean(x: Float[Array, "H W C"]) -> Float[Array, "h w C"]:
    """The means over blocks of 2x2 pixels."""
    height, width, channels = x.shape
    return jnp.mean(x.reshape(height // 2, 2, width // 2, 2, channels), (1, 3))


def double(x: Float[Array, "H W C"]) -> Float[Array, "2*H 2*W C"]:
    """Every pixel as a block of 2x2."""
    height, width, channels = x.shape
    blocks = jnp.broadcast_to(x[:, None, :, None], (height, 2, width, 2, channels))
    return blocks.reshape(2 * height, 2 * width, channels)


def fold_pixels(x: Float[Array, "H W C"], size: int) -> Float[Array, "h w D"]:
    """Every block of `size` x `size` pixels as one with as many times the channels."""
    height, width, channels = x.shape
    blocks = x.reshape(height // size, size, width // size, size, channels)
    return blocks.swapaxes(1, 2).reshape(height // size, width // size, -1)


def unfold_pixels(x: Float[Array, "h w D"], size: int) -> Float[Array, "H W C"]:
    """The inverse of `fold_pixels`."""
    height, width, _ = x.shape
    blocks = x.reshape(height, width, size, size, -1)
    return blocks.swapaxes(1, 2).reshape(height * size, width * size, -1)


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

    def __call__(
        self, x: Float[Array, "... C"], shift: Float[Array, "C"] | None = None
    ) -> Float[Array, "... C"]:
        """The norm of `x + shift`, which is not made: that would be one more array to keep."""
        # A reduction over groups of a few channels is slow: first every channel's, then theirs.
        pixels, wide = x.reshape(-1, x.shape[-1]), single(x.dtype)
        mean, square = (jnp.mean(pixels.astype(wide) ** power, 0) for power in (1, 2))
        shift = jnp.zeros_like(mean) if shift is None else shift.astype(wide)
        square = self._over_groups(square + (2 * mean + shift) * shift)
        mean = self._over_groups(mean + shift)
        variance = jnp.maximum(square - mean**2, 0)  # rounding must not make it negative
        scale = self.scale.astype(wide) * jax.lax.rsqrt(variance + self.eps)
        offset = self.offset.astype(wide) + (shift - mean) * scale
        scale, offset = scale.astype(x.dtype), offset.astype(x.dtype)
        scale, offset = checkpoint_name((scale, offset), _AFFINE)
        return (pixels * scale[None] + offset[None]).reshape(x.shape)

    def _over_groups(self, x: Float[Array, "C"]) -> Float[Array, "C"]:
        """Each channel's mean over its group."""
        means = jnp.mean(x.reshape(self.groups, -1), 1)
        return jnp.repeat(means, x.size // self.groups)


def activated(
    act: Callable[[Array], Array], normalise: Callable[[Array], Array], x: Float[Array, "... C"]
) -> Float[Array, "... C"]:
    """`act(normalise(x))`, made again on the way back from `x` and the norm's affine.

    That costs less than the memory traffic of the two arrays that would be kept otherwise.
    """
    policy = jax.checkpoint_policies.save_only_these_names(_AFFINE)
    return jax.checkpoint(lambda x: act(normalise(x)), policy=policy)(x)


def single(dtype: DTypeLike) -> DTypeLike:
    """Single precision at least, for what half precision cannot hold."""
    return dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32


def time_embedding(t: Float[Array, ""], width: int, longest: float = 10_000.0) -> Array:
    """Sines and cosines of a scalar time, (width,), as in the Transformer."""
    half = width // 2
    shares = jnp.linspace(0, 1, half, endpoint=False, dtype=t.dtype)
    angles = t * jnp.exp(-math.log(longest) * shares)
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)])

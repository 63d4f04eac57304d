"""3x3 convolutions of many channels at 4/9 of the multiplications, for CPUs.

Winograd's minimal filtering F(2x2, 3x3) (Lavin and Gray 2016, arXiv:1509.09308, section 4.1): a
tile of 4x4 pixels, one at every second row and column, makes 2x2 pixels of the output. The
transforms of tiles and kernel are sums, so that the work is 16 matrix products over the channels.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_Matrix = Sequence[Sequence[Array]]


def is_faster(x: Float[Array, "... H W C"], kernel: Float[Array, "h w C D"]) -> bool:
    """Whether `convolve_tiles` takes these two, and less time than XLA's convolution.

    The transforms move some eight times the image: with few channels that costs more than the
    products save, and so it does where that does not stay in the processor's caches. A small image
    has little to save. GPUs' libraries choose for themselves.
    """
    height, width = x.shape[-3:-1]
    return (
        jax.default_backend() == "cpu"
        and x.dtype == jnp.float32
        and kernel.shape[:2] == (3, 3)
        and height % 2 == width % 2 == 0
        and 128 <= height * width <= 256
        and min(kernel.shape[2:]) >= 256
    )


def convolve_tiles(
    x: Float[Array, "N H W C"], kernel: Float[Array, "3 3 C D"]
) -> Float[Array, "N H W D"]:
    """A convolution of stride 1 with zero padding that keeps H and W, both even."""
    weights = _on_both(_of_kernel, [[kernel[i, j] for j in range(3)] for i in range(3)])
    pixels = _on_both(_of_tile, _pixels(x))
    products = [
        [a @ b for a, b in zip(*rows, strict=True)] for rows in zip(pixels, weights, strict=True)
    ]
    out = _on_both(_of_products, products)
    return jnp.stack([jnp.stack(row, 3) for row in out], 2).reshape(*x.shape[:3], -1)


def _pixels(x: Float[Array, "N H W C"]) -> list[list[Float[Array, "N H/2 W/2 C"]]]:
    """By row and column in a tile: that pixel of all tiles."""
    n, height, width, channels = x.shape
    rows, columns = height // 2, width // 2
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = x.reshape(n, rows + 1, 2, columns + 1, 2, channels)
    return [
        [x[:, i // 2 : i // 2 + rows, i % 2, j // 2 : j // 2 + columns, j % 2] for j in range(4)]
        for i in range(4)
    ]


def _on_both(transform: Callable[..., Sequence[Array]], matrix: _Matrix) -> _Matrix:
    """The transform along the first axis of a matrix of arrays, then along the second."""
    first = [transform(*column) for column in zip(*matrix, strict=True)]
    return [transform(*row) for row in zip(*first, strict=True)]


def _of_kernel(a: Array, b: Array, c: Array) -> Sequence[Array]:
    return a, (a + b + c) / 2, (a - b + c) / 2, c


def _of_tile(a: Array, b: Array, c: Array, d: Array) -> Sequence[Array]:
    return a - c, b + c, c - b, b - d


def _of_products(a: Array, b: Array, c: Array, d: Array) -> Sequence[Array]:
    return a + b + c, b - c - d

"""What standard tools do with an image before their network sees it: all linear but a rounding.

An image's levels are 0 to 255 here, as in the tools. Resizing is a product with one matrix for the
rows and one for the columns, made once for each size.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

LEVELS = 255


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0)


def _cubic(a: float) -> Callable[[np.ndarray], np.ndarray]:
    """Keys' cubic convolution kernel (1981), whose slope at 1 is `a`."""

    def kernel(x: np.ndarray) -> np.ndarray:
        x = np.abs(x)
        near = ((a + 2) * x - (a + 3)) * x**2 + 1
        far = a * (((x - 5) * x + 8) * x - 4)
        return np.where(x < 1, near, np.where(x < 2, far, 0))

    return kernel


class Filter(NamedTuple):
    """A way to interpolate: a kernel that is 0 from `reach` on, and where the pixels lie.

    Pixel i lies at i + `shift`. With `antialias` the kernel widens where an image shrinks, and what
    is beyond the border is left out; without, the border's pixels are repeated.
    """

    kernel: Callable[[np.ndarray], np.ndarray]
    reach: int
    shift: float
    antialias: bool


FILTERS = {
    "tensorflow-bilinear": Filter(_triangle, 1, 0.0, False),  # TensorFlow 1's, not centred
    "torch-bilinear": Filter(_triangle, 1, 0.5, False),
    "torch-bicubic": Filter(_cubic(-0.75), 2, 0.5, False),
    "pillow-bicubic": Filter(_cubic(-0.5), 2, 0.5, True),
}


@functools.lru_cache(maxsize=32)
def resampling_matrix(name: str, source: int, target: int) -> Float[np.ndarray, "target source"]:
    """The matrix that resizes `source` pixels to `target` with one of `FILTERS`, in float64."""
    kernel, reach, shift, antialias = FILTERS[name]
    scale = source / target
    width = max(scale, 1.0) if antialias else 1.0
    centres = (np.arange(target) + shift) * scale - shift
    steps = np.arange(-np.ceil(reach * width), np.ceil(reach * width) + 2)
    pixels = np.floor(centres)[:, None] + steps[None, :]
    values = kernel((pixels - centres[:, None]) / width)
    if antialias:
        values = np.where((pixels >= 0) & (pixels < source), values, 0)
    values /= values.sum(1, keepdims=True)
    matrix = np.zeros((target, source))
    rows = np.broadcast_to(np.arange(target)[:, None], pixels.shape)
    np.add.at(matrix, (rows, np.clip(pixels, 0, source - 1).astype(int)), values)
    return matrix


def resize(
    name: str, x: Float[Array, "H W C"], size: int, *, rounding: bool = False
) -> Float[Array, "size size C"]:
    """An image at another size; `rounding` to levels after each pass.

    The columns come first, as Pillow has it for images that are not taller than wide.
    """
    finish = round_to_levels if rounding else lambda image: image
    rows, columns = (jnp.asarray(resampling_matrix(name, n, size), x.dtype) for n in x.shape[:2])
    product = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    return finish(product("ph,hqc->pqc", rows, finish(product("qw,hwc->hqc", columns, x))))


def round_to_levels(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The nearest of the 256 levels of 8 bits."""
    return jnp.clip(jnp.round(x), 0, LEVELS)


class Preprocessing(eqx.Module):
    """What a tool makes of a sample in [-1, 1]: `(resized levels - centre) / scale`, by channel.

    `clipped`: levels beyond 0 and 255, which cubic kernels make, are cut off after resizing.
    `eight_bits`: the tool resizes images of 8 bits, whose levels are rounded on the way.
    """

    filter: str = eqx.field(static=True)
    size: int = eqx.field(static=True)
    centre: tuple[float, float, float] = eqx.field(static=True)
    scale: tuple[float, float, float] = eqx.field(static=True)
    clipped: bool = eqx.field(static=True, default=False)
    eight_bits: bool = eqx.field(static=True, default=False)

    def __call__(
        self, x: Float[Array, "H W C"], rounding: bool = False
    ) -> Float[Array, "size size 3"]:
        """The network's input; with `rounding`, of the sample in 8 bits, which has no gradient.

        A grey sample is repeated for the three colours.
        """
        if x.shape[-1] not in (1, 3):
            raise ValueError(f"A sample of shape {x.shape} is given; it must have 1 or 3 channels.")
        levels = (x + 1) * (LEVELS / 2)
        levels = round_to_levels(levels) if rounding else levels
        levels = resize(self.filter, levels, self.size, rounding=rounding and self.eight_bits)
        levels = jnp.clip(levels, 0, LEVELS) if self.clipped else levels
        centre, scale = (
            jnp.asarray(row, x.dtype)[None, None, :] for row in (self.centre, self.scale)
        )
        return (jnp.broadcast_to(levels, (*levels.shape[:2], 3)) - centre) / scale


Colour = tuple[float, float, float]
IMAGENET: tuple[Colour, Colour] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP: tuple[Colour, Colour] = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)


def standardised(size: int, mean: Colour, deviation: Colour) -> Preprocessing:
    """Pillow's bicubic resize in 8 bits, then minus a mean, over a deviation, both in [0, 1]."""
    (a, b, c), (d, e, f) = mean, deviation
    centre, scale = (LEVELS * a, LEVELS * b, LEVELS * c), (LEVELS * d, LEVELS * e, LEVELS * f)
    return Preprocessing("pillow-bicubic", size, centre, scale, clipped=True, eight_bits=True)


_MIDDLE, _HALF = (128.0, 128.0, 128.0), (127.5, 127.5, 127.5)
# What each tool that computes the FID does before its Inception network.
INCEPTION = {
    "torch-fidelity": Preprocessing("tensorflow-bilinear", 299, _MIDDLE, _MIDDLE),
    "pytorch-fid": Preprocessing("torch-bilinear", 299, _HALF, _HALF),
    "clean-fid": Preprocessing("pillow-bicubic", 299, _MIDDLE, _MIDDLE, clipped=True),
}

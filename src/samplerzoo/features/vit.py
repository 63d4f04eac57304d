"""Vision transformers as feature extractors: DINOv2's, and the image tower of CLIP."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..layouts import read_kernel, read_matrix
from .extractor import AbstractExtractor
from .resizing import Preprocessing, resampling_matrix, standardised
from .tensors import Tensors, check, single
from .vit_layouts import Layout, ViTConfig, read_config, shapes

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": partial(jax.nn.gelu, approximate=False),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
}


class LayerNorm(eqx.Module):
    """Normalisation of each token."""

    scale: Float[Array, "*depth C"]
    offset: Float[Array, "*depth C"]
    eps: float = eqx.field(static=True)

    def __call__(self, x: Float[Array, "T C"]) -> Float[Array, "T C"]:
        x = x - jnp.mean(x, -1, keepdims=True)
        x = x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + self.eps)
        return x * self.scale[None] + self.offset[None]


class Affine(eqx.Module):
    """A matrix product of each token."""

    weight: Float[Array, "*depth C D"]
    bias: Float[Array, "*depth D"]

    def __call__(self, x: Float[Array, "T C"]) -> Float[Array, "T D"]:
        return x @ self.weight + self.bias[None]


class Block(eqx.Module):
    """Attention and a perceptron, each normalised before and added to the tokens."""

    norm1: LayerNorm
    qkv: Affine
    out: Affine
    norm2: LayerNorm
    fc1: Affine
    fc2: Affine
    heads: int = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __call__(self, x: Float[Array, "T C"]) -> Float[Array, "T C"]:
        tokens, width = x.shape
        parts = self.qkv(self.norm1(x)).reshape(tokens, 3, self.heads, width // self.heads)
        attended = jax.nn.dot_product_attention(parts[:, 0], parts[:, 1], parts[:, 2])
        x = x + self.out(attended.reshape(tokens, width))
        return x + self.fc2(ACTIVATIONS[self.activation](self.fc1(self.norm2(x))))


class ViT(AbstractExtractor):
    """The class token's features after the last norm; with a projection, on the unit sphere.

    The scales that DINOv2 has after its layers are folded into them.
    """

    patches: Affine
    first: Float[Array, "C"]
    positions: Float[Array, "T C"]
    before: LayerNorm | None
    blocks: Block  # each array with one row for each block
    after: LayerNorm
    projection: Float[Array, "C d"] | None
    preprocessing: Preprocessing
    rounding: bool = eqx.field(static=True, default=False)

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Tensors) -> "ViT":
        """From the content of a config.json of transformers and its checkpoint's tensors.

        `model_type` is "dinov2", "clip" or "clip_vision_model"; a text tower is left out. Raises
        ValueError for what is not supported, or a tensor that is missing, left over or of another
        shape.
        """
        layout, sizes = read_config(config)
        kept = {n: a for n, a in tensors.items() if not n.startswith(layout.ignored)}
        check(kept, shapes(layout, sizes))
        return _assemble(layout, sizes, kept)

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "d"]:
        """The features of a sample in [-1, 1]."""
        image = self.preprocessing(x, self.rounding)
        grid = round(self.positions.shape[0] ** 0.5)
        side = image.shape[0] // grid
        squares = image.reshape(grid, side, grid, side, 3).swapaxes(1, 2).reshape(grid**2, -1)
        tokens = self.patches(squares) + self.positions
        tokens = jnp.concatenate([self.first[None], tokens])
        if self.before is not None:
            tokens = self.before(tokens)
        # A derivative keeps the tokens between blocks alone, and takes a sixth of the memory.
        step = jax.checkpoint(lambda h, block: (block(h), None), prevent_cse=False)
        tokens, _ = jax.lax.scan(step, tokens, self.blocks)
        found = self.after(tokens[:1])[0]
        if self.projection is None:
            return found
        found = found @ self.projection
        return found / jnp.linalg.norm(found)

    def classifier(self) -> None:
        return None

    def rounded(self) -> "ViT":
        """Return the same with samples rounded to 8 bits, as if written to images."""
        return dataclasses.replace(self, rounding=True)


def _assemble(layout: Layout, config: ViTConfig, tensors: Tensors) -> ViT:
    def once(part: str, kind: str = "") -> np.ndarray:
        return tensors[layout.once[part] + kind]

    def norm(part: str) -> LayerNorm:
        return LayerNorm(single(once(part, ".weight")), single(once(part, ".bias")), config.eps)

    positions = once("positions").reshape(-1, config.width).astype(np.float64)
    kernel = read_kernel(once("kernel")).reshape(-1, config.width)
    bias = once("bias") if "bias" in layout.once else np.zeros(config.width)
    return ViT(
        patches=Affine(single(kernel), single(bias)),
        first=single(once("class").reshape(-1) + positions[0]),
        positions=single(_at_size(positions[1:], config)),
        before=norm("before") if "before" in layout.once else None,
        blocks=_blocks(layout, config, tensors),
        after=norm("after"),
        projection=single(read_matrix(once("projection"))) if "projection" in layout.once else None,
        preprocessing=standardised(config.size, *layout.colours),
    )


def _at_size(positions: np.ndarray, config: ViTConfig) -> np.ndarray:
    """The positions of patches interpolated from the training's grid, as PyTorch does it."""
    before, after = config.trained // config.patch, config.size // config.patch
    if before == after:
        return positions
    matrix = resampling_matrix("torch-bicubic", before, after)
    grid = positions.reshape(before, before, -1)
    return np.einsum("ph,qw,hwc->pqc", matrix, matrix, grid, optimize=True).reshape(after**2, -1)


def _blocks(layout: Layout, config: ViTConfig, tensors: Tensors) -> Block:
    """All blocks in one, stacked."""

    def stack(part: str, kind: str = "") -> np.ndarray:
        names = (layout.block[part].format(n) + kind for n in range(config.depth))
        return np.stack([tensors[name].astype(np.float32) for name in names])

    def norm(part: str) -> LayerNorm:
        return LayerNorm(single(stack(part, ".weight")), single(stack(part, ".bias")), config.eps)

    def linear(*parts: str, scale: str = "") -> Affine:
        weight = np.concatenate([stack(part, ".weight").swapaxes(1, 2) for part in parts], axis=2)
        bias = np.concatenate([stack(part, ".bias") for part in parts], axis=1)
        if scale in layout.block:
            gain = stack(scale)
            weight, bias = weight * gain[:, None], bias * gain
        return Affine(single(weight), single(bias))

    return Block(
        norm1=norm("norm1"),
        qkv=linear("query", "key", "value"),
        out=linear("out", scale="scale1"),
        norm2=norm("norm2"),
        fc1=linear("fc1"),
        fc2=linear("fc2", scale="scale2"),
        heads=config.heads,
        activation=config.activation,
    )

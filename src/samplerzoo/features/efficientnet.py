"""EfficientNet-Lite, ImageNet classifiers for phones (Tan and Le 2019; Google 2020), channels last.

EfficientNets without squeezes, with activations cut off at 6. Each batch norm is folded into the
convolution before it.
"""

import dataclasses
import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ..backbones.layers import convolve_channels, halve, same_pads
from ..layouts import read_matrix
from .extractor import AbstractExtractor, Head
from .resizing import Preprocessing
from .tensors import Shapes, Tensors, check, fold, norm_shapes, without_counts

EPS = 1e-3
STEM, FEATURES, CLASSES = 32, 1280, 1000
CENTRE = (127.0, 127.0, 127.0)  # of levels from 0 to 255
SCALE = (128.0, 128.0, 128.0)


class Variant(NamedTuple):
    """How a network differs: factors of lite0's channels and layers, and its images' side."""

    width: float
    depth: float
    size: int


class Stage(NamedTuple):
    """Blocks with as many channels; the first of them may halve the resolution."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    out: int


class Block(NamedTuple):
    """A block's layers: its channels before, inside and after."""

    kernel: int
    stride: int
    channels: int
    inner: int
    out: int


VARIANTS = {
    "lite0": Variant(1.0, 1.0, 224),
    "lite1": Variant(1.0, 1.1, 240),
    "lite2": Variant(1.1, 1.2, 260),
}
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class FoldedConv(eqx.Module):
    """A convolution's kernel and bias, with those of the batch norm behind it."""

    kernel: Float[Array, "h w C D"]
    bias: Float[Array, "D"]

    @classmethod
    def of(cls, tensors: Tensors, conv: str, norm: str, dtype: DTypeLike) -> "FoldedConv":
        return cls(*fold(tensors, conv, norm, EPS, dtype))


class Inverted(eqx.Module):
    """A block that works on more channels than it takes and makes (Sandler et al. 2018)."""

    expand: FoldedConv | None
    depthwise: FoldedConv
    project: FoldedConv
    block: Block = eqx.field(static=True)

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "h w D"]:
        h = x if self.expand is None else jax.nn.relu6(_mix(x, self.expand))
        h = convolve_channels(h, self.depthwise.kernel[:, :, 0], self.block.stride)
        h = _mix(jax.nn.relu6(h + self.depthwise.bias[None, None, :]), self.project)
        return h + x if h.shape == x.shape and self.block.stride == 1 else h


class EfficientNetLite(AbstractExtractor):
    """An EfficientNet-Lite: 1280 features of a sample in [-1, 1], and a head for its classes.

    With `rounding`, samples are rounded to 8 bits first, as if written to images; that has no
    gradient.
    """

    stem: FoldedConv
    blocks: tuple[Inverted, ...]
    last: FoldedConv
    weight: Float[Array, "d classes"]
    bias: Float[Array, "classes"]
    preprocessing: Preprocessing
    rounding: bool = eqx.field(static=True, default=False)

    @classmethod
    def from_tensors(
        cls, tensors: Tensors, variant: str, dtype: DTypeLike = jnp.float32
    ) -> "EfficientNetLite":
        """Make the network of a checkpoint of efficientnet-lite-pytorch.

        Args:
            tensors: The checkpoint's arrays by name.
            variant: One of `VARIANTS`.
            dtype: The precision of the weights.

        Raises:
            ValueError: A tensor is missing, left over or of another shape.
        """
        tensors = without_counts(tensors)
        check(tensors, shapes(variant))

        def part(conv: str, norm: str) -> FoldedConv:
            return FoldedConv.of(tensors, conv, norm, dtype)

        found = []
        for name, block in blocks(variant).items():
            found.append(
                Inverted(
                    part(f"{name}._expand_conv", f"{name}._bn0") if _expands(block) else None,
                    part(f"{name}._depthwise_conv", f"{name}._bn1"),
                    part(f"{name}._project_conv", f"{name}._bn2"),
                    block,
                )
            )
        return cls(
            part("_conv_stem", "_bn0"),
            tuple(found),
            part("_conv_head", "_bn1"),
            jnp.asarray(read_matrix(tensors["_fc.weight"]), dtype),
            jnp.asarray(tensors["_fc.bias"], dtype),
            # The whole image, resized as in training; what they cut off before, for photographs
            # with something in the middle, is a sample's border.
            Preprocessing("tensorflow-bilinear", VARIANTS[variant].size, CENTRE, SCALE),
        )

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "d"]:
        """Compute the means over the pixels of the last layer, of a sample in [-1, 1]."""
        return self.activate(self.preprocessing(x, self.rounding))

    def activate(self, image: Float[Array, "size size 3"]) -> Float[Array, "d"]:
        """Compute the features of an image that is resized and scaled already."""
        pad = same_pads(image.shape[0], 3, 2)
        h = halve(image[None], self.stem.kernel, pad)[0] + self.stem.bias[None, None, :]
        h = jax.nn.relu6(h)
        for block in self.blocks:
            h = block(h)
        return jnp.mean(jax.nn.relu6(_mix(h, self.last)), (0, 1))

    def classifier(self) -> Head:
        return self.head

    def rounded(self) -> "EfficientNetLite":
        """Return the same with samples rounded to 8 bits, as if written to images."""
        return dataclasses.replace(self, rounding=True)

    def head(self, features: Float[Array, "d"]) -> Float[Array, "classes"]:
        """Unnormalised log-probabilities of ImageNet's classes."""
        return features @ self.weight + self.bias


def blocks(variant: str) -> dict[str, Block]:
    """Return a variant's blocks by their names in checkpoints."""
    width, depth, _ = VARIANTS[variant]
    found, channels = {}, STEM
    for number, stage in enumerate(STAGES):
        ends = number in (0, len(STAGES) - 1)  # these are never made deeper
        out = _multiple_of_eight(width * stage.out)
        for n in range(stage.blocks if ends else math.ceil(depth * stage.blocks)):
            inner, stride = channels * stage.expansion, 1 if n else stage.stride
            found[f"_blocks.{len(found)}"] = Block(stage.kernel, stride, channels, inner, out)
            channels = out
    return found


def shapes(variant: str) -> Shapes:
    """Return the shape of every tensor of a checkpoint."""
    found = {"_conv_stem.weight": (STEM, 3, 3, 3)} | norm_shapes("_bn0", STEM)
    for name, block in blocks(variant).items():
        kernel, _, channels, inner, channels_out = block
        if _expands(block):
            found[f"{name}._expand_conv.weight"] = (inner, channels, 1, 1)
            found |= norm_shapes(f"{name}._bn0", inner)
        found[f"{name}._depthwise_conv.weight"] = (inner, 1, kernel, kernel)
        found[f"{name}._project_conv.weight"] = (channels_out, inner, 1, 1)
        found |= norm_shapes(f"{name}._bn1", inner) | norm_shapes(f"{name}._bn2", channels_out)
    last = list(blocks(variant).values())[-1].out
    found["_conv_head.weight"] = (FEATURES, last, 1, 1)
    found |= norm_shapes("_bn1", FEATURES)
    return found | {"_fc.weight": (CLASSES, FEATURES), "_fc.bias": (CLASSES,)}


def _expands(block: Block) -> bool:
    return block.inner != block.channels


def _multiple_of_eight(channels: float) -> int:
    """The nearest multiple of 8 that is not below by more than a tenth."""
    found = max(8, int(channels + 4) // 8 * 8)
    return found + 8 if found < 0.9 * channels else found


def _mix(x: Float[Array, "H W C"], by: FoldedConv) -> Float[Array, "H W D"]:
    """A convolution of one pixel."""
    return x @ by.kernel[0, 0] + by.bias[None, None, :]

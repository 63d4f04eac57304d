"""The ResNets of He et al. (2016) for CIFAR, from published weights.

A 3x3 convolution, three stages of blocks with 16, 32 and 64 channels, and the means over the
pixels: 64 features. Shortcuts have no parameters (option A). Each batch norm is folded into the
convolution before it.
"""

import dataclasses
from itertools import count, takewhile
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..backbones.layers import convolve, halve
from ..files import read_tensors
from ..layouts import read_matrix
from .extractor import AbstractExtractor, Head
from .resizing import IMAGENET, LEVELS, round_to_levels
from .tensors import Shapes, Tensors, check, fold, norm_shapes, single, without_counts

WIDTHS = (16, 32, 64)
EPS = 1e-5


class Folded(eqx.Module):
    """A 3x3 convolution with the batch norm behind it."""

    kernel: Float[Array, "3 3 C D"]
    bias: Float[Array, "D"]

    def __call__(self, x: Float[Array, "H W C"], halving: bool = False) -> Float[Array, "h w D"]:
        h = halve(x[None], self.kernel, (1, 1)) if halving else convolve(x[None], self.kernel)
        return h[0] + self.bias[None, None, :]


class Block(eqx.Module):
    """Two convolutions beside a shortcut; where the channels double, the sides are halved."""

    conv1: Folded
    conv2: Folded

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "h w D"]:
        more = self.conv1.kernel.shape[3] - x.shape[2]
        h = self.conv2(jax.nn.relu(self.conv1(x, halving=more > 0)))
        if more:
            x = jnp.pad(x[::2, ::2], ((0, 0), (0, 0), (more // 2, more // 2)))
        return jax.nn.relu(h + x)


class CifarResNet(AbstractExtractor):
    """A CIFAR ResNet: 64 features of a sample in [-1, 1], and a head for its classes."""

    stem: Folded
    blocks: tuple[Block, ...]
    weight: Float[Array, "d classes"]
    bias: Float[Array, "classes"]
    rounding: bool = eqx.field(static=True, default=False)

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> "CifarResNet":
        """From a checkpoint's tensors; their names say how deep it is.

        Raises ValueError where a tensor is missing, left over or of another shape.
        """
        tensors = without_counts(tensors)
        blocks = _blocks(tensors)
        check(tensors, _shapes(blocks, tensors))

        def part(name: str, n: int) -> Folded:
            return Folded(*fold(tensors, f"{name}conv{n}", f"{name}bn{n}", EPS))

        return cls(
            part("", 1),
            tuple(Block(part(f"{name}.", 1), part(f"{name}.", 2)) for name in blocks),
            single(read_matrix(tensors["linear.weight"])),
            single(tensors["linear.bias"]),
        )

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "d"]:
        """The last-but-one activations."""
        levels = (x + 1) * (LEVELS / 2)
        levels = round_to_levels(levels) if self.rounding else levels
        mean, std = (jnp.asarray(row, x.dtype)[None, None, :] for row in IMAGENET)
        h = jax.nn.relu(self.stem((levels / LEVELS - mean) / std))
        for block in self.blocks:
            h = block(h)
        return jnp.mean(h, (0, 1))

    def classifier(self) -> Head:
        return self.head

    def rounded(self) -> "CifarResNet":
        """Return the same with samples rounded to 8 bits, as if written to images."""
        return dataclasses.replace(self, rounding=True)

    def head(self, features: Float[Array, "d"]) -> Float[Array, "classes"]:
        """Unnormalised log-probabilities of the classes."""
        return features @ self.weight + self.bias


def load_cifar_resnet(path: Path | str) -> CifarResNet:
    """A CIFAR ResNet from a safetensors file with the names of torchvision's layers.

    Raises ValueError, naming the file, where it is none.
    """
    if not Path(path).is_file():
        raise ValueError(
            f"There is no file {str(path)!r}; a CIFAR ResNet's .safetensors is needed."
        )
    tensors, _ = read_tensors(Path(path))
    try:
        return CifarResNet.from_tensors(tensors)
    except ValueError as error:
        raise ValueError(f"{path} is not a CIFAR ResNet of He et al. {error}") from error


def _blocks(tensors: Tensors) -> dict[str, tuple[int, int]]:
    """Each block with the channels that it takes and makes."""
    found, before = {}, WIDTHS[0]
    for stage, width in enumerate(WIDTHS, 1):
        names = (f"layer{stage}.{number}" for number in count())
        for name in takewhile(lambda name: f"{name}.conv1.weight" in tensors, names):
            found[name] = (before, width)
            before = width
    return found


def _shapes(blocks: dict[str, tuple[int, int]], tensors: Tensors) -> Shapes:
    """Of every tensor of a checkpoint with these blocks; as many classes as it has biases."""
    classes = np.size(tensors.get("linear.bias", 0))
    found = {"linear.weight": (classes, WIDTHS[-1]), "linear.bias": (classes,)}
    sizes = {"": (3, WIDTHS[0])} | {f"{name}.": size for name, size in blocks.items()}
    for name, (channels, width) in sizes.items():
        for n, inputs in enumerate((channels, width)[: 2 if name else 1], 1):
            found[f"{name}conv{n}.weight"] = (width, inputs, 3, 3)
            found |= norm_shapes(f"{name}bn{n}", width)
    return found

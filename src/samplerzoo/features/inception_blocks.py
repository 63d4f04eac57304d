"""The architecture of the FID's Inception-v3, as data."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array


class Layers(NamedTuple):
    """What the steps of the network are run by.

    Attributes:
        convolve: Applies a convolution, of a full name, and what follows it.
        pool: Applies a pool of a kind.
    """

    convolve: "Callable[[str, Conv, Array], Array]"
    pool: Callable[[str, Array], Array]


class Conv(NamedTuple):
    """A convolution by its tensors' name, the channels it makes, and its kernel's size.

    Stride 2 goes without padding; stride 1 keeps the size, except in the stem's `valid` ones.
    """

    name: str
    out: int
    height: int = 1
    width: int = 1
    stride: int = 1
    valid: bool = False

    def full_name(self, block: str) -> str:
        """Its name in checkpoints."""
        return self.name if self.name == block else f"{block}.{self.name}"

    def convolutions(self, block: str, channels: int) -> "tuple[list[Found], int]":
        """Itself with its full name and the channels it takes, and the channels it makes."""
        return [(self.full_name(block), self, channels)], self.out

    def run(self, block: str, x: Array, layers: Layers) -> Array:
        return layers.convolve(self.full_name(block), self, x)


class Pool(NamedTuple):
    """A 3x3 pool by its kind."""

    kind: str

    def convolutions(self, block: str, channels: int) -> "tuple[list[Found], int]":
        """None, and the channels it makes, which are those it takes."""
        return [], channels

    def run(self, block: str, x: Array, layers: Layers) -> Array:
        return layers.pool(self.kind, x)


class Split(NamedTuple):
    """Branches from one input, whose outputs are joined as channels in this order."""

    branches: tuple[tuple["Conv | Pool | Split", ...], ...]

    def convolutions(self, block: str, channels: int) -> "tuple[list[Found], int]":
        """Those of all branches, and the channels that these make together."""
        found, total = [], 0
        for branch in self.branches:
            width = channels
            for step in branch:
                more, width = step.convolutions(block, width)
                found += more
            total += width
        return found, total

    def run(self, block: str, x: Array, layers: Layers) -> Array:
        joined = []
        for branch in self.branches:
            h = x
            for step in branch:
                h = step.run(block, h, layers)
            joined.append(h)
        return jnp.concatenate(joined, axis=-1)


Found = tuple[str, Conv, int]
Step = Conv | Pool | Split
AVERAGE, MAXIMUM, HALVING = Pool("average"), Pool("maximum"), Pool("halving")


def _a(pool: int) -> Split:
    triple = (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, 3, 3))
    return Split(
        (
            (Conv("branch1x1", 64),),
            (Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, 5, 5)),
            (*triple, Conv("branch3x3dbl_3", 96, 3, 3)),
            (AVERAGE, Conv("branch_pool", pool)),
        )
    )


def _b() -> Split:
    triple = (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, 3, 3))
    return Split(
        (
            (Conv("branch3x3", 384, 3, 3, stride=2),),
            (*triple, Conv("branch3x3dbl_3", 96, 3, 3, stride=2)),
            (HALVING,),
        )
    )


def _c(width: int) -> Split:
    long = "branch7x7dbl_"
    return Split(
        (
            (Conv("branch1x1", 192),),
            (
                Conv("branch7x7_1", width),
                Conv("branch7x7_2", width, 1, 7),
                Conv("branch7x7_3", 192, 7, 1),
            ),
            (
                Conv(f"{long}1", width),
                Conv(f"{long}2", width, 7, 1),
                Conv(f"{long}3", width, 1, 7),
                Conv(f"{long}4", width, 7, 1),
                Conv(f"{long}5", 192, 1, 7),
            ),
            (AVERAGE, Conv("branch_pool", 192)),
        )
    )


def _d() -> Split:
    return Split(
        (
            (Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, 3, 3, stride=2)),
            (
                Conv("branch7x7x3_1", 192),
                Conv("branch7x7x3_2", 192, 1, 7),
                Conv("branch7x7x3_3", 192, 7, 1),
                Conv("branch7x7x3_4", 192, 3, 3, stride=2),
            ),
            (HALVING,),
        )
    )


def _e(pool: Pool) -> Split:
    def both(name: str) -> Split:
        return Split(((Conv(f"{name}a", 384, 1, 3),), (Conv(f"{name}b", 384, 3, 1),)))

    return Split(
        (
            (Conv("branch1x1", 320),),
            (Conv("branch3x3_1", 384), both("branch3x3_2")),
            (
                Conv("branch3x3dbl_1", 448),
                Conv("branch3x3dbl_2", 384, 3, 3),
                both("branch3x3dbl_3"),
            ),
            (pool, Conv("branch_pool", 192)),
        )
    )


# The steps in order; a block's convolutions are named `<block>.<convolution>` in checkpoints.
ARCHITECTURE: dict[str, Step] = {
    "Conv2d_1a_3x3": Conv("Conv2d_1a_3x3", 32, 3, 3, stride=2),
    "Conv2d_2a_3x3": Conv("Conv2d_2a_3x3", 32, 3, 3, valid=True),
    "Conv2d_2b_3x3": Conv("Conv2d_2b_3x3", 64, 3, 3),
    "MaxPool_1": HALVING,
    "Conv2d_3b_1x1": Conv("Conv2d_3b_1x1", 80),
    "Conv2d_4a_3x3": Conv("Conv2d_4a_3x3", 192, 3, 3, valid=True),
    "MaxPool_2": HALVING,
    "Mixed_5b": _a(32),
    "Mixed_5c": _a(64),
    "Mixed_5d": _a(64),
    "Mixed_6a": _b(),
    "Mixed_6b": _c(128),
    "Mixed_6c": _c(160),
    "Mixed_6d": _c(160),
    "Mixed_6e": _c(192),
    "Mixed_7a": _d(),
    "Mixed_7b": _e(AVERAGE),
    "Mixed_7c": _e(MAXIMUM),
}


def convolutions(steps: dict[str, Step] = ARCHITECTURE, channels: int = 3) -> Iterator[Found]:
    """Every convolution with its full name and the channels it takes."""
    for name, step in steps.items():
        found, channels = step.convolutions(name, channels)
        yield from found

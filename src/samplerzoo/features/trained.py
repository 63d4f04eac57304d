"""What the classifiers that this project trains have in common: their norms and their files."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from ..backbones import GroupNorm
from ..files import from_tensors, in_half, read_tensors, to_tensors, write_tensors

T = TypeVar("T")
GROUPS = 8


def group_norm(channels: int) -> GroupNorm:
    """A group norm with the scales 1 and the offsets 0."""
    return GroupNorm(jnp.ones(channels), jnp.zeros(channels), GROUPS)


class ClassifierShape(NamedTuple):
    """How large a classifier of images is.

    Attributes:
        channels: The images' channels.
        widths: The channels of each stage, multiples of 8; each is at half the resolution before.
        depths: The blocks of each stage.
        classes: The classes.
        patch: The side of the blocks of pixels that are folded into channels first.
    """

    channels: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    classes: int
    patch: int = 1


def save_classifier(path: Path, network: eqx.Module, shape: ClassifierShape) -> None:
    """Write a safetensors file in half precision, which `load_classifier` reads."""
    about = shape._asdict() | {
        "widths": " ".join(map(str, shape.widths)),
        "depths": " ".join(map(str, shape.depths)),
    }
    half = in_half(to_tensors(network))
    write_tensors(path, half, {name: str(value) for name, value in about.items()})


def load_classifier(path: Path, make: Callable[..., T]) -> T:
    """Read the classifier `make(shape, key=...)` in such a file, in single precision."""
    tensors, about = read_tensors(path)
    shape = ClassifierShape(
        int(about["channels"]),
        tuple(map(int, about["widths"].split())),
        tuple(map(int, about["depths"].split())),
        int(about["classes"]),
        int(about.get("patch", 1)),
    )
    like = eqx.filter_eval_shape(make, shape, key=jax.random.key(0))
    return from_tensors(like, tensors)

"""A network's weights from a state dict of PyTorch, and back."""

from typing import TypeVar

import numpy as np

from ..files import Stored, Tensors, from_tensors, to_tensors
from ..layouts import LAYOUTS

T = TypeVar("T")


def fill(network: T, state: Tensors) -> T:
    """Fill a network (its arrays may be shapes only) with its weights from PyTorch's `state`.

    Raises:
        ValueError: A tensor is missing, left over, of another shape or not of floating-point
            numbers.
    """
    return from_tensors(network, state, _stored)


def torch_state(network: object) -> dict[str, np.ndarray]:
    """Return a network's weights by the names and in the layouts of diffusers' `UNet2DModel`."""
    state = {}
    for path, array in to_tensors(network).items():
        weight = LAYOUTS[_kind(path)].write(array)
        if path.endswith(".conv_shortcut.weight"):
            weight = weight[:, :, None, None]  # stored as a convolution of size 1
        state[_stored(path).name] = weight
    return state


def _kind(path: str) -> str:
    """What a layer calls the array at a path."""
    return path.rpartition(".")[2]


def _stored(path: str) -> Stored:
    layer = path.rpartition(".")[0]
    layer += ".0" if layer.endswith(".to_out") else ""
    layout = LAYOUTS[_kind(path)]
    return Stored(f"{layer}.{layout.name}", layout.read)

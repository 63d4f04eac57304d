"""PyTorch's layouts of a network's arrays, and its own, which has the channels last."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class TorchLayout(NamedTuple):
    """How PyTorch holds an array of a layer.

    Attributes:
        name: What PyTorch calls it.
        read: Makes the layer's array of PyTorch's.
        write: Makes PyTorch's array of the layer's.
    """

    name: str
    read: Callable[[np.ndarray], np.ndarray]
    write: Callable[[np.ndarray], np.ndarray]


def read_kernel(array: np.ndarray) -> np.ndarray:
    """Turn a convolution's weight (out, in, height, width) into a kernel (height, width, in, out).

    An array of other than four axes stays as it is.
    """
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def write_kernel(kernel: np.ndarray) -> np.ndarray:
    """Turn a kernel (height, width, in, out) into a weight (out, in, height, width)."""
    return kernel.transpose(3, 2, 0, 1)


def read_matrix(array: np.ndarray) -> np.ndarray:
    """Turn a linear layer's weight (out, in) into a matrix (in, out).

    The weight may be stored as that of a convolution of size 1.
    """
    if array.ndim > 2 and set(array.shape[2:]) == {1}:
        array = array.reshape(array.shape[:2])
    return array.T


def write_matrix(matrix: np.ndarray) -> np.ndarray:
    """Turn a matrix (in, out) into a linear layer's weight (out, in)."""
    return matrix.T


# By what a layer calls its array.
LAYOUTS = {
    "kernel": TorchLayout("weight", read_kernel, write_kernel),
    "weight": TorchLayout("weight", read_matrix, write_matrix),
    "scale": TorchLayout("weight", np.asarray, np.asarray),
    "offset": TorchLayout("bias", np.asarray, np.asarray),
    "bias": TorchLayout("bias", np.asarray, np.asarray),
    "table": TorchLayout("weight", np.asarray, np.asarray),
    "frequencies": TorchLayout("weight", np.asarray, np.asarray),
}

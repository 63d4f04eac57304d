"""PyTorch's names and layouts of tensors, and a network's own."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

T = TypeVar("T")

# Each array of a layer: what PyTorch calls it, and PyTorch's layout as the layer's.
_LAYOUTS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "kernel": ("weight", lambda a: a.transpose(2, 3, 1, 0) if a.ndim == 4 else a),
    "weight": ("weight", lambda a: _matrix(a).T),
    "scale": ("weight", lambda a: a),
    "offset": ("bias", lambda a: a),
    "bias": ("bias", lambda a: a),
    "table": ("weight", lambda a: a),
    "frequencies": ("weight", lambda a: a),
}


def _matrix(a: np.ndarray) -> np.ndarray:
    """The matrix of a linear layer, which may be stored as a convolution of size 1."""
    return a[:, :, *(0,) * (a.ndim - 2)] if a.ndim > 2 and set(a.shape[2:]) == {1} else a


def fill(network: T, state: Mapping[str, np.ndarray]) -> T:
    """A network (its arrays may be shapes only) with its weights from PyTorch's `state`.

    Numbers are cast to float32. Raises ValueError for a tensor that is missing, left over, of
    another shape or not of floating-point numbers.
    """
    is_shape = lambda leaf: eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)  # noqa: E731
    arrays, rest = eqx.partition(network, is_shape)
    leaves, structure = jax.tree_util.tree_flatten_with_path(arrays)
    paths = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
    wanted = {
        _torch_name(path): (path, leaf) for path, (_, leaf) in zip(paths, leaves, strict=True)
    }
    if missing := sorted(set(wanted) - set(state)):
        raise ValueError(f"Tensor {missing[0]!r} is missing ({len(missing)} such in all).")
    if extra := sorted(set(state) - set(wanted)):
        raise ValueError(f"Tensor {extra[0]!r} is not expected ({len(extra)} such in all).")
    new = [_convert(name, state[name], path, leaf.shape) for name, (path, leaf) in wanted.items()]
    return eqx.combine(jax.tree_util.tree_unflatten(structure, new), rest)


def _torch_name(path: str) -> str:
    layer, _, leaf = path.rpartition(".")
    layer += ".0" if layer.endswith(".to_out") else ""
    return f"{layer}.{_LAYOUTS[leaf][0]}"


def _convert(name: str, array: np.ndarray, path: str, shape: tuple[int, ...]) -> jax.Array:
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"Tensor {name!r} holds {array.dtype}, not floating-point numbers.")
    ours = _LAYOUTS[path.rpartition(".")[2]][1](array)
    if ours.shape != shape:
        raise ValueError(
            f"Tensor {name!r} has shape {array.shape}, which does not fit this architecture "
            f"(here it is laid out as {shape})."
        )
    return jnp.asarray(np.ascontiguousarray(ours, np.float32))

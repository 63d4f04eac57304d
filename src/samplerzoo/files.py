"""Files: written whole or not at all, and modules as named tensors in safetensors files."""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from .opening import check_path

T = TypeVar("T")


def write(path: Path, data: bytes) -> None:
    """Write a file atomically: a reader finds the old content or the new, whatever happens."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_tensors(path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically; the same content always gives the same bytes."""
    tensors = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    write(path, _sort_header(safetensors.numpy.save(tensors, metadata)))


def _sort_header(data: bytes) -> bytes:
    """A safetensors file with the keys of its header in order: its metadata come in any."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[end:]


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors and the metadata of a safetensors file.

    Raises ValueError, naming the file, where it is truncated or something else.
    """
    check_path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder where a file is needed.")
    try:
        with safetensors.safe_open(path, "numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}).") from error
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{path} holds numbers of a type that NumPy lacks ({error}).") from error


def to_tensors(tree: object) -> dict[str, np.ndarray]:
    """The arrays of a module or any pytree, by the path that leads to each."""
    arrays = eqx.filter(tree, eqx.is_array)
    leaves, _ = jax.tree_util.tree_flatten_with_path(arrays)
    return {jax.tree_util.keystr(p, simple=True, separator="."): np.asarray(a) for p, a in leaves}


def from_tensors(like: T, tensors: dict[str, np.ndarray]) -> T:
    """The pytree `like` (its arrays may be shapes only) with its arrays taken from `tensors`.

    Numbers are cast to the dtype of `like`. Raises ValueError for a tensor that is missing, left
    over or of another shape.
    """
    is_array = lambda leaf: eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)  # noqa: E731
    arrays, rest = eqx.partition(like, is_array)
    leaves, structure = jax.tree_util.tree_flatten_with_path(arrays)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
    if odd := sorted(set(names) ^ set(tensors)):
        state = "missing" if odd[0] in names else "not expected"
        raise ValueError(f"Tensor {odd[0]!r} is {state} ({len(odd)} such in all).")
    for name, (_, leaf) in zip(names, leaves, strict=True):
        if tensors[name].shape != leaf.shape:
            raise ValueError(
                f"Tensor {name!r} has shape {tensors[name].shape} where {leaf.shape} is needed."
            )
    new = [jnp.asarray(tensors[n], leaf.dtype) for n, (_, leaf) in zip(names, leaves, strict=True)]
    return eqx.combine(jax.tree_util.tree_unflatten(structure, new), rest)


def digest(tree: object) -> str:
    """The SHA-256 of a pytree's arrays with their paths, dtypes and shapes."""
    total = hashlib.sha256()
    for name, array in to_tensors(tree).items():
        total.update(f"{name} {array.dtype} {array.shape} ".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()

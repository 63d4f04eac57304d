"""Files of tensors as NumPy arrays: safetensors, and PyTorch's, of which no code is run."""

import io
import math
import mmap
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..files import Tensors, parse_tensors
from ..wording import phrase
from .torch_pickle import STORAGES, Storage, Strided, read_pickle

MAX_PICKLE = 2**26
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
_DTYPES = {name: np.dtype(name) for name in STORAGES.values() if name != "bfloat16"}
_DTYPES["bfloat16"] = np.dtype(jnp.bfloat16)


def read_weights(path: Path) -> Tensors:
    """The tensors of a checkpoint by name: `.safetensors`, or PyTorch's of either format.

    The content decides, not the name. A PyTorch file may keep its tensors under "state_dict".
    Raises ValueError, naming the file, where it is truncated, holds or claims anything else.
    """
    if not path.is_file() or not path.stat().st_size:
        raise ValueError(f"{path} is not a file, or an empty one.")
    with path.open("rb") as file:
        try:
            return _reader(file.peek(16)[:16])(file)
        except (ValueError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} is not a file of tensors that can be read (safetensors, or PyTorch's): "
                f"{phrase(error)}."
            ) from error


def _reader(start: bytes) -> Callable[[io.BufferedReader], Tensors]:
    if start.startswith(b"PK"):
        return _read_zip
    return _read_legacy if start.startswith(b"\x80") and start[8:9] != b"{" else _read_safetensors


def _read_safetensors(file: io.BufferedReader) -> Tensors:
    return parse_tensors(file.read())


def _read_zip(file: io.BufferedReader) -> Tensors:
    try:
        with zipfile.ZipFile(file) as archive:
            return _read_archive(archive, os.fstat(file.fileno()).st_size)
    except (NotImplementedError, RuntimeError, EOFError, OSError, struct.error) as error:
        raise ValueError(str(error) or "the archive is cut off") from error


def _read_archive(archive: zipfile.ZipFile, length: int) -> Tensors:
    entries = {entry.filename: entry for entry in archive.infolist()}
    stored = all(
        entry.compress_type == zipfile.ZIP_STORED and entry.file_size == entry.compress_size
        for entry in entries.values()
    )
    if not stored or sum(entry.file_size for entry in entries.values()) > length:
        raise ValueError("its entries are compressed or overlap, which PyTorch's never do")
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickles) != 1 or entries[pickles[0]].file_size > MAX_PICKLE:
        raise ValueError(f"it must have one data.pkl, of at most {MAX_PICKLE} bytes")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
        raise ValueError("its numbers are not little-endian")

    def numbers(storage: Storage) -> np.ndarray:
        if (name := f"{root}data/{storage.key}") not in entries:
            raise ValueError(f"the numbers {storage.key[:80]!r} are missing")
        return _numbers(storage, archive.read(name), 0)

    state, _ = read_pickle(io.BytesIO(archive.read(pickles[0])))
    return _tensors(state, numbers)


def _read_legacy(file: io.BufferedReader) -> Tensors:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if read_pickle(data)[0] != _LEGACY_MAGIC or read_pickle(data)[0] != _LEGACY_VERSION:
            raise ValueError("it is a pickle, but none of PyTorch's")
        system, _ = read_pickle(data)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise ValueError("its numbers are not little-endian")
        state, storages = read_pickle(data)
        starts = _starts(data, storages)
        return _tensors(state, lambda storage: _numbers(storage, data, starts[storage.key]))


def _starts(data: mmap.mmap, storages: Mapping[str, Storage]) -> dict[str, int]:
    """Where each storage of a legacy file begins: a list of keys, then each size and numbers."""
    keys, _ = read_pickle(data)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("its list of storages is none")
    if sorted(keys) != sorted(storages):
        raise ValueError("its list of storages is not that of its tensors")
    starts, end = {}, data.tell()
    for key in keys:
        size = int.from_bytes(data[end : end + 8], "little")
        if size != storages[key].size:
            raise ValueError(f"the numbers {key[:80]!r} are not as many as was said, or cut off")
        starts[key] = end + 8
        end += 8 + size * _DTYPES[storages[key].dtype].itemsize
    if end != len(data):
        raise ValueError("its numbers end before or after the file does")
    return starts


def _numbers(storage: Storage, data: bytes | mmap.mmap, start: int) -> np.ndarray:
    """The numbers of a storage, copied; the claim is checked against the bytes first."""
    dtype = _DTYPES[storage.dtype]
    end = start + storage.size * dtype.itemsize
    if end > len(data):
        raise ValueError(f"the numbers {storage.key[:80]!r} are cut off")
    return np.frombuffer(data[start:end], dtype)


def _strided(state: Any) -> dict[str, Strided]:
    """The tensors of a state dict, which may be under "state_dict"."""
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not state:
        raise ValueError("it holds no tensors by name")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Strided):
            raise ValueError(f"its entry {str(name)[:80]!r} is not a tensor")
    return state


def _tensors(state: Any, numbers: Callable[[Storage], np.ndarray]) -> Tensors:
    strided = _strided(state)
    rows: Mapping[Storage, np.ndarray] = {
        storage: numbers(storage) for storage in {t.storage for t in strided.values()}
    }
    return {name: _view(name, tensor, rows[tensor.storage]) for name, tensor in strided.items()}


def _view(name: str, tensor: Strided, row: np.ndarray) -> np.ndarray:
    if 0 in tensor.shape:
        raise ValueError(f"tensor {name[:80]!r} is empty")
    steps = zip(tensor.shape, tensor.strides, strict=True)
    last = tensor.offset + sum((size - 1) * stride for size, stride in steps)
    if last >= row.size or math.prod(tensor.shape) > row.size:
        raise ValueError(f"tensor {name[:80]!r} reaches beyond its numbers")
    strides = [stride * row.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(row[tensor.offset :], tensor.shape, strides)

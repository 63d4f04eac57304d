"""PyTorch's pickles: tensors as views of rows of numbers that are kept outside the pickle."""

import io
import mmap
from collections.abc import Callable
from typing import Any, NamedTuple

from ..pickles import Dialect, Global, is_size, read_pickle as read

MAX_AXES = 8
_ODD_STORAGE = "a storage is not described as PyTorch does"
# Of each type of storage: NumPy's name of its numbers.
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


class Storage(NamedTuple):
    """A row of numbers that a pickle refers to, kept outside it."""

    dtype: str
    key: str
    size: int


class Strided(NamedTuple):
    """A tensor: a view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_pickle(file: io.BytesIO | mmap.mmap) -> tuple[Any, dict[str, Storage]]:
    """The next pickle of a file, and the storages that it refers to by their keys.

    It is made of dicts, lists, tuples, texts, numbers and `Strided`. The file is left behind the
    pickle. Raises ValueError for anything that a file of tensors does not need.
    """
    storages: dict[str, Storage] = {}
    dialect = Dialect("tensor", _CALLS, _STORAGES, lambda parts: _refer(parts, storages), _build)
    return read(file, dialect), storages


def _is_sizes(row: Any) -> bool:
    return type(row) is tuple and len(row) <= MAX_AXES and all(map(is_size, row))


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Strided:
    sizes = is_size(offset) and _is_sizes(shape) and _is_sizes(strides)
    if not isinstance(storage, Storage) or not sizes or len(shape) != len(strides):
        raise ValueError("a tensor is not described as PyTorch does")
    return Strided(storage, offset, shape, strides)


_CALLS: dict[Global, Callable[..., Any]] = {
    Global("collections", "OrderedDict"): lambda: {},
    Global("torch._utils", "_rebuild_tensor"): _tensor,
    Global("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Global("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    Global("torch", "Size"): lambda sizes: sizes,
}
_STORAGES = frozenset(Global("torch", name) for name in STORAGES)


def _refer(parts: Any, storages: dict[str, Storage]) -> Storage:
    if type(parts) is not tuple or len(parts) not in (5, 6) or parts[5:] not in ((), (None,)):
        raise ValueError(_ODD_STORAGE)
    kind, storage, key, _, size = parts[:5]
    if kind != "storage" or type(storage) is not Global or storage not in _STORAGES:
        raise ValueError("it refers to something that is not a storage of numbers")
    if not is_size(size) or type(key) is not str:
        raise ValueError(_ODD_STORAGE)
    found = Storage(STORAGES[storage.name], key, size)
    if storages.setdefault(key, found) != found:
        raise ValueError(f"the storage {key[:80]!r} is described in two ways")
    return found


def _build(into: Any, _: Any) -> None:
    """Drop what hangs on a state dict beside its tensors: versions of layers."""
    if type(into) is not dict:
        raise ValueError("an item is put into something that is not a dict")

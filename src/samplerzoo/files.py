"""Files: written whole or not at all, and modules as named tensors in safetensors files."""

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from .opening import open_file
from .schema import ANYTHING, Rule, check, list_of, mapping, parse_json, record, text, whole
from .wording import phrase

T = TypeVar("T")
Tensors = dict[str, np.ndarray]

MAX_HEADER = 2**24  # bytes
_METADATA = "__metadata__"
_PLACE: Rule = record(
    {
        "dtype": text(20),
        "shape": list_of(whole(0, 2**60), most=100),
        "data_offsets": list_of(whole(0, 2**60), 2, 2),
    }
)
DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(jnp.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


class Header(NamedTuple):
    """What a safetensors file says of itself before its numbers.

    Attributes:
        places: For each tensor `dtype`, `shape`, and `data_offsets`, counted from `start`.
        metadata: Texts by their names.
        start: Where the numbers begin.
    """

    places: dict[str, dict[str, Any]]
    metadata: dict[str, str]
    start: int


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


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically, indented."""
    write(path, (json.dumps(content, indent=2) + "\n").encode())


def read_header(file: IO[bytes] | io.BytesIO) -> Header:
    """Read the header of a safetensors file that is open, and check its form.

    Raises:
        ValueError: It is cut off or something else. The message does not name the file.
    """
    file.seek(0)
    size = int.from_bytes(file.read(8), "little")
    content = parse_json(file.read(min(size, MAX_HEADER)), mapping(ANYTHING), "its header")
    metadata = content.pop(_METADATA, {})
    check(metadata, mapping(text(2**24)), "its header's metadata")
    check(content, mapping(_PLACE), "its header")
    return Header(content, metadata, 8 + size)


def header_bytes(places: Mapping[str, Mapping[str, Any]], metadata: Mapping[str, str]) -> bytes:
    """Make the header of a safetensors file: the same content always gives the same bytes."""
    content = {_METADATA: dict(metadata), **places} if metadata else places
    data = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    data += b" " * (-len(data) % 8)
    return len(data).to_bytes(8, "little") + data


def write_tensors(path: Path, tensors: Tensors, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically; the same content always gives the same bytes."""
    rows = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    data = safetensors.numpy.save(rows, dict(metadata))
    header = read_header(io.BytesIO(data))  # in it, metadata come in any order
    write(path, header_bytes(header.places, header.metadata) + data[header.start :])


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read the tensors and the metadata of a safetensors file.

    Raises:
        ValueError: It is truncated or something else; the message names it.
    """
    with open_file(path) as file:
        data = file.read()
    try:
        return parse_tensors(data), read_header(io.BytesIO(data)).metadata
    except ValueError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({phrase(error)}).") from error


def parse_tensors(data: bytes) -> dict[str, np.ndarray]:
    """Read the tensors of a safetensors file's content, which the library checks.

    Raises:
        ValueError: It is truncated or something else. The message does not name the file.
    """
    try:
        views = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error
    found = {}
    for name, view in views:
        if view["dtype"] not in DTYPES:
            raise ValueError(f"tensor {name[:80]!r} has the type {view['dtype']}")
        found[name] = np.frombuffer(view["data"], DTYPES[view["dtype"]]).reshape(view["shape"])
    return found


def to_tensors(tree: object) -> dict[str, np.ndarray]:
    """Name the arrays of a module or any pytree by the path that leads to each."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(eqx.filter(tree, eqx.is_array))
    return {_name(path): np.asarray(array) for path, array in leaves}


def in_half(tensors: Tensors, dtype: Any = np.float16) -> dict[str, np.ndarray]:
    """Round tensors to half precision.

    Raises:
        ValueError: A number is not finite in it.
    """
    with np.errstate(over="ignore"):
        half = {name: array.astype(dtype) for name, array in tensors.items()}
    if odd := [name for name, array in half.items() if not np.all(np.isfinite(array))]:
        raise ValueError(f"{odd[0]} holds numbers that are not finite in {np.dtype(dtype)}.")
    return half


class Stored(NamedTuple):
    """How a file holds an array of a tree: the tensor's name, and what makes the array of it."""

    name: str
    convert: Callable[[np.ndarray], np.ndarray]


def as_it_is(path: str) -> Stored:
    """Say that an array is held under its path in the tree, as it is."""
    return Stored(path, np.asarray)


def from_tensors(like: T, tensors: Tensors, stored: Callable[[str], Stored] = as_it_is) -> T:
    """Return the pytree `like` with its arrays taken from `tensors`.

    Args:
        like: The tree; its arrays may be shapes only. Numbers are cast to their dtypes.
        tensors: The arrays by their names.
        stored: Of an array's path in the tree, how the tensors hold it.

    Raises:
        ValueError: A tensor is missing, left over, of another shape, or holds something else than
            floating-point numbers where these are needed.
    """
    arrays, rest = eqx.partition(like, _is_array)
    leaves, structure = jax.tree_util.tree_flatten_with_path(arrays)
    places = [stored(_name(path)) for path, _ in leaves]
    check_names(tensors, [place.name for place in places])
    new = []
    for (name, convert), (_, leaf) in zip(places, leaves, strict=True):
        found = convert(tensors[name])
        check_tensor(name, found, leaf.shape, jnp.issubdtype(leaf.dtype, jnp.floating))
        new.append(jnp.asarray(np.asarray(found, order="C"), leaf.dtype))
    return eqx.combine(jax.tree_util.tree_unflatten(structure, new), rest)


def check_names(tensors: Tensors, wanted: Iterable[str]) -> None:
    """Raise ValueError, naming a tensor, where one is missing or left over."""
    wanted = [*wanted]
    if missing := [name for name in wanted if name not in tensors]:
        raise ValueError(f"Tensor {missing[0]!r} is missing ({len(missing)} such in all).")
    if extra := sorted(set(tensors) - set(wanted)):
        raise ValueError(f"Tensor {extra[0][:80]!r} is not expected ({len(extra)} such in all).")


def check_tensor(name: str, array: np.ndarray, shape: tuple[int, ...], floating: bool) -> None:
    """Raise ValueError where a tensor has another shape, or no floating-point numbers as needed."""
    if array.shape != shape:
        raise ValueError(f"Tensor {name!r} has shape {array.shape} where {shape} is needed.")
    if floating and not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"Tensor {name!r} holds {array.dtype}, not floating-point numbers.")


def digest(tree: object) -> str:
    """Compute the SHA-256 of a pytree's arrays with their paths, dtypes and shapes."""
    total = hashlib.sha256()
    for name, array in to_tensors(jax.tree.map(_numbers, tree)).items():
        total.update(f"{name} {array.dtype} {array.shape} ".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _is_array(leaf: object) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _numbers(leaf: Any) -> Any:
    """The numbers of a random key; anything else as it is."""
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf

"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) as they are published: binary, or Python's pickles.

The folder of either version, or its .tar.gz. Pickles are read as data: nothing in them is run.
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from ..limits import FILE_BYTES, UNPACKED_BYTES
from ..opening import open_file, read_file
from ..pickles import Dialect, Global, is_size, read_pickle
from ..wording import phrase, printable
from .files import no_split

PIXELS = 32 * 32 * 3
MAX_IMAGES = 50_000  # in a file: those of CIFAR-100's train
MAX_MEMBERS = 1000  # of a tar
_BLOCK = 2**20  # bytes that are skipped at a time
ARCHIVES = (".tar.gz", ".tgz", ".tar")


class _Version(NamedTuple):
    """The files of a version by split; `labels` bytes come before an image, or it is pickled."""

    labels: int | None
    splits: dict[str, list[str]]


_BATCHES = [f"data_batch_{n}" for n in range(1, 6)]
_BINARIES = [f"{name}.bin" for name in _BATCHES]
# By a file that tells each from the others.
_VERSIONS = {
    "data_batch_1.bin": _Version(1, {"train": _BINARIES, "test": ["test_batch.bin"]}),
    "train.bin": _Version(2, {"train": ["train.bin"], "test": ["test.bin"]}),
    "data_batch_1": _Version(None, {"train": _BATCHES, "test": ["test_batch"]}),
    "train": _Version(None, {"train": ["train"], "test": ["test"]}),
}


def is_cifar(path: Path) -> bool:
    """Whether a folder is one of CIFAR's, or a file a .tar.gz, which must then be CIFAR's."""
    if path.is_dir():
        return any((path / mark).is_file() for mark in _VERSIONS)
    return path.name.endswith(ARCHIVES)


def open_cifar(path: Path, split: str | None = None) -> UInt8[np.ndarray, "N 32 32 3"]:
    """Read the images of a part.

    Args:
        path: The folder, or its .tar.gz.
        split: `train`, the default, or `test`.

    Raises:
        ValueError: With the file's name, where one is missing, damaged or something else.
        LimitError: Where the files are far larger than CIFAR's.
    """
    names = {name for name, _ in _files(path, ())}
    version = next((v for mark, v in _VERSIONS.items() if mark in names), None)
    if version is None:
        raise ValueError(f"{path} is not an archive of CIFAR's; unpack it and give the folder.")
    wanted = version.splits.get(split or "train")
    if wanted is None:
        raise no_split(str(path), str(split), version.splits)
    found = {n: _images(f"{path}/{n}", d, version.labels) for n, d in _files(path, wanted) if d}
    if lacking := [name for name in wanted if name not in found]:
        raise ValueError(f"{path} lacks {lacking[0]}, or it is empty.")
    planes = np.concatenate([found[name] for name in wanted]).reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def _files(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """The names of all files of a folder or an archive, with the content of those wanted."""
    held = 0
    try:
        for name, data in _folder(path, wanted) if path.is_dir() else _archive(path, wanted):
            held += len(data)
            FILE_BYTES.check(held, f"What is wanted of {path}")
            yield name, data
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: {phrase(error)}.") from error


def _folder(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    for file in filter(Path.is_file, path.iterdir()):
        yield file.name, read_file(file, FILE_BYTES) if file.name in wanted else b""


def _archive(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """The plain files of a tar, which is read from its begin to its end and held by members.

    Links, sparse files and long names, of which CIFAR's archives have none, are skipped.
    """
    with open_file(path) as file:
        packed = file.peek(2)[:2] == b"\x1f\x8b"
        stream = _Bounded(gzip.GzipFile(fileobj=file) if packed else file, str(path))
        for _ in range(MAX_MEMBERS):
            block = stream.read(tarfile.BLOCKSIZE)
            if not block.strip(b"\0"):
                stream.skip()
                return
            member = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
            if member.size < 0:
                raise tarfile.ReadError("the size of a member is less than nothing")
            name = PurePosixPath(member.name).name
            plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
            if chosen := plain and name in wanted:
                FILE_BYTES.check(member.size, f"{path}/{printable(name)}")
            size = -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            data = stream.read(size)[: member.size] if chosen else stream.skip(size)
            if plain:
                yield name, data
    raise ValueError(f"{path} has more than {MAX_MEMBERS} members, and CIFAR's archives have 8.")


class _Bounded:
    """A stream that gives no more than is allowed."""

    def __init__(self, stream: io.BufferedIOBase, name: str):
        self._stream, self._name, self._count = stream, name, 0

    def read(self, size: int) -> bytes:
        self._count += size
        UNPACKED_BYTES.check(self._count, f"{self._name}, unpacked,")
        return self._stream.read(size)

    def skip(self, size: int | None = None) -> bytes:
        """Read on, by default to the end, and keep nothing."""
        if size is not None:
            UNPACKED_BYTES.check(self._count + size, f"{self._name}, unpacked,")
        left = size
        while left is None or left > 0:
            block = self.read(_BLOCK if left is None else min(left, _BLOCK))
            if not block:
                break
            left = None if left is None else left - len(block)
        return b""


def _images(name: str, data: bytes, labels: int | None) -> UInt8[np.ndarray, "N 3072"]:
    try:
        return _pickled(data) if labels is None else _binary(data, labels)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read as CIFAR's images: {phrase(error)}.") from error


def _binary(data: bytes, labels: int) -> UInt8[np.ndarray, "N 3072"]:
    size = labels + PIXELS
    if len(data) % size:
        raise ValueError(f"its {len(data)} bytes are not a whole number of images of {size} bytes")
    return np.frombuffer(data, np.uint8).reshape(-1, size)[:, labels:]


class _Array:
    """An array that a pickle makes: `state` is what it is filled with."""

    state: Any = None


class _Bytes(NamedTuple):
    """The type of an array's numbers: one byte each, so without an order of bytes."""


def _dtype(name: Any, *_: Any) -> _Bytes:
    if type(name) not in (str, bytes) or name not in ("u1", b"u1", "uint8"):
        raise ValueError("its numbers are not of 8 bits")
    return _Bytes()


def _build(into: Any, state: Any) -> None:
    if type(into) is _Array:
        into.state = state
    elif type(into) is not _Bytes:
        raise ValueError("it fills something that is not an array")


_ARRAYS = Dialect(
    holds="array",
    calls={
        Global("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
        Global("numpy._core.multiarray", "_reconstruct"): lambda *_: _Array(),
        Global("numpy", "dtype"): _dtype,
    },
    globals={Global("numpy", "ndarray")},
    refer=None,
    build=_build,
    opcodes=frozenset(("BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "INT")),
    most=10 * MAX_IMAGES,
)


def _pickled(data: bytes) -> UInt8[np.ndarray, "N 3072"]:
    found = read_pickle(io.BytesIO(data), _ARRAYS)
    array = found.get("data") if type(found) is dict else None
    state = array.state if type(array) is _Array else None
    if type(state) is not tuple or len(state) != 5 or type(state[2]) is not _Bytes:
        raise ValueError("it holds no array called 'data'")
    _, shape, _, fortran, numbers = state
    numbers = numbers.encode("latin-1") if type(numbers) is str else numbers
    if type(shape) is not tuple or len(shape) != 2 or not is_size(shape[0]) or shape[1] != PIXELS:
        raise ValueError(f"its images are not rows of {PIXELS} numbers")
    if type(numbers) is not bytes or len(numbers) != shape[0] * PIXELS:
        raise ValueError("its numbers are not as many as it says")
    rows = np.frombuffer(numbers, np.uint8)
    return rows.reshape(shape, order="F" if fortran is True else "C")

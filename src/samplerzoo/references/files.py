"""Files of features: a safetensors file with `features` (N, d) and, of few features, their moments.

`mean` (d,) and `covariance` (d, d) are in float64. The metadata hold the SHA-256 of the file itself
with zeros in that place.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ..metrics import Moments, accumulate

FORMAT = "samplerzoo.reference/1"
MOMENTS = 4096  # features up to which their covariance is kept
_TYPES = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_SAID = {"features", "extractor", "data", "sha256"}  # in the metadata
_UNKNOWN = "0" * 64
_BLOCK = 2**22


class Kept(NamedTuple):
    """What a file holds; the features are a memory map."""

    features: Float[np.ndarray, "N d"]
    moments: Moments | None
    metadata: dict[str, str]


def write_features(
    file: IO[bytes], chunks: Iterable[np.ndarray], shape: tuple[int, int], about: Mapping[str, str]
) -> None:
    """Write features that come in chunks, with their moments, to a file opened to be read too."""
    n, d = shape
    shapes: dict[str, tuple[int, ...]] = {"features": shape}
    if d <= MOMENTS:
        shapes |= {"mean": (d,), "covariance": (d, d)}
    about = {**about, "format": FORMAT}
    start = file.write(_header(shapes, {**about, "sha256": _UNKNOWN}))
    for chunk in chunks:
        file.write(np.ascontiguousarray(chunk, "<f4").data)
    if file.tell() != start + 4 * n * d:
        raise ValueError(f"{file.tell() - start} bytes of features where {4 * n * d} are due.")
    if d <= MOMENTS:
        file.flush()
        features = np.memmap(file, "<f4", "r", start, shape)
        size = max(1, _BLOCK // d)
        moments = accumulate(features[i : i + size] for i in range(0, n, size))
        file.seek(0, 2)
        for part in (moments.mean, moments.covariance):
            file.write(np.ascontiguousarray(part, "<f8").data)
    file.flush()
    total = _checksum(file, _UNKNOWN)
    file.seek(0)
    file.write(_header(shapes, {**about, "sha256": total}))
    file.flush()


def read_features(file: IO[bytes]) -> Kept:
    """What a file of features holds, after its checksum; ValueError where it is damaged."""
    places, metadata, start = _read_header(file)
    if _checksum(file, said := _check(metadata)["sha256"]) != said:
        raise ValueError("its checksum is not that of its content")
    arrays = {name: _map(file, start, place) for name, place in places.items()}
    features = arrays["features"]
    if not {"mean", "covariance"} <= {*arrays}:
        return Kept(features, None, metadata)
    return Kept(features, Moments(*(np.array(arrays[n]) for n in ("mean", "covariance"))), metadata)


def read_metadata(path: Path) -> dict[str, str]:
    """What a file says of its features; nothing else of it is read."""
    with path.open("rb") as file:
        return _check(_read_header(file)[1])


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """What is wrong with a file as a ValueError that names it."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a whole file of features: {phrase(error)}.") from error


def phrase(error: Exception) -> str:
    """An exception's message to put inside a sentence."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _header(shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> bytes:
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, shape in shapes.items():
        kind = "F32" if name == "features" else "F64"
        first, end = end, end + _TYPES[kind].itemsize * int(np.prod(shape, dtype=object))
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [first, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _read_header(file: IO[bytes]) -> tuple[dict[str, Any], dict[str, str], int]:
    """The places of the arrays, the metadata, and where the numbers start."""
    file.seek(0)
    size = int.from_bytes(file.read(8), "little")
    try:
        places = json.loads(file.read(min(size, _BLOCK)))
        metadata = places.pop("__metadata__")
        assert all(isinstance(value, str) for value in metadata.values())
    except (ValueError, AttributeError, KeyError, AssertionError, RecursionError) as error:
        raise ValueError("it has no header that can be read") from error
    return places, metadata, 8 + size


def _check(metadata: dict[str, str]) -> dict[str, str]:
    if metadata.get("format") != FORMAT or _SAID - {*metadata}:
        raise ValueError(f"its format is {metadata.get('format')!r}, not {FORMAT!r}")
    return metadata


def _map(file: IO[bytes], start: int, place: Any) -> np.ndarray:
    try:
        first, _ = place["data_offsets"]
        dtype, shape = _TYPES[place["dtype"]], tuple(place["shape"])
        return np.memmap(file, dtype, "r", start + first, shape)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError("its header does not fit its numbers") from error


def _checksum(file: IO[bytes], said: str) -> str:
    """The SHA-256 of a file without the one that its header says."""
    file.seek(0)
    head = file.read(8)
    head += file.read(min(int.from_bytes(head, "little"), _BLOCK))
    total = hashlib.sha256(head.replace(said.encode(), _UNKNOWN.encode()))
    while block := file.read(_BLOCK):
        total.update(block)
    return total.hexdigest()

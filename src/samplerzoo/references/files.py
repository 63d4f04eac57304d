"""Files of features: a safetensors file with `features` (N, d) and, of few features, their moments.

`mean` (d,) and `covariance` (d, d) are in float64. The metadata hold the SHA-256 of the file itself
with zeros in that place.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ..files import DTYPES, header_bytes, read_header
from ..metrics import Moments, accumulate
from ..schema import check, record, text
from ..wording import phrase

FORMAT = "samplerzoo.reference/1"
MOMENTS = 4096  # features up to which their covariance is kept
_SAID = record(dict.fromkeys(("features", "extractor", "data", "sha256"), text()))  # metadata
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
    places, metadata, start = read_header(file)
    _check(metadata)
    if _checksum(file, metadata["sha256"]) != metadata["sha256"]:
        raise ValueError("its checksum is not that of its content")
    try:
        arrays = {name: _map(file, start, place) for name, place in places.items()}
        features = arrays["features"]
    except (KeyError, ValueError, OverflowError) as error:
        raise ValueError("its header does not fit its numbers") from error
    if not {"mean", "covariance"} <= {*arrays}:
        return Kept(features, None, metadata)
    return Kept(features, Moments(*(np.array(arrays[n]) for n in ("mean", "covariance"))), metadata)


def read_metadata(path: Path) -> dict[str, str]:
    """What a file says of its features; nothing else of it is read."""
    with path.open("rb") as file:
        metadata = read_header(file).metadata
    _check(metadata)
    return metadata


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """What is wrong with a file as a ValueError that names it."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a whole file of features: {phrase(error)}.") from error


def _header(shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> bytes:
    places: dict[str, dict[str, Any]] = {}
    end = 0
    for name, shape in shapes.items():
        kind = "F32" if name == "features" else "F64"
        first, end = end, end + DTYPES[kind].itemsize * math.prod(shape)
        places[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [first, end]}
    return header_bytes(places, metadata)


def _check(metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise ValueError(f"its format is {metadata.get('format')!r}, not {FORMAT!r}")
    check(metadata, _SAID, "its header's metadata")


def _map(file: IO[bytes], start: int, place: Mapping[str, Any]) -> np.ndarray:
    dtype, shape = DTYPES[place["dtype"]], tuple(place["shape"])
    return np.memmap(file, dtype, "r", start + place["data_offsets"][0], shape)


def _checksum(file: IO[bytes], said: str) -> str:
    """The SHA-256 of a file without the one that its header says."""
    file.seek(0)
    head = file.read(8)
    head += file.read(min(int.from_bytes(head, "little"), _BLOCK))
    total = hashlib.sha256(head.replace(said.encode(), _UNKNOWN.encode()))
    while block := file.read(_BLOCK):
        total.update(block)
    return total.hexdigest()

"""Image files in a folder, in a zip, or in another table of them."""

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np

from .images import AbstractSource, Shape
from .pixels import SUFFIXES, check_shape, decode, phrase

SHOWN = 8  # names in a message
READ = 64  # files that are held at a time where all are read


class Files(AbstractSource):
    """Image files by name: `load(start, stop)` reads the bytes of some.

    Raises ValueError where there is none, or images cannot have such a shape.
    """

    def __init__(
        self,
        where: str,
        names: Sequence[str],
        load: Callable[[int, int], Sequence[bytes]],
        shape: Shape,
        crop: bool,
    ):
        check_shape(shape, crop)
        if not names:
            raise ValueError(f"There is no image in {where} (looked for {' '.join(SUFFIXES)}).")
        self.names, self._load, self._shape, self._crop = names, load, shape, crop

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """The pixels of some, decoded by all processors."""
        pixels = np.empty((stop - start, *self._shape), np.uint8)
        named = list(zip(self.names[start:stop], self._load(start, stop), strict=True))

        def fill(n: int) -> None:
            pixels[n] = decode(*named[n], self._shape, self._crop)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(fill, range(len(named))):
                pass
        return pixels

    def content(self) -> Iterator[bytes]:
        """Whether the images are cropped, and the bytes of all files after their number."""
        yield b"cropped\n" if self._crop else b"whole\n"
        for start in range(0, len(self), READ):
            for data in self._load(start, min(start + READ, len(self))):
                yield len(data).to_bytes(8, "little")
                yield data


def open_folder(path: Path, shape: Shape, split: str | None = None, crop: bool = False) -> Files:
    """All images below a folder, or below one in it, in the order of their paths."""
    found = (p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    names = image_names(found, str(path), split)

    def load(start: int, stop: int) -> list[bytes]:
        return [_read(path / name) for name in names[start:stop]]

    return Files(str(path), [f"{path}/{n}" for n in names], load, shape, crop)


def open_zip(path: Path, shape: Shape, split: str | None = None, crop: bool = False) -> Files:
    """All images in a zip, or in a folder of it, in the order of their paths."""
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # damage shows as one of many kinds
        raise ValueError(f"{path} cannot be read as a zip: {phrase(error)}.") from error
    names = image_names(archive.namelist(), str(path), split)

    def load(start: int, stop: int) -> list[bytes]:
        return [_unpack(archive, name) for name in names[start:stop]]

    return Files(str(path), [f"{path}:{n}" for n in names], load, shape, crop)


def image_names(names: Iterable[str], where: str, split: str | None) -> list[str]:
    """Those of the names that are images', in order; of a split, those in its folder.

    Hidden files such as `._x.png` are none. Raises ValueError where there is no such folder.
    """
    images = sorted((n for n in names if _is_image(n)), key=lambda n: PurePosixPath(n).parts)
    if split is None:
        return images
    chosen = [n for n in images if PurePosixPath(n).parent.is_relative_to(split)]
    if not chosen or not PurePosixPath(split).parts:
        folders = {PurePosixPath(n).parts[0] for n in images if "/" in n}
        raise no_split(where, split, folders)
    return chosen


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    return suffix in SUFFIXES and not path.name.startswith(".") and not name.endswith("/")


def no_split(where: str, split: str, known: Iterable[str]) -> ValueError:
    """The error that names the splits that there are."""
    names = sorted(known)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    there = f"it has {', '.join(names[:SHOWN])}{more}" if names else "it has none"
    return ValueError(f"{where} has no split {split!r}; {there}.")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error


def _unpack(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except Exception as error:  # damage shows as one of many kinds
        raise ValueError(
            f"{archive.filename}:{name} cannot be unpacked: {phrase(error)}."
        ) from error

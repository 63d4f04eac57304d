"""Image files in a folder, in a zip, or in another table of them."""

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np

from ..limits import FILE_BYTES, LimitError
from ..notices import warn
from ..opening import check_path, read_file
from ..wording import phrase, printable
from .images import AbstractSource, Shape
from .pixels import SUFFIXES, Opened, check_shape, decode, open_image, quiet_pillow

SHOWN = 8  # names in a message
HELD_BYTES = 2**26  # of files that are held at a time
HELD_PIXELS = 2**26  # that are decoded at a time
# How the members of a zip may be packed. Others take memory by what their header asks for.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_RECIPE = b"samplerzoo.files/2"  # another one when the same files give other numbers


class Files(AbstractSource):
    """Image files by name, which are read and decoded when they are asked for.

    Args:
        where: What messages call all of them.
        count: How many there are.
        names: Makes what messages call those from `start` to `stop`.
        load: Yields the bytes of the same, one after the other.
        shape: The shape of the images, (H, W, 1) or (H, W, 3).
        crop: Whether images of another size are cropped and resized.

    Raises:
        ValueError: Where there is no file, or images cannot have such a shape.
    """

    def __init__(
        self,
        where: str,
        count: int,
        names: Callable[[int, int], Sequence[str]],
        load: Callable[[int, int], Iterator[bytes]],
        shape: Shape,
        crop: bool,
    ):
        check_shape(shape, crop)
        if not count:
            raise ValueError(f"There is no image in {where} (looked for {' '.join(SUFFIXES)}).")
        self._where, self._count, self.names, self._load = where, count, names, load
        self._shape, self._crop = shape, crop
        self._said: set[str] = set()

    def __len__(self) -> int:
        return self._count

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Decode the images from `start` to `stop`, by all processors.

        What an image loses on the way is said, once for each kind of loss.
        """
        pixels = np.empty((stop - start, *self._shape), np.uint8)
        done = 0
        with quiet_pillow(), ThreadPoolExecutor(os.cpu_count()) as pool:
            for group in self._groups(start, stop):
                decoded = pool.map(lambda opened: decode(opened, self._shape, self._crop), group)
                for opened, (image, losses) in zip(group, decoded, strict=True):
                    pixels[done] = image
                    done += 1
                    self._say(opened.name, losses)
        return pixels

    def content(self) -> Iterator[bytes]:
        """Yield whether the images are cropped, and the bytes of all files after their number."""
        yield _RECIPE + (b" cropped\n" if self._crop else b" whole\n")
        for data in self._load(0, len(self)):
            yield len(data).to_bytes(8, "little")
            yield data

    def _groups(self, start: int, stop: int) -> Iterator[list[Opened]]:
        """Neighbours that together take a bounded memory, packed and decoded."""
        group: list[Opened] = []
        size = pixels = 0
        named = zip(self.names(start, stop), self._load(start, stop), strict=True)
        for name, data in named:
            group.append(open_image(name, data, self._shape, self._crop))
            size += len(data)
            pixels += group[-1].pixels
            if size >= HELD_BYTES or pixels >= HELD_PIXELS:
                yield group
                group, size, pixels = [], 0, 0
        if group:
            yield group

    def _say(self, name: str, losses: list[str]) -> None:
        for loss in set(losses) - self._said:
            self._said.add(loss)
            warn(f"{name} {loss}; so are others like it in {self._where}.")


def open_folder(path: Path, shape: Shape, split: str | None = None, crop: bool = False) -> Files:
    """Open all images below a folder, or below one in it, in the order of their paths.

    Raises:
        ValueError: Where there is none, or a link leads to something other than a file on disk.
    """
    found = [p for p in path.rglob("*") if p.is_file()]
    for link in filter(Path.is_symlink, found):
        check_path(link)
    names = image_names((p.relative_to(path).as_posix() for p in found), str(path), split)

    def load(start: int, stop: int) -> Iterator[bytes]:
        for name in names[start:stop]:
            yield _read(path / name)

    def shown(start: int, stop: int) -> list[str]:
        return [f"{path}/{printable(name)}" for name in names[start:stop]]

    return Files(str(path), len(names), shown, load, shape, crop)


def open_zip(path: Path, shape: Shape, split: str | None = None, crop: bool = False) -> Files:
    """Open all images in a zip, or in a folder of it, in the order of their paths.

    Raises:
        ValueError: Where there is none, or the zip is damaged.
    """
    check_path(path)
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # damage shows as one of many kinds
        raise ValueError(f"{path} cannot be read as a zip: {phrase(error)}.") from error
    names = image_names(archive.namelist(), str(path), split)

    def load(start: int, stop: int) -> Iterator[bytes]:
        for name in names[start:stop]:
            yield _unpack(path, archive, name)

    def shown(start: int, stop: int) -> list[str]:
        return [f"{path}:{printable(name)}" for name in names[start:stop]]

    return Files(str(path), len(names), shown, load, shape, crop)


def image_names(names: Iterable[str], where: str, split: str | None) -> list[str]:
    """Choose those of the names that are images', in order; of a split, those in its folder.

    Hidden files such as `._x.png` are none.

    Raises:
        ValueError: Where there is no such folder.
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
    """Make the error that names the splits that there are."""
    there = f"it has {some_names(sorted(known)) or 'none'}"
    return ValueError(f"{where} has no split {printable(split)!r}; {there}.")


def some_names(names: Sequence[str]) -> str:
    """Join the first of some names that others chose, for a message."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(printable(name, 40) for name in names[:SHOWN]) + more


def _read(path: Path) -> bytes:
    try:
        return read_file(path, FILE_BYTES)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error


def _unpack(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of a member, which is no longer than it says and than is allowed."""
    where, member = f"{path}:{printable(name)}", archive.getinfo(name)
    FILE_BYTES.check(member.file_size, where)
    try:
        check_method(member)
        return archive.read(member)
    except LimitError:
        raise
    except Exception as error:  # damage shows as one of many kinds
        raise ValueError(f"{where} cannot be unpacked: {phrase(error)}.") from error


def check_method(member: zipfile.ZipInfo) -> None:
    """Raise ValueError where a member of a zip is packed in a way that is not read."""
    if member.compress_type not in METHODS:
        raise ValueError("it is packed by another method than deflate; pack it again")

"""Arrays of images in .npz and .npy files, mapped into memory."""

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from ..limits import UNPACKED_BYTES, LimitError
from ..opening import open_file
from ..wording import phrase
from .files import check_method, no_split, some_names

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def open_array(path: Path, split: str | None = None) -> np.ndarray:
    """Map the array of an .npy file; of an .npz, that called `split`, else `images`, or its only.

    A compressed array is unpacked to a temporary file first.

    Args:
        path: The file; its content decides, not its name.
        split: The name of an array of an .npz.

    Returns:
        The array, which is read from disk where it is looked at.

    Raises:
        ValueError: Where it is damaged, holds no such array, or would have to be unpickled.
        LimitError: Where it would unpack to too much.
    """
    try:
        with open_file(path) as file:
            alone = file.read(6) == npy.MAGIC_PREFIX
            if alone and split is None:
                return _map(file, 0, path.stat().st_size)
            names = [] if alone else _names(file)
            if not alone and split in (None, *names):
                return _from_archive(file, str(path), names, split)
    except LimitError:
        raise
    except Exception as error:  # damage shows as one of many kinds
        raise ValueError(
            f"{path} cannot be read as one array of images: {phrase(error)}."
        ) from error
    raise no_split(str(path), str(split), names)


def _names(file: IO[bytes]) -> list[str]:
    with zipfile.ZipFile(file) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def _from_archive(file: IO[bytes], where: str, names: list[str], split: str | None) -> np.ndarray:
    if split is None and "images" not in names and len(names) != 1:
        choice = f"; --split chooses one of {some_names(names)}" if names else ""
        raise ValueError(f"it holds {len(names)} arrays and none called 'images'{choice}")
    name = split or ("images" if "images" in names else names[0])
    with zipfile.ZipFile(file) as archive:
        return _map_member(file, where, archive, archive.getinfo(f"{name}.npy"))


def _map_member(
    file: IO[bytes], where: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> np.ndarray:
    """An array in a zip: where it lies if it is not compressed, else in a temporary file.

    All of it is read, so that its checksum is checked.
    """
    check_method(member)
    with archive.open(member) as packed:
        if member.compress_type != zipfile.ZIP_STORED:
            UNPACKED_BYTES.check(member.file_size, f"{where}, unpacked,")
            with tempfile.TemporaryFile() as unpacked:
                shutil.copyfileobj(packed, unpacked, 2**20)
                return _map(unpacked, 0, unpacked.tell())
        while packed.read(2**20):
            pass
    file.seek(member.header_offset + 26)
    name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
    return _map(file, member.header_offset + 30 + name + extra, member.file_size)


def _map(file: IO[bytes], start: int, size: int) -> np.ndarray:
    """The .npy file that lies at a place in another, as a memory map."""
    file.seek(start)
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"its format has the version {version}")
    shape, fortran, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("Object arrays would have to be unpickled, which runs code")
    offset, order = file.tell(), "F" if fortran else "C"
    length = dtype.itemsize * int(np.prod(shape, dtype=object))
    if offset + length != start + size:
        raise ValueError("its numbers are not as many as it says")
    if length == 0:  # nothing can be mapped
        return np.empty(shape, dtype)
    return np.memmap(file, dtype, "r", offset, shape, order)

"""Images from a folder, a zip or an .npz file."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from PIL import Image

Shape: TypeAlias = tuple[int, ...]
Range: TypeAlias = tuple[float, float] | None
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def read(path: Path, shape: Shape, clip: Range = (-1.0, 1.0)) -> Float[np.ndarray, "N ..."]:
    """The images at `path` (a folder, a .zip or an .npz), each of the given shape.

    A shape (H, W, 1) reads images in grey, (H, W, 3) in colour. `clip` is the model's
    range, which floats must lie in, or None. Raises ValueError where there is no image, or one
    cannot be read or has another size.
    """
    if path.is_dir():
        return from_folder(path, shape, clip)
    if not path.exists():
        raise ValueError(f"There is no folder or file {path}.")
    if path.suffix == ".npz":
        return from_npz(path, shape, clip)
    if zipfile.is_zipfile(path):
        return from_zip(path, shape, clip)
    raise ValueError(f"{path} is neither a folder, a zip of images nor an .npz file.")


def from_folder(path: Path, shape: Shape, clip: Range) -> Float[np.ndarray, "N ..."]:
    """All images below a folder, in the order of their paths."""
    files = sorted(p for p in path.rglob("*") if _is_image(p) and p.is_file())
    return _decode(((str(p), p.read_bytes()) for p in files), path, shape, clip)


def from_zip(path: Path, shape: Shape, clip: Range) -> Float[np.ndarray, "N ..."]:
    """All images in a zip, in the order of their names."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if _is_image(Path(n)))
        return _decode(((f"{path}:{n}", _unpack(archive, n)) for n in names), path, shape, clip)


def from_npz(path: Path, shape: Shape, clip: Range) -> Float[np.ndarray, "N ..."]:
    """The array `images` of an .npz file, or its only one.

    (N, H, W, C), or (N, H, W) for grey; integers 0..255 or floats in the range.
    """
    images = _load_npz(path)
    if images.ndim == len(shape) and shape[-1] == 1:
        images = images[..., None]
    return check(images, str(path), shape, clip)


def check(images: np.ndarray, source: str, shape: Shape, clip: Range) -> Float[np.ndarray, "N ..."]:
    """The images as float32, if there are two at least, of the given shape and finite.

    Integers 0..255 (uint8) are brought to the range `clip`, [-1, 1] if it is None; floats must
    lie in it, and use its negative half.
    """
    if images.dtype == np.uint8:
        low, high = clip or (-1.0, 1.0)
        images, clip = low + (high - low) / 255 * images.astype(np.float32), None
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"The data of {source} are {images.dtype}; uint8 or floats are needed.")
    if images.ndim == 0 or images.shape[1:] != shape:
        raise ValueError(
            f"The data of {source} have shape {images.shape[1:]} where the model makes {shape}."
        )
    if len(images) < 2:
        raise ValueError(f"{source} holds {len(images)} image(s); at least 2 are needed.")
    with np.errstate(over="ignore"):
        images = images.astype(np.float32)
    if not np.all(np.isfinite(images)):
        raise ValueError(f"The data of {source} hold numbers that are not finite (NaN or inf).")
    low, high = clip or (-np.inf, np.inf)
    if np.min(images) < low - 1e-3 or np.max(images) > high + 1e-3 or (low < 0 <= np.min(images)):
        raise ValueError(
            f"The data of {source} lie in [{np.min(images):g}, {np.max(images):g}] where the "
            f"model's lie in [{low:g}, {high:g}]; give uint8, or floats of that range."
        )
    return images


def _is_image(path: Path) -> bool:
    """Whether a file's name is that of an image, and not a hidden one such as `._x.png`."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _unpack(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except Exception as error:  # damage shows as one of many kinds
        raise ValueError(
            f"{archive.filename}:{name} cannot be unpacked: {_plain(error)}."
        ) from error


def _load_npz(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as opened:
            file = np.load(opened, allow_pickle=False)
            if isinstance(file, np.ndarray):
                return file
            name = "images" if "images" in file.files else "".join(file.files[:1])
            if name != "images" and len(file.files) != 1:
                raise ValueError(f"it holds {len(file.files)} arrays and none called 'images'")
            return file[name]
    except Exception as error:  # damage shows as one of many kinds
        raise ValueError(
            f"{path} cannot be read as one array of images: {_plain(error)}."
        ) from error


def _plain(error: Exception) -> str:
    """An exception's message to put inside a sentence."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _decode(
    files: Iterable[tuple[str, bytes]], source: Path, shape: Shape, clip: Range
) -> Float[np.ndarray, "N ..."]:
    if len(shape) != 3 or shape[-1] not in (1, 3):
        raise ValueError(f"Images cannot be read for a model of shape {shape}; give an .npz.")
    images = []
    for name, data in files:
        try:
            with Image.open(io.BytesIO(data)) as image:
                mode = image.mode
                pixels = np.asarray(image.convert("L" if shape[-1] == 1 else "RGB"))
        except Exception as error:  # damage shows as one of many kinds
            raise ValueError(f"{name} cannot be read as an image: {_plain(error)}.") from error
        if mode.startswith(("I", "F")):
            raise ValueError(f"{name} has more than 8 bits a channel (mode {mode}); give an .npz.")
        if pixels.shape[:2] != shape[:2]:
            raise ValueError(
                f"{name} is {pixels.shape[1]}x{pixels.shape[0]} pixels where the model makes "
                f"{shape[1]}x{shape[0]}; resize the images first."
            )
        images.append(pixels.reshape(shape))
    if not images:
        raise ValueError(f"There is no image in {source} (looked for {' '.join(SUFFIXES)}).")
    return check(np.stack(images), str(source), shape, clip)

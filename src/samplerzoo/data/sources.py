"""Images from a folder, a zip or an .npz file."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image, UnidentifiedImageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def read(path: Path, shape: tuple[int, ...]) -> Float[np.ndarray, "N ..."]:
    """The images at `path` (a folder, a .zip or an .npz), each of the given shape.

    A shape (H, W, 1) reads images in grey, (H, W, 3) in colour. Raises ValueError where there is
    no image, or one cannot be read or has another size.
    """
    if path.is_dir():
        return from_folder(path, shape)
    if not path.exists():
        raise ValueError(f"There is no folder or file {path}.")
    if path.suffix == ".npz":
        return from_npz(path, shape)
    if zipfile.is_zipfile(path):
        return from_zip(path, shape)
    raise ValueError(f"{path} is neither a folder, a zip of images nor an .npz file.")


def from_folder(path: Path, shape: tuple[int, ...]) -> Float[np.ndarray, "N ..."]:
    """All images below a folder, in the order of their paths."""
    files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return _decode(((str(p), p.read_bytes()) for p in files), path, shape)


def from_zip(path: Path, shape: tuple[int, ...]) -> Float[np.ndarray, "N ..."]:
    """All images in a zip, in the order of their names."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if Path(n).suffix.lower() in SUFFIXES)
        return _decode(((f"{path}:{n}", archive.read(n)) for n in names), path, shape)


def from_npz(path: Path, shape: tuple[int, ...]) -> Float[np.ndarray, "N ..."]:
    """The array `images` of an .npz file, or its only one.

    (N, H, W, C), or (N, H, W) for grey; integers 0..255 or floats in [-1, 1].
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            name = "images" if "images" in file.files else "".join(file.files[:1])
            if name != "images" and len(file.files) != 1:
                raise ValueError(f"it holds {len(file.files)} arrays and none called 'images'")
            images = file[name]
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as one array of images: {error}.") from error
    if images.dtype == np.uint8:
        images = images.astype(np.float32) / 127.5 - 1
    elif not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"The images of {path} are {images.dtype}; uint8 or floats are needed.")
    elif images.size and np.min(images) >= 0:
        raise ValueError(
            f"The floats of {path} are never negative, so they are not in [-1, 1]; give uint8, or "
            "2 x - 1 for numbers in [0, 1]."
        )
    if images.ndim == len(shape) and shape[-1] == 1:
        images = images[..., None]
    return check(images, str(path), shape)


def check(images: np.ndarray, source: str, shape: tuple[int, ...]) -> Float[np.ndarray, "N ..."]:
    """The images as float32, if there are two at least, of the given shape and finite."""
    if images.ndim == 0 or images.shape[1:] != shape:
        raise ValueError(
            f"The data of {source} have shape {images.shape[1:]} where the model makes {shape}."
        )
    if len(images) < 2:
        raise ValueError(f"{source} holds {len(images)} image(s); at least 2 are needed.")
    if not np.all(np.isfinite(images)):
        raise ValueError(f"The data of {source} hold numbers that are not finite (NaN or inf).")
    return images.astype(np.float32)


def _decode(
    files: Iterable[tuple[str, bytes]], source: Path, shape: tuple[int, ...]
) -> Float[np.ndarray, "N ..."]:
    if len(shape) != 3 or shape[-1] not in (1, 3):
        raise ValueError(f"Images cannot be read for a model of shape {shape}; give an .npz.")
    images = []
    for name, data in files:
        try:
            with Image.open(io.BytesIO(data)) as image:
                pixels = np.asarray(image.convert("L" if shape[-1] == 1 else "RGB"))
        except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
            raise ValueError(f"{name} cannot be read as an image: {error}.") from error
        if pixels.shape[:2] != shape[:2]:
            raise ValueError(
                f"{name} is {pixels.shape[1]}x{pixels.shape[0]} pixels where the model makes "
                f"{shape[1]}x{shape[0]}; resize the images first."
            )
        images.append(pixels.reshape(shape))
    if not images:
        raise ValueError(f"There is no image in {source} (looked for {' '.join(SUFFIXES)}).")
    return check(np.stack(images).astype(np.float32) / 127.5 - 1, str(source), shape)

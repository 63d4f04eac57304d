"""Image files as arrays of pixels."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from PIL.Image import Resampling

from .images import Shape

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def decode(name: str, data: bytes, shape: Shape, crop: bool) -> UInt8[np.ndarray, "H W C"]:
    """The pixels of an image file, in grey for (H, W, 1) and in colour for (H, W, 3).

    One of another size is cropped and resized with `crop`. Raises ValueError, naming it, where it
    is not, where it cannot be read, and where it has more than 8 bits.
    """
    with _damage(name):
        image = Image.open(io.BytesIO(data))
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            f"{name} has more than 8 bits a channel (mode {image.mode}); give an .npz."
        )
    if not crop and image.size != (shape[1], shape[0]):
        raise ValueError(
            f"{name} is {image.width}x{image.height} pixels where the model makes "
            f"{shape[1]}x{shape[0]}; --crop (crop=True) crops and resizes, or resize first."
        )
    with _damage(name):
        image = image.convert("L" if shape[-1] == 1 else "RGB")
    return np.asarray(centre(image, shape[0]) if crop else image).reshape(shape)


def centre(image: Image.Image, size: int) -> Image.Image:
    """The centre square of an image, resized to `size` x `size`.

    Halved with a box filter while it is twice as large at least, then brought to size bicubically,
    then cropped: how Dhariwal and Nichol (2021) prepared ImageNet and LSUN.
    """
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Resampling.BOX)
    scale = size / min(image.size)
    width, height = round(image.width * scale), round(image.height * scale)
    image = image.resize((width, height), Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def check_shape(shape: Shape, crop: bool) -> None:
    """Raise ValueError where images of a shape cannot be read from image files."""
    if len(shape) != 3 or shape[-1] not in (1, 3):
        raise ValueError(f"Images cannot be read for a model of shape {shape}; give an .npz.")
    if crop and shape[0] != shape[1]:
        raise ValueError(
            f"Images are cropped to a square, but the model makes {shape[1]}x{shape[0]}; resize "
            "the images first."
        )


@contextmanager
def _damage(name: str) -> Iterator[None]:
    """Damage, which shows as one of many kinds of exceptions, as a ValueError."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{name} cannot be read as an image: {phrase(error)}.") from error


def phrase(error: Exception) -> str:
    """An exception's message to put inside a sentence."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__

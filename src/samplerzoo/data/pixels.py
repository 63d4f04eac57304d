"""Image files as arrays of pixels."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageChops, ImageOps
from PIL.Image import Resampling

from ..limits import FILE_BYTES, PIXELS, LimitError
from ..wording import phrase
from .images import Shape

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
# The formats that are read, told by the content: no other, of which some start programs.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
BACKGROUND = "white"
_GREY = ("1", "L", "LA", "La")
_MAX_TINT = 16  # of 255, by which the channels of a grey image may differ: JPEG's rounding
_TIFF_BITS, _TIFF_TILE = 258, (322, 323)  # tags: bits a sample, sides of a tile


class Opened(NamedTuple):
    """An image file whose header has been read and found right; its pixels have not."""

    name: str
    image: Image.Image

    @property
    def pixels(self) -> int:
        """How many there are."""
        return self.image.width * self.image.height


class Decoded(NamedTuple):
    """The pixels of an image, and what was lost of it, as ends of sentences."""

    pixels: UInt8[np.ndarray, "H W C"]
    losses: list[str]


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keep Pillow's warnings about odd files off the terminal; what it refuses is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def open_image(name: str, data: bytes, shape: Shape, crop: bool) -> Opened:
    """Read the header of an image file, and refuse what cannot become an image of a shape.

    Args:
        name: What messages call it.
        data: The content of the file.
        shape: (H, W, 1) for grey, (H, W, 3) for colour.
        crop: Whether an image of another size is cropped and resized.

    Raises:
        ValueError: Where it is not an image of a known format, has more than 8 bits a channel, or
            another size and `crop` is false.
        LimitError: Where it has too many pixels.
    """
    if Image.MAX_IMAGE_PIXELS is not None and PIXELS.most > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = PIXELS.most
    FILE_BYTES.check(len(data), name)
    try:
        with _damage(name):
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            most, deep = max(image.width * image.height, _tile(image)), _is_deep(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PIXELS.error(f"{name} has too many pixels") from error
    PIXELS.check(most, name)
    if deep:
        raise ValueError(
            f"{name} has more than 8 bits a channel (mode {image.mode}); give an .npz."
        )
    if crop:
        scale = max(1.0, shape[0] / min(image.size))
        PIXELS.check(int(most * scale**2), f"{name}, brought to the model's size,")
    elif (shape[1], shape[0]) not in (image.size, image.size[::-1]):
        raise _wrong_size(name, image, shape)
    return Opened(name, image)


def decode(opened: Opened, shape: Shape, crop: bool) -> Decoded:
    """Decode an image: its first frame, upright, over white where it is transparent.

    Args:
        opened: The image.
        shape: (H, W, 1) for grey, (H, W, 3) for colour.
        crop: Whether an image of another size is cropped and resized.

    Raises:
        ValueError: Where it is damaged, or has another size and `crop` is false.
    """
    name, image = opened
    losses = []
    with _damage(name):
        if _is_animated(image):
            losses.append("has several frames, of which the first is taken")
        ImageOps.exif_transpose(image, in_place=True)
        flat, transparent = _flatten(image)
    if not crop and image.size != (shape[1], shape[0]):
        raise _wrong_size(name, image, shape)
    with _damage(name):
        if transparent:
            losses.append(f"is transparent in parts, which are laid over {BACKGROUND}")
        if image.mode == "CMYK":
            losses.append("is in CMYK, which is turned to RGB without a profile")
        if shape[-1] == 1 and _is_coloured(flat):
            losses.append("is in colour, which is turned to grey, as the model's images are")
        plain = flat.convert("L" if shape[-1] == 1 else "RGB")
        resized = centre(plain, shape[0]) if crop else plain
        return Decoded(np.asarray(resized).reshape(shape), losses)


def centre(image: Image.Image, size: int) -> Image.Image:
    """Crop the centre square of an image, resized to `size` x `size`.

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


def _wrong_size(name: str, image: Image.Image, shape: Shape) -> ValueError:
    return ValueError(
        f"{name} is {image.width}x{image.height} pixels where the model makes "
        f"{shape[1]}x{shape[0]}; --crop (crop=True) crops and resizes, or resize first."
    )


@contextmanager
def _damage(name: str) -> Iterator[None]:
    """Damage, which shows as one of many kinds of exceptions, as a ValueError."""
    try:
        yield
    except (LimitError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise
    except Image.UnidentifiedImageError as error:
        raise ValueError(
            f"{name} cannot be read as an image: it is none of {', '.join(FORMATS)}."
        ) from error
    except Exception as error:
        raise ValueError(f"{name} cannot be read as an image: {phrase(error)}.") from error


def _tile(image: Image.Image) -> int:
    """The pixels of a TIFF's tile, which may be larger than the image; 0 where there are none."""
    width, height = (_tag(image, number) for number in _TIFF_TILE)
    return width * height


def _tag(image: Image.Image, number: int) -> int:
    """The greatest number of a TIFF's tag, 0 where there is none."""
    value = getattr(image, "tag_v2", {}).get(number, 0)
    return max(value, default=0) if isinstance(value, tuple) else value


def _is_deep(image: Image.Image) -> bool:
    """Whether an image has more than 8 bits a channel, which Pillow would drop from colour."""
    if image.mode.startswith(("I", "F")) or _tag(image, _TIFF_BITS) > 8:
        return True
    tiles: list[Any] = getattr(image, "tile", [])
    details = [tile[3] for tile in tiles]
    if image.format == "PNG":
        return any(isinstance(detail, str) and ";16" in detail for detail in details)
    if image.format == "PPM":
        return any(isinstance(detail, tuple) and detail[1] > 255 for detail in details)
    return False


def _is_animated(image: Image.Image) -> bool:
    """Whether there are frames after the first; what cameras put behind a photo is none."""
    return image.format != "MPO" and getattr(image, "is_animated", False)


def _flatten(image: Image.Image) -> tuple[Image.Image, bool]:
    """An image over the background, and whether that shows through."""
    if not image.has_transparency_data:
        return image, False
    layer = image.convert("RGBA")
    background = Image.new("RGBA", image.size, BACKGROUND)
    background.alpha_composite(layer)
    return background.convert("RGB"), layer.getchannel("A").getextrema() != (255, 255)


def _is_coloured(image: Image.Image) -> bool:
    """Whether turning an image to grey loses something."""
    if image.mode in _GREY:
        return False
    red, green, blue = image.convert("RGB").split()
    pairs = ((red, green), (green, blue))
    return any(np.max(np.asarray(ImageChops.difference(*pair))) > _MAX_TINT for pair in pairs)

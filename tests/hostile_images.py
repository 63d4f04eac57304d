"""Image files that are not what they seem, made byte by byte."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from samplerzoo.data import read

SHAPE = (8, 8, 3)
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8))


def encode(kind: str, image: Image.Image = PICTURE, **options) -> bytes:
    """An image as a file of a format."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def files(content: dict[str, bytes]) -> Callable[[Path], None]:
    """A maker of files."""

    def make(folder: Path) -> None:
        for name, data in content.items():
            (folder / name).write_bytes(data)

    return make


def look(name: str = "", crop: bool = False, split: str | None = None, **variables: str):
    """A reader of all images at a path in a case's folder, with environment variables set."""

    def reader(folder: Path) -> int:
        os.environ.update(variables)
        try:
            images = read(folder / name, SHAPE, split=split, crop=crop)
            return sum(len(batch) for batch in images.batches(3)) + len(images.digest)
        finally:
            for variable in variables:
                del os.environ[variable]

    return reader


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int = 8, colour: int = 2, *chunks: bytes) -> bytes:
    """A PNG whose header claims a size, and whose pixels are a few bytes."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + pixels + chunk(b"IEND")


def tiff(width: int, height: int, more: dict[int, int]) -> bytes:
    """A TIFF of 8-bit grey that claims a size; `more` are tags with their numbers."""
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1} | more
    rows = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())]
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(rows)) + b"".join(rows) + bytes(4)
    return head + zlib.compress(bytes(10**5))


_JPEG, _GIF, _BMP = encode("JPEG"), encode("GIF"), encode("BMP")
_WEBP = encode("WEBP", lossless=True)
_FRAME, _SIZES = _JPEG.index(b"\xff\xc0") + 5, struct.pack("<HH", 65535, 65535)
_PLACE = _GIF.index(b"\x2c\0\0\0\0") + 5
_STRIP = {273: 150, 278: 100_000, 279: 50}
_TILE = {322: 46_000, 323: 46_000, 324: 150, 325: 50}
# Images of a few bytes that claim more pixels than are allowed.
LARGE = {
    "png": png(40_000, 40_000),
    "png-wide": png(2**31 - 1, 1),
    "png-one-bit": png(30_000, 30_000, 1, 0),
    "png-palette": png(20_000, 20_000, 8, 3, chunk(b"PLTE", bytes(3))),
    "png-just-beyond": png(8193, 8192),
    "png-that-would-grow": png(1, 20_000_000),
    "jpeg": _JPEG[:_FRAME] + struct.pack(">HH", 65500, 65500) + _JPEG[_FRAME + 4 :],
    "gif": _GIF[:6] + _SIZES + _GIF[10:],
    "gif-frame": _GIF[:_PLACE] + _SIZES + _GIF[_PLACE + 4 :],
    "bmp": _BMP[:18] + struct.pack("<ii", 50_000, 50_000) + _BMP[26:],
    "ppm": b"P6\n60000 60000\n255\n" + bytes(100),
    "pgm-plain": b"P2\n60000 60000\n255\n1 2 3",
    "tiff": tiff(100_000, 100_000, _STRIP),
    "tiff-tile": tiff(8, 8, _TILE),
    "webp": _WEBP[:21] + struct.pack("<I", 16383 | 16383 << 14) + _WEBP[25:],
    "webp-canvas": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\x3f\0" * 2,
}

"""Images from anybody: formats that start programs, bombs, and what an image loses when read."""

import io
import logging
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from hostile import Case, check_refusal, survive
from hostile_images import LARGE, PICTURE, SHAPE, chunk, encode, files, look, png
from samplerzoo.data import read
from samplerzoo.notices import warn


def beside(data: bytes, name: str = "1.png"):
    """A maker of a good image and another file."""
    return files({"0.png": encode("PNG"), name: data})


def zipped(path: Path, content: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in content.items():
            file.writestr(name, data)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
OTHERS = {
    "eps": EPS,
    "eps-of-pillow": encode("EPS"),
    "eps-with-preview": b"\xc5\xd0\xd3\xc6" + struct.pack("<6IH", 30, len(EPS), *[0] * 5) + EPS,
    "postscript": b"%!PS\n(owned) (w) file closefile\n",
    "pdf": encode("PDF"),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "xbm": b"#define x_width 8\n#define x_height 8\nstatic char x_bits[] = {0,0,0,0,0,0,0,0};\n",
    **{kind.lower(): encode(kind) for kind in ("ICO", "PCX", "SGI", "TGA", "DDS", "QOI")},
    "photoshop": b"8BPS\0\x01" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(300),
    "wmf": b"\xd7\xcd\xc6\x9a\0\0" + bytes(100),
    "fits": b"SIMPLE  =                    T".ljust(2880) + bytes(100),
}
SUFFIXES = (".png", ".jpg", ".gif", ".tif", ".webp", ".bmp", ".ppm")
CASES = {
    f"other-{kind}": Case(beside(data, f"1{SUFFIXES[n % 7]}"), look(), "none of PNG, JPEG, WEBP")
    for n, (kind, data) in enumerate(OTHERS.items())
}
CASES |= {
    f"pixels-{kind}": Case(beside(data), look(crop=True), "SAMPLERZOO_MAX_PIXELS")
    for kind, data in LARGE.items()
}
ZEROS = zlib.compress(bytes(10**8), 9)
CASES |= {
    "pixels-of-a-zip": Case(
        lambda folder: zipped(folder / "x.zip", {"0.png": encode("PNG"), "1.png": LARGE["png"]}),
        look("x.zip", crop=True),
        "SAMPLERZOO_MAX_PIXELS",
    ),
    "fewer-pixels-allowed": Case(
        beside(encode("PNG")),
        look(SAMPLERZOO_MAX_PIXELS="63"),
        "has 64 pixels; at most 63 pixels are taken. If you trust it, set the environment variable",
    ),
    "no-number": Case(
        beside(encode("PNG")), look(SAMPLERZOO_MAX_PIXELS="-1"), "must be a whole number above 0"
    ),
    "png-icc": Case(
        beside(png(8, 8, 8, 2, chunk(b"iCCP", b"x\0\0" + ZEROS), chunk(b"IDAT"))), look(), "1.png"
    ),
    "png-text": Case(beside(png(8, 8, 8, 2, chunk(b"zTXt", b"x\0\0" + ZEROS))), look(), "1.png"),
    "png-many-texts": Case(
        beside(png(8, 8, 8, 2, *[chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10**6)))] * 99)),
        look(),
        "1.png",
    ),
}
CANARIES = {
    "eps": Case(beside(EPS), lambda folder: Image.open(folder / "1.png").load(), "nothing"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return survive("test_hostile_images", tmp_path_factory.mktemp("hostile"), CASES)


@pytest.mark.parametrize("name", CASES)
def test_hostile_images_are_refused(name, outcomes):
    check_refusal(outcomes[name], CASES[name].word)


def test_the_canary_sings(tmp_path):
    """Pillow, left to itself, starts Ghostscript for what is called a PNG here."""
    with pytest.raises(AssertionError, match="a program was started"):
        survive("test_hostile_images", tmp_path, CANARIES, table="CANARIES")


@pytest.fixture
def said(caplog):
    """What has been said since the last look."""
    warn.cache_clear()

    def look_up() -> list[str]:
        messages = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return messages

    with caplog.at_level(logging.WARNING, "samplerzoo"):
        yield look_up


def pixels(folder: Path, data: bytes, shape=SHAPE, **options) -> np.ndarray:
    """The first of two images with this content, in 8 bits."""
    folder.mkdir(exist_ok=True)
    for n in range(2):
        (folder / f"{n}.png").write_bytes(data)
    return np.round((read(folder, shape, **options)[:][0] + 1) * 127.5).astype(np.uint8)


def transparent(mode: str) -> Image.Image:
    """The picture in a mode with transparency, half of it seen through."""
    image = PICTURE.convert("L" if mode.startswith("L") else "RGB")
    image.putalpha(Image.fromarray(np.tile(np.uint8([0, 255, 0, 255, 128, 255, 255, 0]), (8, 1))))
    return image


def over_white(image: Image.Image) -> np.ndarray:
    """An image over white, computed here."""
    numbers = np.asarray(image.convert("RGBA"), np.float64)
    alpha = numbers[..., 3:] / 255
    return numbers[..., :3] * alpha + 255 * (1 - alpha)


PALETTE = PICTURE.quantize(16)
SEEN_THROUGH = {
    "png": encode("PNG", transparent("RGBA")),
    "png-grey": encode("PNG", transparent("LA")),
    "png-palette": encode("PNG", PALETTE, transparency=bytes([0, 128] + [255] * 14)),
    "png-colour-key": encode("PNG", PICTURE, transparency=PICTURE.getpixel((3, 3))),
    "gif": encode("GIF", PALETTE, transparency=3),
    "webp": encode("WEBP", transparent("RGBA"), lossless=True, exact=True),
    "tiff": encode("TIFF", transparent("RGBA")),
}


@pytest.mark.parametrize("kind", SEEN_THROUGH)
def test_transparent_images_are_laid_over_white_which_is_said(kind, tmp_path, said):
    expected = over_white(Image.open(io.BytesIO(SEEN_THROUGH[kind])))
    found = pixels(tmp_path / "images", SEEN_THROUGH[kind])
    assert np.abs(found - expected).max() <= 1.5
    (message,) = said()
    assert "0.png is transparent in parts, which are laid over white; so are others" in message
    grey = pixels(tmp_path / "images", SEEN_THROUGH[kind], (8, 8, 1))[..., 0]
    assert np.abs(grey - expected @ [0.299, 0.587, 0.114]).max() <= 2


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_opaque_images_lose_nothing_and_nothing_is_said(mode, tmp_path, said):
    image = PICTURE.convert("L") if mode == "LA" else PICTURE
    image = PALETTE if mode == "P" else image.convert(mode)
    found = pixels(tmp_path / "images", encode("PNG", image))
    np.testing.assert_array_equal(found, np.asarray(image.convert("RGB")))
    assert said() == []


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_images_are_set_upright(kind, turn, tmp_path):
    """Wide images, whose files say how the camera was held."""
    wide = Image.fromarray(np.repeat(np.uint8([[[0], [40], [80], [255]]]), 16, 0)[..., [0, 0, 0]])
    wide = wide.resize((24, 16), Image.Resampling.NEAREST)
    wide.paste((200, 0, 0), (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = turn
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(kind, wide, exif=exif, **options)
    marked = wide.copy()
    marked.getexif()[0x0112] = turn
    upright = np.asarray(ImageOps.exif_transpose(marked))
    found = pixels(tmp_path / "images", data, upright.shape)
    assert found.shape == ((24, 16, 3) if turn > 4 else (16, 24, 3))
    assert np.abs(found.astype(int) - upright).mean() < (6 if kind == "JPEG" else 0.1)
    with pytest.raises(ValueError, match=r"0\.png is (24x16|16x24) pixels where the model makes"):
        pixels(tmp_path / "images", data, (*upright.shape[1::-1], 3))


def deep_tiff(samples: int) -> bytes:
    """8x8 pixels of 16 bits a sample, which Pillow cannot write."""
    bits, place = (16, 8) if samples == 1 else (180, 190)
    tags = [
        (256, 3, 1, 8),
        (257, 3, 1, 8),
        (258, 3, samples, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 1 if samples == 1 else 2),
        (273, 4, 1, place),
        (277, 3, 1, samples),
        (278, 3, 1, 8),
        (279, 4, 1, 128 * samples),
    ]
    if samples == 4:
        tags.append((338, 3, 1, 2))
    rows = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + rows + bytes(4)
    return head.ljust(180, b"\0") + struct.pack("<5H", *[16] * 5) + bytes(range(256)) * samples


def deep_png(colour: int, channels: int) -> bytes:
    rows = b"".join(b"\0" + bytes(16 * channels) for _ in range(8))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + head + body


DEEP = {
    "png": deep_png(2, 3),
    "png-alpha": deep_png(6, 4),
    "png-grey": deep_png(0, 1),
    "png-grey-alpha": deep_png(4, 2),
    "tiff": deep_tiff(3),
    "tiff-alpha": deep_tiff(4),
    "tiff-float": encode("TIFF", PICTURE.convert("F")),
    "tiff-whole": encode("TIFF", PICTURE.convert("I")),
    "ppm": b"P6 8 8 65535\n" + bytes(8 * 8 * 6),
    "ppm-of-12-bits": b"P6 8 8 4095\n" + bytes(8 * 8 * 6),
    "ppm-plain": b"P3 8 8 1023\n" + b"1 " * 192,
    "pgm": b"P5 8 8 65535\n" + bytes(8 * 8 * 2),
    "pfm": b"PF\n8 8\n-1.0\n" + bytes(8 * 8 * 12),
}


@pytest.mark.parametrize("kind", DEEP)
def test_images_of_more_than_8_bits_are_refused(kind, tmp_path):
    with pytest.raises(ValueError, match=r"0\.png (has more than 8 bits|cannot be read)") as caught:
        pixels(tmp_path / "images", DEEP[kind])
    if kind != "pfm":
        assert "give an .npz" in str(caught.value)


def test_images_of_fewer_bits_are_read(tmp_path):
    white = np.full(SHAPE, 255)
    for data in (b"P6 8 8 15\n" + b"\x0f" * 192, b"P1 8 8\n" + b"0 " * 64):
        np.testing.assert_array_equal(pixels(tmp_path / "images", data), white)


def moving(kind: str, **options) -> bytes:
    black = Image.new("RGB", (8, 8))
    return encode(kind, PICTURE, save_all=True, append_images=[black, black], **options)


MOVING = {
    "gif": moving("GIF"),
    "apng": moving("PNG"),
    "webp": moving("WEBP", lossless=True),
    "tiff": moving("TIFF"),
    "gif-of-palettes": encode("GIF", PALETTE, save_all=True, append_images=[PALETTE.rotate(90)]),
}


@pytest.mark.parametrize("kind", MOVING)
def test_of_an_animation_the_first_frame_is_taken_which_is_said(kind, tmp_path, said):
    first = np.asarray(PALETTE.convert("RGB") if kind == "gif-of-palettes" else PICTURE)
    found = pixels(tmp_path / "images", MOVING[kind])
    assert np.abs(found.astype(int) - first).mean() < (12 if kind.startswith("gif") else 0.1)
    (message,) = said()
    assert "0.png has several frames, of which the first is taken" in message


def test_other_losses_are_said_once_for_a_data_set(tmp_path, said):
    pixels(tmp_path / "colour", encode("PNG"), (8, 8, 1))
    assert ["is in colour, which is turned to grey" in text for text in said()] == [True]
    pixels(tmp_path / "grey", encode("PNG", PICTURE.convert("L").convert("RGB")), (8, 8, 1))
    assert said() == []
    pixels(tmp_path / "cmyk", encode("JPEG", PICTURE.convert("CMYK")))
    assert ["is in CMYK, which is turned to RGB" in text for text in said()] == [True]
    pixels(tmp_path / "photo", encode("MPO", PICTURE, save_all=True, append_images=[PICTURE]))
    assert said() == []

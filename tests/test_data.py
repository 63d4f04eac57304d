"""Images from folders, zips and arrays: the same numbers, or a sentence."""

import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from samplerzoo.data import check, read
from samplerzoo.report import is_image, save_curve, save_grid, save_samples, tile

GREY, COLOUR = (8, 6, 1), (8, 6, 3)


def pixels(shape, n=4):
    return np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)


def write_folder(folder, images):
    folder.mkdir()
    for n, image in enumerate(images):
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(folder / f"{n}.png")
    return folder


def refused(path, shape=GREY):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        read(path, shape)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_folder_zip_and_npz_give_the_same_images(shape, tmp_path):
    images = pixels(shape)
    folder = write_folder(tmp_path / "images", images)
    (folder / "notes.txt").write_text("not an image")
    (folder / "._0.png").write_text("what macOS leaves beside an image")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"images/{path.name}")
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(4))
    np.savez_compressed(tmp_path / "alone.npz", images.astype(np.float64) / 127.5 - 1)
    expected = images.astype(np.float32) / 127.5 - 1
    for name in ("images", "images.zip", "images.npz", "alone.npz"):
        found = read(tmp_path / name, shape)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_grey_arrays_may_lack_the_channel(tmp_path):
    np.savez(tmp_path / "x.npz", pixels(GREY)[..., 0])
    assert read(tmp_path / "x.npz", GREY).shape == (4, *GREY)


def test_images_are_turned_to_the_colours_of_the_model(tmp_path):
    write_folder(tmp_path / "grey", pixels(GREY))
    write_folder(tmp_path / "colour", pixels(COLOUR))
    assert read(tmp_path / "grey", COLOUR).shape == (4, *COLOUR)
    assert read(tmp_path / "colour", GREY).shape == (4, *GREY)


def test_arrays_of_any_shape_are_data(tmp_path):
    points = np.random.default_rng(0).normal(size=(20, 2))
    np.savez(tmp_path / "points.npz", points)
    np.testing.assert_array_equal(
        read(tmp_path / "points.npz", (2,), None), points.astype(np.float32)
    )
    write_folder(tmp_path / "images", pixels(GREY))
    with pytest.raises(ValueError, match=r"shape \(2,\); give an \.npz"):
        read(tmp_path / "images", (2,))


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({"x": np.zeros((3, 8, 6, 1)), "y": np.zeros(3)}, "2 arrays and none called 'images'"),
        ({}, "0 arrays"),
        ({"x": np.full((3, *GREY), 0.5)}, "lie in [-1, 1]"),
        ({"x": np.full((3, *GREY), np.nan)}, "not finite"),
        ({"x": np.full((3, *GREY), -np.inf)}, "not finite"),
        ({"x": np.full((3, *GREY), -1e300)}, "not finite"),
        ({"x": np.zeros((3, *GREY), np.int64)}, "int64"),
        ({"x": np.zeros((3, *GREY), complex)}, "complex128"),
        ({"x": np.full((3, *GREY), "a")}, "<U1"),
        ({"x": np.full((3, *GREY), None)}, "Object arrays"),
        ({"x": -np.ones((3, 4, 4, 1))}, "(4, 4, 1)"),
        ({"x": -np.ones(GREY)}, "(6, 1, 1)"),
        ({"x": np.float32(-1)}, "()"),
        ({"x": -np.ones((1, *GREY))}, "1 image"),
        ({"x": -np.ones((0, *GREY))}, "0 image"),
    ],
)
def test_arrays_that_are_refused(arrays, word, tmp_path):
    np.savez(tmp_path / "x.npz", **arrays)
    assert word in refused(tmp_path / "x.npz")


def test_files_that_are_refused(tmp_path):
    assert "no folder or file" in refused(tmp_path / "nope")
    (tmp_path / "x.txt").write_text("text")
    assert "neither" in refused(tmp_path / "x.txt")
    for data in (b"", b"text", b"PK\x03\x04", b"\x93NUMPY"):
        (tmp_path / "x.npz").write_bytes(data)
        assert "cannot be read" in refused(tmp_path / "x.npz")
    (tmp_path / "empty").mkdir()
    assert "no image" in refused(tmp_path / "empty")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    assert "no image" in refused(tmp_path / "empty.zip")
    write_folder(tmp_path / "one", pixels(GREY, 1))
    assert "1 image" in refused(tmp_path / "one")
    write_folder(tmp_path / "large", pixels((9, 6, 1)))
    assert "6x9 pixels where the model makes 6x8" in refused(tmp_path / "large")
    folder = write_folder(tmp_path / "deep", pixels(GREY))
    Image.fromarray(pixels(GREY)[0, ..., 0].astype(np.uint16) * 256).save(folder / "0.png")
    assert "more than 8 bits" in refused(folder)


def test_an_npy_called_npz_is_read(tmp_path):
    with (tmp_path / "x.npz").open("wb") as file:
        np.save(file, pixels(GREY))
    assert read(tmp_path / "x.npz", GREY).shape == (4, *GREY)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_damaged_files_give_a_sentence_or_images(data, tmp_path_factory):
    """Any byte of an image, a zip or an .npz changed, or its end cut: ValueError, nothing else."""
    folder = tmp_path_factory.mktemp("damage")
    images = write_folder(folder / "images", pixels(GREY))
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(images.iterdir()):
            archive.write(path, path.name)
    np.savez_compressed(folder / "x.npz", pixels(GREY))
    target, source = data.draw(
        st.sampled_from([("images/1.png", "images"), ("x.zip", "x.zip"), ("x.npz", "x.npz")])
    )
    content = bytearray((folder / target).read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    (folder / target).write_bytes(content)
    with suppress(ValueError):
        found = read(folder / source, GREY)
        assert found.dtype == np.float32
        assert found.shape[1:] == GREY


def test_check_brings_bytes_into_range():
    images = pixels(GREY)
    np.testing.assert_allclose(check(images, "x", GREY, (-1.0, 1.0)), images / 127.5 - 1, atol=1e-6)
    with pytest.raises(ValueError, match="int32"):
        check(images.astype(np.int32), "x", GREY, None)
    with pytest.raises(ValueError, match="object"):
        check(np.full((3, *GREY), None), "x", GREY, None)


@given(
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 5),
    st.sampled_from([1, 3]),
)
def test_tile_keeps_every_image(n, columns, height, width, channels):
    rng = np.random.default_rng(n)
    images = rng.uniform(-1.2, 1.2, (n, height, width, channels)).astype(np.float32)
    grid = tile(images, columns)
    rows = -(-n // columns)
    assert grid.dtype == np.uint8
    assert grid.shape == (rows * (height + 1) - 1, columns * (width + 1) - 1, channels)
    for k, image in enumerate(images):
        top, left = k // columns * (height + 1), k % columns * (width + 1)
        part = grid[top : top + height, left : left + width]
        np.testing.assert_allclose(part / 127.5 - 1, np.clip(image, -1, 1), atol=0.5 / 127.5 + 1e-5)
    if columns > 1:
        assert np.all(grid[:, width] == 128)


def test_pictures_of_anything(tmp_path):
    images = np.zeros((5, *COLOUR), np.float32)
    images[0], images[1] = np.nan, np.inf
    save_grid(tmp_path / "grid.png", images)
    save_grid(tmp_path / "line.png", np.zeros((1, 40, 1, 1), np.float32))
    save_samples(tmp_path / "samples.png", {"a": images, "b": images[:1], "c": np.zeros((4, 2))})
    for n, kids in enumerate(([], [0.1], [0.1] * 50, [np.nan] * 50, [0.1, np.nan, 0.2] * 20)):
        save_curve(tmp_path / f"{n}.png", kids)
    for path in tmp_path.iterdir():
        with Image.open(path) as image:
            image.load()
    assert is_image(GREY)
    assert not is_image((2,))
    assert not is_image((8, 8, 2))

"""Images from folders, zips and arrays: the same numbers, or a sentence."""

import io
import subprocess
import sys
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from matplotlib.figure import Figure
from PIL import Image

from samplerzoo.data import Images, read
from samplerzoo.metrics.intervals import Interval
from samplerzoo.runs.curves import Point
from samplerzoo.runs.objectives import minimised
from samplerzoo.runs.pictures import (
    draw_curve,
    draw_grid,
    draw_scores,
    draw_strips,
    is_image,
    tile,
)

GREY, COLOUR = (8, 6, 1), (8, 6, 3)


def pixels(shape, n=4):
    return np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)


def write_folder(folder, images):
    folder.mkdir()
    for n, image in enumerate(images):
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(folder / f"{n}.png")
    return folder


def everything(path, shape=GREY, *more, **options):
    """All images at a path, read in parts."""
    return np.concatenate(list(read(path, shape, *more, **options).batches(3)))


def refused(path, shape=GREY, **options):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        everything(path, shape, **options)
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
        found = everything(tmp_path / name, shape)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_grey_arrays_may_lack_the_channel(tmp_path):
    np.savez(tmp_path / "x.npz", pixels(GREY)[..., 0])
    assert everything(tmp_path / "x.npz").shape == (4, *GREY)


def test_images_are_turned_to_the_colours_of_the_model(tmp_path):
    write_folder(tmp_path / "grey", pixels(GREY))
    write_folder(tmp_path / "colour", pixels(COLOUR))
    assert everything(tmp_path / "grey", COLOUR).shape == (4, *COLOUR)
    assert everything(tmp_path / "colour", GREY).shape == (4, *GREY)


def test_arrays_of_any_shape_are_data(tmp_path):
    points = np.random.default_rng(0).normal(size=(20, 2))
    np.savez(tmp_path / "points.npz", points)
    np.testing.assert_array_equal(
        everything(tmp_path / "points.npz", (2,), None), points.astype(np.float32)
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
    assert everything(tmp_path / "x.npz").shape == (4, *GREY)


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
        found = everything(folder / source)
        assert found.dtype == np.float32
        assert found.shape[1:] == GREY


def test_arrays_are_brought_into_range():
    images = pixels(GREY)
    for clip, expected in (
        (None, images / 127.5 - 1),
        ((-1.0, 1.0), images / 127.5 - 1),
        ((0.0, 2.0), images / 127.5),
    ):
        np.testing.assert_allclose(Images.of(images, clip)[:], expected, atol=1e-6)
    with pytest.raises(ValueError, match="int32"):
        Images.of(images.astype(np.int32))
    with pytest.raises(ValueError, match="object"):
        Images.of(np.full((3, *GREY), None))


def test_parts_of_a_set_are_read_as_asked(tmp_path):
    images = read(write_folder(tmp_path / "images", pixels(GREY, 10)), GREY)
    whole = images[:]
    assert len(images) == 10
    assert images.shape == GREY
    for rows in (slice(0, 3), slice(4, 5), slice(7, 99), slice(-2, None), slice(3, 3), slice(9, 2)):
        np.testing.assert_array_equal(images[rows], whole[rows])
    with pytest.raises(ValueError, match="no step"):
        images[::2]
    assert [len(batch) for batch in images.batches(4)] == [4, 4, 2]


def write_splits(folder):
    for n, split in enumerate(("train", "test")):
        (folder / split).mkdir(parents=True)
        write_folder(folder / split / "cats", pixels(GREY, 3 + n))
    return folder


def test_splits_of_folders_zips_and_arrays(tmp_path):
    folder = write_splits(tmp_path / "images")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for path in folder.rglob("*.png"):
            archive.write(path, path.relative_to(folder))
    np.savez(tmp_path / "images.npz", train=pixels(GREY, 3), test=pixels(GREY, 4))
    for name in ("images", "images.zip", "images.npz"):
        for split, n in (("train", 3), ("test", 4)):
            expected = pixels(GREY, n) / 127.5 - 1
            found = everything(tmp_path / name, split=split)
            np.testing.assert_allclose(found, expected, atol=1e-6)
        said = refused(tmp_path / name, split="val")
        assert "no split 'val'; it has test, train." in said
    assert len(read(folder, GREY)) == 7
    assert len(read(folder, GREY, split="test/cats")) == 4
    assert "none called 'images'; --split chooses one of train, test" in refused(
        tmp_path / "images.npz"
    )
    assert "it has none" in refused(folder / "train" / "cats", split="train")
    np.save(tmp_path / "x.npy", pixels(GREY))
    assert "it has none" in refused(tmp_path / "x.npy", split="train")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, ">f4", np.float64])
def test_arrays_are_mapped_whatever_their_layout(dtype, order, tmp_path):
    images = pixels(COLOUR)
    array = images if dtype is np.uint8 else (images / 127.5 - 1).astype(dtype)
    array = np.asarray(array, order=order)
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "x.npz", more=np.zeros(3), images=array)
    np.savez_compressed(tmp_path / "packed.npz", array)
    for name in ("x.npy", "x.npz", "packed.npz"):
        found = everything(tmp_path / name, COLOUR)
        np.testing.assert_allclose(
            found, images / 127.5 - 1, atol=1e-3 if dtype == np.float16 else 1e-6
        )


def shrunk(pixels, size):
    """An image cropped as the published loaders do, written down a second time."""
    image = Image.fromarray(pixels)
    while min(*image.size) >= 2 * size:
        image = image.resize(tuple(x // 2 for x in image.size), resample=Image.Resampling.BOX)
    scale = size / min(*image.size)
    image = image.resize(
        tuple(round(x * scale) for x in image.size), resample=Image.Resampling.BICUBIC
    )
    array = np.array(image)
    top, left = (array.shape[0] - size) // 2, (array.shape[1] - size) // 2
    return array[top : top + size, left : left + size]


def test_images_are_cropped_as_for_imagenet(tmp_path):
    shapes = [(8, 8), (50, 33), (9, 40), (64, 64), (5, 7), (8, 200)]
    (tmp_path / "images").mkdir()
    expected = []
    for n, (height, width) in enumerate(shapes):
        image = pixels((height, width, 3), 1)[0]
        Image.fromarray(image).save(tmp_path / "images" / f"{n}.png")
        expected.append(shrunk(image, 8))
    found = everything(tmp_path / "images", (8, 8, 3), crop=True)
    np.testing.assert_allclose(found, np.stack(expected) / 127.5 - 1, atol=1e-6)
    assert "--crop (crop=True)" in refused(tmp_path / "images", (8, 8, 3))
    with pytest.raises(ValueError, match="square, but the model makes 6x8"):
        read(tmp_path / "images", COLOUR, crop=True)


def test_digests_are_of_content_and_of_how_it_is_read(tmp_path):
    images = pixels((8, 8, 3))
    folder = write_folder(tmp_path / "images", images)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"deep/{path.name}")
    (tmp_path / "elsewhere").mkdir()
    copy = write_folder(tmp_path / "elsewhere" / "images", images)
    np.save(tmp_path / "x.npy", images)
    np.savez_compressed(tmp_path / "x.npz", images)

    def digest(path, shape=(8, 8, 3), **options):
        return read(path, shape, **options).digest

    same = {digest(folder), digest(copy), digest(tmp_path / "x.zip")}
    assert len(same) == 1
    arrays = {
        digest(tmp_path / "x.npy"),
        digest(tmp_path / "x.npz"),
        Images.of(images, (-1.0, 1.0)).digest,
    }
    assert len(arrays) == 1
    others = {
        digest(folder, clip=None),
        digest(folder, clip=(0.0, 1.0)),
        digest(folder, crop=True),
        digest(folder, (8, 8, 1)),
        digest(folder, (4, 4, 3), crop=True),
    }
    assert len(others | same | arrays) == 7
    Image.fromarray(images[0]).save(folder / "0.png", compress_level=0)
    assert digest(folder) not in same


def test_a_digest_never_decodes(tmp_path):
    folder = write_folder(tmp_path / "images", pixels(GREY))
    (folder / "2.png").write_bytes(b"no image")
    assert len(read(folder, GREY).digest) == 64
    assert f"{folder}/2.png cannot be read as an image" in refused(folder)


def test_files_that_vanish_are_named(tmp_path):
    images = read(write_folder(tmp_path / "images", pixels(GREY)), GREY)
    (tmp_path / "images" / "2.png").unlink()
    with pytest.raises(ValueError, match=r"images/2\.png cannot be read: No such file"):
        images[:]


MEMORY = """
import resource, sys
from pathlib import Path
from samplerzoo.data import read
images = read(Path(sys.argv[1]), (256, 256, 3))
next(images.batches(8))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
total = sum(float(batch.mean()) for batch in images.batches(8))
images.digest
print(len(images), before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_set(tmp_path):
    """1,000 images that take 786 MB as floats and 197 MB as bytes are read in under 60 MB."""
    image = np.zeros((256, 256, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "x.png")
    data = (tmp_path / "x.png").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for n in range(1000):
            archive.writestr(f"{n}.png", data)
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "x.zip")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, before, after = map(int, done.stdout.split())
    assert count == 1000
    assert after - before < 60e3


def test_memory_of_large_arrays_is_not_taken(tmp_path):
    """A compressed array of 201 MB, that is checked, hashed and read."""
    np.savez_compressed(tmp_path / "x.npz", np.zeros((256, 512, 512, 3), np.uint8))
    tracemalloc.start()
    images = read(tmp_path / "x.npz", (512, 512, 3))
    assert len(images.digest) == 64
    assert images[200:210].shape == (10, 512, 512, 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80e6


CIFAR = Path(__file__).parents[2] / "shared" / "data" / "cifar10-test.zip"


@pytest.mark.skipif(not CIFAR.exists(), reason="the images of CIFAR-10 are not there")
def test_ten_thousand_real_images():
    images = read(CIFAR, (32, 32, 3))
    total = np.zeros(3)
    for batch in images.batches(1000):
        total += batch.mean((0, 1, 2)) / 10
    assert len(images) == 10_000
    np.testing.assert_allclose((total + 1) / 2, [0.494, 0.485, 0.450], atol=0.003)


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


def test_numbers_at_an_axis_are_plain(monkeypatch):
    """Formulas are not drawn, so none may stand there."""
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    draw_curve([10.0**-power for power in np.linspace(0, 5, 50)])
    draw_scores({"a": {4: Point("a", Interval(2.0)), 8: Point("a", Interval(0.2))}})
    for figure in figures:
        figure.canvas.draw()
        labels = [label.get_text() for label in figure.axes[0].get_yticklabels(which="both")]
        assert sum(map(bool, labels)) >= 2
        assert not any("$" in label for label in labels)


@pytest.mark.parametrize(
    ("objective", "spaces", "says"),
    [
        ("kid", "digits-cnn", "KID in digits-cnn"),
        ("kid", "pixels,digits-cnn", "KID in pixels and digits-cnn"),
        ("kid+0.1*teacher:power=1", "pixels", "objective kid+0.1*teacher:power=1"),
        ("object:Mine", "pixels", "objective Mine"),
        ("kid", f"openai:{Path.home()}/models/x.pt", "KID in openai:x.pt"),
        ("x" * 300, "pixels", f"objective {'x' * 47}..."),
    ],
)
def test_the_curves_axis_says_what_was_minimised(objective, spaces, says, monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    draw_curve([0.2, 0.1], "", minimised(objective, spaces))
    assert figures[0].axes[0].get_ylabel() == says


def test_pictures_of_anything():
    images = np.zeros((5, *COLOUR), np.float32)
    images[0], images[1] = np.nan, np.inf
    pictures = [draw_grid(images), draw_grid(np.zeros((1, 40, 1, 1), np.float32))]
    pictures.append(draw_strips({"a": images, "b": images[:1], "c": np.zeros((4, 2))}))
    for kids in ([], [0.1], [0.1] * 50, [np.nan] * 50, [0.1, np.nan, 0.2] * 20):
        pictures.append(draw_curve(kids))
    for picture in pictures:
        with Image.open(io.BytesIO(picture)) as image:
            image.load()
    assert is_image(GREY)
    assert not is_image((2,))
    assert not is_image((8, 8, 2))

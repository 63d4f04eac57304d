"""CIFAR's own files and Parquet: the images that were put in, or a sentence."""

import io
import itertools
import pickle
import random
import struct
import tarfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samplerzoo.data import read

SHAPE = (32, 32, 3)


def images(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, *SHAPE), np.uint8)


def rows(images: np.ndarray) -> np.ndarray:
    """(N, 3072) as CIFAR has them: all red, all green, all blue."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2).reshape(len(images), -1))


def binary(images: np.ndarray, labels: int) -> bytes:
    return b"".join(bytes([7] * labels) + row.tobytes() for row in rows(images))


def text(value: str | bytes) -> bytes:
    """A string of Python 2."""
    data = value.encode() if isinstance(value, str) else value
    return (
        b"U" + bytes([len(data)]) + data
        if len(data) < 256
        else (b"T" + struct.pack("<i", len(data)) + data)
    )


def array(data: np.ndarray, shape: tuple | None = None, fortran: bool = False) -> bytes:
    """An array as NumPy pickled it under Python 2, protocol 2."""
    size = b"(" + b"".join(b"J" + struct.pack("<i", n) for n in shape or data.shape) + b"t"
    kind = b"K\x00K\x01\x87Rq\x09(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
    return (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85"
        + text("b")
        + b"\x87Rq\x07(K\x01"
        + size
        + b"cnumpy\ndtype\nq\x08"
        + text("u1")
        + kind
        + b"K\x00tb"
        + (b"\x88" if fortran else b"\x89")
        + text(data.tobytes("F" if fortran else "C"))
        + b"tb"
    )


def batch(data: bytes, count: int) -> bytes:
    """A file of CIFAR's Python version: a dict of labels, names and the array."""
    labels = b"](" + b"K\x07" * count + b"e"
    names = b"](" + b"".join(text(f"leptodactylus_{n}.png") + b"q\x0b" for n in range(count)) + b"e"
    return (
        b"\x80\x02}q\x01("
        + text("batch_label")
        + text("training batch 1 of 5")
        + text("labels")
        + labels
        + text("data")
        + data
        + text("filenames")
        + names
        + b"u."
    )


def pickled(images: np.ndarray) -> bytes:
    return batch(array(rows(images)), len(images))


# Each version's files by split, and how one is made.
VERSIONS = {
    "cifar-10-batches-bin": (
        [f"data_batch_{n}.bin" for n in range(1, 6)],
        "test_batch.bin",
        lambda x: binary(x, 1),
        "batches.meta.txt",
    ),
    "cifar-100-binary": (["train.bin"], "test.bin", lambda x: binary(x, 2), "fine_label_names.txt"),
    "cifar-10-batches-py": (
        [f"data_batch_{n}" for n in range(1, 6)],
        "test_batch",
        pickled,
        "batches.meta",
    ),
    "cifar-100-python": (["train"], "test", pickled, "meta"),
}


def write_cifar(folder: Path, version: str) -> tuple[Path, np.ndarray, np.ndarray]:
    """A version's folder with few images, and those of both splits."""
    names, test, make, mark = VERSIONS[version]
    parts, last = [images(n + 3) for n, _ in enumerate(names)], images(4)
    (folder / version).mkdir(parents=True)
    for name, part in zip([*names, test], [*parts, last], strict=True):
        (folder / version / name).write_bytes(make(part))
    (folder / version / mark).write_text("airplane\n")
    return folder / version, np.concatenate(parts), last


def refused(path: Path, **options) -> str:
    with pytest.raises(ValueError, match=r"\.$") as caught:
        read(path, SHAPE, **options)[:]
    said = str(caught.value)
    assert str(path) in said
    assert "\n" not in said
    assert len(said) < 500 + len(str(path))
    return said


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("packed", [False, True])
def test_cifar_as_it_is_published(version, packed, tmp_path):
    path, train, test = write_cifar(tmp_path, version)
    if packed:
        folder, path = path, tmp_path / f"{version}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder, version)
    for split, expected in ((None, train), ("train", train), ("test", test)):
        found = read(path, SHAPE, split=split)
        np.testing.assert_allclose(found[:], expected / 127.5 - 1, atol=1e-6)
    assert "no split 'val'; it has test, train" in refused(path, split="val")
    with pytest.raises(ValueError, match=r"shape \(32, 32, 3\) where the model makes \(8, 8, 3\)"):
        read(path, (8, 8, 3))


@pytest.mark.parametrize("protocol", [3, 4])
def test_pickles_of_python_3(protocol, tmp_path):
    path, *_ = write_cifar(tmp_path, "cifar-100-python")
    expected = images(5)
    content = {b"data": rows(expected), b"fine_labels": [1] * 5}
    (path / "train").write_bytes(pickle.dumps(content, protocol))
    np.testing.assert_allclose(read(path, SHAPE)[:], expected / 127.5 - 1, atol=1e-6)


def test_pickles_of_protocol_1(tmp_path):
    """Which has no opcodes for truth, for short tuples and for its own number."""
    path, *_ = write_cifar(tmp_path, "cifar-100-python")
    data = (path / "test").read_bytes().removeprefix(b"\x80\x02").replace(b"tb\x89T", b"tbI00\nT")
    (path / "test").write_bytes(data.replace(b"K\x00\x85U", b"(K\x00tU"))
    assert b"I00\n" in data
    np.testing.assert_allclose(read(path, SHAPE, split="test")[:], images(4) / 127.5 - 1, atol=1e-6)


def test_arrays_in_the_order_of_fortran(tmp_path):
    path, *_ = write_cifar(tmp_path, "cifar-100-python")
    expected = images(5)
    (path / "test").write_bytes(batch(array(rows(expected), fortran=True), 5))
    found = read(path, SHAPE, split="test")
    np.testing.assert_allclose(found[:], expected / 127.5 - 1, atol=1e-6)


class Attack:
    """An object whose pickle runs a command when it is read by Python."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("inside", [False, True])
def test_pickles_that_run_commands_are_refused(inside, protocol, tmp_path):
    path, *_ = write_cifar(tmp_path, "cifar-100-python")
    attack = Attack(tmp_path / "owned")
    data = pickle.dumps({"data": attack} if inside else attack, protocol)
    (path / "train").write_bytes(data)
    assert "train cannot be read as CIFAR's images" in refused(path)
    assert not (tmp_path / "owned").exists()
    pickle.loads(data)
    assert (tmp_path / "owned").exists()


ZEROS = np.zeros((2, 3072), np.uint8)
DEEP = b")" + b"\x85" * 20_000
HOSTILE = {
    "eval": (b"cbuiltins\neval\n.", "builtins.eval, which is not a known array"),
    "object": (
        pickle.dumps({"data": np.array([object])}, 2),
        "not a known array|none that arrays|8 bits",
    ),
    "wide": (pickle.dumps({"data": np.zeros((2, 3072))}, 4), "not of 8 bits"),
    "narrow": (batch(array(np.zeros((2, 3000), np.uint8)), 2), "rows of 3072"),
    "flat": (batch(array(np.zeros(6144, np.uint8)), 2), "rows of 3072"),
    "claims": (batch(array(ZEROS, (2**30, 3072)), 2), "not as many"),
    "fewer": (batch(array(ZEROS, (1, 3072)), 2), "not as many"),
    "negative": (batch(array(ZEROS, (-2, 3072)), 2), "rows of 3072"),
    "no data": (b"\x80\x02}.", "no array called 'data'"),
    "list": (b"\x80\x02].", "no array called 'data'"),
    "text": (b"\x80\x02}" + text("data") + text("x") + b"s.", "no array called 'data'"),
    "unfilled": (
        b"\x80\x02}" + text("data") + b"cnumpy.core.multiarray\n_reconstruct\n)Rs.",
        "no array called 'data'",
    ),
    "filled with depth": (
        b"\x80\x02}" + text("data") + b"cnumpy.core.multiarray\n_reconstruct\n)R" + DEEP + b"bs.",
        "no array called 'data'",
    ),
    "fills a list": (b"]]b.", "fills something that is not an array"),
    "persistent": (b"]Q.", "refers to something"),
    "deep type": (b"cnumpy\ndtype\n" + DEEP + b"\x85R.", "not of 8 bits"),
    "deep key": (b"}" + DEEP + b"K\x01s.", "neither a text nor"),
    "long text": (b"T" + struct.pack("<i", 2**31 - 1) + b"x.", "expected"),
    "negative text": (b"T" + struct.pack("<i", -5) + b"x.", "negative"),
    "endless": (b"(" * 600_000, "more than 500000 opcodes"),
    "cut": (pickled(ZEROS.reshape(2, *SHAPE))[:-900], "expected|end|fit"),
    "not a pickle": (b"hello", "opcode|end"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickles(case, tmp_path):
    path, *_ = write_cifar(tmp_path, "cifar-100-python")
    data, message = HOSTILE[case]
    (path / "train").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read(path, SHAPE)
    refused(path)


def test_damaged_files_of_cifar(tmp_path):
    path, *_ = write_cifar(tmp_path, "cifar-10-batches-bin")
    (path / "data_batch_3.bin").write_bytes(bytes(3000))
    assert "data_batch_3.bin cannot be read as CIFAR's images: its 3000 bytes" in refused(path)
    (path / "data_batch_3.bin").unlink()
    assert "lacks data_batch_3.bin" in refused(path)
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(path / "batches.meta.txt")
    assert "not an archive of CIFAR's; unpack it" in refused(tmp_path / "x.tar.gz")
    for data in (b"", b"text", b"\x1f\x8b", (tmp_path / "x.tar.gz").read_bytes()[:-20]):
        (tmp_path / "y.tar.gz").write_bytes(data)
        refused(tmp_path / "y.tar.gz")


def test_members_that_unpack_without_end(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMPLERZOO_MAX_FILE_BYTES", "1000000")
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        for name in ("train.bin", "test.bin"):
            member = tarfile.TarInfo(name)
            member.size = 2 * 10**6
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    said = refused(tmp_path / "x.tar.gz")
    assert "x.tar.gz/train.bin has 2,000,000 bytes; at most 1,000,000" in said
    assert "SAMPLERZOO_MAX_FILE_BYTES" in said


@pytest.mark.parametrize("version", ["cifar-100-binary", "cifar-100-python"])
def test_mutated_files_are_refused_or_images(version, tmp_path):
    path, *_ = write_cifar(tmp_path, version)
    name = VERSIONS[version][0][0]
    data, chance, accepted = (path / name).read_bytes(), random.Random(0), 0
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(chance.choice([1, 1, 2, 8])):
            # The head and the tail are where opcodes lie; the rest are pixels.
            at = chance.choice([chance.randrange(600), chance.randrange(len(data))]) % len(changed)
            kind = chance.randrange(3)
            if kind == 0:
                changed[at] = chance.randrange(256)
            elif kind == 1:
                del changed[at : at + chance.choice([1, 8, 3074])]
            else:
                changed[at:at] = changed[at : at + chance.choice([1, 8])]
        (path / name).write_bytes(bytes(changed))
        with suppress(ValueError):
            accepted += read(path, SHAPE)[:].shape[1:] == SHAPE
    assert 0 < accepted < 300


def encode(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def parquet():
    return pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")


def write_shards(parquet, folder: Path, column: str = "image") -> dict[str, np.ndarray]:
    """Two shards of train and one of test, in groups of 4 rows, in a folder of a folder."""
    import pyarrow

    found = {"train": images(17), "test": images(5)}
    shards = {
        "train-00000-of-00002": found["train"][:9],
        "train-00001-of-00002": found["train"][9:],
        "test-00000-of-00001": found["test"],
    }
    (folder / "data").mkdir(parents=True)
    for name, part in shards.items():
        table = pyarrow.table(
            {
                "label": list(range(len(part))),
                column: [
                    {"bytes": encode(image), "path": f"{n}.png"} for n, image in enumerate(part)
                ],
            }
        )
        parquet.write_table(table, folder / "data" / f"{name}.parquet", row_group_size=4)
    return found


@pytest.mark.parametrize("column", ["image", "img"])
def test_parquet_of_the_hub(parquet, column, tmp_path):
    expected = write_shards(parquet, tmp_path / "set", column)
    for split in ("train", "test"):
        found = read(tmp_path / "set", SHAPE, split=split)
        assert len(found) == len(expected[split])
        np.testing.assert_allclose(found[:], expected[split] / 127.5 - 1, atol=1e-6)
    whole = expected["train"] / 127.5 - 1
    train = read(tmp_path / "set" / "data", SHAPE, split="train")
    for start, stop in itertools.combinations((0, 1, 4, 8, 9, 12, 17), 2):
        np.testing.assert_allclose(train[start:stop], whole[start:stop], atol=1e-6)
    assert len(read(tmp_path / "set", SHAPE)) == 22
    alone = tmp_path / "set" / "data" / "test-00000-of-00001.parquet"
    assert read(alone, SHAPE).digest == read(tmp_path / "set", SHAPE, split="test").digest
    assert "no split 'val'; it has test, train" in refused(tmp_path / "set", split="val")


def test_rows_are_read_by_groups(parquet, tmp_path, monkeypatch):
    write_shards(parquet, tmp_path)
    asked = []
    true = parquet.ParquetFile.iter_batches

    def count(file, size, row_groups, **options):
        asked.extend(row_groups)
        return true(file, size, row_groups, **options)

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", count)
    for _ in read(tmp_path, SHAPE, split="train").batches(3):
        pass
    assert asked == [0, 1, 2, 0, 1]


def test_parquet_that_is_refused(parquet, tmp_path):
    import pyarrow

    path = tmp_path / "x.parquet"
    parquet.write_table(pyarrow.table({"label": [1, 2], "image": ["a", "b"]}), path)
    assert "no column image or img of images; it has label, image" in refused(path)
    good = encode(images(1)[0])
    for rows, word in (
        ([{"bytes": good, "path": "a"}, {"bytes": None, "path": "b"}], "x.parquet:1 holds no"),
        ([{"bytes": good, "path": "a"}, None], "x.parquet:1 holds no image"),
        ([{"bytes": good, "path": "a"}, {"bytes": b"x", "path": "b"}], "x.parquet:1 cannot be"),
        ([{"bytes": good, "path": "a"}], "holds 1 image"),
    ):
        parquet.write_table(pyarrow.table({"image": rows}), path)
        assert word in refused(path)
    parquet.write_table(pyarrow.table({"image": [{"bytes": good, "path": "a"}] * 50}), path)
    data, chance = path.read_bytes(), random.Random(0)
    for length in (0, 3, 50, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        assert "cannot be read as Parquet" in refused(path)
    for _ in range(60):
        changed = bytearray(data)
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(changed))
        with suppress(ValueError):
            assert read(path, SHAPE)[:].shape[1:] == SHAPE


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    (tmp_path / "train-00000-of-00001.parquet").write_bytes(b"PAR1")
    assert "pip install 'samplerzoo[parquet]'" in refused(tmp_path)

"""Data sets from anybody: archives that unpack without end, tables of too many rows, devices."""

import gzip
import io
import lzma
import os
import socket
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from hostile import Case, check_refusal, survive
from hostile_images import SHAPE, encode, files, look
from samplerzoo.data import read

PNG = encode("PNG")
LIMIT = "MAX_UNPACKED_BYTES"


def archive(path: Path, content: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in content.items():
            file.writestr(name, data)


def claim(path: Path, content: dict[str, bytes], size: int) -> None:
    """A zip whose directory claims another size of every member."""
    archive(path, content)
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + 24 : at + 28] = struct.pack("<I", size)
        at = data.find(b"PK\x01\x02", at + 4)
    path.write_bytes(data)


def in_one_place(path: Path) -> None:
    """A zip of ten names whose members are one place in the file."""
    archive(path, {"0.png": PNG})
    data = path.read_bytes()
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entries = b"".join(data[start:end].replace(b"0.png", b"%d.png" % n) for n in range(10))
    tail = data[end : end + 8] + struct.pack("<HHII", 10, 10, len(entries), start) + b"\0\0"
    path.write_bytes(data[:start] + entries + tail)


ZIPS = {
    "bomb": (lambda p: archive(p, {"0.png": bytes(27 * 10**7), "1.png": PNG}), "MAX_FILE_BYTES"),
    "many-bombs": (lambda p: archive(p, {f"{n}.png": bytes(10**7) for n in range(9)}), "0.png"),
    "claims-less": (lambda p: claim(p, {f"{n}.png": bytes(10**7) for n in range(3)}, 99), "0.png"),
    "claims-more": (
        lambda p: claim(p, {"0.png": PNG, "1.png": PNG}, 2**32 - 2),
        "x.zip:0.png has 4,294,967,294 bytes; at most 268,435,456 bytes are taken",
    ),
    "lzma": (lambda p: archive(p, {"0.png": b"", "1.png": b""}, zipfile.ZIP_LZMA), "deflate"),
    "bzip2": (lambda p: archive(p, {"0.png": b"", "1.png": b""}, zipfile.ZIP_BZIP2), "deflate"),
    "one-place": (in_one_place, "x.zip:1.png"),
    "terminal": (lambda p: archive(p, {"\x1b[2J\u202e.png": b"a", "1.png": PNG}), "cannot be read"),
    "long-names": (lambda p: archive(p, {"b" * 60_000 + ".png": b"a", "c.png": PNG}), "bbb..."),
    "long-folders": (lambda p: archive(p, {"a/" * 9999 + "b.png": b"", "1.png": PNG}), "a/a/a/"),
    "paths": (lambda p: archive(p, {"/etc/0.png": b"a", "/1.png": PNG}), "x.zip:/etc/0.png"),
}
CASES = {
    f"zip-{name}": Case(lambda f, make=make: make(f / "x.zip"), look("x.zip"), word)
    for name, (make, word) in ZIPS.items()
}


def npy(header: str, data: bytes = b"") -> bytes:
    """An .npy file with a header as it is given."""
    text = header.encode() + b"\n"
    return np.lib.format.magic(2, 0) + struct.pack("<I", len(text)) + text + data


def described(descr: object, shape: object) -> bytes:
    return npy(f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}}}")


def gigabytes(path: Path, name: str = "images", size: int = 2**31) -> None:
    """An .npz of a thousandth of the size that it unpacks to."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    start = packer.compress(described("|u1", (size // 192, *SHAPE)))
    start += packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    data = start + block * (size // 2**24) + packer.flush()
    file = f"{name}.npy".encode()
    about = struct.pack("<HHIIIIHH", 0, 8, 0, 0, len(data), size, len(file), 0)
    head = b"PK\x03\x04\x14\0" + about + file
    entry = b"PK\x01\x02\x14\0\x14\0" + about + bytes(14) + file
    tail = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), len(head + data), 0)
    path.write_bytes(head + data + entry + tail)


NPZS = {
    "bomb": (gigabytes, {}, LIMIT),
    "bomb-of-a-split": (lambda p: gigabytes(p, "a", 5 * 2**28), {"split": "a"}, LIMIT),
    "lower-limit": (
        lambda p: gigabytes(p, size=2**24),
        {"SAMPLERZOO_MAX_UNPACKED_BYTES": "1000000"},
        "at most 1,000,000 bytes are taken",
    ),
    "claims-less": (lambda p: claim(p, {"a.npy": bytes(10**7)}, 100), {}, "as one array"),
    "claims-more": (lambda p: claim(p, {"a.npy": b""}, 2**31), {}, LIMIT),
    "lzma": (lambda p: archive(p, {"a.npy": b""}, zipfile.ZIP_LZMA), {}, "another method"),
    "names": (
        lambda p: archive(p, {f"\x1b[1m{n}\u200b{'x' * 999}.npy": b"" for n in range(99)}),
        {},
        "99 arrays and none called 'images'; --split chooses one of",
    ),
    "no-arrays": (lambda p: archive(p, {"images.png": PNG}), {}, "as one array"),
}
CASES |= {
    f"npz-{name}": Case(lambda f, make=make: make(f / "x.npz"), look("x.npz", **options), word)
    for name, (make, options, word) in NPZS.items()
}
NPYS = {
    "terabytes": described("<f4", (2**40, *SHAPE)),
    "overflow": described("<f4", (2**62, *SHAPE)),
    "huge-number": npy("{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 9000 + ",)}"),
    "negative": described("|u1", (-3, *SHAPE)),
    "axes": described("|u1", (0,) * 3000),
    "empty-and-huge": described("|u1", (2**60, 0, 2**60)),
    "no-size": described("|V0", (2**60,)),
    "deep": npy("(" * 9000 + ")" * 9000),
    "long": npy("{" + " " * 10**6 + "}"),
    "code": npy("__import__('os').system('touch owned')"),
    "dtype": described([("f" * 99 + str(n), "|u1") for n in range(60)], (0,)),
    "text-dtype": described("<U1000000000", (2, *SHAPE)),
    "objects": described("|O", (2, *SHAPE)),
    "version": b"\x93NUMPY\x09\x00" + bytes(100),
}
CASES |= {
    f"npy-{name}": Case(files({"x.npy": data}), look("x.npy"), "x.npy")
    for name, data in NPYS.items()
}


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE, **more) -> bytes:
    """The block before a member of a tar."""
    info = tarfile.TarInfo(name)
    info.size, info.type = abs(size), kind
    for key, value in more.items():
        setattr(info, key, value)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if size < 0:
        block[124:136] = b"\xff" * 4 + struct.pack(">q", size)
        block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:512]))
    return bytes(block)


MEBIBYTE = gzip.compress(bytes(2**20))


def tar(*parts: bytes) -> bytes:
    """A .tar.gz of parts, each compressed already or a block."""
    return b"".join(p if p[:2] == b"\x1f\x8b" else gzip.compress(p) for p in parts)


TARS = {
    "bomb": (tar(header("train.bin", 2**31), *[MEBIBYTE] * 2048), LIMIT),
    "file": (tar(header("train.bin", 2**23), *[MEBIBYTE] * 9), "MAX_FILE_BYTES", "FILE"),
    "bomb-elsewhere": (tar(header("readme", 2**31), *[MEBIBYTE] * 2048), LIMIT),
    "bomb-behind": (tar(header("train.bin", 0), bytes(1024), *[MEBIBYTE] * 9), LIMIT, "UNPACKED"),
    "claims": (tar(header("train.bin", 2**40), bytes(512)), LIMIT),
    "negative": (tar(header("train.bin", -1024), bytes(512)), "less than nothing"),
    "long-header": (tar(header("././@LongLink", 2**30, b"L"), *[MEBIBYTE] * 1024), LIMIT),
    "pax-header": (tar(header("pax", 2**30, b"x"), *[MEBIBYTE] * 1024), LIMIT),
    "sparse": (tar(header("train.bin", 2**33, b"S"), bytes(512)), LIMIT),
    "links": (
        tar(header("train.bin", 0, b"2", linkname="/etc/passwd"), bytes(1024)),
        "not an archive",
    ),
    "members": (tar(*[header(f"{n}", 0) for n in range(2000)]), "more than 1000 members"),
    "names": (tar(header("\x1b[1m.bin", 0), bytes(1024)), "not an archive of CIFAR's"),
    "xz": (lzma.compress(header("train.bin", 0)), "cannot be read"),
    "half": (tar(header("train.bin", 3074), bytes(3074))[:-9], "x.tar.gz"),
    "noise": (gzip.compress(os.urandom(5000)), "cannot be read"),
}
CASES |= {
    f"tar-{name}": Case(
        files({"x.tar.gz": data}),
        look("x.tar.gz", **{f"SAMPLERZOO_MAX_{limit}_BYTES": "5000000" for limit in low}),
        word,
    )
    for name, (data, word, *low) in TARS.items()
}


def table(folder: Path, rows: list | None, **options) -> None:
    """A Parquet file of rows of images."""
    import pyarrow
    from pyarrow import parquet

    kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    columns = {"image": pyarrow.array(rows or [], kind)}
    parquet.write_table(pyarrow.table(columns), folder / "x.parquet", **options)


def nulls(folder: Path) -> None:
    """A hundred million rows without images, in a few kilobytes."""
    import pyarrow
    from pyarrow import parquet

    kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    schema = pyarrow.schema({"image": kind})
    rows = pyarrow.table({"image": pyarrow.nulls(10**6, kind)}, schema)
    with parquet.ParquetWriter(folder / "x.parquet", schema) as file:
        for _ in range(140):
            file.write_table(rows)


def columns(folder: Path, names: list[str]) -> None:
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(name, pyarrow.int8()) for name in names])
    parquet.write_table(schema.empty_table(), folder / "x.parquet")


def lie(folder: Path) -> None:
    """A group of rows of 60 MB, which its file says is of 60 kB."""
    table(folder, [image(bytes([n]) * 10**7) for n in range(6)], compression="zstd")
    path = folder / "x.parquet"
    data = path.read_bytes()
    from pyarrow import parquet

    said = parquet.ParquetFile(path).metadata.row_group(0)
    truth = said.column(0).total_uncompressed_size
    for number in (truth, said.total_byte_size):
        assert varint(number) in data
        data = data.replace(varint(number), varint(number & 0xFFFF | 1 << 26))
    path.write_bytes(data)


def varint(number: int) -> bytes:
    """A whole number as Parquet's metadata hold it."""
    number, parts = number * 2, []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def image(data: bytes) -> dict:
    return {"bytes": data, "path": "a"}


TABLES = {
    "rows": (nulls, {}, "has 140,000,000 rows; at most 134,217,728 rows are taken"),
    "one-image": (lambda f: table(f, [image(bytes(10**5))] * 1000), {}, "x.parquet:0 cannot be"),
    "group": (
        lambda f: table(f, [image(bytes([n]) * 10**7) for n in range(6)], compression="zstd"),
        {"SAMPLERZOO_MAX_GROUP_BYTES": "50000000"},
        "A group of rows of",
    ),
    "lie": (lie, {"SAMPLERZOO_MAX_GROUP_BYTES": "50000000"}, "A group of rows of"),
    "value": (
        lambda f: table(f, [image(bytes(3 * 10**7)), image(PNG)], compression="zstd"),
        {"SAMPLERZOO_MAX_FILE_BYTES": "10000000"},
        "x.parquet:0 has 30,000,000 bytes; at most",
    ),
    "columns": (lambda f: columns(f, [f"\x1b[{n}m" for n in range(9000)]), {}, "and 8992 more"),
    "long-columns": (lambda f: columns(f, ["x" * 10**6]), {}, "no column image or img"),
    "two-columns": (lambda f: columns(f, ["image", "image"]), {}, "no column image or img"),
    "nothing": (lambda f: table(f, None), {}, "no image in"),
    "footer": (files({"x.parquet": b"PAR1" + struct.pack("<I", 2**31 - 1) + b"PAR1"}), {}, "x.par"),
}


def other_kinds(folder: Path) -> None:
    """A column `image` whose bytes are numbers, beside a folder of other files."""
    import pyarrow
    from pyarrow import parquet

    kind = pyarrow.struct({"bytes": pyarrow.list_(pyarrow.int64())})
    rows = pyarrow.array([{"bytes": [1, 2]}] * 2, kind)
    parquet.write_table(pyarrow.table({"image": rows}), folder / "x.parquet")


TABLES["numbers"] = (other_kinds, {}, "no column image or img")
CASES |= {
    f"parquet-{name}": Case(make, look("x.parquet", **options), word)
    for name, (make, options, word) in TABLES.items()
}


def link(target: str, name: str = "x"):
    """A maker of a link to anything, beside two good images."""

    def make(folder: Path) -> None:
        for n in range(2):
            (folder / f"{n}.png").write_bytes(PNG)
        (folder / name).symlink_to(target)

    return make


def pipe(name: str):
    return lambda folder: os.mkfifo(folder / name)


def listen(folder: Path) -> None:
    place = os.getcwd()
    os.chdir(folder)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("x.npz")
    finally:
        os.chdir(place)


def loop(folder: Path) -> None:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")


DEVICE, KERNEL = "is not a regular file", "leads through /proc or /sys"
PLACES = {
    "zero": (link("/dev/zero"), "x", DEVICE),
    "zero-npy": (link("/dev/zero", "x.npy"), "x.npy", DEVICE),
    "zero-npz": (link("/dev/full", "x.npz"), "x.npz", DEVICE),
    "random-tar": (link("/dev/urandom", "x.tar.gz"), "x.tar.gz", DEVICE),
    "zero-parquet": (link("/dev/zero", "x.parquet"), "x.parquet", DEVICE),
    "terminal": (link("/dev/tty", "x.zip"), "x.zip", DEVICE),
    "null": (link("/dev/null", "x.npz"), "x.npz", DEVICE),
    "pipe": (pipe("x.npz"), "x.npz", DEVICE),
    "pipe-tar": (pipe("x.tar.gz"), "x.tar.gz", DEVICE),
    "pipe-parquet": (pipe("x.parquet"), "x.parquet", DEVICE),
    "socket": (listen, "x.npz", DEVICE),
    "environment": (link("/proc/self/environ", "x.npz"), "x.npz", KERNEL),
    "root": (link("/proc/self/root/etc", "x"), "x", KERNEL),
    "here": (link("/proc/self/cwd/tests", "x"), "x", KERNEL),
    "standard-input": (link("/dev/fd/0", "x.npz"), "x.npz", KERNEL),
    "image": (link("/proc/self/environ", "2.png"), "", KERNEL),
    "image-by-two-links": (
        lambda f: (link("/proc/self", "p")(f), (f / "2.png").symlink_to("p/environ")),
        "",
        KERNEL,
    ),
    "parquet": (link("/proc/version", "x.parquet"), "", KERNEL),
    "sysfs": (link("/sys/kernel", "x"), "x", KERNEL),
    "loop": (loop, "a", "no folder or file"),
    "nowhere": (link("missing"), "x", "no folder or file"),
}
CASES |= {
    f"place-{name}": Case(make, look(where), word) for name, (make, where, word) in PLACES.items()
}
# Names that no terminal should be told.
CASES |= {
    "names-escape": Case(files({"0\x1b]0;owned\x07.png": b"a", "1.png": PNG}), look(), "cannot be"),
    "names-surrogate": Case(files({"\udcff.png": b"a", "z.png": PNG}), look(), "cannot be read"),
    "names-turned": Case(files({"\u202egnp.png": b"a", "1.png": PNG}), look(), "cannot be read"),
    "names-lines": Case(files({"0\nError: x.png": b"a", "1.png": PNG}), look(), "cannot be read"),
    "names-split": Case(files({"0.png": PNG}), look(split="\x1b[1m\ud800"), "has no split"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    return survive("test_hostile_data", tmp_path_factory.mktemp("hostile"), CASES)


@pytest.mark.parametrize("name", CASES)
def test_hostile_data_are_refused(name, outcomes):
    check_refusal(outcomes[name], CASES[name].word)


def test_links_to_files_on_disk_are_data(tmp_path):
    (tmp_path / "kept").mkdir()
    for n in range(2):
        (tmp_path / "kept" / f"{n}.png").write_bytes(PNG)
    (tmp_path / "folder").symlink_to("kept")
    (tmp_path / "links").mkdir()
    for n in range(2):
        (tmp_path / "links" / f"{n}.png").symlink_to(tmp_path / "folder" / f"{n}.png")
    assert read(tmp_path / "folder", SHAPE).digest == read(tmp_path / "links", SHAPE).digest


def test_a_limit_that_is_set_higher_lets_in_what_was_refused(tmp_path, monkeypatch):
    (tmp_path / "x.tar.gz").write_bytes(tar(header("x", 2**20), MEBIBYTE, bytes(1024)))
    monkeypatch.setenv("SAMPLERZOO_MAX_UNPACKED_BYTES", "1000000")
    with pytest.raises(ValueError, match=r"at most 1,000,000 bytes are taken\. If you trust it"):
        read(tmp_path / "x.tar.gz", SHAPE)
    monkeypatch.setenv("SAMPLERZOO_MAX_UNPACKED_BYTES", "4000000")
    with pytest.raises(ValueError, match="not an archive of CIFAR's"):
        read(tmp_path / "x.tar.gz", SHAPE)


def test_a_value_that_many_rows_share_is_held_once(tmp_path):
    """A hundred thousand rows of one image: a gigabyte, if each had its own."""
    pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    table(tmp_path, [image(PNG + bytes(10_000))] * 10_000)
    images = read(tmp_path / "x.parquet", SHAPE)
    assert len(images) == 10_000
    assert images[9_990:].shape == (10, *SHAPE)
    assert io.BytesIO(PNG).getvalue() == PNG

"""Files of tensors from anybody: read where they are right, refused in a sentence elsewhere."""

import io
import json
import pickle
import random
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import torch_files as t
from samplerzoo.formats import read_weights

_rng = np.random.default_rng(0)
TENSORS = {
    "layer.weight": _rng.normal(size=(3, 4)).astype(np.float32),
    "layer.bias": _rng.normal(size=3).astype(np.float32),
    "turned": _rng.normal(size=(2, 5)).astype(np.float32).T,
    "scalar": np.asarray(2.5, np.float32),
}
STATE, ROWS = t.state(TENSORS), t.numbers(TENSORS)
FORMATS = {
    "safetensors": safetensors.numpy.save({n: a.copy("C") for n, a in TENSORS.items()}),
    "zip": t.zip_file(STATE, ROWS),
    "legacy": t.legacy_file(STATE, ROWS),
}


def read(path: Path, data: bytes) -> dict[str, np.ndarray]:
    path.write_bytes(data)
    return read_weights(path)


def same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> bool:
    return set(found) == set(wanted) and all(
        np.array_equal(found[n], wanted[n], equal_nan=True) for n in wanted
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_right_files_are_read(kind, tmp_path):
    found = read(tmp_path / "weights", FORMATS[kind])
    assert same(found, TENSORS)
    assert {a.dtype for a in found.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("make", [t.zip_file, t.legacy_file])
def test_views_wrappers_and_marks_of_modules(make, tmp_path):
    """Two views of one storage, under "state_dict", beside other things, with layers' versions."""
    kept, numbers = t.storage("0", "FloatStorage", 10), np.arange(10, dtype=np.float32)
    views = {"a": t.tensor(kept, 2, (2, 3), (3, 1)), "b": t.tensor(kept, 9, (), ())}
    versions = b"}(" + t.text("_metadata") + t.EMPTY_ORDERED_DICT + b"u"
    items = b"".join(t.text(name) + view for name, view in views.items())
    ordered = t.EMPTY_ORDERED_DICT + b"(" + items + b"u" + versions + b"b"
    content = t.mapping({"epoch": b"K\x05", "state_dict": ordered})
    found = read(tmp_path / "weights", make(content, [numbers.tobytes()]))
    assert same(found, {"a": numbers[2:8].reshape(2, 3), "b": numbers[9]})


def test_bfloat16_of_safetensors(tmp_path):
    header = json.dumps({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    data = struct.pack("<Q", len(header)) + header + b"\x80\x3f\x00\xc0"
    assert read(tmp_path / "w", data)["a"].astype(np.float32).tolist() == [1, -2]


class Attack:
    """An object whose pickle runs a command when it is read by Python."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.path}",)


def test_the_attack_would_work(tmp_path):
    pickle.loads(pickle.dumps(Attack(tmp_path / "owned")))
    assert (tmp_path / "owned").exists()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["bare", "inside", "zip", "legacy", "legacy-head"])
def test_pickles_that_run_commands_are_refused(kind, protocol, tmp_path):
    attack = pickle.dumps(Attack(tmp_path / "owned"), protocol)
    body = attack[:-1] if protocol < 2 else attack[2:-1]
    content = {
        "bare": attack,
        "inside": t.zip_file(t.mapping({"a": body}), []),
        "zip": t.zip_file(body, []),
        "legacy": t.legacy_file(body, []),
        "legacy-head": attack + FORMATS["legacy"],
    }[kind]
    with pytest.raises(ValueError, match="is not a file of tensors") as caught:
        read(tmp_path / "weights", content)
    assert not (tmp_path / "owned").exists()
    if kind in ("inside", "zip", "legacy") and protocol == 2:
        assert "posix.system" in str(caught.value)


def kept(size: int = 4, key: str = "0", kind: str = "FloatStorage") -> bytes:
    return t.storage(key, kind, size)


def view(offset: int = 0, shape: tuple = (4,), strides: tuple = (1,), **storage) -> bytes:
    return t.mapping({"a": t.tensor(kept(**storage), offset, shape, strides)})


CALL = t.find("torch._utils", "_rebuild_tensor_v2")
DEEP = b")" + b"\x85" * 20_000
NOTHING = "no tensors|list of storages"
# Pickles of one storage of 4 numbers, and what the refusal says of each.
PICKLES = {
    "numpy": (t.find("numpy", "ndarray"), "numpy.ndarray"),
    "eval": (t.find("builtins", "eval"), "builtins.eval"),
    "torch.load": (t.find("torch", "load"), "torch.load"),
    "dotted": (t.find("torch", "FloatStorage.__init__"), "FloatStorage.__init__"),
    "inst": (b"(ios\nsystem\n", "INST"),
    "obj": (b"(" + t.find("collections", "OrderedDict") + b"o", "OBJ"),
    "newobj": (t.find("collections", "OrderedDict") + b")\x81", "NEWOBJ"),
    "extension": (b"\x82\x01", "EXT1"),
    "text-persid": (b"Pkey\n", "PERSID"),
    "nested-marks": (b"(" * 200_001, "more than"),
    "nested-lists": (b"]" * 20_000 + b"a" * 19_999, NOTHING),
    "nested-tuples": (DEEP, NOTHING),
    "doubling": (b")" + b"2\x86" * 60, "DUP"),
    "doubling-by-memo": (b")q\x00" + b"h\x00h\x00\x86q\x00" * 60, NOTHING),
    "deep-name": (DEEP + DEEP + b"\x93", "without a name"),
    "deep-key": (b"}" + DEEP + b"K\x01s", "neither a text nor"),
    "doubled-key": (
        b")q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"}h\x00K\x01s",
        "neither a text nor",
    ),
    "deep-storage": (DEEP + b"Q", "not described"),
    "doubled-name": (b")q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"h\x00\x93", "without a name"),
    "doubled-view": (
        b")q\x00"
        + b"h\x00h\x00\x86q\x00" * 60
        + t.row(
            t.text("storage"),
            t.find("torch", "FloatStorage"),
            t.text("0"),
            t.text("cpu"),
            b"K\x04",
            b"h\x00",
        )
        + b"Q",
        "not described",
    ),
    "copies": (
        b"]("
        + b"K\x01K\x02\x86" * 1000
        + b"eq\x00"
        + (t.find("collections", "OrderedDict") + b"h\x00\x85R") * 1000,
        "do not fit",
    ),
    "long-key": (b"}\x8b" + struct.pack("<i", 10**6) + b"\x01" * 10**6 + b"K\x01s", "whole number"),
    "memo-bomb": (b"}r\xff\xff\xff\xff", NOTHING),
    "long-text": (b"\x8d" + struct.pack("<Q", 2**60), "expected"),
    "long-number": (b"\x8b" + struct.pack("<i", 2**31 - 1), "not enough"),
    "long-bytes": (b"\x96" + struct.pack("<Q", 2**40), "BYTEARRAY8"),
    "endless-frame": (b"\x95" + struct.pack("<Q", 2**60) + STATE[:40], "end|expected|mark|fit"),
    "underflow": (b"R", "do not fit"),
    "no-mark": (b"t", "do not fit"),
    "no-memo": (b"h\x07", "do not fit"),
    "call-no-global": (b"))R", "calls something"),
    "call-storage": (t.find("torch", "FloatStorage") + b")R", "calls something"),
    "call-wrong": (CALL + b")R", "do not fit"),
    "call-text": (CALL + t.row(*[t.text("a")] * 6) + b"R", "not described"),
    "key-list": (b"}(" + b"]" + b"K\x01u", "neither a text nor"),
    "append-to-dict": (b"}K\x01a", "not a list"),
    "set-in-list": (b"]K\x01K\x02s", "not a dict"),
    "build-tensor": (t.tensor(kept(), 0, (4,), (1,)) + b"}b", "not a dict"),
    "not-a-dict": (b"]", NOTHING),
    "not-a-tensor": (t.mapping({"a": b"K\x01"}), "'a' is not a tensor|list of storages"),
    "number-name": (b"}(K\x01K\x01u", "'1' is not a tensor|list of storages"),
    "terabytes": (view(size=2**42), "cut off"),
    "absurd-size": (view(size=2**63), "not described"),
    "negative-size": (view(size=-1), "not described"),
    "negative-offset": (view(offset=-1), "not described"),
    "negative-shape": (view(shape=(-4,)), "not described"),
    "reaches-beyond": (view(offset=1), "beyond"),
    "strides-beyond": (view(shape=(2, 2), strides=(3, 1)), "beyond"),
    "expanded": (view(shape=(2**40,), strides=(0,)), "beyond"),
    "many-axes": (view(shape=(1,) * 100, strides=(1,) * 100), "not described"),
    "empty": (view(shape=(0,)), "empty"),
    "ragged": (view(strides=(1, 1)), "not described"),
    "two-ways": (
        t.mapping({n: t.tensor(kept(k), 0, (1,), (1,)) for n, k in (("a", 4), ("b", 2))}),
        "two ways",
    ),
    "other-storage": (view(key="7"), "missing|list of storages"),
    "path-storage": (view(key="../data.pkl"), "missing|list of storages"),
    "unknown-storage": (view(kind="ComplexFloatStorage"), "torch.ComplexFloatStorage"),
    "persid-text": (t.text("stora") + b"Q", "fit|not a storage|describe"),
}


@pytest.mark.parametrize("make", [t.zip_file, t.legacy_file])
@pytest.mark.parametrize("case", PICKLES)
def test_hostile_pickles(case, make, tmp_path):
    content, message = PICKLES[case]
    refuse(tmp_path, make(content, [bytes(16)]), message)


def refuse(folder: Path, data: bytes, message: str) -> None:
    """The file is refused in one sentence or two, and no memory is taken for what it claims."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message) as caught:
            read(folder / "weights", data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100e6 + 4 * len(data)
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith(".")
    assert not said.endswith("..")
    assert len(said) < 500 + len(str(folder))


def archive(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return out.getvalue()


def claim(data: bytes, size: int) -> bytes:
    """An archive whose directory claims another size of its first entry."""
    at = data.index(b"PK\x01\x02")
    claimed = struct.pack("<II", size, size)
    return data[: at + 20] + claimed + data[at + 28 :]


GOOD = {"archive/data.pkl": t.close(view()), "archive/data/0": bytes(16)}
ARCHIVES = {
    "bomb": (archive(GOOD | {"archive/data/0": bytes(10**8)}, zipfile.ZIP_DEFLATED), "compressed"),
    "bzip": (archive(GOOD, zipfile.ZIP_BZIP2), "compressed"),
    "claims": (claim(archive(GOOD), 2**31), "compressed or overlap"),
    "no-pickle": (archive({"archive/data/0": bytes(16)}), "one data.pkl"),
    "two-pickles": (archive(GOOD | {"b/data.pkl": b"."}), "one data.pkl"),
    "big-endian": (archive(GOOD | {"archive/byteorder": b"big"}), "little-endian"),
    "encrypted": (archive(GOOD).replace(b"\x14\x00\x00\x00", b"\x14\x00\x01\x00"), "ncrypted"),
    "cut-numbers": (archive(GOOD | {"archive/data/0": bytes(15)}), "cut off"),
    "no-numbers": (archive({"archive/data.pkl": GOOD["archive/data.pkl"]}), "missing"),
    "empty-archive": (archive({}), "data.pkl"),
    "script": (archive({"archive/data.pkl": t.close(t.find("__torch__", "M"))}), "__torch__.M"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_hostile_archives(case, tmp_path):
    refuse(tmp_path, *ARCHIVES[case])


def header(content, data: bytes = bytes(64), size: int | None = None) -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def entry(start: int, end: int, shape: list, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


SAFETENSORS = {
    "same-offsets": header({"a": entry(0, 32, [8]), "b": entry(0, 32, [8])}),
    "overlap": header({"a": entry(0, 32, [8]), "b": entry(16, 48, [8])}, bytes(48)),
    "hole": header({"a": entry(32, 64, [8])}),
    "tail": header({"a": entry(0, 32, [8])}),
    "terabytes": header({"a": entry(0, 2**42, [2**40])}),
    "overflow": header({"a": entry(0, 64, [2**63, 4])}),
    "negative": header({"a": entry(0, 64, [-16])}),
    "shape": header({"a": entry(0, 64, [15])}),
    "header-claims": header(b"{}", size=2**60),
    "header-beyond": header(b"{}", size=1000),
    "nested": header(b'{"a":' + b"[" * 10**6 + b"]" * 10**6 + b"}"),
    "dtype": header({"a": entry(0, 64, [16], "F33")}),
    "float8": header({"a": entry(0, 64, [64], "F8_E4M3")}),
    "huge-empty": header({"a": entry(0, 0, [0, 2**62])}, b""),
    "not-json": header(b"{'a': 1}"),
    "page": b"<!DOCTYPE html><html><body>Not found</body></html>",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n",
    "one-byte": b"\x80",
    "three-bytes": b"abc",
}


@pytest.mark.parametrize("case", SAFETENSORS)
def test_hostile_safetensors(case, tmp_path):
    refuse(tmp_path, SAFETENSORS[case], "is not a file of tensors")


def test_what_is_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match="is not a file"):
            read_weights(path)
    with pytest.raises(ValueError, match="empty"):
        read(tmp_path / "weights", b"")


@pytest.mark.parametrize("kind", FORMATS)
def test_files_cut_off_anywhere_are_refused(kind, tmp_path):
    data = FORMATS[kind]
    for length in range(1, len(data), 3):
        with pytest.raises(ValueError, match="is not a file of tensors"):
            read(tmp_path / "weights", data[:length])


def mutate(data: bytes, rng: random.Random) -> bytes:
    """A file with a few bytes changed, lost, doubled, added or swapped."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        at, length = rng.randrange(len(out)), rng.choice([1, 1, 2, 4, 8, 64])
        kind = rng.randrange(5)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + length] = rng.choice([b"\x00", b"\xff", b"."]) * length
        elif kind == 2 and len(out) > 100:
            del out[at : at + length]
        elif kind == 3:
            out[at:at] = out[at : at + length]
        else:
            out[at : at + length] = rng.randbytes(length)
    return bytes(out)


@pytest.mark.parametrize("kind", FORMATS)
def test_mutated_files_are_refused_or_right(kind, tmp_path):
    """1,100 of each format. Archives carry checksums: what is read of them is what was written;
    of the others it is what the file now says, never more numbers than it has."""
    rng, path, refused = random.Random(0), tmp_path / "weights", 0
    for _ in range(1100):
        data = mutate(FORMATS[kind], rng)
        try:
            found = read(path, data)
        except ValueError as error:
            assert str(error).startswith(str(path))  # noqa: PT017
            refused += 1
            continue
        if kind == "zip":
            assert same(found, TENSORS)
        elif kind == "safetensors" and not any(a.dtype.name == "bfloat16" for a in found.values()):
            assert same(found, safetensors.numpy.load(data))
        assert sum(a.nbytes for a in found.values()) <= len(data) * 2
    assert 400 < refused < 1100


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["zip", "legacy"])
@pytest.mark.filterwarnings("ignore")
def test_mutated_files_are_read_as_pytorch_reads_them(kind, tmp_path):
    torch = pytest.importorskip("torch", reason="the oracle extra (torch) is not installed")
    rng, path, agreed = random.Random(1), tmp_path / "weights", 0
    state = {name: torch.from_numpy(a.copy()) for name, a in TENSORS.items()}
    torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    data = path.read_bytes()
    assert same(read_weights(path), TENSORS)
    for _ in range(500):
        try:
            found = read(path, mutate(data, rng))
            wanted = torch.load(path, weights_only=True)
        except Exception:
            continue
        assert same(found, {name: a.detach().numpy() for name, a in wanted.items()})
        agreed += 1
    assert agreed > 25

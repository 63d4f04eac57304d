"""PyTorch's files written without PyTorch, opcode by opcode, so that hostile ones can be too."""

import io
import pickle
import struct
import zipfile

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}
EMPTY_ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


def text(value: str) -> bytes:
    """A text."""
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(value: int) -> bytes:
    """A whole number of any size."""
    raw = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def row(*items: bytes) -> bytes:
    """A tuple."""
    return b"(" + b"".join(items) + b"t"


def find(module: str, name: str) -> bytes:
    """A global."""
    return f"c{module}\n{name}\n".encode()


def storage(key: str, kind: str, size: int) -> bytes:
    """A reference to a storage."""
    kept = text("storage"), find("torch", kind), text(key), text("cpu"), integer(size)
    return row(*kept) + b"Q"


def tensor(kept: bytes, offset: int, shape: tuple, strides: tuple) -> bytes:
    """A view of a storage."""
    sizes, steps = row(*map(integer, shape)), row(*map(integer, strides))
    arguments = row(kept, integer(offset), sizes, steps, b"\x89", EMPTY_ORDERED_DICT)
    return find("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def whole(array: np.ndarray, key: str) -> bytes:
    """All of an array, kept in a storage of its own."""
    strides = tuple(step // array.itemsize for step in array.strides)
    return tensor(storage(key, STORAGES[str(array.dtype)], array.size), 0, array.shape, strides)


def mapping(items: dict[str, bytes]) -> bytes:
    """A dict."""
    return b"}(" + b"".join(text(name) + value for name, value in items.items()) + b"u"


def state(tensors: dict[str, np.ndarray]) -> bytes:
    """A dict of arrays, whose storages are numbered in its order."""
    return mapping({name: whole(a, str(n)) for n, (name, a) in enumerate(tensors.items())})


def close(content: bytes) -> bytes:
    """A pickle."""
    return b"\x80\x02" + content + b"."


def numbers(tensors: dict[str, np.ndarray]) -> list[bytes]:
    """The bytes of the storages."""
    return [
        np.ascontiguousarray(a.T if a.flags.f_contiguous else a).tobytes() for a in tensors.values()
    ]


def zip_file(content: bytes, rows: list[bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """The format of PyTorch 1.6 and later."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("archive/data.pkl", close(content))
        archive.writestr("archive/byteorder", b"little")
        for key, data in enumerate(rows):
            archive.writestr(f"archive/data/{key}", data)
        archive.writestr("archive/version", b"3\n")
    return out.getvalue()


def legacy_file(content: bytes, rows: list[bytes], width: int = 4) -> bytes:
    """The format before PyTorch 1.6; `width` is the size of a number."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    head = b"".join(pickle.dumps(part, 2) for part in (MAGIC, 1001, system))
    keys = pickle.dumps([str(n) for n in range(len(rows))], 2)
    kept = b"".join(struct.pack("<q", len(data) // width) + data for data in rows)
    return head + close(content) + keys + kept

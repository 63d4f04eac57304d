"""PyTorch's pickles read as data: no class is looked up and nothing is called.

The opcodes are interpreted here, on plain containers and on the two records below; a global is a
name that is compared with the few that a file of tensors needs. Every opcode makes one thing of
bounded size; nothing nested is ever copied, hashed, compared or printed, so that neither depth nor
repetition costs more than the pickle's length.
"""

import io
import mmap
import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

MAX_OPCODES = 200_000
MAX_AXES = 8
_MAX_SIZE = 2**48
# Of each type of storage: NumPy's name of its numbers.
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


class Global(NamedTuple):
    """A name that a pickle mentions, e.g. `torch FloatStorage`."""

    module: str
    name: str


class Storage(NamedTuple):
    """A row of numbers that a pickle refers to, kept outside it."""

    dtype: str
    key: str
    size: int


class Strided(NamedTuple):
    """A tensor: a view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _is_size(n: Any) -> bool:
    return type(n) is int and 0 <= n < _MAX_SIZE


def _is_sizes(row: Any) -> bool:
    return type(row) is tuple and len(row) <= MAX_AXES and all(map(_is_size, row))


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Strided:
    sizes = _is_size(offset) and _is_sizes(shape) and _is_sizes(strides)
    if not isinstance(storage, Storage) or not sizes or len(shape) != len(strides):
        raise ValueError("a tensor is not described as PyTorch does")
    return Strided(storage, offset, shape, strides)


_CALLS: dict[Global, Callable[..., Any]] = {
    Global("collections", "OrderedDict"): lambda: {},
    Global("torch._utils", "_rebuild_tensor"): _tensor,
    Global("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Global("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    Global("torch", "Size"): lambda sizes: sizes,
}
_ALLOWED = {*_CALLS, *(Global("torch", name) for name in STORAGES)}


class _Mark:
    """Where a row of items starts on the stack."""


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self):
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def since_mark(self) -> list[Any]:
        items = []
        while not isinstance(item := self.stack.pop(), _Mark):
            items.append(item)
        return items[::-1]

    def take(self, number: int) -> tuple[Any, ...]:
        return tuple([self.stack.pop() for _ in range(number)][::-1])

    def top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"an item is put into something that is no {kind.__name__}")
        return self.stack[-1]

    def push_global(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise ValueError("it asks for something without a name")
        if (found := Global(module, name)) not in _ALLOWED:
            raise ValueError(f"it asks for {module[:80]}.{name[:80]}, which is no tensor")
        self.stack.append(found)

    def call(self) -> None:
        function, arguments = self.take(2)
        if type(function) is not Global or function not in _CALLS or type(arguments) is not tuple:
            raise ValueError("it calls something that makes no tensor")
        self.stack.append(_CALLS[function](*arguments))

    def refer(self) -> None:
        parts = self.stack.pop()
        if type(parts) is not tuple or len(parts) not in (5, 6) or parts[5:] not in ((), (None,)):
            raise ValueError("a storage is not described as PyTorch does")
        kind, storage, key, _, size = parts[:5]
        if kind != "storage" or type(storage) is not Global or storage.name not in STORAGES:
            raise ValueError("it refers to something that is no storage of numbers")
        if not _is_size(size) or type(key) is not str:
            raise ValueError("a storage is not described as PyTorch does")
        found = Storage(STORAGES[storage.name], key, size)
        if self.storages.setdefault(key, found) != found:
            raise ValueError(f"the storage {key[:80]!r} is described in two ways")
        self.stack.append(found)

    def build(self) -> None:
        self.stack.pop()  # what hangs on a state dict beside its tensors: versions of layers
        self.top(dict)

    def fill(self, pairs: list[Any]) -> None:
        if len(pairs) % 2:
            raise ValueError("a key has no value")
        into = self.top(dict)
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            into[_key(key)] = value


def _key(key: Any) -> str | int:
    if type(key) is not str and not _is_size(key):
        raise ValueError("a key is neither a text nor a whole number")
    return key


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS = {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"}
_TEXTS = {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_MAKERS = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "MARK": _Mark}
_STEPS: dict[str, Callable[[_Machine, Any], object]] = {
    "PROTO": lambda m, a: None,
    "FRAME": lambda m, a: None,
    "GLOBAL": lambda m, a: m.push_global(*a),
    "STACK_GLOBAL": lambda m, a: m.push_global(*m.take(2)),
    "BINPUT": lambda m, a: m.memo.__setitem__(a, m.stack[-1]),
    "LONG_BINPUT": lambda m, a: m.memo.__setitem__(a, m.stack[-1]),
    "MEMOIZE": lambda m, a: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    "BINGET": lambda m, a: m.stack.append(m.memo[a]),
    "LONG_BINGET": lambda m, a: m.stack.append(m.memo[a]),
    "TUPLE": lambda m, a: m.stack.append(tuple(m.since_mark())),
    "TUPLE1": lambda m, a: m.stack.append(m.take(1)),
    "TUPLE2": lambda m, a: m.stack.append(m.take(2)),
    "TUPLE3": lambda m, a: m.stack.append(m.take(3)),
    "APPEND": lambda m, a: _append(m, [m.stack.pop()]),
    "APPENDS": lambda m, a: _append(m, m.since_mark()),
    "SETITEM": lambda m, a: m.fill(list(m.take(2))),
    "SETITEMS": lambda m, a: m.fill(m.since_mark()),
    "REDUCE": lambda m, a: m.call(),
    "BUILD": lambda m, a: m.build(),
    "BINPERSID": lambda m, a: m.refer(),
    **{name: lambda m, a, value=value: m.stack.append(value) for name, value in _CONSTANTS.items()},
    **{name: lambda m, a, make=make: m.stack.append(make()) for name, make in _MAKERS.items()},
    **{name: lambda m, a: m.stack.append(a) for name in _NUMBERS | _TEXTS},
}


def _append(machine: _Machine, items: list[Any]) -> None:
    machine.top(list).extend(items)


# How the argument of each opcode is read, or None; nothing is read of other opcodes.
_READERS: dict[str, Any] = {
    opcode.name: opcode.arg and opcode.arg.reader for opcode in pickletools.opcodes
}
_READERS["GLOBAL"] = lambda file: (_line(file), _line(file))
_NAMES = {op.code.encode("latin-1"): op.name for op in pickletools.opcodes}


def _line(file: io.BytesIO | mmap.mmap) -> str:
    return file.readline().decode().removesuffix("\n")


def read_pickle(file: io.BytesIO | mmap.mmap) -> tuple[Any, dict[str, Storage]]:
    """The next pickle of a file, and the storages that it refers to by their keys.

    It is made of dicts, lists, tuples, texts, numbers and `Strided`. The file is left behind the
    pickle. Raises ValueError for anything that a file of tensors does not need: other globals by
    their name, other opcodes, more than `MAX_OPCODES` of them.
    """
    machine = _Machine()
    try:
        for _ in range(MAX_OPCODES):
            code = file.read(1)
            name = _NAMES.get(code, str(code))
            if name == "STOP":
                return machine.stack[0], machine.storages
            if name not in _STEPS:
                raise ValueError(f"its opcode {name} is none that tensors need" if code else
                                 "it has no end")  # fmt: skip
            reader = _READERS[name]
            _STEPS[name](machine, reader and reader(file))
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError("its opcodes do not fit together") from error
    raise ValueError(f"it has more than {MAX_OPCODES} opcodes")

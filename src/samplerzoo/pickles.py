"""Pickles read as data: no class is looked up and nothing is called.

The opcodes are interpreted here, on plain containers; a global is a name that is compared with the
few that a `Dialect` knows. Every opcode makes one thing of bounded size; nothing nested is ever
copied, hashed, compared or printed, so that neither depth nor repetition costs more than the
pickle's length.

This reader is for checkpoints and data sets that anybody may have made. `pickle.Unpickler` with an
allow-list in `find_class` and with `persistent_load` looks up no other class either, but it works
through whatever opcodes come. Two files of `tests/test_hostile_files.py` decided against it. In
"memo-bomb" nine bytes name the place 2^32 - 1 of the memo, for which it allocates 64 GiB before any
method of ours is asked. In "doubled-key" a tuple that holds itself 2^60 times over is the key of a
dict, and hashing it never ends. (It also takes `BUILD` on an allowed function for setting its
attributes.)
"""

import io
import mmap
import pickletools
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

MAX_OPCODES = 200_000
MAX_SIZE = 2**48


class Global(NamedTuple):
    """A name that a pickle mentions, e.g. `torch FloatStorage`."""

    module: str
    name: str


class Dialect(NamedTuple):
    """What the pickles of one library may hold beside containers, texts and numbers.

    `calls` says what stands for a call of a global, `globals` what other names may be mentioned.
    `refer` reads a persistent id; `build` takes what an object is to be filled with. `opcodes` are
    more of them whose argument is a value, such as texts of Python 2 and bytes.
    """

    holds: str
    calls: Mapping[Global, Callable[..., Any]]
    globals: Collection[Global]
    refer: Callable[[Any], Any] | None
    build: Callable[[Any, Any], None]
    opcodes: frozenset[str] = frozenset()
    most: int = MAX_OPCODES


class _Mark:
    """Where a row of items starts on the stack."""


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self, dialect: Dialect):
        self.dialect = dialect
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def since_mark(self) -> list[Any]:
        items = []
        while not isinstance(item := self.stack.pop(), _Mark):
            items.append(item)
        return items[::-1]

    def take(self, number: int) -> tuple[Any, ...]:
        return tuple([self.stack.pop() for _ in range(number)][::-1])

    def top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"an item is put into something that is not a {kind.__name__}")
        return self.stack[-1]

    def push_global(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise ValueError("it asks for something without a name")
        found, known = Global(module, name), self.dialect
        if found not in known.calls and found not in known.globals:
            raise ValueError(
                f"it asks for {module[:80]}.{name[:80]}, which is not a known {known.holds}"
            )
        self.stack.append(found)

    def call(self) -> None:
        function, arguments = self.take(2)
        calls = self.dialect.calls
        if type(function) is not Global or function not in calls or type(arguments) is not tuple:
            raise ValueError(f"it calls something that does not make a {self.dialect.holds}")
        self.stack.append(calls[function](*arguments))

    def refer(self) -> None:
        if self.dialect.refer is None:
            raise ValueError("it refers to something outside it")
        self.stack.append(self.dialect.refer(self.stack.pop()))

    def build(self) -> None:
        state = self.stack.pop()
        self.dialect.build(self.stack[-1], state)

    def fill(self, pairs: list[Any]) -> None:
        if len(pairs) % 2:
            raise ValueError("a key has no value")
        into = self.top(dict)
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            into[_key(key)] = value


def is_size(n: Any) -> bool:
    """Whether something is a whole number that a file's part can be counted with."""
    return type(n) is int and 0 <= n < MAX_SIZE


def _key(key: Any) -> str | int:
    if type(key) is bytes:
        return key.decode("latin-1")
    if type(key) is not str and not is_size(key):
        raise ValueError("a key is neither a text nor a whole number")
    return key


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"}
_VALUES |= {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
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
    **{name: lambda m, a: m.stack.append(a) for name in _VALUES},
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


def read_pickle(file: io.BytesIO | mmap.mmap, dialect: Dialect) -> Any:
    """The next pickle of a file, which is left behind the pickle.

    It is made of dicts, lists, tuples, texts, numbers and what the dialect makes. Raises ValueError
    for anything that the dialect lacks: other globals by their name, other opcodes, or more of
    them.
    """
    machine = _Machine(dialect)
    try:
        for _ in range(dialect.most):
            code = file.read(1)
            name = _NAMES.get(code, str(code))
            if name == "STOP":
                return machine.stack[0]
            if name not in _STEPS and name not in dialect.opcodes:
                raise ValueError(
                    f"its opcode {name} is none that {dialect.holds}s need"
                    if code
                    else "it has no end"
                )
            reader = _READERS[name]
            argument = reader and reader(file)
            if name in dialect.opcodes:
                machine.stack.append(argument)
            else:
                _STEPS[name](machine, argument)
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError("its opcodes do not fit together") from error
    raise ValueError(f"it has more than {dialect.most} opcodes")

"""What a run leaves on disk: its configuration, its checkpoints and the searched sampler.

A run is a folder: `config.toml` is written first and holds everything needed to run it again,
`result.json` last. Every file is written whole or not at all.
"""

import dataclasses
import importlib.metadata
import inspect
import json
import math
import platform
import shlex
import tomllib
import types
import typing
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import tomli_w

from ..core.families import STRIDES, AbstractFamily
from ..core.optimise import SearchState
from ..core.table import StepTable
from ..files import from_tensors, read_tensors, to_tensors, write, write_tensors

FORMAT = "samplerzoo.sampler/1"
MAX_SEED = 2**32 - 1  # JAX drops the higher bits of a seed
TIMES = tuple(stride + mode for stride in STRIDES for mode in ("", "-searched", "-decoupled"))
DTYPES = ("float32", "bfloat16")  # of the network's arithmetic
_PACKAGES = ("samplerzoo", "jax", "jaxlib", "equinox", "optax", "numpy")


def versions(*more: str) -> dict[str, str]:
    """Python's version and those of the packages that decide a run's numbers, and `more`."""
    packages = {name: importlib.metadata.version(name) for name in (*_PACKAGES, *more)}
    return {"python": platform.python_version(), **packages}


def resuming(folder: Path) -> str:
    """The command that goes on with a run."""
    return f"samplerzoo resume {shlex.quote(str(folder))}"


def fits(value: Any, kind: Any) -> bool:
    """Whether a value has an annotated type, for the types that options have.

    An annotation that is not a type accepts everything.
    """
    if kind is inspect.Parameter.empty:
        return True
    origin, members = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, member) for member in members)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(fits(item, members[0]) for item in value)
    if kind in (int, float):
        allowed = int if kind is int else int | float
        return isinstance(value, allowed) and not isinstance(value, bool)
    try:
        return isinstance(value, origin or kind)
    except TypeError:
        return True


def type_name(kind: Any) -> str:
    """An annotated type as a user would say it."""
    origin, members = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(member) for member in members if member is not type(None))
    if origin is tuple:
        return f"list of {type_name(members[0])}"
    return getattr(kind, "__name__", str(kind))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything a search depends on; `config.toml` holds these fields.

    `microbatch` is the number chosen once a search has begun, so that going on repeats it.
    `directory` is where modules of `python:` references are looked for; `hashes` are those of the
    data and of their features, `versions` those of packages.
    """

    family: str = "rddim"
    family_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    steps: int = 10
    times: str = "quadratic-searched"
    model: str = "digits"
    label: int | None = None
    guidance: float | None = None
    data: str
    split: str | None = None
    crop: bool = False
    features: str
    report_features: str
    kernel: str = "linear"
    kernel_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    batch: int = 512
    microbatch: int | str = "auto"
    dtype: str = "float32"
    iterations: int = 300
    learning_rate: float = 0.03
    n: int = 10_000
    seed: int = 0
    checkpoint_every: float = 5.0
    directory: str = dataclasses.field(default_factory=lambda: str(Path.cwd()))
    hashes: dict[str, str] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=versions)

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if not fits(getattr(self, field.name), field.type):
                raise ValueError(
                    f"{field.name} is {getattr(self, field.name)!r}; it must be of type "
                    f"{type_name(field.type)}."
                )
        if self.times not in TIMES:
            raise ValueError(f"times is {self.times!r}; it must be one of {', '.join(TIMES)}.")
        for name, least in {"steps": 1, "batch": 2, "iterations": 1, "n": 2, "seed": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        size = self.microbatch
        if size != "auto" and not (isinstance(size, int) and fits(size, int) and size >= 1):
            raise ValueError(
                f"microbatch is {size!r}; it must be a whole number, at least 1, or auto."
            )
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype is {self.dtype!r}; it must be one of {', '.join(DTYPES)}.")
        if self.seed > MAX_SEED:
            raise ValueError(f"seed is {self.seed}; it must be at most {MAX_SEED}.")
        if not self.checkpoint_every >= 0:
            raise ValueError(
                f"checkpoint_every is {self.checkpoint_every}; it must be a number of seconds, at "
                "least 0."
            )
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(
                f"learning_rate is {self.learning_rate}; it must be a positive number."
            )

    def save(self, folder: Path) -> None:
        """Write config.toml."""
        given = {k: v for k, v in dataclasses.asdict(self).items() if v is not None}
        write(folder / "config.toml", tomli_w.dumps(given).encode())

    @classmethod
    def load(cls, folder: Path) -> "Config":
        """Read config.toml; a ValueError says what is wrong with it."""
        path = folder / "config.toml"
        if not path.is_file():
            raise ValueError(f"{folder} holds no run: there is no config.toml in it.")
        try:
            content = tomllib.loads(path.read_bytes().decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not valid TOML: {error}.") from error
        fields = dataclasses.fields(cls)
        known = [field.name for field in fields]
        needed = {f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING}
        if lacking := sorted(needed - set(content)):
            raise ValueError(f"{path} lacks {', '.join(lacking)}; give what the run began with.")
        if odd := sorted(set(content) - set(known)):
            raise ValueError(
                f"{path} has the unknown key {odd[0]!r}; known are {', '.join(known)}."
            )
        try:
            return cls(**content)
        except ValueError as error:
            raise ValueError(f"{path} is not valid: {error}") from error


def save_checkpoint(folder: Path, state: SearchState) -> None:
    """Write checkpoint.safetensors: the state of a search, from which it goes on exactly."""
    write_tensors(folder / "checkpoint.safetensors", to_tensors(state), {"kind": "checkpoint"})


def load_checkpoint(folder: Path, like: SearchState) -> SearchState:
    """The last state saved, or `like` where there is none."""
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return like
    try:
        return from_tensors(like, read_tensors(path)[0])
    except ValueError as error:
        raise ValueError(f"The checkpoint {path} does not fit this run: {error}") from error


def save_sampler(path: Path, family: AbstractFamily, table: StepTable, about: dict) -> None:
    """Write a sampler: its table, its family's arrays, and `about` as JSON metadata."""
    tensors = {f"table.{name}": array for name, array in to_tensors(table).items()}
    tensors |= {f"family.{name}": array for name, array in to_tensors(family).items()}
    metadata = {"format": FORMAT, "about": json.dumps(about, sort_keys=True)}
    write_tensors(path, tensors, metadata)


def load_sampler(path: Path) -> tuple[StepTable, dict]:
    """The table of a saved sampler and what was saved about it.

    Raises ValueError, naming the file, where it is missing, damaged or something else.
    """
    if not path.is_file():
        raise ValueError(f"There is no {path}; `{resuming(path.parent)}` finishes a run.")
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not a samplerzoo sampler: its format is {metadata.get('format')!r}, "
            f"not {FORMAT!r}."
        )
    try:
        about = json.loads(metadata["about"])
        names = [field.name for field in dataclasses.fields(StepTable)]
        table = StepTable(**{name: jnp.asarray(tensors[f"table.{name}"]) for name in names})
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} does not hold a whole sampler: {error}") from error
    if not all(np.all(np.isfinite(array)) for array in to_tensors(table).values()):
        raise ValueError(f"{path} holds a sampler with numbers that are not finite.")
    return table, about


def append_log(folder: Path, step: int, kid: float, seconds: float) -> None:
    """Add one step to log.jsonl; a KID that is not finite is null."""
    finite = kid if math.isfinite(kid) else None
    line = {"step": step, "kid": finite, "seconds": round(seconds, 4)}
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def read_log(folder: Path) -> list[dict]:
    """The whole lines of log.jsonl; what follows a damaged line is not read."""
    lines, path = [], folder / "log.jsonl"
    for text in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            line = json.loads(text)
            lines.append({key: line[key] for key in ("step", "kid", "seconds")})
        except (ValueError, KeyError, TypeError):
            break
    return lines


def cut_log(folder: Path, step: int) -> None:
    """Drop from log.jsonl all that comes after a step, so that it can be run again."""
    kept = [line for line in read_log(folder) if line["step"] <= step]
    write(folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in kept).encode())


def save_result(folder: Path, result: dict) -> None:
    """Write result.json, the last file of a run."""
    write(folder / "result.json", (json.dumps(result, indent=2) + "\n").encode())


def load_result(folder: Path) -> dict | None:
    """The result of a finished run, or None where it is not finished.

    Raises ValueError, naming the file, where it is damaged.
    """
    path = folder / "result.json"
    if not path.exists():
        return None
    try:
        result = json.loads(path.read_bytes())
        if not isinstance(result, dict) or "rows" not in result:
            raise ValueError("It holds no rows.")
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged; remove it, and `{resuming(folder)}` makes it again."
        ) from error
    return result

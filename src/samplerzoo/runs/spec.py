"""What a search depends on: its configuration, with defaults and checks.

Nothing here imports JAX, so that the command line can show the defaults at once.
"""

import dataclasses
import importlib.metadata
import platform
import re
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..limits import STEPS
from ..wording import shown

MAX_SEED = 2**32 - 1  # JAX drops the higher bits of a seed
GRIDS = ("linear", "quadratic", "logsnr", "karras")  # and karras-RHO, such as karras-5
SEARCHED = ("fixed", "searched", "decoupled")  # what becomes of the times
_NUMBER = r"\d+(\.\d*)?(e[+-]?\d+)?"
NUMBERS = re.compile(rf"{_NUMBER}(:{_NUMBER})?(,{_NUMBER}(:{_NUMBER})?)*")  # grid, or grid:told
GRID = re.compile(rf"{'|'.join(GRIDS)}|karras-{_NUMBER}")
_LABELS = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
_MOST_LABELS = 100_000
DTYPES = ("float32", "bfloat16")  # of the network's arithmetic
_MOST = 2**31 - 1  # what a search counts in
_LEAST = {"steps": 1, "batch": 2, "iterations": 1, "patience": 0, "n": 2, "seed": 0, "warm": 0}
_PACKAGES = ("samplerzoo", "jax", "jaxlib", "equinox", "optax", "numpy")


@dataclasses.dataclass(frozen=True)
class NamedModel:
    """A model with the data and the features that belong to it.

    An entry point of `samplerzoo.models` may lead to one, or to a function without arguments that
    makes a DiffusionModel and has no defaults.

    Attributes:
        make: Makes the DiffusionModel.
        data: The name of its data.
        features: The name of the features that searches compare.
        report_features: The name of other features, for the report.
    """

    make: Callable[[], Any]
    data: str
    features: str
    report_features: str

    def __call__(self) -> Any:
        """Make the model."""
        return self.make()


def versions(*more: str) -> dict[str, str]:
    """Return Python's version and those of the packages that decide a run's numbers.

    Args:
        *more: Further distributions, such as a plugin's.

    Raises:
        importlib.metadata.PackageNotFoundError: One of them is not installed.
    """
    packages = {name: importlib.metadata.version(name) for name in (*_PACKAGES, *more)}
    return {"python": platform.python_version(), **packages}


def fits(value: Any, kind: Any) -> bool:
    """Tell whether a value has an annotated type, for the types that options have.

    An annotation that is not a type accepts everything.
    """
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
    """Return an annotated type as a user would say it."""
    origin, members = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(member) for member in members if member is not type(None))
    if origin is tuple:
        return f"list of {type_name(members[0])}"
    return getattr(kind, "__name__", str(kind))


def split_times(text: str) -> tuple[str, str]:
    """Split what is said of times: which grid, and whether it is searched.

    Args:
        text: A grid's name or its numbers, then `-searched` or `-decoupled`; without, it is fixed.
            One of `SEARCHED` alone leaves the grid to the sampler that a search starts from.

    Returns:
        The grid, which may be empty, and one of `SEARCHED`.
    """
    grid, _, word = text.rpartition("-")
    return (grid, word) if word in SEARCHED else (text, "fixed")


def check_times(text: str) -> None:
    """Raise ValueError for what says nothing of times."""
    grid, _ = split_times(text)
    alone = text in SEARCHED
    if not (alone or GRID.fullmatch(grid) or NUMBERS.fullmatch(grid)):
        raise ValueError(
            f"times is {shown(text)}; it must be a grid ({', '.join(GRIDS)} or karras-RHO), or "
            "falling numbers such as 1000,600,200, with -searched or -decoupled behind it; or "
            "searched, decoupled or fixed alone, for the grid that suits best."
        )


def read_labels(text: str) -> list[int] | None:
    """Read which labels are asked for.

    Args:
        text: `all`, or numbers and ranges with commas between them, such as `3`, `0-9` or `1,5-7`.
            A number that is named twice is drawn twice as often.

    Returns:
        The labels, None for all.

    Raises:
        ValueError: It does not look like that, or names more than 100,000.
    """
    if text == "all":
        return None
    found: list[int] = []
    for part in text.split(","):
        ends = _LABELS.fullmatch(part)
        first, last = (int(end or ends[1]) for end in ends.groups()) if ends else (1, 0)
        if first > last or last - first + len(found) >= _MOST_LABELS:
            raise ValueError(
                f"labels is {shown(text)}; it must be all, or numbers and rising ranges such as 3, "
                f"0-9 or 1,5-7, of at most {_MOST_LABELS:,}."
            )
        found += range(first, last + 1)
    return found


def check_seed(seed: int) -> None:
    """Raise ValueError for a seed that stands for no series of random numbers of its own."""
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"The seed is {seed}; it must lie between 0 and {MAX_SEED}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Hold everything that a search depends on; `config.toml` has these fields.

    Attributes:
        family: The name of the sampler family that is searched.
        family_options: Options of the family.
        steps: Network evaluations a sample, K.
        times: The grid of the times, then whether they are searched, as in `karras-searched`; see
            `split_times`.
        model: The name of the model.
        label: The class to sample, of a class-conditional checkpoint.
        guidance: The weight of classifier-free guidance.
        labels: Which of the model's classes are sampled, one a sample, see `read_labels`.
        conditions: The path of a file of conditions, one a sample.
        data: The name of the data.
        split: Part of the data.
        crop: Whether images are cropped to their centre square and resized.
        features: The names of the features that the search compares, with commas between them.
        report_features: The name of other features, for the report.
        objective: What the search minimises: names of objectives with weights, such as
            `kid+0.1*teacher`.
        kernel: The name of the KID's kernel.
        kernel_options: Options of the kernel.
        optimiser: The name of the optimiser.
        batch: Samples a step.
        microbatch: Samples that a device takes through the network at a time; `"auto"` until a
            search has begun, then the number that was chosen, so that resuming repeats it.
        dtype: The type of the network's arithmetic: one of `DTYPES`.
        iterations: Steps of the optimiser.
        learning_rate: Adam's highest rate.
        patience: Steps without a new best of the smoothed objective after which a search ends, 0
            for never.
        n: Samples scored at the end.
        seed: Of the search and of the report.
        checkpoint_every: The longest time between two checkpoints, in seconds.
        start: What the search starts from, such as `unipc-3-karras`, once it is chosen; empty where
            nothing was to be chosen.
        warm: The number of steps of the neighbour in a sweep from whose result the search starts; 0
            where it starts from its own start.
        warm_tried: The scores of its own start, `start`, and of the neighbour's result by the
            neighbour's name, such as `k5`, where both were tried.
        unsearched: The best solver and grid that are not searched, once they are chosen.
        tried: What the choices were made by: the scores of all that were tried, by name.
        allow_code: Whether the names above may lead to code (`python:`) and to files of this
            machine: not in a run of others.
        directory: Where modules of `python:` names are looked for.
        hashes: Those of the model, the data, and each extractor of features.
        versions: Those of Python and of packages.
    """

    family: str = "rddim"
    family_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    steps: int = 10
    times: str = "searched"
    model: str = "digits"
    label: int | None = None
    guidance: float | None = None
    labels: str | None = None
    conditions: str | None = None
    data: str
    split: str | None = None
    crop: bool = False
    features: str
    report_features: str
    objective: str = "kid"
    kernel: str = "linear"
    kernel_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    optimiser: str = "adam"
    batch: int = 256
    microbatch: int | str = "auto"
    dtype: str = "float32"
    iterations: int = 300
    learning_rate: float = 0.03
    patience: int = 0
    n: int = 10_000
    seed: int = 0
    checkpoint_every: float = 5.0
    start: str = ""
    warm: int = 0
    warm_tried: dict[str, float] = dataclasses.field(default_factory=dict)
    unsearched: str = ""
    tried: dict[str, float] = dataclasses.field(default_factory=dict)
    allow_code: bool = True
    directory: str = dataclasses.field(default_factory=lambda: str(Path.cwd()))
    hashes: dict[str, str] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=versions)

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not fits(value, field.type):
                kind = type_name(field.type)
                raise ValueError(f"{field.name} is {shown(value)}; it must be of type {kind}.")
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name} is {shown(getattr(self, name))}; it must be at least {least}."
                )
            if getattr(self, name) > _MOST and name != "seed":
                raise ValueError(
                    f"{name} is {shown(getattr(self, name))}; it must be at most {_MOST}."
                )
        STEPS.check(self.steps, "The sampler")
        check_times(self.times)
        if self.labels is not None:
            read_labels(self.labels)
        if self.dtype not in DTYPES:
            raise ValueError(
                f"dtype is {shown(self.dtype)}; it must be one of {', '.join(DTYPES)}."
            )
        size = self.microbatch
        if size != "auto" and not (isinstance(size, int) and fits(size, int) and size >= 1):
            raise ValueError(
                f"microbatch is {shown(size)}; it must be a whole number, at least 1, or auto."
            )
        if self.seed > MAX_SEED:
            raise ValueError(f"seed is {shown(self.seed)}; it must be at most {MAX_SEED}.")
        if not self.checkpoint_every >= 0:
            raise ValueError(
                f"checkpoint_every is {self.checkpoint_every}; it must be a number of seconds, at "
                "least 0."
            )
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(
                f"learning_rate is {self.learning_rate}; it must be a positive number."
            )

    @property
    def grid(self) -> str:
        """Return the grid that the times begin with, or nothing where it is the start's."""
        return split_times(self.times)[0]

    @property
    def searches_times(self) -> bool:
        """Tell whether the grid of times is searched, and nothing beside it."""
        return split_times(self.times)[1] == "searched"

    @property
    def decouples_times(self) -> bool:
        """Tell whether the times told to the network are searched too, apart from the grid."""
        return split_times(self.times)[1] == "decoupled"

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of the family, with the start that was chosen for it."""
        chosen = {"start": self.start} if self.start else {}
        return self.family_options | chosen


DEFAULTS: dict[str, Any] = {
    field.name: field.default
    for field in dataclasses.fields(Config)
    if field.default is not dataclasses.MISSING
}

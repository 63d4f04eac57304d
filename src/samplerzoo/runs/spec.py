"""What a search depends on: its configuration, with defaults and checks.

Nothing here imports JAX, so that the command line can show the defaults at once.
"""

import dataclasses
import importlib.metadata
import platform
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..limits import STEPS
from ..wording import shown

MAX_SEED = 2**32 - 1  # JAX drops the higher bits of a seed
# The strides of the times: fixed, searched from there, or those told to the network apart.
TIMES = (
    "linear",
    "linear-searched",
    "linear-decoupled",
    "quadratic",
    "quadratic-searched",
    "quadratic-decoupled",
)
DTYPES = ("float32", "bfloat16")  # of the network's arithmetic
_MOST = 2**31 - 1  # what a search counts in
_LEAST = {"steps": 1, "batch": 2, "iterations": 1, "n": 2, "seed": 0}
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
        times: The stride of the times, and whether they are searched: one of `TIMES`.
        model: The name of the model.
        label: The class to sample, of a class-conditional checkpoint.
        guidance: The weight of classifier-free guidance.
        data: The name of the data.
        split: Part of the data.
        crop: Whether images are cropped to their centre square and resized.
        features: The names of the features that the search compares, with commas between them.
        report_features: The name of other features, for the report.
        objective: What the search minimises: names of objectives with weights, such as
            `kid+0.1*teacher`.
        kernel: The name of the KID's kernel.
        kernel_options: Options of the kernel.
        batch: Samples a step.
        microbatch: Samples that a device takes through the network at a time; `"auto"` until a
            search has begun, then the number that was chosen, so that resuming repeats it.
        dtype: The type of the network's arithmetic: one of `DTYPES`.
        iterations: Steps of the optimiser.
        learning_rate: Adam's highest rate.
        n: Samples scored at the end.
        seed: Of the search and of the report.
        checkpoint_every: The longest time between two checkpoints, in seconds.
        allow_code: Whether the names above may lead to code (`python:`) and to files of this
            machine: not in a run of others.
        directory: Where modules of `python:` names are looked for.
        hashes: Those of the model, the data, and each extractor of features.
        versions: Those of Python and of packages.
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
    objective: str = "kid"
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
        for name, allowed in (("times", TIMES), ("dtype", DTYPES)):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} is {shown(getattr(self, name))}; it must be one of "
                    f"{', '.join(allowed)}."
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
    def stride(self) -> str:
        """Return the stride that the times begin with."""
        return self.times.partition("-")[0]

    @property
    def searches_times(self) -> bool:
        """Tell whether the grid of times is searched, and nothing beside it."""
        return self.times.endswith("-searched")

    @property
    def decouples_times(self) -> bool:
        """Tell whether the times told to the network are searched too, apart from the grid."""
        return self.times.endswith("-decoupled")


DEFAULTS: dict[str, Any] = {
    field.name: field.default
    for field in dataclasses.fields(Config)
    if field.default is not dataclasses.MISSING
}

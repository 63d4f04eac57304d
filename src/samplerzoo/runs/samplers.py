"""The samplers of an evaluation: runs, families at some numbers of steps, tables."""

import os
from collections.abc import Mapping, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ..core.drawing import make_table
from ..core.families import STRIDES, AbstractFamily
from ..core.model import DiffusionModel
from ..core.table import StepTable
from ..hub import PREFIX
from ..registry import entries
from .names import PYTHON, label_of, name_of, options as read_options
from .parts import load_family
from .run import Run, check_times, load_run
from .store import run_folder

RUN, FAMILY, OBJECT = "run", "family", "object"  # what a scored sampler is
Given: TypeAlias = str | Path | Run | StepTable | AbstractFamily | type[AbstractFamily]


class Sampler(NamedTuple):
    """A sampler that is scored.

    Attributes:
        name: What it is called.
        kind: Whether it is a run's, a family's of a name, or was given as an object.
        table: The sampler as numbers.
    """

    name: str
    kind: str
    table: StepTable


def listed(given: Any) -> list[Any]:
    """Return a list of what is given: one thing, or a sequence of such."""
    several = isinstance(given, Sequence) and not isinstance(given, str)
    return list(given) if several else [given]


def named_samplers(given: Given | Sequence[Given] | Mapping[str, Given]) -> dict[str, Any]:
    """Give every sampler a name, and load the runs among them.

    Args:
        given: One sampler, several, or several by the names that they shall have. A text is the
            folder of a run, `hf:owner/name`, or a family: its registered name, with a stride and
            options if wanted, as in `ddim-quadratic:eta=0.5`.

    Returns:
        The samplers by name: runs, families' names, and objects.

    Raises:
        ValueError: There is no such run.
    """
    if isinstance(given, Mapping):
        return {name: _loaded(sampler) for name, sampler in given.items()}
    found: dict[str, Any] = {}
    for sampler in listed(given):
        if isinstance(sampler, str | Path):
            name = os.path.normpath(sampler)
            found[name] = _loaded(name)
        else:
            found[_free(_called(sampler), found)] = sampler
    return found


def _called(sampler: Any) -> str:
    """What an object is called: a run by its folder, or by its family."""
    if isinstance(sampler, Run):
        return str(sampler.path or label_of(sampler.config.family))
    return label_of(name_of(sampler)).lower()


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """A name, with a number where it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def _loaded(sampler: Any) -> Any:
    """A run for the name of one; all else as it is."""
    if not isinstance(sampler, str | Path):
        return sampler
    return load_run(sampler) if _is_run(str(sampler)) else str(sampler)


def _is_run(text: str) -> bool:
    """Whether a name is a folder's; one called as a family is if there is a run in it."""
    if text.startswith(PREFIX):
        return True
    path = run_folder(text)
    held = (path / "config.toml").exists()
    if Path(text).is_file():
        return held
    return path.is_dir() and (text not in entries("families") or held)


@singledispatch
def sampler_tables(
    given: Any, name: str, steps: Sequence[int], model: DiffusionModel
) -> list[Sampler]:
    """Make the tables of one sampler.

    Args:
        given: A sampler as `named_samplers` returns it.
        name: What it is called.
        steps: The numbers of evaluations of a family that is given by name or as a class.
        model: The model that they are for.

    Returns:
        One table of a run, a table or a member of a family; of a family's name or class one for
        each number of steps, with both strides where it names none.

    Raises:
        ValueError: There is no such family, it takes no such options, or a table does not fit the
            model.
    """
    raise ValueError(
        f"The sampler {name!r} is a {type(given).__name__}; it must be a run, a family or its "
        "name, or a StepTable."
    )


@sampler_tables.register
def _(given: Run, name: str, steps: Sequence[int], model: DiffusionModel) -> list[Sampler]:
    return [Sampler(name, RUN, given.table_on(model))]


@sampler_tables.register
def _(given: StepTable, name: str, steps: Sequence[int], model: DiffusionModel) -> list[Sampler]:
    check_times(given, model, name)
    return [Sampler(name, OBJECT, given)]


@sampler_tables.register
def _(
    given: AbstractFamily, name: str, steps: Sequence[int], model: DiffusionModel
) -> list[Sampler]:
    return [Sampler(name, OBJECT, make_table(given, model.schedule))]


@sampler_tables.register
def _(given: type, name: str, steps: Sequence[int], model: DiffusionModel) -> list[Sampler]:
    return _family_tables(given, name, "", "", steps, model)


@sampler_tables.register
def _(given: str, name: str, steps: Sequence[int], model: DiffusionModel) -> list[Sampler]:
    words, text = split_family(given)
    family, _, stride = words.rpartition("-")
    if stride not in STRIDES or words in entries("families"):
        family, stride = words, ""
    known = family in entries("families") or family.startswith(f"{PYTHON}:")
    if not known and (Path(given).exists() or "/" in given):
        raise ValueError(f"{given!r} is neither the folder of a run nor the name of a family.")
    return _family_tables(family, label_of(family), stride, text, steps, model)


def split_family(given: str) -> tuple[str, str]:
    """Take apart the name of a family, with its stride if it says one, and its options' text."""
    colons = 3 if given.startswith(f"{PYTHON}:") else 1
    *name, text = [*given.split(":", colons), *[""] * (given.count(":") < colons)]
    return ":".join(name), text


def _family_tables(
    family: str | type,
    name: str,
    stride: str,
    text: str,
    steps: Sequence[int],
    model: DiffusionModel,
) -> list[Sampler]:
    """The members of a family with one stride or both, and with the options of a text."""
    options = read_options(text.split(",")) if text else {}
    found = []
    for one in [stride] if stride else STRIDES:
        called = f"{name}-{one}:{text}" if text else f"{name}-{one}"
        for number in steps:
            member = load_family(family, number, one, model, options)
            found.append(Sampler(called, FAMILY, make_table(member, model.schedule)))
    return found

"""The samplers of an evaluation: runs, families at some numbers of steps, tables."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from jaxtyping import Array

from ..core.drawing import make_table
from ..core.engine import sample_batch
from ..core.families import AbstractFamily
from ..core.model import DiffusionModel
from ..core.ode import AdaptiveODE, adaptive_ode, sample_ode
from ..core.table import StepTable
from ..core.unsearched import choice_key
from ..hub import PREFIX
from ..registry import entries
from .guiding import check_guidance
from .names import PYTHON, label_of, name_of
from .parts import construct, load_family, split_family, split_sampler
from .run import Run, check_times, load_run
from .saved import SavedSampler, is_file, read_saved
from .store import run_folder, run_name
from .sweeping import Sweep, runs_of

ODE = "ode"  # the name of the adaptive solver of the model's ODE
RUN, FAMILY, OBJECT = "run", "family", "object"  # what a scored sampler is
Given: TypeAlias = (
    str | Path | Run | Sweep | SavedSampler | StepTable | AbstractFamily | type[AbstractFamily]
)


class Sampler(NamedTuple):
    """A sampler that is scored.

    Attributes:
        name: What it is called.
        kind: Whether it is a run's, a family's of a name, or was given as an object.
        table: The sampler as numbers.
        sample: How samples are drawn with it, see `stream`.
    """

    name: str
    kind: str
    table: StepTable | AdaptiveODE
    sample: Callable[..., Array] = sample_batch


class Families(NamedTuple):
    """What is made of a family.

    Attributes:
        steps: The numbers of evaluations.
        grids: The grids, where none is named, by what they are called: names, or numbers as
            `times_on` takes them.
    """

    steps: Sequence[int]
    grids: Mapping[str, str]


def listed(given: Any) -> list[Any]:
    """Return a list of what is given: one thing, or a sequence of such."""
    several = isinstance(given, Sequence) and not isinstance(given, str)
    return list(given) if several else [given]


def named_samplers(given: Given | Sequence[Given] | Mapping[str, Given]) -> dict[str, Any]:
    """Give every sampler a name, and load the runs among them.

    Args:
        given: One sampler, several, or several by the names that they shall have. A text is the
            folder of a run or of a sweep, `hf:owner/name`, a JSON file that `import` or
            `export --to json` wrote, or a family: its registered name, with a grid and options if
            wanted, as in `ddim-quadratic:eta=0.5`; or `ode`, the adaptive solver of the model's
            ODE.

    Returns:
        The samplers by name: runs, those of a sweep each, families' names, and objects.

    Raises:
        ValueError: There is no such run.
    """
    if isinstance(given, Mapping):
        return {
            called: _loaded(one)
            for name, sampler in given.items()
            for called, one in _unfolded(name, sampler).items()
        }
    found: dict[str, Any] = {}
    for sampler in listed(given):
        if isinstance(sampler, str | Path):
            name = os.path.normpath(sampler)
            found |= {called: _loaded(one) for called, one in _unfolded(name, name).items()}
        else:
            found |= _unfolded(_free(_called(sampler), found), sampler)
    return found


def _unfolded(name: str, sampler: Any) -> dict[str, Any]:
    """The runs of a sweep, called as their folders are; anything else as it is."""
    runs = {
        f"{name}/{run_name(steps)}": load_run(run) if isinstance(run, Path) else run
        for steps, run in runs_of(sampler).items()
    }
    return runs or {name: sampler}


def _called(sampler: Any) -> str:
    """What an object is called: a run or a sweep by its folder, or a run by its family."""
    if isinstance(sampler, Run | Sweep) and sampler.path is not None:
        return str(sampler.path)
    if isinstance(sampler, Run):
        return label_of(sampler.config.family)
    if isinstance(sampler, SavedSampler):
        return sampler.name
    return label_of(name_of(sampler)).lower()


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """A name, with a number where it is taken."""
    number, free = 1, name
    while any(f"{other}/".startswith(f"{free}/") for other in taken):
        number += 1
        free = f"{name}-{number}"
    return free


def _loaded(sampler: Any) -> Any:
    """A run for the name of one, numbers for a JSON file of them; all else as it is."""
    if not isinstance(sampler, str | Path):
        return sampler
    if is_file(sampler):
        return read_saved(sampler)
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
    given: Any, name: str, families: Families, model: DiffusionModel
) -> list[Sampler]:
    """Make the tables of one sampler.

    Args:
        given: A sampler as `named_samplers` returns it.
        name: What it is called.
        families: What is made of a family that is given by name or as a class.
        model: The model that they are for.

    Returns:
        One table of a run, a table or a member of a family; of a family's name or class one for
        each number of steps, on each of the grids where it names none.

    Raises:
        ValueError: There is no such family, it takes no such options, or a table does not fit the
            model.
    """
    raise ValueError(
        f"The sampler {name!r} is a {type(given).__name__}; it must be a run, a family or its "
        "name, or a StepTable."
    )


@sampler_tables.register
def _(given: Run, name: str, families: Families, model: DiffusionModel) -> list[Sampler]:
    return [Sampler(name, RUN, given.table_on(model))]


@sampler_tables.register
def _(given: SavedSampler, name: str, families: Families, model: DiffusionModel) -> list[Sampler]:
    return [Sampler(name, OBJECT, given.table_on(model))]


@sampler_tables.register
def _(given: StepTable, name: str, families: Families, model: DiffusionModel) -> list[Sampler]:
    check_times(given, model, name)
    check_guidance(given, model, f"The sampler {name!r}")
    return [Sampler(name, OBJECT, given)]


@sampler_tables.register
def _(given: AbstractFamily, name: str, families: Families, model: DiffusionModel) -> list[Sampler]:
    table = make_table(given, model.schedule)
    check_guidance(table, model, f"The sampler {name!r}")
    return [Sampler(name, OBJECT, table)]


@sampler_tables.register
def _(given: type, name: str, families: Families, model: DiffusionModel) -> list[Sampler]:
    return _family_tables(given, name, "", {}, families, model)


@sampler_tables.register
def _(given: str, name: str, families: Families, model: DiffusionModel) -> list[Sampler]:
    family, grid, options = split_sampler(given)
    if family == ODE and ODE not in entries("families"):
        return [_ode(given, options, model)]
    known = family in entries("families") or family.startswith(f"{PYTHON}:")
    if not known and (Path(given).exists() or "/" in given):
        raise ValueError(f"{given!r} is neither the folder of a run nor the name of a family.")
    _, text = split_family(given)
    if grid:
        families = families._replace(grids={grid: grid})
    return _family_tables(family, label_of(family), text, options, families, model)


def _ode(name: str, options: Mapping[str, Any], model: DiffusionModel) -> Sampler:
    """The adaptive solver of the ODE, with its tolerances."""
    made = construct(
        adaptive_ode, f"The sampler {name!r}", {"model": model, "key": choice_key()}, options
    )
    return Sampler(name, FAMILY, made, sample_ode)


def _family_tables(
    family: str | type,
    name: str,
    text: str,
    options: Mapping[str, Any],
    families: Families,
    model: DiffusionModel,
) -> list[Sampler]:
    """The members of a family on some grids, with the options of a text."""
    found = []
    for label, grid in families.grids.items():
        called = f"{name}-{label}:{text}" if text else f"{name}-{label}"
        for number in families.steps:
            member = load_family(family, number, grid, model, options)
            found.append(Sampler(called, FAMILY, make_table(member, model.schedule)))
    return found

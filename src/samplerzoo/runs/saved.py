"""Samplers in JSON, as `export --to json` and `import` write them, back as tables."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np

from ..core.families import FixedTable
from ..core.model import DiffusionModel
from ..core.schedule import AbstractSchedule, RectifiedFlow
from ..core.table import StepTable
from ..limits import STEPS
from ..schema import NUMBER, list_of, number, parse_json, read_json, record, text
from .guiding import check_guidance

_COLUMN = list_of(NUMBER, 1)
_MATRIX = list_of(_COLUMN, 1)
_SAVED = record(
    {
        "name": text(200),
        "times": _COLUMN,
        "alphas": _COLUMN,
        "sigmas": _COLUMN,
        "clean": _MATRIX,
        "noise": _MATRIX,
        "fresh": _COLUMN,
        "init_sigma": number(0.0),
    },
    {"guidance": _COLUMN},
)
_APART = 1e-3  # of a level, beyond which a sampler is another model's


@dataclasses.dataclass(frozen=True)
class SavedSampler:
    """Hold a sampler as numbers in double precision, with the levels that it is for.

    Attributes:
        name: What it is called.
        family: The table, as a family that is the same on any schedule.
        alphas: The factor of the data at each told time, (K,).
        sigmas: The standard deviation of the noise at each told time, (K,).
        notes: What must be known of it, a sentence each.
    """

    name: str
    family: FixedTable
    alphas: tuple[float, ...]
    sigmas: tuple[float, ...]
    notes: tuple[str, ...] = ()

    @property
    def table(self) -> StepTable:
        """Return the sampler as arrays of the default precision."""
        return self.family.table(RectifiedFlow())  # of which it asks nothing

    def table_on(self, model: DiffusionModel) -> StepTable:
        """Return the sampler as arrays, for a model whose levels are those that it was made for.

        Args:
            model: The model that is to be sampled.

        Returns:
            The table.

        Raises:
            ValueError: The model's levels are others, or it cannot be guided as the sampler asks.
        """
        check_levels(self, model.schedule)
        check_guidance(self.table, model, f"The sampler {self.name!r}")
        return self.table


def read_saved(path: str | Path) -> SavedSampler:
    """Read a sampler's JSON file.

    Args:
        path: A file that `export --to json` or `import` wrote.

    Raises:
        ValueError: It holds no sampler, or not a whole one.
    """
    return _saved(read_json(Path(path), _SAVED), str(path))


def parse_saved(given: str, notes: tuple[str, ...] = ()) -> SavedSampler:
    """Read a sampler from JSON text, as a configuration holds one.

    Args:
        given: The text.
        notes: What must be known of it.

    Raises:
        ValueError: It does not hold a whole sampler.
    """
    found = _saved(parse_json(given.encode(), _SAVED, "The start"), "The start")
    return dataclasses.replace(found, notes=notes)


def as_text(sampler: SavedSampler) -> str:
    """Write a sampler as JSON text, from which `parse_saved` reads the same."""
    family = sampler.family
    content = {
        "name": sampler.name,
        "times": family.times,
        "alphas": sampler.alphas,
        "sigmas": sampler.sigmas,
        "clean": family.clean,
        "noise": family.noise,
        "fresh": family.fresh,
        "init_sigma": family.spread,
    }
    if family.guidance is not None:
        content["guidance"] = family.guidance
    return json.dumps(content, separators=(",", ":"))


def is_file(given: str | Path) -> bool:
    """Tell whether a path is that of a JSON file which is not one of a run's."""
    path = Path(given)
    return path.suffix == ".json" and path.is_file() and not (path.parent / "config.toml").exists()


def is_text(given: Any) -> TypeGuard[str]:
    """Tell whether what stands for a sampler is its JSON text."""
    return isinstance(given, str) and given.startswith("{")


def check_levels(sampler: SavedSampler, schedule: AbstractSchedule) -> None:
    """Refuse a schedule whose levels are not those that a sampler was made for.

    Raises:
        ValueError: They differ at one of its times.
    """
    times = np.array(sampler.family.times)
    inside = np.all((times > 0) & (times <= schedule.t_max * (1 + 1e-6)))
    if inside:
        at = jnp.asarray(times, float)
        here = [np.asarray(jax.vmap(level)(at)) for level in (schedule.alpha, schedule.sigma)]
        there = [np.array(sampler.alphas), np.array(sampler.sigmas)]
        inside = all(
            np.allclose(one, other, rtol=_APART, atol=_APART / 10)
            for one, other in zip(here, there, strict=True)
        )
    if not inside:
        raise ValueError(
            f"The sampler {sampler.name!r} was made for another model's noise levels; give a model "
            "with the schedule that it was exported or imported with."
        )


def _saved(content: Mapping[str, Any], where: str) -> SavedSampler:
    times, fresh, alphas, sigmas = (
        _column(content[name]) for name in ("times", "fresh", "alphas", "sigmas")
    )
    clean, noise = (tuple(map(_column, content[name])) for name in ("clean", "noise"))
    STEPS.check(len(times), f"The sampler in {where}")
    guidance = _column(content["guidance"]) if "guidance" in content else None
    columns = [times, fresh, alphas, sigmas, clean, noise, *[guidance] * (guidance is not None)]
    lengths = set(map(len, columns))
    depths = {len(row) for row in (*clean, *noise)}
    if len(lengths) > 1 or len(depths) > 1 or max(depths) > max(lengths):
        raise ValueError(
            f"{where} holds no whole sampler: its columns are of {_several(lengths)} rows and its "
            f"rows of {_several(depths)} numbers."
        )
    family = FixedTable(times, clean, noise, fresh, float(content["init_sigma"]), guidance)
    return SavedSampler(content["name"], family, alphas, sigmas)


def _column(numbers: Sequence[float | int]) -> tuple[float, ...]:
    return tuple(map(float, numbers))


def _several(counts: set[int]) -> str:
    return " and ".join(map(str, sorted(counts)))

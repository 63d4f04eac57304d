"""The samplers that the words of a command line stand for."""

from collections.abc import Iterable
from pathlib import Path

from ..core.drawing import make_table
from ..core.families import STRIDES
from ..core.model import DiffusionModel
from ..core.table import StepTable
from ..hub import PREFIX
from ..registry import entries
from .names import options as read_options
from .parts import load_family
from .run import Run, load_run


def find_runs(targets: Iterable[str]) -> dict[str, Run]:
    """Those of the targets that are runs."""
    return {t: load_run(t) for t in targets if _is_run(t)}


def sampler_tables(
    target: str, steps: Iterable[int], model: DiffusionModel, runs: dict[str, Run]
) -> list[tuple[str, StepTable]]:
    """The samplers that one target stands for, with their names.

    A run, or `FAMILY[-STRIDE][:key=value,...]` at each of the numbers of steps and, where none is
    given, with both strides.
    """
    if target in runs:
        return [(target, runs[target].table)]
    words, colon, text = target.partition(":")
    name, _, stride = words.rpartition("-")
    if stride not in STRIDES or words in entries("families"):
        name, stride = words, ""
    if name not in entries("families") and (Path(target).exists() or "/" in target):
        raise ValueError(f"{target!r} is neither the folder of a run nor the name of a family.")
    options = read_options(text.split(",")) if colon else {}
    families = {
        s: [load_family(name, k, s, model, options) for k in steps]
        for s in ([stride] if stride else STRIDES)
    }
    return [
        (f"{name}-{s}{colon}{text}", make_table(family, model.schedule))
        for s, found in families.items()
        for family in found
    ]


def _is_run(target: str) -> bool:
    """Whether a target is a folder; one called as a family is if there is a run in it."""
    if target.startswith(PREFIX):
        return True
    path = Path(target)
    return path.is_dir() and (target not in entries("families") or (path / "config.toml").exists())

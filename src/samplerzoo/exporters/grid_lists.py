"""What a tool that takes only a list can have of a searched sampler, and what that costs.

Such a tool runs its own coefficients at the times of the list, rounded and shifted as its scheduler
does. Here the scheduler is emulated, so the list that suits it best is found, and scored, on the
run's own model.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..core.families import GRIDS, Times
from ..core.table import StepTable
from ..formats.scheduler_tables import Flow, read_sampler
from ..formats.scheduling import Noise
from ..runs.evaluating import evaluate
from ..runs.names import split
from ..runs.run import Run
from ..runs.spec import MAX_SEED, check_seed
from .files import to_json, write_texts
from .sampler import double, space_of

_TRIED = 1000  # samples that a list is tried with, at most
_SWEEPS = (0.25, 0.125)  # how far times are moved, in shares of the gaps beside them
_CHOSEN_WITH = MAX_SEED  # the seed of the samples that lists are chosen by


class _Scheduler(NamedTuple):
    """A scheduler that takes a list.

    Attributes:
        config: Its class and the options that the list is for.
        argument: What `set_timesteps` and pipelines call the list.
        values: The list that puts the states at some times of the model's schedule.
        note: What the scheduler does with it.
    """

    config: dict[str, Any]
    argument: str
    values: Callable[[Float[np.ndarray, "K"]], list[float]]
    note: str


def export_grids(
    run: Run,
    name: str,
    folder: Path,
    n: int = 10_000,
    seed: int = 0,
    shift: float = 1.0,
    progress: bool = True,
) -> list[Path]:
    """Write the best list for each scheduler that takes one, with what it costs.

    Args:
        run: A run.
        name: What the sampler is called.
        folder: Where to write; made where it is not there.
        n: Samples a score.
        seed: Of the samples that are scored.
        shift: The shift of a flow model's scheduler, which its lists undo.
        progress: Whether bars are shown on stderr.

    Returns:
        The file, `NAME-grid.json`.

    Raises:
        ValueError: No scheduler of diffusers takes a list for such a model, or an option is not
            allowed.
    """
    check_seed(seed)
    if n < 2:
        raise ValueError(f"n is {n}; it must be at least 2.")
    if not 0 < shift <= 1e6:
        raise ValueError(f"shift is {shift}; it must be a positive number.")
    if run.table.guidance is not None:
        raise ValueError(
            "This sampler has a weight of guidance for each step, for which a list of times has no "
            "place; export it as json without grid_only, which holds the weights."
        )
    emulators = _emulators(run, shift)
    found = []
    for emulator in emulators:
        values = _best(emulator, run, min(n, _TRIED))
        tables = {
            "list": emulator.table(values),
            "default": emulator.table(None),
        }
        scores = _scores(run, tables, n, seed, progress)
        found.append(_content(emulator, values, scores))
    content = {
        "name": name,
        "nfe": run.config.steps,
        "n": n,
        "seed": seed,
        "note": "A list is not the sampler: the scheduler runs its own coefficients at its times. "
        "fd is the Fréchet distance on the run's model and data, by feature space.",
        "lists": found,
    }
    return write_texts(folder, {f"{name}-grid.json": to_json(content)})


class _Emulator(NamedTuple):
    """A scheduler on a run's model.

    Attributes:
        scheduler: The scheduler.
        noise: The model's levels and prediction.
        steps: K.
    """

    scheduler: _Scheduler
    noise: Noise | Flow
    steps: int

    def table(self, values: Sequence[float] | None) -> StepTable:
        """Return what the scheduler makes of a list; of None, its own."""
        found = read_sampler(self.scheduler.config, self.steps, values, self.noise).table
        return jax.tree.map(lambda column: jnp.asarray(column, float), found)


def _content(
    emulator: _Emulator, values: list[float], scores: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    config, argument, _, note = emulator.scheduler
    return {
        "scheduler": config["_class_name"],
        "options": {name: value for name, value in config.items() if not name.startswith("_")},
        "argument": argument,
        "values": values,
        "fd": scores["list"],
        "fd_of_the_searched_sampler": scores["searched"],
        "fd_of_the_schedulers_own_list": scores["default"],
        "note": note,
    }


def _emulators(run: Run, shift: float) -> list[_Emulator]:
    """The schedulers that take a list for a run's model."""
    model, steps = run.model, run.config.steps
    space = space_of(model.schedule)
    if space != "flow" and model.schedule.steps is None:
        raise ValueError(
            "No scheduler of diffusers takes a list for such a model, of continuous time and no "
            "flow; export the sampler itself."
        )
    schedulers = _of_flows(shift) if space == "flow" else _OF_TIMESTEPS
    with jax.enable_x64(True):
        kind = Flow if space == "flow" else Noise
        noise = kind(double(model.schedule), model.prediction, model.clip)
    return [_Emulator(scheduler, noise, steps) for scheduler in schedulers]


_OF_TIMESTEPS = (
    _Scheduler(
        {"_class_name": "DPMSolverMultistepScheduler"},
        "timesteps",
        lambda times: np.round(times - 1).tolist(),
        "It truncates timesteps to whole numbers; these are whole.",
    ),
    _Scheduler(
        {"_class_name": "EulerDiscreteScheduler"},
        "timesteps",
        lambda times: (times - 1).tolist(),
        "It takes timesteps as they are.",
    ),
)


def _of_flows(shift: float) -> tuple[_Scheduler, ...]:
    """The schedulers of flow models, whose shift is undone in the list."""

    def values(times: Float[np.ndarray, "K"]) -> list[float]:
        return (times / (shift - (shift - 1) * times)).tolist()

    return (
        _Scheduler(
            {
                "_class_name": "UniPCMultistepScheduler",
                "use_flow_sigmas": True,
                "prediction_type": "flow_prediction",
                "flow_shift": shift,
            },
            "sigmas",
            values,
            "It shifts sigmas by flow_shift, which these undo, and tells the network whole "
            "thousandths.",
        ),
        _Scheduler(
            {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": shift},
            "sigmas",
            values,
            "It shifts sigmas by shift, which these undo.",
        ),
    )


def _best(emulator: _Emulator, run: Run, n: int) -> list[float]:
    """The best of the run's times, the named grids and the scheduler's own, then moved."""
    schedule = run.model.schedule
    starts = [np.asarray(run.table.times), np.asarray(emulator.table(None).times)]
    starts += [np.asarray(Times.of(grid, emulator.steps)(schedule)[0]) for grid in GRIDS]
    best = _least(emulator, run, n, starts)
    for share in _SWEEPS:
        best = _least(emulator, run, n, [best, *_moved(best, share)])
    return emulator.scheduler.values(best)


def _moved(times: Float[np.ndarray, "K"], share: float) -> list[Float[np.ndarray, "K"]]:
    """Times of which one but the first is moved by a share of the gap beside it."""
    found = []
    for row in range(1, len(times)):
        above, here = times[row - 1], times[row]
        below = times[row + 1] if row + 1 < len(times) else 0.0
        for there in (above, below):
            moved = times.copy()
            moved[row] = here + share * (there - here)
            found.append(moved)
    return found


def _least(
    emulator: _Emulator, run: Run, n: int, several: Sequence[Float[np.ndarray, "K"]]
) -> Float[np.ndarray, "K"]:
    """The times with the least FD in the searched features; those that cannot be had are left."""
    tables, found = {}, {}
    for number, times in enumerate(several):
        with suppress(ValueError):
            tables[str(number)] = emulator.table(emulator.scheduler.values(times))
            found[str(number)] = times
    space = split(run.config.features)[0]
    scores = _scores(run, tables, n, _CHOSEN_WITH, progress=False)
    return found[min(found, key=lambda name: scores[name][space])]


def _scores(
    run: Run, tables: Mapping[str, StepTable], n: int, seed: int, progress: bool
) -> dict[str, dict[str, float]]:
    """The FD of tables on the run's model and data, by feature space."""
    found = evaluate(
        {"searched": run, **tables},
        n=n,
        seeds=seed,
        model=run.model,
        metrics="fd",
        progress=progress,
    )
    scores: dict[str, dict[str, float]] = {}
    for row in found.rows:
        scores.setdefault(row.sampler, {})[row.features] = row.scores["fd"]
    return scores

"""A run: what a search was given and what it found, on disk or in memory."""

import base64
import dataclasses
import html
import logging
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ..core.drawing import draw_samples, report_key
from ..core.families import AbstractFamily
from ..core.model import DiffusionModel
from ..core.optimise import SearchState
from ..core.table import StepTable
from ..core.types import Key
from ..files import digest, write
from ..hub import PREFIX, parse
from ..limits import FILE_BYTES
from ..opening import read_file
from .errors import RunError
from .guiding import OPTION, check_guidance
from .names import label_of, split
from .parts import load_model, make_family
from .published import fetch_config, fetch_run
from .rows import Scores, read_row
from .setup import add_directory
from .spec import NUMBERS, Config, check_seed
from .store import (
    SAMPLER,
    load_config,
    load_family_into,
    load_result,
    load_sampler,
    read_log,
    refuse_taken,
    resuming,
    run_folder,
    save_checkpoint,
    save_config,
    save_result,
    save_sampler,
    write_log,
)
from .times import times_on

PICTURES = ("samples.png", "curve.png")
# Of a configuration, what a sampler's file says.
_ABOUT = ("family", "family_options", "steps", "times", "model", "features", "kernel", "seed")


class Found(NamedTuple):
    """What a search found, kept in memory.

    Attributes:
        family: The searched family.
        table: Its table on the model's schedule.
        state: The search's last state.
        log: A line for each step: `step`, `kid`, `seconds`.
        result: What result.json holds; None before all is scored.
        pictures: PNG files by name.
    """

    family: AbstractFamily
    table: StepTable
    state: SearchState
    log: list[dict[str, Any]]
    result: dict[str, Any] | None
    pictures: dict[str, bytes]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Run:
    """Hold a search and what it found. In a notebook it shows its scores and pictures.

    Attributes:
        config: What the search was given.
        path: The run's folder; None of a run in memory.
        objects: The parts that were given as objects, by the configuration's field.
        found: What a run in memory found.
        loaded: The model, where it is loaded already.
    """

    config: Config
    path: Path | None = None
    objects: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    found: Found | None = None
    loaded: DiffusionModel | None = None

    @cached_property
    def table(self) -> StepTable:
        """Return the searched sampler as numbers.

        Raises:
            ValueError: The run's file is missing or damaged.
        """
        if self.found:
            return self.found.table
        path = self._folder / SAMPLER
        table, _ = load_sampler(path)
        if table.steps != self.config.steps:
            raise ValueError(
                f"{path} holds a sampler of {table.steps} steps where config.toml says "
                f"{self.config.steps}; one of the two is another run's."
            )
        return table

    def table_on(self, model: DiffusionModel) -> StepTable:
        """Return the searched sampler as numbers, whose times are times of a model.

        Args:
            model: The model that is to be sampled.

        Returns:
            The table.

        Raises:
            ValueError: The run's file is missing or damaged, asks the network at times that the
                model does not have, or guides a model that knows no guidance.
        """
        what = str(self.path or "the run")
        check_times(self.table, model, what)
        check_guidance(self.table, model, f"The sampler {what!r}")
        return self.table

    @cached_property
    def family(self) -> AbstractFamily:
        """Return the searched family, with the parameters that were found.

        Raises:
            ValueError: The family is not installed, or was an object and is not given again.
        """
        if self.found:
            return self.found.family
        config = self.config
        add_directory(config)
        given = self.objects.get("family", config.family)
        options = config.options
        if isinstance(given, AbstractFamily):  # whose other options are its own
            options = {name: options[name] for name in (OPTION,) if name in options}
        own = NUMBERS.fullmatch(config.grid)
        times = times_on(config.grid, self.model.schedule) if own else config.grid
        like = make_family(given, config.steps, times, options, allow_code=config.allow_code)
        return load_family_into(self._folder / SAMPLER, like)

    @cached_property
    def model(self) -> DiffusionModel:
        """Return the model that was searched for.

        Raises:
            ValueError: It cannot be loaded, or was an object and is not given again.
        """
        if self.loaded is not None:
            return self.loaded
        config = self.config
        add_directory(config)
        given = self.objects.get("model", config.model)
        asked = (config.label, config.guidance, config.labels, config.conditions)
        return load_model(given, config.dtype, *asked, allow_code=config.allow_code)

    @cached_property
    def result(self) -> dict[str, Any] | None:
        """Return what result.json holds; None where the run is not finished."""
        return self.found.result if self.found else load_result(self._folder)

    @property
    def checked_result(self) -> dict[str, Any]:
        """Return the result of a finished run, which is of its sampler and no other.

        Raises:
            ValueError: The run is not finished, its result is damaged, or is of another sampler.
        """
        if self.result is None:
            remedy = f"; `{resuming(self.path)}` finishes it" if self.path else ""
            raise ValueError(f"{self.path or 'The run'} is not finished{remedy}.")
        then = self.result.get("table")  # older results say nothing
        if then is not None and self.path is not None and then != digest(self.table):
            raise ValueError(
                f"The scores in {self.path} are of another sampler than its {SAMPLER}; remove "
                f"result.json, and `{resuming(self.path)}` scores this one."
            )
        return self.result

    @property
    def finished(self) -> bool:
        """Tell whether the sampler has been searched and scored."""
        return self.result is not None

    @cached_property
    def log(self) -> list[dict[str, Any]]:
        """Return a line for each step: `step`, `kid` (None of a skipped step) and `seconds`."""
        return self.found.log if self.found else read_log(self._folder)

    @cached_property
    def scores(self) -> Scores:
        """Return the scores of the searched sampler and of the baselines.

        Raises:
            ValueError: The run is not finished, its result is damaged, or is of another sampler.
        """
        result = self.checked_result
        where = f"The result of {self.path or 'the run'}"
        roles = {
            result["report_features"]: "not searched",
            **dict.fromkeys(split(result["search_features"]), "searched"),
        }
        rows = [read_row(row, where) for row in result["rows"]]
        about = {"model": self.config.model, "data": self.config.data}
        return Scores(rows, about, roles)

    @property
    def verdict(self) -> str:
        """Say in a sentence how the sampler compares with the best baseline, and with DDIM.

        It goes by the report's features.

        Raises:
            ValueError: The run is not finished, or its result is of another sampler.
        """
        result = self.checked_result
        space, own = result["report_features"], result["sampler"]
        fds = {row.sampler: row.scores["fd"] for row in self.scores.rows if row.features == space}
        mine = fds.pop(own)
        best = min(fds, key=fds.__getitem__)
        ratio, where = mine / fds[best], f"{result['nfe']} network evaluations"
        what = "unsearched solver and grid" if best == result.get("unsearched") else "baseline"
        ddim = min((n for n in fds if n.startswith("ddim-")), key=fds.__getitem__, default=best)
        beside = f" and {mine / fds[ddim]:.2f} of that of {ddim}" if ddim != best else ""
        if ratio > 1:
            return (
                f"In {space}, {own} is worse than {best}, the best {what}, at {where}: its FD is "
                f"{ratio:.2f} times as large{beside}."
            )
        return (
            f"In {space}, {own}'s FD is {ratio:.2f} of that of {best}, the best {what}, at "
            f"{where}{beside}."
        )

    @cached_property
    def pictures(self) -> dict[str, bytes]:
        """Return the PNG files by name: samples beside the baselines', and the KID's curve."""
        if self.found:
            return self.found.pictures
        paths = [self._folder / name for name in PICTURES]
        return {path.name: read_file(path) for path in paths if path.is_file()}

    def sample(
        self, n: int = 64, seed: int = 0, key: Key | None = None
    ) -> Float[np.ndarray, "n ..."]:
        """Draw samples with the searched sampler.

        Args:
            n: How many.
            seed: Another seed, other samples; the same ones as `samplerzoo sample --seed` draws.
            key: A key in place of the seed; sample number i draws from `fold_in(key, i)`.

        Returns:
            The samples (n, *shape) in the model's range, float32.

        Raises:
            ValueError: `n` or the seed is not allowed, or the model cannot be loaded.
        """
        return draw_checked(self.table_on, self.model, n, seed, key)

    def save(self, path: str | Path) -> "Run":
        """Write the run to a new folder, as `samplerzoo search` leaves it.

        Parts that were objects are not in it: to sample from the folder, or to resume it, they are
        given again.

        Args:
            path: A new or empty folder.

        Returns:
            The run in the folder.

        Raises:
            ValueError: The folder is taken.
            OSError: It cannot be written.
        """
        folder = Path(path)
        refuse_taken(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_config(folder, self.config)
        write_log(folder, self.log)
        if self.found:
            save_run_sampler(folder, self.config, self.found.family, self.found.table)
            save_checkpoint(folder, self.found.state, self.config)
        else:
            for name in (SAMPLER, "checkpoint.safetensors"):
                if (self._folder / name).is_file():
                    write(folder / name, read_file(self._folder / name, FILE_BYTES))
        for name, picture in self.pictures.items():
            write(folder / name, picture)
        if self.result is not None:
            save_result(folder, {**self.result, "run": str(folder)})
        return dataclasses.replace(self, path=folder, found=None)

    def __repr__(self) -> str:
        config = self.config
        state = "" if self.finished else ", not finished"
        where = "in memory" if self.path is None else str(self.path)
        parts = f"{label_of(config.family)}, {config.steps} steps, {label_of(config.model)}"
        return f"Run({parts}, {where}{state})"

    def _repr_html_(self) -> str:
        config = self.config
        title = f"{label_of(config.family)} at {config.steps} steps for {label_of(config.model)}"
        parts = [f"<h3>{html.escape(title)}</h3>"]
        if self.finished:
            parts += [f"<p>{html.escape(self.verdict)}</p>", self.scores._repr_html_()]
        else:
            parts.append("<p>This run is not finished.</p>")
        parts += [_image(name, picture) for name, picture in self.pictures.items()]
        return f"<div>{''.join(parts)}</div>"

    @property
    def _folder(self) -> Path:
        if self.path is None:
            raise RunError("This run has neither a folder nor anything in memory.")
        return self.path


def _image(name: str, picture: bytes) -> str:
    content = base64.b64encode(picture).decode()
    title = html.escape(Path(name).stem)
    return f'<p><img alt="{title}" src="data:image/png;base64,{content}"></p>'


def draw_checked(
    table_on: Callable[[DiffusionModel], StepTable],
    model: DiffusionModel,
    n: int,
    seed: int,
    key: Key | None,
) -> Float[np.ndarray, "n ..."]:
    """Draw samples, and warn of those that are not finite.

    Args:
        table_on: Gives the sampler for a model.
        model: The model.
        n: How many.
        seed: Another seed, other samples.
        key: A key in place of the seed.

    Raises:
        ValueError: `n` or the seed is not allowed, or the sampler is not for this model.
    """
    if n < 1:
        raise ValueError(f"n is {n}; it must be at least 1.")
    check_seed(seed)
    drawn = draw_samples(table_on(model), model, report_key(seed) if key is None else key, n)
    bad = np.sum(~np.isfinite(drawn.reshape(n, -1)).all(axis=1))
    if bad:
        logging.getLogger("samplerzoo").warning("Warning: %d of %d samples are not finite.", bad, n)
    return drawn


def check_times(table: StepTable, model: DiffusionModel, what: str) -> None:
    """Refuse a table whose times are not those of a model's schedule.

    Raises:
        ValueError: A time is not above 0 and at most the schedule's `t_max`.
    """
    times, most = np.asarray(table.times), model.schedule.t_max
    if not np.all((times > 0) & (times <= most)):
        raise ValueError(
            f"The sampler {what!r} asks the network at times that are not above 0 and at most "
            f"{most:g}, the model's; give a table for this model's schedule."
        )


def save_run_sampler(
    folder: Path, config: Config, family: AbstractFamily, table: StepTable
) -> None:
    """Write a run's sampler.safetensors."""
    save_sampler(folder / SAMPLER, family, table, {k: getattr(config, k) for k in _ABOUT})


def load_run(path: str | Path, **objects: Any) -> Run:
    """Load a run, finished or not, from its folder or from the Hub.

    Args:
        path: A run's folder or a file in it, or `hf:owner/name[@revision]`, which is trusted with
            nothing: it names neither code nor files of this machine.
        **objects: The parts that were given as objects when the search began, such as `model`.

    Returns:
        The run. Its parts are read when they are asked for.

    Raises:
        ValueError: There is no run.
        ConnectionError: The Hub is out of reach.
    """
    if isinstance(path, str) and path.startswith(PREFIX):
        folder = fetch_run(parse(path))
        return Run(fetch_config(folder), folder, objects)
    folder = run_folder(path)
    return Run(load_config(folder), folder, objects)


def kids(log: list[dict[str, Any]]) -> list[float]:
    """Return the KID of each step of a log, NaN of one that was skipped."""
    return [math.nan if line["kid"] is None else float(line["kid"]) for line in log]

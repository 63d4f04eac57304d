"""Searches, from the names of their parts to their result: begun, resumed, interrupted."""

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np
from jaxtyping import Float

from ..core.devices import all_devices
from ..core.drawing import make_table, search_key
from ..core.families import AbstractFamily
from ..core.history import has_stalled
from ..core.kernels import AbstractKernel
from ..core.memory import TooLargeError, free_memory, largest
from ..core.model import DiffusionModel
from ..core.objectives import AbstractObjective
from ..core.optimise import (
    DivergedError,
    MakeOptimiser,
    SearchState,
    Step,
    compile_step,
    descend,
    finish,
    skipped,
    start,
)
from ..features import Extractor
from ..files import digest, write
from ..wording import phrase, printable, sentence, shown
from .bars import note, progress_bar
from .choosing import Neighbour, named_table
from .errors import InterruptedRunError, RunError
from .guiding import beside, name_beside
from .interruptions import stop_if_asked
from .names import label_of
from .objectives import minimised
from .parts import GivenData
from .pictures import draw_curve, draw_strips
from .processes import Crew
from .rows import Row
from .run import PICTURES, Found, Run, kids, save_run_sampler
from .saved import is_text, parse_saved
from .scores import baselines, score_rows
from .setup import (
    SHOWN,
    Setup,
    changed_versions,
    check_hashes,
    configure,
    configure_sweep,
    differences,
    load_setup,
)
from .spec import Config
from .store import (
    OBJECTIVE,
    SAMPLER,
    SWEEP,
    WARM,
    append_log,
    begin_run,
    cut_log,
    is_sweep,
    load_checkpoint,
    load_computed,
    load_config,
    load_result,
    load_sweep,
    load_warm,
    locked,
    log_line,
    new_folder,
    refuse_taken,
    remove_leftovers,
    resuming,
    run_folder,
    run_name,
    save_checkpoint,
    save_config,
    save_result,
    save_sweep,
)
from .sweeping import Sweep
from .times import GivenTimes

OnStep: TypeAlias = Callable[[int, float, SearchState], Any]


def search(
    family: str | type[AbstractFamily] | AbstractFamily = "rddim",
    *,
    family_options: Mapping[str, Any] | None = None,
    steps: int | Sequence[int] | None = None,
    times: GivenTimes = "searched",
    model: str | Path | DiffusionModel | Callable[[], DiffusionModel] = "digits",
    label: int | None = None,
    guidance: float | None = None,
    labels: str | None = None,
    conditions: str | Path | None = None,
    data: GivenData | None = None,
    split: str | None = None,
    crop: bool = False,
    features: str | Extractor | Sequence[str | Extractor] | None = None,
    report_features: str | Extractor | None = None,
    objective: str | AbstractObjective = "kid",
    kernel: str | type[AbstractKernel] | AbstractKernel = "linear",
    kernel_options: Mapping[str, Any] | None = None,
    optimiser: str | MakeOptimiser = "adam",
    batch: int = 256,
    microbatch: int | str = "auto",
    dtype: str = "float32",
    iterations: int = 300,
    learning_rate: float = 0.03,
    patience: int = 0,
    n: int = 10_000,
    seed: int = 0,
    checkpoint_every: float = 5.0,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    callback: OnStep | None = None,
    crew: Crew | None = None,
) -> Run | Sweep:
    """Search a sampler's free parameters by gradient descent on KID, and score what was found.

    A search begins with the best unsearched solver and grid, which a short evaluation finds, unless
    the family's option `start` names another, as in `{"start": "ddim-quadratic"}`.

    The searched sampler and the baselines draw the same numbers of samples from the same noise, and
    are scored in the searched features and in others. The same options, defaults and results as
    the command `samplerzoo search`.

    Several numbers of steps are searched one after the other, from the least to the greatest, each
    a run of its own. Each but the first starts from the result of the one before, carried over to
    its number of steps, where that scores better in the searched features than its own start does,
    on samples that are neither searched nor scored with.

    Args:
        family: A sampler family's registered name, `python:module:attribute`, its class, or a
            member, which is searched from where it stands.
        family_options: Options of the family, such as `{"eta": 0.5}`.
        steps: Network evaluations a sample, K, or several such numbers. [default: 10, or those of a
            member that is given]
        times: The grid of the times: `"linear"`, `"quadratic"`, `"logsnr"`, `"karras"` or
            `"karras-RHO"`, falling numbers, or a file of such, see `samplerzoo.runs.times`; with
            `"-searched"` behind it, searched from there; with `"-decoupled"`, those told to the
            network apart from the sampler's own. `"searched"`, `"decoupled"` or `"fixed"` alone
            takes the grid of the sampler that the search starts from.
        model: A registered name, `hf:owner/name[@revision]`, a folder in diffusers' layout,
            `openai:preset:path`, `python:module:attribute`; or a DiffusionModel, or what makes one.
        label: The class to sample, of a class-conditional checkpoint.
        guidance: The weight of classifier-free guidance; each step is two evaluations then.
        labels: Which classes are sampled, each sample having one of them at random: `"all"`, or
            numbers and ranges such as `"3"`, `"0-9"`, `"1,5-7"`. [default: all of a model that has
            its classes as conditions]
        conditions: A safetensors file of conditions such as embeddings, (N, ...), of which each
            sample has one at random.
        data: A registered name, `python:module:attribute`, a path; or Images, a Bank, Statistics,
            or an array (N, H, W, C), uint8 or in the model's range. [default: the model's own]
        split: Part of the data, of a path.
        crop: Whether images of a path are cropped to their centre square and resized.
        features: What the search compares: a registered name, `resnet:path`,
            `python:module:attribute`, or a function of one sample; or several, as a list or with
            commas between their names. [default: the model's own]
        report_features: Other features, for the report. [default: the model's own]
        objective: What is minimised: `"kid"`; `"teacher"`, the distance to what many steps make of
            the same noise; `"classifier"`; a plugin's; or a sum such as `"kid+0.1*teacher"`, whose
            terms are first divided by what they are at the start. Or an objective as it is.
        kernel: A KID kernel's registered name, `python:module:attribute`, its class, or a kernel.
        kernel_options: Options of the kernel, such as `{"degree": 3}`.
        optimiser: A registered name, `python:module:attribute`, or a function that makes an
            `optax.GradientTransformation` of the number of steps and the highest learning rate.
        batch: Samples a step.
        microbatch: Most samples that a device takes through the network at a time; the gradient is
            the whole batch's. `"auto"` is what its free memory holds.
        dtype: Of the network's arithmetic, `"float32"` or `"bfloat16"`; all else is float32.
        iterations: Steps of the optimiser.
        learning_rate: The optimiser's highest rate; Adam's falls to 0 at the last step.
        patience: End a search when its objective, smoothed over steps, has had no new best for so
            many steps, whatever its learning rate is by then; 0 never ends one early.
        n: Samples scored at the end.
        seed: Of the search and of the report.
        checkpoint_every: Longest time between two checkpoints, in seconds.
        out: A new folder of the run, or of the sweep with one folder a run in it, such as `k5`;
            `"auto"` makes a numbered one under runs/, as the command does. None keeps everything in
            memory.
        resume: Whether `out` may hold this search already, which is then continued, or returned
            where it is finished: one call for a job that may be started again.
        progress: Whether bars are shown on stderr.
        callback: Called after each step as `callback(step, kid, state)`. What it raises ends the
            search, which can be resumed where it has a folder.
        crew: Several processes that search together, see `samplerzoo.runs.processes.joined`.

    Returns:
        The run: table, family, scores, log and pictures; or, for several numbers of steps, the
        sweep: the runs, and a table and a picture of them all.

    Raises:
        ValueError: An option is not allowed, a part cannot be loaded or does not fit the others,
            or the folder is taken: with `resume`, by a search with other options.
        ConnectionError: Something cannot be fetched from the Hub.
        RunError: The search failed; what it had saved is whole.
        InterruptedRunError: It was interrupted, and can be resumed.

    Source:
        Watson, Chan, Ho and Norouzi, ICLR 2022 (arXiv 2202.05830).
    """
    given = {
        "family": family,
        "family_options": dict(family_options or {}),
        "times": times,
        "model": model,
        "label": label,
        "guidance": guidance,
        "labels": labels,
        "conditions": conditions,
        "data": data,
        "split": split,
        "crop": crop,
        "features": features,
        "report_features": report_features,
        "objective": objective,
        "kernel": kernel,
        "kernel_options": dict(kernel_options or {}),
        "optimiser": optimiser,
        "batch": batch,
        "microbatch": microbatch,
        "dtype": dtype,
        "iterations": iterations,
        "learning_rate": learning_rate,
        "patience": patience,
        "n": n,
        "seed": seed,
        "checkpoint_every": checkpoint_every,
    }
    if resume and (out is None or out == "auto"):
        raise ValueError("--resume needs --out, the folder of the search that it continues.")
    crew = crew or Crew()
    size = None if microbatch == "auto" else microbatch
    if isinstance(steps, Sequence):
        configs, objects = configure_sweep(given, steps)
        work = _Work(objects, str(model), progress, callback, crew)
        if resume and _sweep_begun(Path(str(out)), configs, work):
            return work.sweep(Path(str(out)), configs, size)
        return _new_sweep(out, configs, work)
    config, objects = configure({**given, "steps": steps})
    work = _Work(objects, str(model), progress, callback, crew)
    if resume and work.has_begun(Path(str(out)), config):
        return work.resume(Path(str(out)), size)
    return work.begin(out, config)


def resume(
    path: str | Path,
    *,
    microbatch: int | str | None = None,
    family: type[AbstractFamily] | AbstractFamily | None = None,
    model: DiffusionModel | Callable[[], DiffusionModel] | None = None,
    data: GivenData | None = None,
    features: Extractor | Sequence[str | Extractor] | None = None,
    report_features: Extractor | None = None,
    objective: AbstractObjective | None = None,
    kernel: type[AbstractKernel] | AbstractKernel | None = None,
    optimiser: MakeOptimiser | None = None,
    progress: bool = True,
    callback: OnStep | None = None,
    crew: Crew | None = None,
) -> Run | Sweep:
    """Continue an interrupted search from its folder, or a sweep of such.

    It ends as if it had never been interrupted: to the last bit on the same devices, to rounding
    on others. A finished run is returned as it is.

    Args:
        path: The folder of a run or of a sweep, or a file in it.
        microbatch: Another micro-batch, for other devices. [default: as it began]
        family: The family, if it was an object when the search began.
        model: The model, if it was an object.
        data: The data, if they were an object.
        features: The searched features, if one of them was an object.
        report_features: The report's features, if they were an object.
        objective: The objective, if it was an object.
        kernel: The kernel, if it was an object.
        optimiser: What makes the optimiser, if it was an object.
        progress: Whether bars are shown on stderr.
        callback: Called after each step as `callback(step, kid, state)`.
        crew: Several processes that search together.

    Returns:
        The finished run, or the sweep.

    Raises:
        ValueError: There is no run in the folder, it is damaged, or what it depends on has changed.
        ConnectionError: Something cannot be fetched from the Hub.
        RunError: The search failed; what it had saved is whole.
        InterruptedRunError: It was interrupted again.
    """
    crew = crew or Crew()
    given = {
        "family": family,
        "model": model,
        "data": data,
        "features": features,
        "report_features": report_features,
        "objective": objective,
        "kernel": kernel,
        "optimiser": optimiser,
    }
    objects = {part: value for part, value in given.items() if value is not None}
    work = _Work(objects, None, progress, callback, crew)
    folder = crew.scratch or run_folder(path)
    crew.share(folder, SWEEP)
    if not is_sweep(folder):
        return work.resume(folder, microbatch)
    configs = load_sweep(folder)
    if microbatch is not None:
        configs = {k: dataclasses.replace(c, microbatch=microbatch) for k, c in configs.items()}
    return work.sweep(folder, configs, microbatch)


@dataclasses.dataclass(frozen=True)
class _Work:
    """How searches are begun and continued: what all runs of one call have in common.

    `model` is the model's name as it was given, None where configurations are not compared.
    """

    objects: Mapping[str, Any]
    model: str | None
    progress: bool
    callback: OnStep | None
    crew: Crew

    @property
    def shown(self) -> bool:
        """Whether bars are shown by this process."""
        return self.progress and self.crew.first

    def has_begun(self, out: Path, config: Config) -> bool:
        """Tell whether a folder holds a search with this configuration.

        Raises:
            ValueError: It holds a search with another one.
        """
        folder = self.crew.scratch or out
        self.crew.share(folder, "config.toml")
        if not (folder / "config.toml").exists():
            return False
        if self.model is not None:
            _check_same(out, config, load_config(folder), self.model)
        return True

    def begin(self, out: str | Path | None, config: Config, neighbour: Run | None = None) -> Run:
        """Begin a search, in a new folder or in memory, and end it."""
        if out not in (None, "auto") and self.crew.first:
            refuse_taken(Path(out))
        near = None
        if neighbour is not None:
            near = Neighbour(neighbour.config.steps, neighbour.config.start, neighbour.family)
        setup = load_setup(config, self.objects, self.shown, neighbour=near)
        if neighbour is not None:
            check_hashes(neighbour.config, setup.hashes)
        config = dataclasses.replace(setup.config, hashes=setup.hashes)
        if out is None:
            return self._search(None, config, setup)
        fresh = out == "auto" and self.crew.first
        folder = new_folder(f"{label_of(config.family)}-{config.steps}-") if fresh else Path(out)
        folder = self.crew.scratch or folder
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            if self.crew.first:
                refuse_taken(folder)  # by another process, meanwhile
                begin_run(folder, config, setup.computed, setup.warm)
            self.crew.share(folder, "config.toml")
            check_hashes(load_config(folder), config.hashes)
            self.crew.tell(folder)
            return self._search(folder, config, setup)

    def resume(self, path: Path, microbatch: int | str | None = None) -> Run:
        """Continue the search in a folder, if it is not finished."""
        folder = self.crew.scratch or path
        names = ("config.toml", OBJECTIVE, WARM, "checkpoint.safetensors", SAMPLER, "result.json")
        self.crew.share(folder, *names)
        config, result = load_config(folder), load_result(folder)
        if result is not None:
            return Run(config, path=folder, objects=self.objects)
        with locked(folder):
            if microbatch is not None:
                config = dataclasses.replace(config, microbatch=microbatch)
            if changed := changed_versions(config.versions):
                logging.getLogger("samplerzoo").warning(
                    "Warning: the versions have changed, so numbers may differ: %s.",
                    ", ".join(changed),
                )
            kept = load_computed(folder), load_warm(folder)
            setup = load_setup(config, self.objects, self.shown, *kept)
            check_hashes(config, setup.hashes)
            config = setup.config
            load_checkpoint(folder, start(setup.family, setup.free, setup.optimiser), config)
            self.crew.tell(folder)
            return self._search(folder, config, setup)

    def _search(self, folder: Path | None, config: Config, setup: Setup) -> Run:
        return _Search(folder, config, setup, self.objects, self.shown, self.callback).run()

    def sweep(
        self,
        folder: Path | None,
        configs: Mapping[int, Config],
        microbatch: int | str | None = None,
    ) -> Sweep:
        """Search at all numbers of steps, each from the result of the one before or its own start.

        Raises:
            InterruptedRunError: It was interrupted, and can be resumed.
        """
        place = None if folder is None else self.crew.scratch or folder
        remedy = "" if folder is None else f"`{resuming(folder)}` continues the sweep"
        runs: dict[int, Run] = {}
        try:
            with locked(place, remedy):
                for steps, config in configs.items():
                    name = run_name(steps)
                    work = dataclasses.replace(self, crew=self.crew.within(name))
                    before = runs[max(runs)] if runs else None
                    if self.shown:
                        note(f"sweep: {steps} steps, number {len(runs) + 1} of {len(configs)}")
                    own = None if place is None else place / name
                    if own is not None and work.has_begun(own, config):
                        runs[steps] = work.resume(own, microbatch)
                    else:
                        runs[steps] = work.begin(own, config, before)
                found = Sweep(runs, place)
                if self.crew.first:
                    found.keep()
                return found
        except InterruptedRunError as error:
            if folder is None or error.folder == place:
                raise
            raise InterruptedRunError(folder, remedy) from None


def _new_sweep(out: str | Path | None, configs: Mapping[int, Config], work: _Work) -> Sweep:
    """Begin a sweep, in a new folder or in memory, and end it."""
    if out is None:
        return work.sweep(None, configs)
    crew, (first, *_) = work.crew, configs.values()
    if out != "auto" and crew.first:
        refuse_taken(Path(out))
    fresh = out == "auto" and crew.first
    folder = new_folder(f"{label_of(first.family)}-sweep-") if fresh else Path(out)
    place = crew.scratch or folder
    place.mkdir(parents=True, exist_ok=True)
    save_sweep(place, configs)
    return work.sweep(folder, configs)


def _sweep_begun(out: Path, configs: Mapping[int, Config], work: _Work) -> bool:
    """Whether a folder holds this sweep.

    Raises:
        ValueError: It holds another one, or one run.
    """
    folder = work.crew.scratch or out
    work.crew.share(folder, SWEEP)
    if not is_sweep(folder):
        return False
    then = load_sweep(folder)
    if list(then) != list(configs):
        asked, known = (", ".join(map(str, steps)) for steps in (configs, then))
        raise ValueError(
            f"--out {out} holds a sweep of {known} steps where {asked} are asked for; give another "
            "--out, or the steps that it began with."
        )
    steps = min(configs)
    _check_same(out, configs[steps], then[steps], str(work.model))
    return True


def _check_same(out: Path, config: Config, then: Config, model: str) -> None:
    """Refuse to continue a search that began with another configuration."""
    if differs := differences(config, then, model):
        name, now, before = differs[0]
        raise ValueError(
            f"--out {out} holds a search whose {name} is {shown(before)} where {shown(now)} is "
            f"asked for{_more(differs)}; give another --out, or the options that it began with."
        )


def _more(differs: Sequence[tuple[str, Any, Any]]) -> str:
    """What else differs, beside the first."""
    others = [name for name, *_ in differs[1:]]
    return f" ({' and '.join(others)} differ{'s' * (len(others) == 1)} too)" if others else ""


def _start_name(given: Any) -> Any:
    """What a start is called, of which the configuration may hold all numbers."""
    return parse_saved(given).name if is_text(given) else given


@dataclasses.dataclass
class _Search:
    """A search from wherever it stands to its result, in a folder or in memory."""

    folder: Path | None
    config: Config
    setup: Setup
    objects: Mapping[str, Any]
    progress: bool
    callback: OnStep | None
    log: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def run(self) -> Run:
        """Search, score, draw, and return the finished run."""
        with self._failing():
            state = self._begin()
            step = self._compile(state)
        state = self._descend(step, state)
        with self._failing():
            found = self._searched(state)
            result, pictures = self._score(step, found)
            return self._end(found._replace(result=result, pictures=pictures))

    def _begin(self) -> SearchState:
        """The last state that was saved, and the log up to there."""
        state = start(self.setup.family, self.setup.free, self.setup.optimiser)
        if self.folder is not None:
            remove_leftovers(self.folder)
            state = load_checkpoint(self.folder, state, self.config)
            self.log = cut_log(self.folder, int(state.step))
        return state

    def _compile(self, state: SearchState) -> Step:
        """The step, with a micro-batch that fits where none is given, which config.toml says."""
        config, setup, mesh = self.config, self.setup, all_devices()

        def make(microbatch: int) -> Step:
            parts = (setup.family, state, setup.model, setup.objective, setup.optimiser)
            return compile_step(*parts, config.batch, microbatch, mesh)

        free = free_memory()
        if config.microbatch == "auto":
            step = largest(make, -(-config.batch // jax.device_count()), free)
        else:
            step = make(int(config.microbatch))
        if self.progress:
            note(
                f"micro-batch: {step.microbatch} samples a device at a time; a step takes "
                f"{step.memory / 1e6:,.0f} MB of {free / 1e6:,.0f} MB free, of it "
                f"{step.stored / 1e6:,.0f} MB stored states"
            )
        self.config = dataclasses.replace(config, microbatch=step.microbatch)
        if self.folder is not None:
            save_config(self.folder, self.config)
        return step

    def _descend(self, step: Step, state: SearchState) -> SearchState:
        """All steps, each shown and told to the callback; the last state."""
        iterations, label = self.config.iterations, f"search {label_of(self.config.family)}"
        patience, smooth = self.config.patience, math.nan
        called = "KID" if self.config.objective == "kid" else "objective"
        with (
            closing(self._steps(step, state)) as steps,
            progress_bar(iterations, label, self.progress, done=int(state.step)) as bar,
        ):
            for new, kid in steps:
                state = new
                smooth = 0.9 * smooth + 0.1 * kid if math.isfinite(smooth) else kid
                bar.set_postfix({called: f"{smooth:.4f}"}, refresh=False)
                bar.update()
                if self.callback is not None:
                    self.callback(int(state.step), kid, state)
                stop_if_asked()
        if self._stopped and self.progress:
            note(
                f"stopped after step {int(state.step)} of {iterations}: for {patience} steps the "
                f"smoothed {called} has had no new best"
            )
        return state

    @property
    def _stopped(self) -> bool:
        """Whether the search ends here, before its last step, as it does not improve."""
        patience, seen = self.config.patience, kids(self.log)
        early = 0 < len(seen) < self.config.iterations
        return early and patience > 0 and has_stalled(seen, patience)

    def _steps(self, step: Step, state: SearchState) -> Generator[tuple[SearchState, float]]:
        """Each new state and its KID, once it is logged.

        A checkpoint is never older than `checkpoint_every` seconds, and one is written however
        this ends. What is raised where the states are taken is not seen here.
        """
        config = self.config
        saved = before = time.monotonic()
        with self._failing():
            try:
                steps = descend(step, state, search_key(config.seed), config.iterations)
                while not self._stopped and (found := next(steps, None)):
                    new, kid = found
                    now = time.monotonic()
                    self._log(log_line(int(new.step), kid, now - before))
                    state, before = new, now  # after the log: no step is saved that is not logged
                    yield state, kid
                    if now - saved >= config.checkpoint_every:
                        self._checkpoint(state)
                        saved = time.monotonic()
            except DivergedError as error:
                raise self._diverged(error, state) from error
            finally:
                self._checkpoint(state)

    def _log(self, line: dict[str, Any]) -> None:
        self.log.append(line)
        if self.folder is not None:
            append_log(self.folder, line)

    def _checkpoint(self, state: SearchState) -> None:
        if self.folder is not None:
            save_checkpoint(self.folder, state, self.config)

    def _searched(self, state: SearchState) -> Found:
        """What was found before it is scored: the family and its table, which are saved."""
        family = finish(self.setup.family, state)
        table = make_table(family, self.setup.model.schedule)
        if self.folder is not None:
            save_run_sampler(self.folder, self.config, family, table)
        return Found(family, table, state, self.log, None, {})

    def _diverged(self, error: DivergedError, state: SearchState) -> RunError:
        """The error of a search without finite gradients, which keeps the last good sampler."""
        run = self._end(self._searched(state))
        where = "in `run` of this error" if run.path is None else run.path / SAMPLER
        return RunError(f"{sentence(error)} That sampler is {where}.", run)

    def _score(self, step: Step, searched: Found) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The result and the pictures: the searched sampler beside the baselines."""
        config, setup = self.config, self.setup
        rivals = {
            name: make_table(family, setup.model.schedule)
            for name, family in baselines(config.steps).items()
        }
        best = config.unsearched
        if best not in rivals:
            rivals[best] = named_table(best, config.steps, setup.model)
        tables = {label_of(config.family): searched.table}
        tables |= beside(rivals, config.family_options, config.steps, named=True)
        depth = max(table.depth for table in tables.values())
        rows: list[Row] = []
        shown = {}
        with progress_bar(tables.items(), "evaluate", self.progress) as bar:
            for name, table in bar:
                found, shown[name] = score_rows(
                    name,
                    table.to_depth(depth),  # of one shape, so that one program draws from all
                    setup.model,
                    setup.features,
                    setup.references,
                    n=config.n,
                    seed=config.seed,
                    show=SHOWN,
                    mesh=all_devices(),
                    advance=stop_if_asked,
                )
                rows += found
        if setup.shown is not None:
            shown["data"] = setup.shown
        result = {
            "sampler": label_of(config.family),
            "nfe": searched.table.nfe * setup.model.passes,
            "search_features": config.features,
            "report_features": config.report_features,
            "table": digest(searched.table),
            "start": config.start or _start_name(config.family_options.get("start")),
            "unsearched": name_beside(best, config.family_options),
            "tried": {name: _finite(score) for name, score in config.tried.items()},
            "rows": [row.record for row in rows],
            "skipped_steps": skipped(searched.state),
            "stopped_at": int(searched.state.step) if self._stopped else None,
            "warm_start": _warm_start(config),
            "search_seconds": round(sum(line["seconds"] for line in self.log), 1),
            "cost": {
                "devices": jax.device_count(),
                "microbatch": step.microbatch,
                "step_bytes": step.memory,
                "stored_states_bytes": step.stored,
            },
            "hashes": setup.hashes,
            "run": None if self.folder is None else str(self.folder),
            "pictures": list(PICTURES),
        }
        pictures: dict[str, bytes] = dict(zip(PICTURES, self._draw(shown, rows), strict=True))
        result["drawn"] = {name: sha256(data).hexdigest() for name, data in pictures.items()}
        return result, pictures

    def _draw(
        self, shown: Mapping[str, Float[np.ndarray, "n ..."]], rows: Sequence[Row]
    ) -> tuple[bytes, bytes]:
        """The pictures: samples with their scores in the report's features, and the curve."""
        config, space, nfe = self.config, self.config.report_features, rows[0].nfe
        model, family = label_of(config.model), label_of(config.family)
        scores = {row.sampler: row.scores for row in rows if row.features == space}
        captions = {name: f"FD {own['fd']:.2f}" for name, own in scores.items() if "fd" in own}
        title = f"{model}, K = {nfe}, n = {config.n:,}, seed {config.seed}, FD in {label_of(space)}"
        strips = draw_strips(shown, printable(title), captions)
        ends = f"{min(config.iterations, len(self.log)):,} steps of {config.batch:,} samples"
        return strips, draw_curve(
            kids(self.log),
            printable(f"{family} for {model}, K = {nfe}, seed {config.seed}, {ends}"),
            minimised(config.objective, config.features),
        )

    def _end(self, found: Found) -> Run:
        """The run; its last files are written, of which result.json is the very last."""
        more = {"objects": self.objects, "loaded": self.setup.model}
        if self.folder is None:
            return Run(self.config, found=found, **more)
        for name, picture in found.pictures.items():
            write(self.folder / name, picture)
        if found.result is not None:
            save_result(self.folder, found.result)
        return Run(self.config, self.folder, **more)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """What goes wrong in here is the run's fault, not that of what it was given."""
        try:
            yield
        except TooLargeError as error:
            raise RunError(sentence(error)) from error
        except OSError as error:
            if self.folder is None:
                raise
            raise RunError(
                f"{self.folder} cannot be written ({phrase(error)}); what was saved before is "
                f"whole, and `{resuming(self.folder)}` continues from it."
            ) from error
        except ValueError as error:
            raise RunError(sentence(error)) from error


def _finite(score: float) -> float | None:
    """A number as JSON holds it."""
    return score if math.isfinite(score) else None


def _warm_start(config: Config) -> dict[str, Any] | None:
    """What a result says of the neighbour in a sweep; None where there was none."""
    scores = {name: _finite(score) for name, score in config.warm_tried.items()}
    own = scores.pop("start", None)
    return next(
        (
            {"neighbour": name, "taken": config.warm > 0, "score": score, "start_score": own}
            for name, score in scores.items()
        ),
        None,
    )

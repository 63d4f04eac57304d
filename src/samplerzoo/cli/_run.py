"""A search in its folder, from wherever it stands to its result."""

import dataclasses
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import click
import jax
import numpy as np

from ..core.devices import all_devices
from ..core.drawing import make_table, search_key
from ..core.families import AbstractFamily
from ..core.memory import TooLargeError, free_memory, largest
from ..core.optimise import (
    DivergedError,
    SearchState,
    Step,
    adam,
    compile_step,
    descend,
    finish,
    skipped,
    start,
)
from ..core.table import StepTable
from ..reports import save_curve, save_samples
from ..runs.errors import phrase, sentence
from ..runs.scores import baselines
from ..runs.spec import Config
from ..runs.store import (
    append_log,
    cut_log,
    load_checkpoint,
    read_log,
    save_checkpoint,
    save_config,
    save_result,
    save_sampler,
)
from ._common import Failed, resuming, stop_if_asked
from ._load import SHOWN, Setup
from ._processes import Crew
from ._show import print_result, progress, score_rows


def execute(
    folder: Path, config: Config, setup: Setup, crew: Crew, quiet: bool, as_json: bool
) -> None:
    """Search, or go on searching, then score, draw and print."""
    crew.tell(folder)
    try:
        with redirect_stdout(sys.stderr):
            for left in folder.glob(".*.tmp"):  # of a process that was killed
                left.unlink()
            state, cost = _search(folder, config, setup, quiet)
            result = _finish(folder, config, setup, state, cost, quiet)
    except TooLargeError as error:
        raise Failed(sentence(error)) from error
    except DivergedError as error:
        path = folder / "sampler.safetensors"
        raise Failed(f"{sentence(error)} That sampler is {path}.") from error
    except OSError as error:
        raise Failed(
            f"{folder} cannot be written ({phrase(error)}); what was saved before is whole, and "
            f"`{resuming(folder)}` goes on from it."
        ) from error
    if crew.first:
        print_result(result, folder, as_json)


def _search(folder: Path, config: Config, setup: Setup, quiet: bool) -> tuple[SearchState, dict]:
    """The last state; a checkpoint is never older than `checkpoint_every` seconds."""
    optimiser = adam(config.iterations, config.learning_rate)
    state = load_checkpoint(folder, start(setup.family, setup.free, optimiser))
    cut_log(folder, int(state.step))
    step = _compile(folder, config, setup, state, optimiser, quiet)
    steps = descend(step, state, search_key(config.seed), config.iterations)
    bar = progress(config.iterations, f"search {config.family}", quiet, initial=int(state.step))
    smooth, saved, before = None, time.monotonic(), time.monotonic()
    try:
        for new, kid in steps:
            stop_if_asked()
            now = time.monotonic()
            append_log(folder, int(new.step), kid, now - before)
            state, before = new, now  # after the log: no step is saved that is not logged
            smooth = kid if smooth is None or not np.isfinite(smooth) else 0.9 * smooth + 0.1 * kid
            bar.set_postfix(KID=f"{smooth:.4f}", refresh=False)
            bar.update()
            if now - saved >= config.checkpoint_every:
                save_checkpoint(folder, state)
                saved = time.monotonic()
    except DivergedError:
        _save(folder, config, setup, finish(setup.family, state))
        raise
    finally:
        bar.close()
        save_checkpoint(folder, state)
    cost = {
        "devices": jax.device_count(),
        "microbatch": step.microbatch,
        "step_bytes": step.memory,
        "stored_states_bytes": step.stored,
    }
    return state, cost


def _compile(folder, config: Config, setup: Setup, state, optimiser, quiet: bool) -> Step:
    """The step, with a micro-batch that fits where none is given; config.toml then says which."""
    mesh = all_devices()

    def make(microbatch: int) -> Step:
        return compile_step(
            setup.family, state, setup.model, setup.objective, optimiser,
            config.batch, microbatch, mesh,
        )  # fmt: skip

    free = free_memory()
    if config.microbatch == "auto":
        step = largest(make, -(-config.batch // jax.device_count()), free)
    else:
        step = make(int(config.microbatch))
    if not quiet:
        click.echo(
            f"micro-batch: {step.microbatch} samples a device at a time; a step takes "
            f"{step.memory / 1e6:,.0f} MB of {free / 1e6:,.0f} MB free, of it "
            f"{step.stored / 1e6:,.0f} MB stored states",
            err=True,
        )
    save_config(folder, dataclasses.replace(config, microbatch=step.microbatch))
    return step


def check_resumable(folder: Path, config: Config, setup: Setup) -> None:
    """Raise ValueError where the folder's checkpoint is damaged or of another search."""
    load_checkpoint(folder, start(setup.family, setup.free, adam(config.iterations, 1.0)))


def _save(folder: Path, config: Config, setup: Setup, family: AbstractFamily) -> StepTable:
    """Write the searched sampler and return its table."""
    table = make_table(family, setup.model.schedule)
    kept = ("family", "family_options", "steps", "times", "model", "features", "kernel", "seed")
    about = {name: getattr(config, name) for name in kept}
    save_sampler(folder / "sampler.safetensors", family, table, about)
    return table


def _finish(
    folder: Path, config: Config, setup: Setup, state: SearchState, cost: dict, quiet: bool
) -> dict:
    """Score the searched sampler beside the baselines, draw, and write result.json last."""
    tables = {config.family: _save(folder, config, setup, finish(setup.family, state))}
    for name, baseline in baselines(config.steps).items():
        tables[name] = make_table(baseline, setup.model.schedule)
    rows, shown = [], {}
    with progress(tables.items(), "evaluate", quiet) as bar:
        for name, table in bar:
            found, shown[name] = score_rows(
                name, table, setup.model, setup.features, setup.references,
                n=config.n, seed=config.seed, show=SHOWN, mesh=all_devices(),
                advance=stop_if_asked,
            )  # fmt: skip
            rows += found
    if setup.shown is not None:
        shown["data"] = setup.shown
    save_samples(folder / "samples.png", shown)
    log = read_log(folder)
    kids = [np.nan if line["kid"] is None else line["kid"] for line in log]
    save_curve(folder / "curve.png", kids)
    result = {
        "sampler": config.family,
        "nfe": config.steps * setup.model.passes,
        "search_features": config.features,
        "report_features": config.report_features,
        "rows": rows,
        "skipped_steps": skipped(state),
        "search_seconds": round(sum(line["seconds"] for line in log), 1),
        "cost": cost,
        "hashes": setup.hashes,
        "run": str(folder),
        "pictures": ["samples.png", "curve.png"],
    }
    save_result(folder, result)
    return result

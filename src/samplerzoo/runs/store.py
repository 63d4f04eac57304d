"""The files of a run: its configuration, its log, its checkpoints and the searched sampler.

A run is a folder: `config.toml` is written first and holds everything needed to run it again,
`result.json` last. Every file is written whole or not at all.
"""

import dataclasses
import json
import math
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tomli_w
from filelock import FileLock, Timeout

from ..core.families import AbstractFamily
from ..core.optimise import SearchState
from ..core.table import StepTable
from ..files import from_tensors, read_tensors, to_tensors, write, write_json, write_tensors
from ..limits import STEPS
from ..schema import (
    ANYTHING,
    FLAG,
    NAMES,
    NUMBER,
    TEXT,
    check,
    list_of,
    mapping,
    number,
    or_null,
    parse_json,
    read_json,
    read_lines,
    read_toml,
    record,
    text,
    whole,
)
from ..wording import phrase, printable, shown
from .errors import InterruptedRunError, LockedError
from .spec import DEFAULTS, Config

FORMAT = "samplerzoo.sampler/1"
SAMPLER = "sampler.safetensors"  # in a run's folder
OBJECTIVE = "objective.safetensors"
WARM = "warm.safetensors"  # the parameters that a search starts from, of a neighbour's result
SWEEP = "sweep.toml"  # in a sweep's folder
_FIRST = (OBJECTIVE, WARM)  # what is written before config.toml
_OPTIONAL = ("spread", "guidance")  # of a table: sigma(t_max), and no guidance, without
LOCK = ".lock"  # the file that a process at work in a folder holds
_COUNT = whole(0, 2**53)
_NAME = text(1000)
_LINE = record({"step": _COUNT, "kid": or_null(NUMBER), "seconds": number(0.0)})
_WARM_START = record(
    {"neighbour": _NAME, "taken": FLAG, "score": or_null(NUMBER), "start_score": or_null(NUMBER)}
)
_RESULT = record(
    {
        "sampler": _NAME,
        "nfe": _COUNT,
        "search_features": _NAME,
        "report_features": _NAME,
        "rows": list_of(ANYTHING),  # which `read_row` checks
    },
    {
        "start": or_null(_NAME),
        "unsearched": _NAME,
        "tried": mapping(or_null(NUMBER), 1000),
        "table": text(64, "[0-9a-f]{64}"),
        "skipped_steps": _COUNT,
        "stopped_at": or_null(_COUNT),
        "warm_start": or_null(_WARM_START),
        "search_seconds": NUMBER,
        "cost": mapping(_COUNT, 100),
        "hashes": mapping(TEXT, 100),
        "pictures": list_of(text(200), most=100),
        "drawn": mapping(text(64, "[0-9a-f]{64}"), 100),  # digests of the pictures
    },
)
# Of a configuration, what the way of a search depends on, beside what its hashes are of.
_SEARCHED = (
    "family",
    "family_options",
    "start",
    "warm",
    "steps",
    "times",
    "label",
    "guidance",
    "labels",
    "conditions",
    "features",
    "objective",
    "kernel",
    "kernel_options",
    "optimiser",
    "batch",
    "dtype",
    "iterations",
    "learning_rate",
    "patience",
    "seed",
)
# A folder of the Hub's cache.
_CACHED = re.compile(r"/models--[^/]+/snapshots/[0-9a-f]{40}(/|$)")


def run_folder(path: str | Path) -> Path:
    """Return the folder of a run, from its path or from that of a file in it."""
    path = Path(path)
    return path.parent if path.is_file() else path


def resuming(folder: Path) -> str:
    """Return the command that continues a run."""
    return f"samplerzoo resume {shlex.quote(str(folder))}"


def refuse_taken(folder: Path) -> None:
    """Refuse a folder that holds anything; nothing is ever overwritten.

    Raises:
        ValueError: It holds something, or is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {folder} is a file; give a new folder.")
    for name, what in (("config.toml", "run"), (SWEEP, "sweep")):
        if (folder / name).exists():
            raise ValueError(
                f"--out {folder} holds another {what}; give a new folder, or `{resuming(folder)}`."
            )
    held = (path for path in folder.iterdir() if path.name not in _FIRST) if folder.exists() else ()
    if any(not is_leftover(path) for path in held):
        raise ValueError(f"--out {folder} is not empty; give a new folder.")
    check_place(folder)


def check_place(folder: Path) -> None:
    """Refuse a folder that cannot be made or written, before any work.

    Raises:
        ValueError: It, or what it would be in, is a file or may not be written.
    """
    place = folder.absolute()
    while not (place.exists() or place.is_symlink()):
        place = place.parent
    if not place.is_dir():
        raise ValueError(f"--out {folder} cannot be made: {place} is not a folder; give another.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"--out {folder} cannot be written: {place} is not yours; give another.")


def is_leftover(path: Path) -> bool:
    """Tell whether a file is one that this program makes and removes: unfinished, or a lock."""
    return path.name.endswith(".tmp") or path.name == LOCK


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished files of a process that was killed; for the one that has the lock."""
    for left in folder.glob(".*.tmp"):
        left.unlink()


def begin_run(
    folder: Path, config: Config, computed: Mapping[str, np.ndarray], warm: Mapping[str, np.ndarray]
) -> None:
    """Write the first files of a run, config.toml as the last of them.

    Args:
        folder: The run's folder.
        config: The configuration.
        computed: What took long to compute for the objective.
        warm: The parameters that it starts from, of a neighbour's result; else nothing.
    """
    for name in _FIRST:
        (folder / name).unlink(missing_ok=True)  # of a process that was killed before config.toml
    if computed:
        write_tensors(folder / OBJECTIVE, dict(computed), {"kind": "objective"})
    if warm:
        write_tensors(folder / WARM, dict(warm), {"kind": "warm start"})
    save_config(folder, config)


def new_folder(prefix: str) -> Path:
    """Make a new numbered folder under runs/, the first that does not exist."""
    number = 0
    while True:
        number += 1
        folder = Path("runs") / f"{prefix}{number:03}"
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder


@contextmanager
def locked(folder: Path | None, remedy: str | None = None) -> Iterator[None]:
    """Keep other processes out of a folder; the lock of one that was killed is open.

    Args:
        folder: The folder; None locks nothing.
        remedy: What to say after an interruption, such as "`samplerzoo resume x` continues it".

    Raises:
        LockedError: Another process is at work in it.
        InterruptedRunError: A KeyboardInterrupt came, and there is a folder.
    """
    if folder is None:
        yield
        return
    try:
        with _lock(folder):
            yield
    except InterruptedRunError:
        raise
    except KeyboardInterrupt:
        raise InterruptedRunError(folder, remedy or f"`{resuming(folder)}` continues it") from None


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise LockedError(f"Another process is at work on {folder}; wait or stop it.") from None
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)  # while it is held: who waits for it looks again
        lock.release()


def save_config(folder: Path, config: Config) -> None:
    """Write config.toml."""
    write(folder / "config.toml", _toml(config))


def _toml(config: Config, **others: Any) -> bytes:
    """A configuration as a file holds it, with other values of some fields."""
    given = {k: v for k, v in dataclasses.asdict(config).items() if v is not None} | others
    if config.allow_code:
        del given["allow_code"]  # it is said of runs of others only
    return tomli_w.dumps(given).encode()


def load_config(folder: Path) -> Config:
    """Read config.toml.

    A folder that plainly comes from others is trusted with nothing: a clone of a repository, or
    what the Hub's client fetched.

    Raises:
        ValueError: It is missing, or says something that no configuration does.
    """
    path = folder / "config.toml"
    if not path.is_file():
        if (folder / SWEEP).is_file():
            raise ValueError(f"{folder} holds a sweep; give one of the runs in it.")
        raise ValueError(f"{folder} holds no run: there is no config.toml in it.")
    return _config(path, read_toml(path, NAMES))


def _config(path: Path, content: Mapping[str, Any]) -> Config:
    """The configuration that a file's content says."""
    fields = dataclasses.fields(Config)
    known = [field.name for field in fields]
    needed = {f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING}
    if lacking := sorted(needed - set(content)):
        raise ValueError(f"{path} lacks {', '.join(lacking)}; give what the run began with.")
    if odd := sorted(set(content) - set(known)):
        raise ValueError(
            f"{path} has the unknown key {shown(odd[0])}; known are {', '.join(known)}."
        )
    try:
        config = Config(**content)
    except ValueError as error:
        raise ValueError(f"{path} is not valid: {error}") from error
    others = _is_of_others(path.parent)
    return dataclasses.replace(config, allow_code=False) if others else config


def run_name(steps: int) -> str:
    """Return what the folder of a run is called in that of its sweep, such as `k5`."""
    return f"k{steps}"


def is_sweep(folder: Path) -> bool:
    """Tell whether a folder holds a sweep, finished or not."""
    return (folder / SWEEP).is_file()


def save_sweep(folder: Path, configs: Mapping[int, Config]) -> None:
    """Write sweep.toml: what all runs of a sweep begin with, and their numbers of steps."""
    first, *_ = configs.values()
    write(folder / SWEEP, _toml(first, steps=list(configs)))


def load_sweep(folder: Path) -> dict[int, Config]:
    """Read sweep.toml.

    Returns:
        What each run of the sweep begins with, by its number of steps, which rises.

    Raises:
        ValueError: It is missing, or says something that no configuration does.
    """
    path = folder / SWEEP
    if not path.is_file():
        raise ValueError(f"{folder} holds no sweep: there is no {SWEEP} in it.")
    content = read_toml(path, NAMES)
    check(content.get("steps"), list_of(whole(1, STEPS.most), least=1, most=1000), f"{path}, steps")
    return {steps: _config(path, {**content, "steps": steps}) for steps in sorted(content["steps"])}


def _is_of_others(folder: Path) -> bool:
    """Whether a folder was fetched as it is, by git or by the Hub's client."""
    marks = (".git", ".cache/huggingface")
    fetched = any((folder / mark).exists() for mark in marks)
    return fetched or bool(_CACHED.search(f"{folder.resolve().as_posix()}"))


def save_checkpoint(folder: Path, state: SearchState, config: Config) -> None:
    """Write checkpoint.safetensors: the state of a search, from which it continues exactly.

    Args:
        folder: The run's folder.
        state: The state.
        config: The search's configuration, of which the checkpoint says what it depends on.
    """
    about = {"kind": "checkpoint", "config": json.dumps(_searched(config), sort_keys=True)}
    write_tensors(folder / "checkpoint.safetensors", to_tensors(state), about)


def _searched(config: Config) -> dict[str, Any]:
    """What of a configuration decides how a search runs."""
    return {name: getattr(config, name) for name in _SEARCHED}


def load_checkpoint(folder: Path, like: SearchState, config: Config) -> SearchState:
    """The last state saved, or `like` where there is none.

    Args:
        folder: The run's folder.
        like: The state before the first step.
        config: The search's configuration.

    Raises:
        ValueError: The checkpoint is damaged, or of a search with another configuration.
    """
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return like
    tensors, about = read_tensors(path)
    _refuse_earlier(path, tensors)
    what = f"The checkpoint {path} does not fit this run"
    if "config" in about:  # older ones say nothing
        _check_config(what, parse_json(about["config"].encode(), NAMES, f"{path}"), config)
    try:
        state = from_tensors(like, tensors)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error
    _check_state(what, tensors, state, like, config.iterations)
    return state


def _refuse_earlier(path: Path, tensors: Iterable[str]) -> None:
    """Refuse what was searched when times were the logarithms of their gaps themselves."""
    if any(name.endswith("times.gaps") for name in tensors):
        raise ValueError(
            f"{path} is of an earlier samplerzoo, whose searched times were other numbers; search "
            "again to continue or to have the family. A finished run's sampler is as good as ever."
        )


def _check_config(what: str, then: Mapping[str, Any], config: Config) -> None:
    """Refuse a configuration that was edited since a checkpoint was written."""
    now = json.loads(json.dumps(_searched(config)))
    for name in now:
        before = then.get(name, DEFAULTS.get(name))
        if before != now[name]:
            raise ValueError(
                f"{what}: {name} is {shown(now[name])} in config.toml and was "
                f"{shown(before)} when it was written; put it back, or search anew."
            )


def _check_state(
    what: str,
    tensors: Mapping[str, np.ndarray],
    state: SearchState,
    like: SearchState,
    iterations: int,
) -> None:
    """Refuse a state that no search of so many steps has been in."""
    step = int(state.step)
    if not 0 <= step <= iterations:
        raise ValueError(f"{what}: it is at step {step} of {iterations}.")
    for name, array in to_tensors(like).items():
        if tensors[name].dtype != array.dtype:
            raise ValueError(
                f"{what}: Tensor {name!r} is {tensors[name].dtype}, not {array.dtype}."
            )
    if not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state.parameters)):
        raise ValueError(f"{what}: its parameters are not finite.")


def load_computed(folder: Path) -> dict[str, np.ndarray]:
    """Read what was computed for the objective; nothing where there is no such file.

    Raises:
        ValueError: The file is damaged, or holds numbers that are not finite.
    """
    return _load_finite(folder / OBJECTIVE)


def load_warm(folder: Path) -> dict[str, np.ndarray]:
    """Read the parameters of a neighbour's result that a search starts from, if it does.

    Raises:
        ValueError: The file is damaged, or holds numbers that are not finite.
    """
    return _load_finite(folder / WARM)


def _load_finite(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    tensors, _ = read_tensors(path)
    for name, array in tensors.items():
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{path} holds numbers that are not finite, in {printable(name)!r}.")
    return tensors


def save_sampler(path: str | Path, family: AbstractFamily, table: StepTable, about: dict) -> None:
    """Write a sampler's file: its table, its family's arrays, and what is known about it.

    Args:
        path: The file to write, `sampler.safetensors` in a run.
        family: The family, whose arrays are saved.
        table: Its table on the model's schedule.
        about: What is known about it: anything that JSON holds.
    """
    tensors = {f"table.{name}": array for name, array in to_tensors(table).items()}
    tensors |= {f"family.{name}": array for name, array in to_tensors(family).items()}
    metadata = {"format": FORMAT, "about": json.dumps(about, sort_keys=True)}
    write_tensors(Path(path), tensors, metadata)


def load_sampler(path: str | Path) -> tuple[StepTable, dict]:
    """Read a sampler's file.

    Args:
        path: The file, `sampler.safetensors` in a run, or the run's folder.

    Returns:
        The table, and what was saved about it.

    Raises:
        ValueError: The file is missing, damaged or something else; the message names it.
    """
    path = Path(path)
    if path.is_dir():
        path /= SAMPLER
    if not path.is_file():
        raise ValueError(f"There is no {path}; `{resuming(path.parent)}` finishes a run.")
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not a samplerzoo sampler: its format is {shown(metadata.get('format'))}, "
            f"not {FORMAT!r}."
        )
    names = ["times", "clean", "noise", "fresh"]
    names += [name for name in _OPTIONAL if f"table.{name}" in tensors]
    try:
        about = parse_json(metadata["about"].encode(), NAMES, f"{path}, about")
        arrays = {name: tensors[f"table.{name}"] for name in names}
    except KeyError as error:
        raise ValueError(f"{path} does not hold a whole sampler: {error} is missing.") from error
    except ValueError as error:
        raise ValueError(f"{path} does not hold a whole sampler: {phrase(error)}.") from error
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise ValueError(f"{path}: the sampler's {name} are {array.dtype}, not float32.")
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{path} holds a sampler with numbers that are not finite.")
    if arrays.get("spread", np.zeros(())).shape:
        raise ValueError(f"{path}: the sampler's spread is not one number.")
    if arrays.get("guidance", arrays["times"]).shape != arrays["times"].shape:
        raise ValueError(f"{path}: the sampler's guidance is not one weight for each step.")
    STEPS.check(len(arrays["times"]) if arrays["times"].ndim else 0, f"The sampler in {path}")
    try:
        table = StepTable(**{name: jnp.asarray(array) for name, array in arrays.items()})
    except ValueError as error:
        raise ValueError(f"{path} does not hold a whole sampler: {phrase(error)}.") from error
    return table, about


def load_family_into(path: Path, like: AbstractFamily) -> AbstractFamily:
    """Load the searched arrays of a family from a saved sampler.

    Args:
        path: The file.
        like: The family as it was before the search.

    Raises:
        ValueError: The file is damaged, or holds another family.
    """
    tensors, _ = read_tensors(path)
    _refuse_earlier(path, tensors)
    names = {name: name.removeprefix("family.") for name in tensors if name.startswith("family.")}
    try:
        return from_tensors(like, {short: tensors[name] for name, short in names.items()})
    except ValueError as error:
        raise ValueError(f"{path} does not hold this family: {error}") from error


def log_line(step: int, kid: float, seconds: float) -> dict[str, Any]:
    """Make a line of the log; a KID that is not finite is None."""
    finite = kid if math.isfinite(kid) else None
    return {"step": step, "kid": finite, "seconds": round(seconds, 4)}


def append_log(folder: Path, line: Mapping[str, Any]) -> None:
    """Add one step to log.jsonl."""
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def write_log(folder: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write log.jsonl anew."""
    write(folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())


def read_log(folder: Path) -> list[dict]:
    """The whole lines of log.jsonl; what follows a damaged line is not read."""
    path = folder / "log.jsonl"
    lines = read_lines(path, _LINE, to_damage=True) if path.exists() else []
    return [{key: line[key] for key in ("step", "kid", "seconds")} for line in lines]


def cut_log(folder: Path, step: int) -> list[dict]:
    """Drop from log.jsonl all that comes after a step, so that it can be run again.

    Returns:
        The lines that are left.
    """
    kept = [line for line in read_log(folder) if line["step"] <= step]
    write_log(folder, kept)
    return kept


def save_result(folder: Path, result: dict) -> None:
    """Write result.json, the last file of a run."""
    write_json(folder / "result.json", result)


def load_result(folder: Path) -> dict | None:
    """The result of a finished run, or None where it is not finished.

    Raises ValueError, naming the file, where it is damaged.
    """
    path = folder / "result.json"
    if not path.exists():
        return None
    try:
        return read_json(path, _RESULT)
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged; remove it, and `{resuming(folder)}` makes it again "
            f"({phrase(error)})."
        ) from error

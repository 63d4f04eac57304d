"""The scores that runs and evaluations hold on disk, checked: some come from other people."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..core.families import STRIDES
from ..core.table import StepTable
from ..files import digest
from ..runs.rows import Row, Scores, read_row
from ..runs.run import Run
from ..runs.samplers import FAMILY, RUN
from ..runs.spec import Config
from ..runs.store import resuming

# What all runs of a report have in common.
_ALIKE = (
    "model",
    "label",
    "guidance",
    "labels",
    "conditions",
    "dtype",
    "data",
    "split",
    "crop",
)
# What says nothing of how a sampler was searched, or has a place of its own in a report.
_APART = {
    *_ALIKE,
    "family",
    "steps",
    "seed",
    "n",
    "report_features",
    "microbatch",
    "directory",
    "checkpoint_every",
    "start",
    "warm",
    "warm_tried",
    "unsearched",
    "tried",
    "allow_code",
    "hashes",
    "versions",
    "family_options",
    "kernel_options",
}


def finished(name: str, run: Run) -> dict[str, Any]:
    """Return a run's result.

    Raises:
        ValueError: The run is not finished, its result is damaged, or is of another sampler.
    """
    if run.result is None:
        remedy = f"; `{resuming(run.path)}` finishes it" if run.path else ""
        raise ValueError(f"{name} is not finished{remedy}.")
    return run.checked_result


def recorded(name: str, result: Mapping[str, Any]) -> tuple[float, dict[str, int]]:
    """The seconds that a search took, NaN if they were not recorded, and its cost."""
    try:
        cost = {str(key): int(value) for key, value in result.get("cost", {}).items()}
        return float(result.get("search_seconds", math.nan)), cost
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"The result of {name} is damaged: its cost does not hold numbers."
        ) from error


def check_alike(configs: Mapping[str, Config]) -> None:
    """Raise ValueError for runs whose scores cannot be compared: of other models or data."""
    first, *rest = configs
    for name in rest:
        one, other = vars(configs[first]), vars(configs[name])
        for part in _ALIKE:
            if one[part] != other[part]:
                raise ValueError(
                    f"{first} and {name} differ in {part} ({one[part]} and {other[part]}); a "
                    "report compares samplers of one model on the same data."
                )
        shared = one["hashes"].keys() & other["hashes"].keys()
        if changed := sorted(k for k in shared if one["hashes"][k] != other["hashes"][k]):
            raise ValueError(
                f"{first} and {name} were made with another {changed[0]} of the same name, so "
                "their scores cannot be compared; search or evaluate them again."
            )


def labels(configs: Mapping[str, Config]) -> dict[str, str]:
    """What each run's sampler is called: its family, and what sets it apart within that.

    Raises ValueError for two runs of the same search: an interval over copies would be false.
    """
    found, known = {}, {}
    for name, config in configs.items():
        family = [settings(other) for other in configs.values() if other.family == config.family]
        own = settings(config)
        apart = [k for k in own if any(other.get(k) != own[k] for other in family)]
        more = ", ".join(f"{key} {own[key]}" for key in apart)
        found[name] = f"{config.family} ({more})" if more else config.family
        twin = known.setdefault((found[name], config.steps, config.seed), name)
        if twin != name:
            raise ValueError(
                f"{twin} and {name} are the same search with the same seed; leave one out, or "
                "search with another seed."
            )
    return found


def settings(config: Config) -> dict[str, Any]:
    """Tell what a search was told, its family's and its kernel's options among it."""
    kernel = {f"kernel's {key}": value for key, value in config.kernel_options.items()}
    told = {key: value for key, value in vars(config).items() if key not in _APART}
    return told | config.family_options | kernel


def run_rows(name: str, sampler: str, result: Mapping[str, Any]) -> list[Row]:
    """The rows of a finished run, whose own sampler is called `sampler`."""
    where, own = f"The result of {name}", result.get("sampler")
    if not isinstance(result["rows"], list):
        raise ValueError(f"{where} is damaged: its rows are not a list.")
    rows = [read_row(given, where) for given in result["rows"]]
    return [replace(r, sampler=sampler, run=name) if r.sampler == own else r for r in rows]


def evaluation_rows(
    where: str, scores: Scores, runs: Mapping[str, tuple[str, StepTable]], config: Config
) -> list[Row]:
    """Take the rows of an evaluation, under the names that the runs have in the report.

    A run is known by the SHA-256 of its table, wherever its folder lay.

    Args:
        where: What the evaluation is called.
        scores: Its scores.
        runs: The sampler's name and the table of each run.
        config: The configuration of one of the runs.

    Raises:
        ValueError: They are scores of another model or other data than the runs', or of a search
            that is none of the runs.
    """
    depends_on = scores.about["depends_on"]
    for part in ("model", "data"):
        own = config.hashes.get(part)
        if own and depends_on.get(part, own) != own:
            raise ValueError(
                f"{where} holds scores of another {part} than the runs'; leave it out."
            )
    tables = {digest(table): name for name, (_, table) in runs.items()}
    found = []
    for row in scores.rows:
        table = scores.samplers.get(row.key, "")
        run = tables.get(table)
        if run is None and not _is_other(row, scores.kinds):
            raise ValueError(
                f"{where} has scores of {row.sampler} at NFE {row.nfe}, which is none of the runs "
                "given, or was searched again since; give its folder too."
            )
        found.append(replace(row, sampler=runs[run][0], run=run) if run else row)
    return found


def _is_other(row: Row, kinds: Mapping[str, str]) -> bool:
    """Whether a scored sampler is not a run's; of old folders, its name tells."""
    stride = row.sampler.partition(":")[0].rpartition("-")[2]
    kind = kinds.get(row.key, FAMILY if stride in STRIDES else RUN)
    return kind != RUN


def one_n(rows: Iterable[Row], runs: Iterable[str]) -> tuple[list[Row], int]:
    """The rows of the greatest n, each once, and how many others there are.

    Raises ValueError where a run has none of that n: scores of other n cannot be compared.
    """
    rows = list(rows)
    if not rows:
        raise ValueError("These runs hold no scores; `samplerzoo evaluate --out` makes some.")
    n = max(row.n for row in rows)
    merged: dict[tuple, Row] = {}
    for row in rows:
        if row.n == n:
            key = (row.run, *row.place)
            merged[key] = merged[key].merged(row) if key in merged else row
    if lacking := sorted(set(runs) - {row.run for row in merged.values() if row.run}):
        raise ValueError(
            f"{lacking[0]} has no scores at n = {n:,}, as others have, and scores depend on n; "
            f"`samplerzoo evaluate {lacking[0]} --n {n} --out FOLDER` makes them, and the folder "
            "can be given too."
        )
    return list(merged.values()), sum(row.n != n for row in rows)

"""The scores that runs and evaluations hold on disk, checked: some come from other people."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..core.table import StepTable
from ..files import digest
from ..runs.store import Config, load_result, resuming
from .facts import Row

_WORDS, _COUNTS = ("sampler", "features"), ("nfe", "n", "seed")
# What all runs of a report have in common.
_ALIKE = ("model", "label", "guidance", "dtype", "data", "split", "crop")
# What says nothing of how a sampler was searched, or has a place of its own in a report.
_APART = {*_ALIKE, "family", "steps", "seed", "n", "report_features", "microbatch", "directory",
          "checkpoint_every", "hashes", "versions", "family_options", "kernel_options"}  # fmt: skip


def finished(name: str, folder: Path) -> dict[str, Any]:
    """A run's result. Raises ValueError where the run is not finished."""
    result = load_result(folder)
    if result is None:
        raise ValueError(f"{name} is not finished; `{resuming(folder)}` finishes it.")
    return result


def recorded(name: str, result: Mapping[str, Any]) -> tuple[float, dict[str, int]]:
    """The seconds that a search took, NaN if they were not recorded, and its cost."""
    try:
        cost = {str(key): int(value) for key, value in result.get("cost", {}).items()}
        return float(result.get("search_seconds", math.nan)), cost
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"The result of {name} is damaged: its cost is no numbers.") from error


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
        family = [_settings(other) for other in configs.values() if other.family == config.family]
        own = _settings(config)
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


def _settings(config: Config) -> dict[str, Any]:
    """What a search was told, its family's and its kernel's options among it."""
    kernel = {f"kernel's {key}": value for key, value in config.kernel_options.items()}
    told = {key: value for key, value in vars(config).items() if key not in _APART}
    return told | config.family_options | kernel


def run_rows(name: str, sampler: str, result: Mapping[str, Any]) -> list[Row]:
    """The rows of a finished run, whose own sampler is called `sampler`."""
    where, own = f"The result of {name}", result.get("sampler")
    return [
        make_row(row, where, sampler, name) if row.get("sampler") == own else make_row(row, where)
        for row in _dicts(result["rows"], where)
    ]


def evaluation_rows(
    folder: Path, runs: Mapping[str, tuple[str, StepTable]], config: Config
) -> list[Row]:
    """The rows of an evaluation's folder; `runs` are the sampler and the table of each run.

    A run is known by the SHA-256 of its table, wherever its folder lay. Raises ValueError for
    scores of another model or other data than the configuration's, or of a search that is none of
    the runs.
    """
    about = _read_about(folder)
    for part in ("model", "data"):
        own = config.hashes.get(part)
        if own and about["depends_on"].get(part, own) != own:
            raise ValueError(
                f"{folder} holds scores of another {part} than the runs'; leave it out."
            )
    tables = {digest(table): name for name, (_, table) in runs.items()}
    hashes = about["samplers"]
    found = []
    for row in _lines(folder):
        name, nfe = row.get("sampler"), row.get("nfe")
        known = [k for k in hashes if k.rpartition(" ")[0] == name]
        run = next((tables[hashes[k]] for k in known if hashes[k] in tables), None)
        if run is None and not _is_family(str(name)):
            raise ValueError(
                f"{folder} has scores of {name} at NFE {nfe}, which is none of the runs given, or "
                "was searched again since; give its folder too."
            )
        found.append(make_row(row, str(folder), runs[run][0] if run else None, run))
    return found


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
            key = (row.run, row.sampler, row.nfe, row.features, row.seed)
            scores = {**merged[key].scores, **row.scores} if key in merged else row.scores
            merged[key] = Row(row.sampler, row.nfe, row.features, n, row.seed, scores, row.run)
    if lacking := sorted(set(runs) - {row.run for row in merged.values() if row.run}):
        raise ValueError(
            f"{lacking[0]} has no scores at n = {n:,}, as others have, and scores depend on n; "
            f"`samplerzoo evaluate {lacking[0]} --n {n} --out FOLDER` makes them, and the folder "
            "can be given too."
        )
    return list(merged.values()), sum(row.n != n for row in rows)


def make_row(
    given: Mapping[str, Any], where: str, sampler: str | None = None, run: str | None = None
) -> Row:
    """A row as it was read, under another name where one is given."""
    words = [given.get(key) for key in _WORDS]
    counts = [given.get(key) for key in _COUNTS]
    scores = {k: v for k, v in given.items() if k not in (*_WORDS, *_COUNTS) and v is not None}
    numbers = [*counts, *scores.values()]
    good = all(isinstance(word, str) and word for word in words)
    good &= all(isinstance(v, int | float) and not isinstance(v, bool) for v in numbers)
    if not good or not all(isinstance(count, int) for count in counts):
        raise ValueError(f"{where} has a row that is no score: {json.dumps(given)[:200]}.")
    name, features = map(str, words)
    nfe, n, seed = (int(count) for count in counts if count is not None)
    finite = {k: float(v) if math.isfinite(v) else math.nan for k, v in scores.items()}
    return Row(sampler or name, nfe, features, n, seed, finite, run)


def _is_family(name: str) -> bool:
    """Whether a scored name is a family with its stride, as `samplerzoo evaluate` writes it."""
    return name.partition(":")[0].rpartition("-")[2] in ("linear", "quadratic")


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / "evaluation.json"
    try:
        content = json.loads(path.read_bytes())
        about = {
            "depends_on": dict(content["about"]["depends_on"]),
            "samplers": dict(content["samplers"]),
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged; evaluate again into a new folder.") from error
    return about


def _lines(folder: Path) -> list[dict[str, Any]]:
    """The rows of rows.jsonl; a last line that was torn is not read."""
    found, path = [], folder / "rows.jsonl"
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return _dicts(found, str(path))


def _dicts(rows: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{where} is damaged: its rows are no objects.")
    return rows

"""The folder of an evaluation: what has been scored, so that it can go on and grow."""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import write
from ..references import same
from ._tables import KEYS, Row, csv_table, markdown_table

ABOUT, ROWS = "evaluation.json", "rows.jsonl"
Key = tuple[str, int, str, int]  # sampler, NFE, features, seed


@dataclasses.dataclass
class Evaluation:
    """Rows by what they are of, on disk as they come; without a folder, in memory only.

    `about` says what was compared and, under `depends_on`, what all scores depend on; `samplers`
    has the SHA-256 of each sampler's table.
    """

    folder: Path | None
    about: dict[str, Any]
    samplers: dict[str, str]
    rows: dict[Key, Row]

    def has(self, sampler: str, nfe: int, seed: int, wanted: Mapping[str, Iterable[str]]) -> bool:
        """Whether a sampler has scores, with a seed, in the wanted columns of each space."""
        rows = {space: self.rows.get((sampler, nfe, space, seed), {}) for space in wanted}
        return all({*names} <= {*rows[space]} for space, names in wanted.items())

    def add(self, rows: Sequence[Row]) -> None:
        """Keep new scores beside what other metrics gave before."""
        merged = [_merge(self.rows, row) for row in rows]
        if self.folder is not None:
            with (self.folder / ROWS).open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in merged)
                file.flush()
                os.fsync(file.fileno())

    def finish(self) -> None:
        """Write the folder's content as JSON, CSV and Markdown."""
        rows = list(self.rows.values())
        if self.folder is not None:
            _save(self)
            write(self.folder / "scores.csv", (csv_table(rows) + "\n").encode())
            write(self.folder / "scores.md", (markdown_table(rows) + "\n").encode())


def open_evaluation(
    folder: Path | None, about: dict[str, Any], samplers: Mapping[str, str]
) -> Evaluation:
    """A new evaluation, or what a folder holds of it, to go on.

    Raises ValueError where the folder's scores depend on something else.
    """
    found = Evaluation(folder, about, dict(samplers), {})
    if folder is None:
        return found
    if before := _read(folder):
        _check_same(folder, before["about"]["depends_on"], about["depends_on"], "")
        _check_same(folder, before["samplers"], samplers, "sampler ")
        found.samplers = before["samplers"] | found.samplers
        # What rows depend on that are not asked for now: they may be asked for again.
        depends = before["about"]["depends_on"] | about["depends_on"]
        found.about = {**about, "depends_on": depends}
        for row in [*before["rows"], *_read_rows(folder)]:
            _merge(found.rows, row)
    for left in folder.glob(".*.tmp"):  # of a process that was killed
        left.unlink()
    _save(found)
    lines = "".join(json.dumps(row) + "\n" for row in found.rows.values())
    write(folder / ROWS, lines.encode())  # without a line that was torn
    return found


def _check_same(folder: Path, before: Mapping, now: Mapping, what: str) -> None:
    both = [name for name in now if name in before]
    if changed := [name for name in both if not same(str(before[name]), str(now[name]))]:
        raise ValueError(
            f"{folder} holds scores of another {what}{changed[0]} than now; give a new folder."
        )


def _merge(rows: dict[Key, Row], row: Row) -> Row:
    key = (row["sampler"], row["nfe"], row["features"], row["seed"])
    scores = {k: v for k, v in {**rows.get(key, {}), **row}.items() if k not in KEYS}
    first, last = ({k: row[k] for k in part} for part in (KEYS[:3], KEYS[3:]))
    rows[key] = first | scores | last
    return rows[key]


def _save(evaluation: Evaluation) -> None:
    content = {
        "about": evaluation.about,
        "samplers": evaluation.samplers,
        "rows": list(evaluation.rows.values()),
    }
    assert evaluation.folder is not None
    write(evaluation.folder / ABOUT, (json.dumps(content, indent=2) + "\n").encode())


def _read(folder: Path) -> dict[str, Any] | None:
    """What was saved, None in an empty folder. Raises ValueError for any other."""
    path = folder / ABOUT
    if not path.exists():
        if any(not path.name.endswith(".tmp") for path in folder.iterdir()):
            raise ValueError(f"--out {folder} is not empty, and holds no evaluation.")
        return None
    try:
        content = json.loads(path.read_bytes())
        for part in (content["about"], content["about"]["depends_on"], content["samplers"]):
            dict(part)
        for row in content["rows"]:
            _merge({}, row)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged; remove the folder, or give a new one.") from error
    return content


def _read_rows(folder: Path) -> Iterable[Row]:
    """The whole lines; what follows a damaged one is not read."""
    path = folder / ROWS
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
            _merge({}, row)
        except (ValueError, KeyError, TypeError):
            return
        yield row

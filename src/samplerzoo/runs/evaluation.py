"""The folder that an evaluation keeps its scores in: written and read here alone.

`rows.jsonl` has a line for each sampler, feature space and seed as soon as it is scored, so an
evaluation that was interrupted continues; later lines add columns to earlier ones, or replace them.
`evaluation.json` says what all rows depend on; at the end it holds the merged rows too, and
`scores.csv` and `scores.md` show them.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import write, write_json
from ..references import same
from ..schema import ANYTHING, NAMES, TEXT, list_of, mapping, read_json, read_lines, record
from ..wording import phrase
from .rows import Row, Scores, read_row
from .store import is_leftover, remove_leftovers

ABOUT, ROWS = "evaluation.json", "rows.jsonl"
_CONTENT = record(
    {
        "about": record({"depends_on": NAMES}),
        "samplers": mapping(TEXT),
        "rows": list_of(ANYTHING),  # which `read_row` checks
    },
    {"kinds": mapping(TEXT)},
)


@dataclass
class Evaluation:
    """Rows, and the folder that keeps them; without a folder they are kept in memory.

    Attributes:
        folder: Where the rows are kept, or None.
        about: What they depend on; under `depends_on`, hashes and options that may not change.
        samplers: The SHA-256 of each sampler's table by its name and NFE, as in "ddim-linear 10".
        kinds: What each sampler is: `run`, `family` or `object`; of some, that may not be known.
        rows: The rows by what tells each from the others.
    """

    folder: Path | None
    about: dict[str, Any]
    samplers: dict[str, str]
    kinds: dict[str, str]
    rows: dict[tuple[str, int, str, int], Row]

    def has(self, sampler: str, nfe: int, seed: int, columns: Mapping[str, Iterable[str]]) -> bool:
        """Tell whether a sampler was scored with a seed in all these columns of feature spaces."""
        for space, names in columns.items():
            row = self.rows.get((sampler, nfe, space, seed))
            known = row.scores if row else {}
            if not known.keys() >= set(names):
                return False
        return True

    def add(self, rows: Iterable[Row]) -> None:
        """Keep rows, on disk before they are seen, beside the columns that were there before."""
        merged = [_merge(self.rows, row) for row in rows]
        if self.folder is not None:
            with (self.folder / ROWS).open("a") as file:
                file.writelines(map(_line, merged))
                file.flush()
                os.fsync(file.fileno())

    @property
    def scores(self) -> Scores:
        """All rows as scores."""
        rows = list(self.rows.values())
        return Scores(rows, self.about, samplers=self.samplers, kinds=self.kinds)

    def finish(self) -> None:
        """Write what the folder holds as JSON, CSV and Markdown."""
        if self.folder is not None:
            self.save()
            self.scores.save(self.folder / "scores.csv")
            self.scores.save(self.folder / "scores.md")

    def save(self) -> None:
        """Write evaluation.json with all rows."""
        content = {
            "about": self.about,
            "samplers": self.samplers,
            "kinds": self.kinds,
            "rows": [row.record for row in self.rows.values()],
        }
        assert self.folder is not None
        write_json(self.folder / ABOUT, content)


def is_evaluation(folder: Path) -> bool:
    """Tell whether a folder holds an evaluation."""
    return (folder / ABOUT).is_file()


def check_folder(folder: Path) -> None:
    """Refuse a folder of other files.

    Raises:
        ValueError: It is neither empty nor an evaluation's.
    """
    empty = not folder.exists() or all(is_leftover(path) for path in folder.iterdir())
    if not (empty or is_evaluation(folder)):
        raise ValueError(f"{folder} is not empty and holds no evaluation; give a new folder.")


def open_evaluation(
    folder: Path | None,
    about: dict[str, Any],
    samplers: Mapping[str, str],
    kinds: Mapping[str, str],
) -> Evaluation:
    """Begin an evaluation, or continue what a folder holds of it.

    Args:
        folder: An empty folder or that of an evaluation; None keeps everything in memory.
        about: What the rows to come depend on, as `Evaluation.about`.
        samplers: The samplers to come, as `Evaluation.samplers`.
        kinds: What they are, as `Evaluation.kinds`.

    Returns:
        The evaluation with the rows that are there.

    Raises:
        ValueError: The folder's rows depend on something else, are damaged, or it holds other
            files.
    """
    found = Evaluation(folder, about, dict(samplers), dict(kinds), {})
    if folder is None:
        return found
    if is_evaluation(folder):
        before = load_evaluation(folder)
        _check_same(folder, before.about["depends_on"], about["depends_on"], "")
        _check_same(folder, before.samplers, samplers, "sampler ")
        # What rows depend on that are not asked for now: they may be asked for again.
        depends = before.about["depends_on"] | about["depends_on"]
        found.samplers = before.samplers | found.samplers
        found.kinds = before.kinds | found.kinds
        found.about = {**about, "depends_on": depends}
        found.rows = before.rows
    check_folder(folder)
    remove_leftovers(folder)
    found.save()
    write(folder / ROWS, "".join(map(_line, found.rows.values())).encode())  # no torn line stays
    return found


def load_evaluation(folder: Path) -> Evaluation:
    """Read the folder of an evaluation, finished or not.

    Raises:
        ValueError: There is none in it, or it is damaged.
    """
    path = folder / ABOUT
    if not path.exists():
        raise ValueError(f"{folder} holds no evaluation: there is no {path.name} in it.")
    try:
        content = read_json(path, _CONTENT)
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged; evaluate into a new folder ({phrase(error)})."
        ) from error
    about, samplers, kinds = content["about"], content["samplers"], content.get("kinds", {})
    rows: dict[tuple, Row] = {}
    for row in content["rows"]:
        _merge(rows, read_row(row, str(path)))
    lines = folder / ROWS
    for row in read_lines(lines, ANYTHING, to_damage=True) if lines.exists() else []:
        _merge(rows, read_row(row, str(lines)))
    return Evaluation(folder, about, samplers, kinds, rows)


def _line(row: Row) -> str:
    return json.dumps(row.record) + "\n"


def _merge(rows: dict[tuple, Row], row: Row) -> Row:
    before = rows.get(row.place)
    rows[row.place] = before.merged(row) if before else row
    return rows[row.place]


def _check_same(folder: Path, before: Mapping, now: Mapping, what: str) -> None:
    both = [name for name in now if name in before]
    if changed := [name for name in both if not same(str(before[name]), str(now[name]))]:
        raise ValueError(
            f"{folder} holds scores of another {what}{changed[0]} than now; give a new folder."
        )

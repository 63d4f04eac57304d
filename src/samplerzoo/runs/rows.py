"""Scores as rows, one for each sampler, feature space and seed, and tables of them."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..files import write
from ..metrics import Interval, decimals, mean_interval, normal_interval
from ..schema import MEASURED, check, mapping, record, text, whole
from ..tables import Table, csv_text
from ..wording import phrase, printable

NAMES = ("sampler", "nfe", "features")  # the first fields of a row in a file
COUNTS = ("n", "seed")  # the last ones
ABSENT = "-"  # in a table, of a metric that does not apply
ERROR = "_se"  # ends the name of the column that is another column's standard error
_LONGEST = 1000  # characters of a name, which may be a path
_NAME, _COUNT = text(_LONGEST, ".+"), whole(0, 2**53)
_RECORD = record({"sampler": _NAME, "features": _NAME, "nfe": _COUNT, "n": _COUNT, "seed": _COUNT})
_SCORES = mapping(MEASURED, 1000)


@dataclass(frozen=True)
class Row:
    """The scores of one sampler in one feature space, of samples that were drawn with one seed.

    Attributes:
        sampler: What the sampler is called.
        nfe: Network evaluations a sample.
        features: The name of the feature space.
        n: How many samples were scored.
        seed: The seed that they were drawn with.
        scores: The number in each column of the metrics.
        run: The search that the sampler comes from, where that is known.
    """

    sampler: str
    nfe: int
    features: str
    n: int
    seed: int
    scores: Mapping[str, float]
    run: str | None = None

    @property
    def place(self) -> tuple[str, int, str, int]:
        """What tells this row from the others of one evaluation."""
        return self.sampler, self.nfe, self.features, self.seed

    @property
    def key(self) -> str:
        """The sampler's name and NFE, as an evaluation keeps what it knows of samplers."""
        return f"{self.sampler} {self.nfe}"

    @property
    def record(self) -> dict[str, Any]:
        """The row as files hold it: one flat dict."""
        first = {"sampler": self.sampler, "nfe": self.nfe, "features": self.features}
        return {**first, **self.scores, "n": self.n, "seed": self.seed}

    def merged(self, other: "Row") -> "Row":
        """Add the other row's columns to this one's; they replace those of the same name."""
        scores = {**self.scores, **other.scores}
        return Row(*self.place[:3], other.n, self.seed, scores, self.run)


def read_row(given: Any, where: str) -> Row:
    """Read a row of a file.

    Args:
        given: What JSON holds: an object with the fields of `Row.record`. A column that is null is
            left out; numbers that are not finite become NaN.
        where: The file or run that it is from, to be named in an error.

    Returns:
        The row, which says nothing of its run.

    Raises:
        ValueError: It is not such an object.
    """
    fixed = (*NAMES, *COUNTS)
    try:
        check(given, _RECORD, "A row")
        scores = {k: v for k, v in given.items() if k not in fixed and v is not None}
        check(scores, _SCORES, "A row")
    except ValueError as error:
        raise ValueError(
            f"{where} has a row that does not hold scores: {phrase(error)}. It needs "
            f"{', '.join(fixed)} and a number in each other column."
        ) from error
    finite = {k: float(v) if math.isfinite(v) else math.nan for k, v in scores.items()}
    known = {key: given[key] for key in fixed}
    names = {key: _clean(known[key]) for key in ("sampler", "features")}
    return Row(**{**known, **names}, scores={_clean(k): v for k, v in finite.items()})


def _clean(name: str) -> str:
    """A name as a terminal may show it."""
    return name if name.isprintable() else printable(name, _LONGEST)


Summary = dict[tuple[str, int, str], dict[str, Interval]]  # by sampler, NFE and feature space


def summarise(rows: Iterable[Row]) -> Summary:
    """Compute the interval of every column of each sampler at each NFE in each feature space.

    It is over searches where a sampler comes from several, each counted once by the mean of its
    rows; else over seeds.
    """
    found: dict[tuple[str, int, str], dict[str, dict[tuple, float]]] = {}
    for row in rows:
        columns = found.setdefault(row.place[:3], {})
        for column, score in row.scores.items():
            columns.setdefault(column, {})[row.run, row.seed] = score
    return {
        where: {column: _over_searches(scores) for column, scores in columns.items()}
        for where, columns in found.items()
    }


def _over_searches(scores: Mapping[tuple, float]) -> Interval:
    searches: dict[str | None, list[float]] = {}
    for (run, _), score in scores.items():
        searches.setdefault(run, []).append(score)
    if len(searches) == 1:
        return mean_interval(list(scores.values()))
    return mean_interval([mean_interval(own).value for own in searches.values()])


@dataclass(frozen=True)
class Scores:
    """Hold the scores of samplers that were compared on one model, and make tables of them.

    `print(scores)` shows the table; a notebook shows it as HTML.

    Args:
        rows: One for each sampler, feature space and seed.
        about: What all of them depend on, as JSON holds it: names, hashes.
        roles: What a feature space is in a search, such as "searched", to stand beside its name.
        samplers: The SHA-256 of each sampler's table by its name and NFE, as in "ddim-linear 10".
        kinds: Whether each sampler is a run's, a family's of a name, or was given as an object.
    """

    rows: Sequence[Row]
    about: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    samplers: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return the rows as flat dicts, such as pandas makes a frame of."""
        return [row.record for row in self.rows]

    @property
    def columns(self) -> list[str]:
        """Return the metrics' columns of all rows, in the order in which they first come."""
        return list(dict.fromkeys(name for row in self.rows for name in row.scores))

    @property
    def summary(self) -> Summary:
        """Compute every column's mean and 95% interval, by sampler, NFE and feature space."""
        return summarise(self.rows)

    def table(
        self, columns: Sequence[str] | None = None, head: Callable[[str], str] = str.upper
    ) -> Table:
        """Make a table: a line for a sampler and NFE, the columns of each feature space.

        ± is half of a 95% interval: of the mean of several seeds or searches (Student's t), of
        one seed by the metric's standard error where it has one (a column that ends in `_se`).

        Args:
            columns: The metrics' columns that are shown. None shows all that are not errors.
            head: Writes the name of a column.

        Returns:
            The table, to be written as text, Markdown or HTML.
        """
        summary = self.summary
        shown = [name for name in columns or self.columns if not name.endswith(ERROR)]
        kinds = [
            (space, name)
            for space in dict.fromkeys(row.features for row in self.rows)
            for name in shown
            if any(name in own for (*_, features), own in summary.items() if features == space)
        ]
        samplers = dict.fromkeys(row.place[:2] for row in self.rows)
        cells = [
            _column([summary.get((*sampler, space), {}) for sampler in samplers], name)
            for space, name in kinds
        ]
        lines = [
            [name, str(nfe), *line] for (name, nfe), *line in zip(samplers, *cells, strict=True)
        ]
        groups = [f"{s} ({self.roles[s]})" if s in self.roles else s for s, _ in kinds]
        heads = ["sampler", "NFE", *(head(name) for _, name in kinds)]
        return Table(heads, lines, ["", "", *groups], labels=2, foot=self._foot(lines))

    def text(self, width: int | None = None, columns: Sequence[str] | None = None) -> str:
        """Write the table for a terminal.

        Args:
            width: Characters in a line; a wider table is folded, one block a feature space.
            columns: The metrics' columns that are shown. None shows all.

        Returns:
            Lines of text.
        """
        return self.table(columns).text(width)

    def markdown(self) -> str:
        """Write the table as Markdown.

        Returns:
            Lines of text.
        """
        return self.table(head=str).markdown()

    def csv(self) -> str:
        """Write every row as it is, with all digits; empty where a metric does not apply.

        Returns:
            Lines of text, the first of which names the columns.
        """
        return csv_text(self.records, [*NAMES, *self.columns, *COUNTS])

    def json(self) -> str:
        """Write one JSON object: what all rows depend on, and the rows.

        Returns:
            The text of the object.
        """
        return json.dumps({**self.about, "rows": self.records}, indent=2)

    def save(self, path: str | Path) -> None:
        """Write the scores to a file in the form that its name ends in.

        Args:
            path: A file that ends in .txt, .md, .csv, .json or .html.

        Raises:
            ValueError: It ends in something else.
        """
        path = Path(path)
        forms = {
            ".txt": self.text,
            ".md": self.markdown,
            ".csv": self.csv,
            ".json": self.json,
            ".html": self._repr_html_,
        }
        if path.suffix not in forms:
            raise ValueError(f"{path} ends in none of {', '.join(forms)}; give such a name.")
        write(path, (forms[path.suffix]() + "\n").encode())

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self.table().html()

    def _foot(self, lines: Sequence[Sequence[str]]) -> str:
        counts = ", ".join(map(str, sorted({row.n for row in self.rows})))
        seeds = ", ".join(map(str, sorted({row.seed for row in self.rows})))
        foot = f"n = {counts}; seed {seeds}"
        return foot + "; ± 95% interval" * any("±" in cell for line in lines for cell in line)


def _column(found: Sequence[Mapping[str, Interval]], name: str) -> list[str]:
    """The cells of one column, with as many decimals as they need together."""
    digits = decimals(own[name].value for own in found if name in own)
    return [_cell(own, name, digits) for own in found]


def _cell(own: Mapping[str, Interval], name: str, digits: int) -> str:
    if name not in own:
        return ABSENT
    score, error = own[name], own.get(name + ERROR)
    if score.count == 1 and error is not None:
        score = normal_interval(score.value, error.value)
    return score.text(digits)

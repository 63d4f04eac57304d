"""Scores for people and for programs: a table as text, Markdown or CSV."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.special

from ..reports.scores import decimals, interval

Row = Mapping[str, Any]  # a sampler's scores in one feature space with one seed
KEYS = ("sampler", "nfe", "features", "n", "seed")
NONE = "-"  # of a metric that does not apply
ERROR = "_se"  # ends the name of a column's standard error


def columns(rows: Sequence[Row]) -> list[str]:
    """The metrics' columns of all rows, in the order in which they first come."""
    return list(dict.fromkeys(name for row in rows for name in row if name not in KEYS))


def text_table(rows: Sequence[Row], roles: Mapping[str, str] | None = None) -> str:
    """A line for a sampler and NFE, the metrics' columns for each feature space.

    ± is the half-width of a 95% interval: of the mean of several seeds (Student's t), of one seed
    by the metric's standard error, where it has one (a column that ends in `_se`).
    """
    heads, cells = _cells(rows)
    cells = [["sampler", "NFE", *[name.upper() for _, name in heads]], *cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    over = [" " * (widths[0] + 2 + widths[1])]
    first = 2
    for space in dict.fromkeys(space for space, _ in heads):
        head = f"{space} ({roles[space]})" if roles else space
        last = first + sum(s == space for s, _ in heads) - 1
        # Two more blanks before each feature space, whose name stands over its columns.
        rest = sum(widths[first + 1 : last + 1]) + 2 * (last - first)
        widths[first] = max(widths[first] + 2, len(head) - rest)
        over.append(head.rjust(widths[first] + rest))
        first = last + 1
    text = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in cells
    ]
    rule = "-" * len(text[0])
    return "\n".join(["  ".join(over), text[0], rule, *text[1:], rule, _foot(rows, cells)])


def markdown_table(rows: Sequence[Row]) -> str:
    """The same as a Markdown table."""
    heads, cells = _cells(rows)
    head = ["sampler", "NFE", *[f"{name} ({space})" for space, name in heads]]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in (head, *cells)]
    lines = [escaped[0], ["---", *["---:"] * (len(head) - 1)], *escaped[1:]]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", _foot(rows, cells)])


def csv_table(rows: Sequence[Row]) -> str:
    """Every row as it is, with all digits; empty where a metric does not apply."""
    buffer = io.StringIO()
    names = [*KEYS[:3], *columns(rows), *KEYS[3:]]
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().rstrip("\n")


def json_object(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """One JSON object: what all rows depend on, and the rows."""
    return json.dumps({**about, "rows": rows}, indent=2)


# How `--format` and `--json` print rows, and what they depend on.
FORMATS = {
    "table": lambda rows, about: text_table(rows),
    "markdown": lambda rows, about: markdown_table(rows),
    "csv": lambda rows, about: csv_table(rows),
    "json": json_object,
}


def _foot(rows: Sequence[Row], cells: Sequence[Sequence[str]]) -> str:
    counts, seeds = (sorted({row[name] for row in rows}) for name in ("n", "seed"))
    foot = f"n = {', '.join(map(str, counts))}; seed {', '.join(map(str, seeds))}"
    return foot + "; ± 95% interval" * any("±" in cell for line in cells for cell in line)


def _cells(rows: Sequence[Row]) -> tuple[list[tuple[str, str]], list[list[str]]]:
    """The columns, each of a feature space and a metric, and a line for each sampler and NFE."""
    values: dict[tuple, dict[tuple, list[float]]] = {}
    for row in rows:
        line = values.setdefault((row["sampler"], row["nfe"]), {})
        for name in columns([row]):
            line.setdefault((row["features"], name), []).append(row[name])
    spaces = dict.fromkeys(row["features"] for row in rows)
    found = {head for line in values.values() for head in line}
    heads = [(s, c) for s in spaces for c in columns(rows) if (s, c) in found]
    heads = [(space, column) for space, column in heads if not column.endswith(ERROR)]
    means = {h: [float(np.mean(x[h])) for x in values.values() if h in x] for h in heads}
    lines = [
        [sampler, str(nfe), *[
            _cell(line.get((s, c), []), line.get((s, c + ERROR), []), decimals(means[s, c]))
            for s, c in heads
        ]]
        for (sampler, nfe), line in values.items()
    ]  # fmt: skip
    return heads, lines


def _cell(values: Sequence[float], errors: Sequence[float], digits: int) -> str:
    if not values:
        return NONE
    found = interval(values)
    half = float(scipy.special.ndtri(0.975)) * errors[0] if len(errors) == 1 else found.half
    return f"{found.mean:.{digits}f}" + ("" if half is None else f" ± {half:.{digits}f}")

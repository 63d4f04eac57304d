"""What the commands print: a progress bar on stderr, tables and JSON on stdout."""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import scipy.stats
from tqdm import tqdm

from ..evaluate import score
from ..model import DiffusionModel
from ..table import StepTable
from ._common import Failed, phrase


def progress(work: Iterable | int, label: str, quiet: bool, initial: int = 0) -> tqdm:
    """A progress bar over some work or a number of steps; rare lines where no terminal is."""
    total = work if isinstance(work, int) else None
    return tqdm(
        None if isinstance(work, int) else work,
        total=total,
        desc=label,
        initial=initial,
        disable=quiet,
        mininterval=0.1 if sys.stderr.isatty() else 5,
    )


def score_rows(
    name: str,
    table: StepTable,
    model: DiffusionModel,
    *more: Any,
    n: int,
    seed: int,
    **options: Any,
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """A sampler's scores, one row for each feature space, and the samples to show."""
    try:
        scores, samples = score(table, model, *more, n=n, seed=seed, **options)
    except ValueError as error:
        raise Failed(f"{name} cannot be scored: {phrase(error)}.") from error
    nfe = table.nfe * model.passes
    rows = [
        {"sampler": name, "nfe": nfe, "features": features, **values, "n": n, "seed": seed}
        for features, values in scores.items()
    ]
    return rows, samples


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    click.echo(json.dumps(value, indent=2))


def print_result(result: dict, folder: Path, as_json: bool) -> None:
    """The result of the run in a folder: JSON, or its table and where the pictures are."""
    if as_json:
        print_json({**result, "run": str(folder)})
        return
    roles = {
        result["report_features"]: "not searched",
        result["search_features"]: "searched",
    }
    click.echo(text_table(result["rows"], roles))
    click.echo("\nFD and KID: smaller is better. " + gain(result))
    click.echo("Pictures: " + ", ".join(str(folder / name) for name in result["pictures"]))


def gain(result: dict) -> str:
    """How the searched sampler compares with plain DDIM in the report features."""
    fds = {
        row["sampler"]: row["fd"]
        for row in result["rows"]
        if row["features"] == result["report_features"]
    }
    ours, ddim = fds[result["sampler"]], fds["ddim-linear"]
    return (
        f"In {result['report_features']}, {result['sampler']}'s FD is {ours / ddim:.2f} of "
        f"DDIM's at {result['nfe']} network evaluations."
    )


def text_table(rows: Sequence[dict[str, Any]], roles: dict[str, str] | None = None) -> str:
    """Rows as text: a line for a sampler and NFE, the metrics' columns for each feature space.

    Several seeds are shown by their mean and the half-width of its 95% interval (Student's t).
    """
    known = {"sampler", "nfe", "features", "n", "seed"}
    metrics = [name for name in rows[0] if name not in known]
    found: dict[tuple, dict[tuple, list[float]]] = {}
    for row in rows:
        line = found.setdefault((row["sampler"], row["nfe"]), {})
        for metric in metrics:
            line.setdefault((row["features"], metric), []).append(row[metric])
    spaces = list(dict.fromkeys(row["features"] for row in rows))
    cells = [["sampler", "NFE", *[metric.upper() for metric in metrics] * len(spaces)]]
    for (sampler, nfe), line in found.items():
        values = [_interval(line[s, metric], metric) for s in spaces for metric in metrics]
        cells.append([sampler, str(nfe), *values])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    over = [" " * (widths[0] + 2 + widths[1])]
    for n, space in enumerate(spaces):
        head = f"{space} ({roles[space]})" if roles else space
        first, last = 2 + n * len(metrics), 1 + (n + 1) * len(metrics)
        # Two more blanks before each feature space, whose name stands over its columns.
        rest = sum(widths[first + 1 : last + 1]) + 2 * (last - first)
        widths[first] = max(widths[first] + 2, len(head) - rest)
        over.append(head.rjust(widths[first] + rest))
    text = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in cells
    ]
    rule = "-" * len(text[0])
    counts, seeds = (sorted({row[name] for row in rows}) for name in ("n", "seed"))
    foot = f"n = {', '.join(map(str, counts))}; seed {', '.join(map(str, seeds))}"
    return "\n".join(["  ".join(over), text[0], rule, *text[1:], rule, foot])


def _interval(values: Sequence[float], metric: str) -> str:
    digits = 2 if metric == "fd" else 4
    mean = f"{np.mean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{mean} ± {half:.{digits}f}"

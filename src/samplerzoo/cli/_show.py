"""What the commands print: a progress bar on stderr, tables and JSON on stdout."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click
import numpy as np
import scipy.stats
from tqdm import tqdm

from ..evaluate import score
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
    name: str, table: StepTable, *model_and_features: Any, n: int, seed: int, show: int = 0
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """A sampler's scores, one row for each feature space, and its first `show` samples."""
    try:
        scores, samples = score(table, *model_and_features, n=n, seed=seed, show=show)
    except ValueError as error:
        raise Failed(f"{name} cannot be scored: {phrase(error)}.") from error
    rows = [
        {"sampler": name, "nfe": table.nfe, "features": features, **values, "n": n, "seed": seed}
        for features, values in scores.items()
    ]
    return rows, samples


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    click.echo(json.dumps(value, indent=2))


def print_result(result: dict, as_json: bool) -> None:
    """A run's result: JSON, or its table and where the pictures are."""
    if as_json:
        print_json(result)
        return
    roles = {
        result["report_features"]: "not searched",
        result["search_features"]: "searched",
    }
    click.echo(text_table(result["rows"], roles))
    click.echo("\nFD and KID: smaller is better. " + gain(result))
    click.echo(f"Samples {result['pictures'][0]}, curve {result['pictures'][1]}")


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
        f"DDIM's at {result['nfe']} steps."
    )


def text_table(rows: Sequence[dict[str, Any]], roles: dict[str, str] | None = None) -> str:
    """Rows as text: a line for a sampler and NFE, columns FD and KID for each feature space.

    Several seeds are shown by their mean and the half-width of its 95% interval (Student's t).
    """
    spaces = list(dict.fromkeys(row["features"] for row in rows))
    lines = list(dict.fromkeys((row["sampler"], row["nfe"]) for row in rows))
    heads = [f"{s} ({roles[s]})" if roles and s in roles else s for s in spaces]
    titles = [f"{metric} {head}" for head in heads for metric in ("FD", "KID")]
    cells = [["sampler", "NFE", *titles]]
    for sampler, nfe in lines:
        line = [sampler, str(nfe)]
        for space in spaces:
            for metric, digits in (("fd", 2), ("kid", 4)):
                values = [
                    row[metric]
                    for row in rows
                    if (row["sampler"], row["nfe"], row["features"]) == (sampler, nfe, space)
                ]
                line.append(_interval(values, digits))
        cells.append(line)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    text = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in cells
    ]
    seeds = sorted({row["seed"] for row in rows})
    counts = sorted({row["n"] for row in rows})
    rule = "-" * len(text[0])
    foot = f"n = {', '.join(map(str, counts))}; seed {', '.join(map(str, seeds))}"
    return "\n".join([text[0], rule, *text[1:], rule, foot])


def _interval(values: Sequence[float], digits: int) -> str:
    mean = f"{np.mean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{mean} ± {half:.{digits}f}"

"""What the commands print: a progress bar on stderr, tables and JSON on stdout."""

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import numpy as np
from tqdm import tqdm

from ..core.model import DiffusionModel
from ..core.table import StepTable
from ..runs.errors import phrase
from ..runs.rows import Scores, read_row
from ..runs.scores import score
from ._common import Failed

SHOWN = ("fd", "kid", "precision", "recall")  # of a run's scores, in its table


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


def terminal_width() -> int | None:
    """The characters in a line of the terminal on stdout; None where it leads elsewhere."""
    return shutil.get_terminal_size((0, 0)).columns or None


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
    rows = [read_row(row, f"The result of {folder}") for row in result["rows"]]
    click.echo(Scores(rows, roles=roles).text(terminal_width(), SHOWN))
    click.echo(
        "\nSmaller FD and KID are better; larger precision is more faithful, larger recall more "
        "diverse."
    )
    click.echo(gain(result))
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

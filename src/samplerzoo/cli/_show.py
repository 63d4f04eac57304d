"""What the commands print of runs and scores."""

from typing import Any

import numpy as np

from ..core.model import DiffusionModel
from ..core.table import StepTable
from ..runs.run import Run
from ..runs.scores import score
from ..wording import phrase
from ._common import FailedError, as_text, terminal_width

SHOWN = ("fd", "kid", "precision", "recall")  # of a run's scores, in its table


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
        raise FailedError(f"{name} cannot be scored: {phrase(error)}.") from error
    nfe = table.nfe * model.passes
    rows = [
        {"sampler": name, "nfe": nfe, "features": features, **values, "n": n, "seed": seed}
        for features, values in scores.items()
    ]
    return rows, samples


def run_text(run: Run, as_json: bool) -> str:
    """Write a finished run: JSON, or its table and where the pictures are."""
    result = run.result or {}
    if as_json:
        return as_text({**result, "run": str(run.path)})
    lines = [
        run.scores.text(terminal_width(), SHOWN),
        "",
        "Smaller FD and KID are better; larger precision is more faithful, larger recall more "
        "diverse.",
        run.verdict,
        "Pictures: " + ", ".join(f"{run.path}/{name}" for name in result["pictures"]),
    ]
    return "\n".join(lines)

"""What the commands print of runs and scores."""

from functools import singledispatch
from typing import Any

from ..runs.run import Run
from ..runs.sweeping import Sweep
from .common import as_text, terminal_width

SHOWN = ("fd", "kid", "precision", "recall")  # of a run's scores, in its table


@singledispatch
def search_text(found: Any, as_json: bool) -> str:
    """Write what a search has found: JSON, or its table and where the pictures are."""
    raise TypeError(f"{found!r} is neither a run nor a sweep.")


@search_text.register
def _(found: Run, as_json: bool) -> str:
    result = found.result or {}
    if as_json:
        return as_text({**result, "run": str(found.path)})
    lines = [
        found.scores.text(terminal_width(), SHOWN),
        "",
        "Smaller FD and KID are better; larger precision is more faithful, larger recall more "
        "diverse.",
        "Pictures: " + ", ".join(f"{found.path}/{name}" for name in result["pictures"]),
        found.verdict,
    ]
    return "\n".join(lines)


@search_text.register
def _(found: Sweep, as_json: bool) -> str:
    if as_json:
        return as_text(found.result)
    lines = [
        found.table.text(terminal_width()),
        "",
        "Smaller FD is better.",
        "Pictures: " + ", ".join(f"{found.path}/{name}" for name in found.pictures),
        *(run.verdict for run in found.runs.values()),
    ]
    return "\n".join(lines)

"""What the commands print of runs and scores."""

from ..runs.run import Run
from .common import as_text, terminal_width

SHOWN = ("fd", "kid", "precision", "recall")  # of a run's scores, in its table


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
        "Pictures: " + ", ".join(f"{run.path}/{name}" for name in result["pictures"]),
        run.verdict,
    ]
    return "\n".join(lines)

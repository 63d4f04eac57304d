"""Progress on stderr: a bar on a terminal, elsewhere a line now and then."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from ..notices import as_json, say, write_record

_LINE = (
    "{desc}: {percentage:.0f}%, {n_fmt} of {total_fmt}, {elapsed} gone, {remaining} left{postfix}"
)


class _Lines:
    """A stream that is not a terminal: each state of a bar is a line of its own."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> None:
        """Write a state; what only moves a terminal's cursor is left out."""
        if line := text.strip():
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        """Write what is held back."""
        self._stream.flush()


class _Records(tqdm):
    """A bar whose states are JSON objects, a line each."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Write the state that the bar is in."""
        state = self.format_dict
        left = None
        if state["total"] and state["n"]:
            left = round(state["elapsed"] * (state["total"] / state["n"] - 1), 1)
        write_record(
            "info",
            event="progress",
            label=(state["prefix"] or "").removesuffix(": "),
            done=state["n"],
            total=state["total"],
            seconds=round(state["elapsed"], 1),
            seconds_left=left,
            now=state["postfix"] or None,
        )


def note(text: str) -> None:
    """Write a line to stderr, above a bar that is there."""
    if as_json():
        say("info", text)
    else:
        tqdm.write(text, file=sys.stderr)


def progress_bar(
    work: Iterable | int, label: str, shown: bool, done: int = 0, brief: bool = False
) -> tqdm:
    """Make a progress bar on stderr; where that is not a terminal, a line now and then.

    Args:
        work: What is gone through, or the number of steps, each told to the bar.
        label: What stands before the bar.
        shown: Whether there is one at all.
        done: How many of the steps are done already.
        brief: Whether it is shown after a second only, and not any more at the end.
    """
    terminal = sys.stderr.isatty() and not as_json()
    return (_Records if as_json() else tqdm)(
        None if isinstance(work, int) else work,
        total=work if isinstance(work, int) else None,
        desc=label,
        initial=done,
        disable=not shown,
        delay=1 if brief else 0,
        leave=not brief,
        mininterval=0.1 if terminal else 5,
        file=sys.stderr if terminal else _Lines(sys.stderr),
        bar_format=None if terminal else _LINE,
    )

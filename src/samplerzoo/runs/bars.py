"""Progress bars on stderr."""

import sys
from collections.abc import Iterable

from tqdm import tqdm


def note(text: str) -> None:
    """Write a line to stderr, above a bar that is there."""
    tqdm.write(text, file=sys.stderr)


def progress_bar(work: Iterable | int, label: str, shown: bool, done: int = 0) -> tqdm:
    """Make a progress bar on stderr; where that is no terminal, a line now and then.

    Args:
        work: What is gone through, or the number of steps, each told to the bar.
        label: What stands before the bar.
        shown: Whether there is one at all.
        done: How many of the steps are done already.
    """
    return tqdm(
        None if isinstance(work, int) else work,
        total=work if isinstance(work, int) else None,
        desc=label,
        initial=done,
        disable=not shown,
        mininterval=0.1 if sys.stderr.isatty() else 5,
    )

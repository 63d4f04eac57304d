"""What goes wrong in a run."""

from pathlib import Path
from typing import Any


class RunError(RuntimeError):
    """A run that failed; what it had saved before is whole.

    Attributes:
        run: The run up to there, with the last good sampler, where there is one; else None.
    """

    def __init__(self, message: str, run: Any = None):
        super().__init__(message)
        self.run = run


class LockedError(ValueError):
    """Another process is at work in a folder."""


class UntrustedNameError(ValueError):
    """A run of others names code, or files of this machine."""


class InterruptedRunError(KeyboardInterrupt):
    """An interruption of a run that has a folder, from which it can be resumed.

    Attributes:
        folder: The run's folder.
    """

    def __init__(self, folder: Path, remedy: str):
        super().__init__(f"Interrupted; {remedy}.")
        self.folder = folder

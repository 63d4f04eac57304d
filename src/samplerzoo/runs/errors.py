"""What goes wrong in a run."""

from pathlib import Path
from typing import Any


class RunError(RuntimeError):
    """Say that a run failed; what it had saved before is whole.

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
    """Say that a run was interrupted whose folder it can be resumed from.

    Attributes:
        folder: The run's folder.
    """

    def __init__(self, folder: Path, remedy: str):
        super().__init__(f"Interrupted; {remedy}.")
        self.folder = folder

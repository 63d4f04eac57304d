"""What goes wrong in a run, and exceptions as sentences."""

from pathlib import Path


class RunError(RuntimeError):
    """A run that failed; what it had saved before is whole."""


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


def phrase(error: BaseException) -> str:
    """Return an exception's message as one line, to put inside a sentence."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def sentence(error: BaseException) -> str:
    """Return an exception's message as one line that ends as a sentence."""
    line = phrase(error)
    return line if line.endswith((")", "?", "!")) else f"{line}."

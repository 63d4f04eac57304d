"""What is said beside the results: warnings, each once, errors, and progress as lines of JSON."""

import functools
import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

FORMAT = "SAMPLERZOO_LOG_FORMAT"  # the variable that says "json" where lines are to be parsed


@functools.cache
def warn(message: str) -> None:
    """Say something once, on stderr unless the program's logging says otherwise.

    Args:
        message: A whole sentence.
    """
    logging.getLogger("samplerzoo").warning("Warning: %s", message)


def as_json() -> bool:
    """Tell whether what is said is one JSON object a line."""
    return os.environ.get(FORMAT) == "json"


def log_as_json() -> None:
    """Say everything from here on as one JSON object a line, in processes to come too."""
    os.environ[FORMAT] = "json"
    logger = logging.getLogger("samplerzoo")
    if not any(isinstance(handler, _Handler) for handler in logger.handlers):
        logger.addHandler(_Handler())
        logger.propagate = False


def say(level: str, message: str) -> None:
    """Say a sentence on stderr.

    Args:
        level: `error`, `warning` or `info`.
        message: The sentence.
    """
    if as_json():
        write_record(level, message=message)
        return
    sys.stderr.write(f"{'Error: ' if level == 'error' else ''}{message}\n")


def write_record(level: str, **about: Any) -> None:
    """Write one JSON object on a line of stderr, with its time and level."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"time": now, "level": level, **about})
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class _Handler(logging.Handler):
    """Writes what is logged as lines of JSON."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage().removeprefix("Warning: ")
        write_record(record.levelname.lower(), message=message)

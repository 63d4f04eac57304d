"""What is said beside the results: warnings, each once."""

import functools
import logging


@functools.cache
def warn(message: str) -> None:
    """Say something once, on stderr unless the program's logging says otherwise.

    Args:
        message: A whole sentence.
    """
    logging.getLogger("samplerzoo").warning("Warning: %s", message)

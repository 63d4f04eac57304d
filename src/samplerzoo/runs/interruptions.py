"""Signals that stop a program, and loops that look for them."""

import signal
import threading
from typing import Any

INTERRUPTED = 128 + signal.SIGINT  # exit statuses
TERMINATED = 128 + signal.SIGTERM
_asked = threading.Event()  # to stop
_terminated = threading.Event()  # by SIGTERM


def heed_interruptions() -> None:
    """Raise KeyboardInterrupt for SIGTERM too, and remember what was raised.

    Python drops an exception that is raised in some callbacks, such as the garbage collector's,
    where JAX has one. SIGINT stays ignored where the parent process has said so.
    """

    def interrupt(number: int, _frame: Any) -> None:
        _asked.set()
        if number == signal.SIGTERM:
            _terminated.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)


def exit_status() -> int:
    """Return the exit status of a program that was stopped: 143 by SIGTERM, else 130."""
    return TERMINATED if _terminated.is_set() else INTERRUPTED


def stop_if_asked(*_: Any) -> None:
    """Raise an interruption again that Python has dropped; for loops to call."""
    if _asked.is_set():
        raise KeyboardInterrupt

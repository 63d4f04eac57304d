"""Whether plugins load: tried in a process of their own, which they may end, fill or never leave.

As a program, this module is that process: it reads from its standard input what it is to load, and
writes a line of JSON when it is ready and for each plugin to what was its standard output. What
plugins print goes to standard error.
"""

import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, NamedTuple

from ..limits import PLUGIN_SECONDS
from ..registry import RegistryError, load

TOGETHER = 6  # times as long as one plugin may take, all may


class Offer(NamedTuple):
    """A name that a plugin offers in a group."""

    group: str
    name: str


def find_errors(offers: Sequence[Offer]) -> dict[Offer, str]:
    """Load plugins in a process of their own.

    Args:
        offers: What is loaded, one after the other.

    Returns:
        Why each of those that do not load does not, as a sentence. One that ends the process, or
        takes longer than is allowed, is among them; those behind it are loaded in another.
    """
    errors: dict[Offer, str] = {}
    left, until = list(offers), time.monotonic() + TOGETHER * PLUGIN_SECONDS.most
    while left:
        if time.monotonic() > until:
            return errors | dict.fromkeys(left, "It was not tried: others took too long.")
        told, ending = _try(left, until)
        for offer, error in zip(left, told, strict=False):
            if error:
                errors[offer] = error
        if len(told) < len(left):
            errors[left[len(told)]] = ending
        left = left[len(told) + 1 :]
    return errors


def _try(offers: list[Offer], until: float) -> tuple[list[str], str]:
    """What a process told of the first offers, and why it told nothing of the next."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    lines: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_collect, args=(process.stdout, lines), daemon=True).start()
    told: list[str] = []
    try:
        with process.stdin as given:
            given.write(json.dumps([sys.path, offers]).encode())
        lines.get(timeout=max(0.0, until - time.monotonic()))
        while len(told) < len(offers):
            patience = min(PLUGIN_SECONDS.most, until - time.monotonic())
            line = lines.get(timeout=max(0.0, patience))
            if not line.endswith(b"\n"):
                return told, f"It ended the process that loaded it ({_status(process)})."
            told.append(str(json.loads(line)))
        return told, ""
    except ValueError:
        return told, "It wrote between the lines of the process that loaded it."
    except queue.Empty:
        return told, (
            f"It does not load within {PLUGIN_SECONDS.most} seconds; the environment variable "
            f"{PLUGIN_SECONDS.variable} gives it more."
        )
    finally:
        _kill(process)


def _collect(stream: IO[bytes], lines: queue.Queue[bytes]) -> None:
    """Hand on the lines of a stream, and something else at its end."""
    for line in stream:
        lines.put(line)
    lines.put(b"")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _status(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return "which runs without an answer"
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def _main() -> None:
    sys.path[:], offers = json.load(sys.stdin)
    told = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    bases = {group: _base(group) for group, _ in offers}
    for line in itertools.chain(
        [""], (_error(group, name, bases[group]) for group, name in offers)
    ):
        told.write(json.dumps(line) + "\n")
        told.flush()
    os._exit(0)


def _error(group: str, name: str, base: type | None) -> str:
    """Why a plugin does not load, or nothing."""
    try:
        load(group, name, base)
    except RegistryError as error:
        return str(error)
    except KeyboardInterrupt:
        return f"The {group} {name!r} interrupts the program that loads it."
    return ""


def _base(group: str) -> type | None:
    """The class that a group's members derive from, where there is one."""
    if group == "families":
        from ..core.families import AbstractFamily

        return AbstractFamily
    if group == "kernels":
        from ..core.kernels import AbstractKernel

        return AbstractKernel
    return None


if __name__ == "__main__":
    _main()

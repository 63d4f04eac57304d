"""Hostile inputs, many in one process: limited in memory, disk and time, and watched by an alarm.

A test module holds `CASES`: by name what makes the input in an empty folder, in the tests'
process, and what reads it, in the limited one. What a read starts or unpickles is a breach:
Python tells its own audit of it, and Ghostscript is a script here that leaves a mark.
"""

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
BREACHES = {
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "pickle.find_class",
    "ctypes.dlopen",
}
MAX_MESSAGE = 700  # characters


class Case(NamedTuple):
    """A hostile input: how it is made, how it is read, and what its refusal says."""

    make: Callable[[Path], object]
    read: Callable[[Path], object]
    word: str


class Outcome(NamedTuple):
    """How a read ended: with a value, or with an exception of a kind."""

    kind: str
    text: str
    seconds: float
    megabytes: float
    breaches: list[str]


def survive(
    module: str,
    folder: Path,
    cases: Mapping[str, Case],
    memory: int = 3 * 2**30,
    disk: int = 2**27,
    seconds: int = 60,
    table: str = "CASES",
    variables: Mapping[str, str] | None = None,
) -> dict[str, Outcome]:
    """Make the inputs of a module's cases, and read each in one limited process.

    `memory` is of addresses in bytes, `disk` of one file, `seconds` of one read; `table` is what
    the module calls its cases.
    """
    tools = folder / "tools"
    tools.mkdir()
    for name in ("gs", "ghostscript", "sh", "bash", "convert", "touch"):
        (tools / name).write_text(f"#!/bin/sh\n: > {folder}/owned\n")
        (tools / name).chmod(0o755)
    for name, case in cases.items():
        (folder / name).mkdir()
        case.make(folder / name)
    limits = json.dumps([memory, disk, seconds])
    command = [sys.executable, str(HERE / "hostile.py"), module, table, str(folder), limits, *cases]
    environment = os.environ | (variables or {}) | {"PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=seconds * len(cases) + 60
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not (folder / "owned").exists(), "a program was started"
    found = {name: Outcome(*rest) for name, *rest in map(json.loads, done.stdout.splitlines())}
    assert set(found) == set(cases)
    return found


def check_refusal(
    outcome: Outcome,
    word: str,
    megabytes: float = 400,
    kinds: tuple[str, ...] = ("ValueError", "LimitError"),
) -> None:
    """A sentence or two on one line, in bounded memory and time, and nothing was run."""
    assert outcome.breaches == []
    assert outcome.kind in kinds, outcome
    text = outcome.text
    assert word in text, text
    assert text.isprintable(), text
    assert text.endswith("."), text
    assert ".." not in text.replace("...", ""), text
    assert len(text) < MAX_MESSAGE, text
    assert outcome.megabytes < megabytes, outcome


def _main(module: str, table: str, folder: Path, limits: list[int], names: list[str]) -> None:
    """Read the cases, and print how each ended."""
    memory, disk, seconds = limits
    sys.path.insert(0, str(HERE))
    cases: Mapping[str, Case] = getattr(importlib.import_module(module), table)
    breaches: list[str] = []
    sys.addaudithook(lambda event, _: breaches.append(event) if event in BREACHES else None)
    signal.signal(signal.SIGALRM, _too_long)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))
    for name in names:
        os.environ["TMPDIR"] = str(folder / name)
        breaches.clear()
        Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins again
        before, begun = _status("VmRSS"), time.monotonic()
        signal.alarm(seconds)
        try:
            found = cases[name].read(folder / name)
            kind, text = "value", repr(found)[:200]
        except BaseException as error:
            kind, text = type(error).__name__, str(error)
        signal.alarm(0)
        taken = time.monotonic() - begun
        peak = (_status("VmHWM") - before) / 1024
        print(json.dumps([name, kind, text, taken, peak, breaches]), flush=True)


def _too_long(*_: object) -> None:
    raise TimeoutError("it took too long")


def _status(name: str) -> int:
    """A number of kB of this process's status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    _main(*sys.argv[1:3], Path(sys.argv[3]), json.loads(sys.argv[4]), sys.argv[5:])

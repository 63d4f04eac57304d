"""The largest part of a batch that the devices' free memory holds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np
from jax.experimental import multihost_utils

SHARE = 0.8  # of the free memory; the rest is left to what XLA's analysis does not count


@runtime_checkable
class Sized(Protocol):
    """A compiled program that knows its need of memory, in bytes a device."""

    @property
    def memory(self) -> int: ...


P = TypeVar("P", bound=Sized)


class TooLargeError(ValueError):
    """Not even one sample at a time fits."""


def largest(make: Callable[[int], P], most: int, free: int) -> P:
    """`make(size)` of about the largest size from 1 to `most` that fits in `free` bytes.

    Memory grows by nearly the same for each sample, so what two sizes need tells a third that
    fits. Each is checked by XLA's analysis of the compiled program, before any is run.
    """
    budget = SHARE * free
    whole = _attempt(make, most)
    if whole and whole.memory <= budget:
        return whole
    size = max(1, most // 16)
    while not (small := _attempt(make, size)) or small.memory > budget:
        if size == 1:
            need = f"{small.memory / 1e9:.2f} GB" if small else "more than the device has"
            raise TooLargeError(
                f"One sample at a time, a step still needs {need} of memory, and {free / 1e9:.2f} "
                "GB are free. Lower the batch or the number of steps, or use more devices."
            )
        size = max(1, size // 8)
    slope = (whole.memory - small.memory) / (most - size) if whole else small.memory / size
    guess = min(size + int((budget - small.memory) / max(slope, 1)), most - 1)
    while guess > size:
        found = _attempt(make, guess)
        if found and found.memory <= budget:
            return found
        guess = guess * 3 // 4
    return small


def _attempt(make: Callable[[int], P], size: int) -> P | None:
    """The program, or None where even its compilation runs out of memory."""
    try:
        return make(size)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None


def free_memory() -> int:
    """Bytes free on every device of every process: the least of them."""
    devices = jax.local_devices()
    free = min(_on_device(device, len(devices)) for device in devices)
    if jax.process_count() == 1:
        return free
    return int(np.min(multihost_utils.process_allgather(np.asarray(free, np.float64))))


def _on_device(device: Any, beside: int) -> int:
    """Of a device with a memory of its own, what is free there; else a share of the machine's."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    return memory_of_machine() // beside


def memory_of_machine(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of main memory that this process may still take (Linux), or half of all there is."""
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration):
        import os

        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    try:
        limit, used = (
            (cgroup / f"memory.{name}").read_text().strip() for name in ("max", "current")
        )
        return free if limit == "max" else min(free, max(0, int(limit) - int(used)))
    except OSError:
        return free

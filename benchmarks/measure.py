"""Times and memory of compiled functions."""

import ctypes
import gc
import importlib.metadata
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from samplerzoo import DiffusionModel
from samplerzoo.core.compiling import jit

STATUS = Path("/proc/self/status")


def seconds(run: Callable[[], object]) -> float:
    """How long a call takes that waits for its result."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def in_turns(
    benchmark,
    run: Callable[[], object],
    others: Sequence[Callable],
    rounds: int,
    of: Callable[[Sequence[float]], float] = min,
) -> tuple[float, ...]:
    """The shortest times (or the medians) of `run`, which the benchmark reports, and of the others.

    They are called in turns, so that what else the machine does slows all alike.
    """
    for one in (run, *others):
        one()
    times = []
    benchmark.pedantic(run, setup=lambda: times.append(list(map(seconds, others))), rounds=rounds)
    columns = (benchmark.stats.stats.data, *zip(*times, strict=True))
    return tuple(float(of(column)) for column in columns)


def compiled(function: Callable, *args) -> tuple[Callable[[], Any], int, float]:
    """A call ready to run, the temporary bytes that it takes, and the seconds to compile it."""
    begin = time.perf_counter()
    program = jit(function).lower(*args).compile()
    took = time.perf_counter() - begin
    memory = program.compiled.memory_analysis().temp_size_in_bytes
    return lambda: jax.block_until_ready(program(*args)), memory, took


def bare(model: DiffusionModel, batch: int) -> list[Callable[[], Any]]:
    """The network's forward, and its forward with the input's gradient, at a batch."""
    x, t = jax.random.normal(jax.random.key(0), (batch, *model.shape)), jnp.asarray(500.0)

    def forward(network, x):
        return jax.vmap(network, (0, None))(x, t)

    def pullback(network, x):
        out, pull = jax.vjp(lambda x: forward(network, x), x)
        return out, pull(out)[0]

    return [compiled(f, model.network, x)[0] for f in (forward, pullback)]


def peak_rss(run: Callable[[], object]) -> float | None:
    """Megabytes by which the process grows at most during a call; None where Linux is not."""
    if not STATUS.exists():
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
    before = _status("VmRSS")
    run()
    return (_status("VmHWM") - before) / 1e3


def _status(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    assert found, f"{STATUS} has no {name}"
    return 1.024 * float(found[1])


def device_peak() -> float | None:
    """Megabytes that the device has held at most since the process began; None on a CPU."""
    found = jax.devices()[0].memory_stats()
    return found["peak_bytes_in_use"] / 1e6 if found else None


def machine() -> dict[str, str | float]:
    """What the figures were measured on."""
    device = jax.devices()[0]
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s+: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else []
    return {
        "device": device.device_kind if device.platform != "cpu" else (names or ["CPU"])[0],
        "platform": device.platform,
        "cores": cores(),
        "load": round(os.getloadavg()[0], 1),
        "python": ".".join(map(str, sys.version_info[:3])),
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "equinox": eqx.__version__,
        "numpy": np.__version__,
    }


def cores() -> int:
    """The CPU cores that this process may use; XLA takes as many threads."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

"""The processor's cores as devices of JAX."""

import os
import sys

_MOST = 16  # devices; a batch in more parts gains little


def use_all_cores() -> None:
    """Have JAX see a device in every core this process may use, if nothing else is said.

    A batch is then shared between the cores. XLA computes most operations of a small network in one
    thread, so two devices of one core do more than one device of two: a step of the digits' search
    takes about 0.6 of the time.

    It is for programs to call before JAX is imported: a library does not choose that.
    """
    said = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if "jax" in sys.modules or said:
        return
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(min(_cores(), _MOST)))


def _cores() -> int:
    """How many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

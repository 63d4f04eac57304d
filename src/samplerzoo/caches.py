"""Where this user's caches lie: features of data, and compiled programs."""

import hashlib
import os
import platform
import sys
from pathlib import Path

_MOST = 2**30  # bytes of compiled programs; the oldest go first
_SECONDS = "0.2"  # what takes less to compile is not kept


def user_cache() -> Path:
    """Return $SAMPLERZOO_CACHE, else the user's cache: $XDG_CACHE_HOME or ~/.cache/samplerzoo."""
    if given := os.environ.get("SAMPLERZOO_CACHE"):
        return Path(given)
    shared = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(shared) / "samplerzoo"


def keep_compiled() -> None:
    """Have JAX keep compiled programs on disk, for this kind of processor, if nothing else is said.

    It is for programs to call before JAX is imported: a library does not choose that.
    """
    if "jax" in sys.modules or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = user_cache() / "compiled" / _processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(_MOST))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", _SECONDS)


def _processor() -> str:
    """What a compiled program may use of this machine, as a short name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        told = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        told = platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"

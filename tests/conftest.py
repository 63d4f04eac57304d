"""Every test runs with shapes and dtypes checked and with warnings as errors."""

import os
import signal
import tempfile
from pathlib import Path

import filelock
import jax
import pytest

import samplerzoo

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# What a shell starts in the background ignores Ctrl-C, and so would the programs that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What workers share is in a folder of the process that began them.
if "SAMPLERZOO_TESTS" not in os.environ:
    SHARED = tempfile.TemporaryDirectory(prefix="samplerzoo-tests-", ignore_cleanup_errors=True)
    os.environ["SAMPLERZOO_TESTS"] = SHARED.name

# A program is compiled once for all workers, and for the processes that tests start.
jax.config.update("jax_compilation_cache_dir", os.environ["SAMPLERZOO_TESTS"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)

# Tests compile far more than they compute: this takes half the time, and gives slower programs.
# The default searches (test_demo.py) are compiled as they are for a user.
QUICK = "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0"
os.environ.setdefault("XLA_FLAGS", QUICK)

# One device a process, unless a test says otherwise: to the last bit, results depend on it.
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "1")

# The features of data that tests compute are kept for the session.
CACHE = tempfile.TemporaryDirectory(prefix="samplerzoo-tests-", ignore_cleanup_errors=True)
os.environ["SAMPLERZOO_CACHE"] = CACHE.name


@pytest.fixture
def x64():
    """Float64 for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def digits_run():
    """A short search of the digits, in a folder: one for all workers, which nobody changes."""
    folder = Path(os.environ["SAMPLERZOO_TESTS"]) / "shared" / "rddim-3"
    folder.parent.mkdir(exist_ok=True)
    with filelock.FileLock(f"{folder}.lock"):
        if not (folder / "result.json").exists():
            sizes = {"steps": 3, "batch": 8, "iterations": 2, "n": 64}
            with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
                samplerzoo.search(**sizes, out=folder, progress=False)
    return samplerzoo.load_run(folder)


@pytest.fixture(autouse=True, scope="module")
def forget():
    """Drop a file's compiled programs at its end: together they take gigabytes."""
    yield
    jax.clear_caches()

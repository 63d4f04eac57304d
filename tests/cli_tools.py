"""What the tests of the program share: real subprocesses, toy models and plugins on disk."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import warm_program

PROGRAM = (sys.executable, "-m", "samplerzoo")
# Compiled programs are kept between the subprocesses of one session: they give the same bytes.
ENVIRONMENT = os.environ | {
    "JAX_COMPILATION_CACHE_DIR": os.environ["SAMPLERZOO_TESTS"],
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
}

# As a user starts it: what conftest.py sets makes programs that are compiled sooner and run slower.
APART = ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")
AS_A_USER = {name: value for name, value in ENVIRONMENT.items() if name not in APART}
LIMIT = 900  # seconds after which a process hangs, on whatever machine

# A module that `python:toys:...` finds in the current directory.
TOYS = """
import time
import jax.numpy as jnp
import numpy as np
from samplerzoo import DiffusionModel, LinearVP

SHAPE = (4, 4, 1)
print("toys is imported")  # what user code prints must not reach stdout

def model():
    return DiffusionModel(lambda x, t: 0.5 * x * t, LinearVP(), SHAPE)

def data():
    return np.random.default_rng(0).uniform(-1, 1, (32, *SHAPE)).astype(np.float32)

def features(x):
    return jnp.tanh(x.reshape(-1)[:5])

def other_features(x):
    return x.reshape(-1)[5:8] ** 2
"""
TOY = (
    "--model=python:toys:model",
    "--data=python:toys:data",
    "--features=python:toys:features",
    "--report-features=python:toys:other_features",
)
TINY = ("--batch=8", "--iterations=30", "--n=64", "--steps=3")
# The documents' searches in small; everywhere the same, so that compiled programs are found again.
SMALL = ("--batch=8", "--iterations=4", "--n=64", "--quiet")
FILES = {
    "config.toml",
    "log.jsonl",
    "sampler.safetensors",
    "checkpoint.safetensors",
    "samples.png",
    "curve.png",
    "result.json",
}


@dataclass
class Done:
    """A process that has ended."""

    code: int
    out: str
    err: str


def begin(
    *arguments, cwd: Path, path: Path | None = None, before: tuple[str, ...] = ()
) -> subprocess.Popen:
    """The program, started in a folder.

    `path` is put on PYTHONPATH; `before` is a command that starts the program.
    """
    return subprocess.Popen(
        [*before, *PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env=environment(path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def environment(path: Path | None) -> dict[str, str]:
    """The environment of a process of the program, with a folder on PYTHONPATH."""
    paths = [str(path)] if path else []
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    return ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(paths)}


def end(process: subprocess.Popen) -> Done:
    """Wait for a process."""
    out, err = process.communicate(timeout=LIMIT)
    return Done(process.returncode, out, err)


def run(*arguments, cwd: Path, path: Path | None = None, before: tuple[str, ...] = ()) -> Done:
    """The program, run to its end; without `before`, from a process that is warm."""
    if before:
        return end(begin(*arguments, cwd=cwd, path=path, before=before))
    code, out, err = warm_program.start([*map(str, arguments)], cwd, environment(path), LIMIT)
    return Done(code, out.decode(), err.decode())


def succeed(*arguments, cwd: Path, **more) -> Done:
    """The program, which must succeed."""
    done = run(*arguments, cwd=cwd, **more)
    assert done.code == 0, done.err
    return done


def fail(*arguments, cwd: Path, code: int = 2, **more) -> str:
    """The message of the program, which must fail in one line on stderr and print nothing."""
    done = run(*arguments, cwd=cwd, **more)
    return message(done, code)


def message(done: Done, code: int) -> str:
    """The only line on stderr of a process that failed as it should."""
    printed = {"toys is imported", "network", "features"}  # by the toys
    lines = [line for line in done.err.splitlines() if line not in printed]
    assert done.code == code, done.err
    assert done.out == ""
    assert len(lines) == 1, done.err
    assert lines[0].startswith("Error: ")
    assert lines[0].endswith((".", ")"))
    assert ".." not in lines[0].replace("...", "")
    return lines[0]


def write_toys(folder: Path, more: str = "") -> None:
    """The toy module, with more code at its end, in a folder."""
    (folder / "toys.py").write_text(TOYS + more)


def write_plugin(
    folder: Path, distribution: str, entry_points: dict[str, dict[str, str]], code: str = ""
) -> None:
    """An installed distribution: a module of its name and its entry points by group."""
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = []
    for group, points in entry_points.items():
        lines += [f"[samplerzoo.{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (folder / f"{distribution}.py").write_text(code)


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, byte by byte."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(files)}

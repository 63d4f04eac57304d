"""Forty kills at random moments, on a machine that has other work: every end is the same.

A process is ended by a timer of the kernel, in the middle of whatever it does.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import warm_program
from cli_tools import ENVIRONMENT, FILES, TINY, TOY, contents, write_toys

pytestmark = pytest.mark.slow

KILLS = 10  # of each of four commands
ATTEMPTS = 60  # of which some end before they are killed
ENDED = -signal.SIGALRM
SEARCH = ("search", *TOY, *TINY, "--checkpoint-every=0", "--out=run", "--resume", "--quiet")
EVALUATE = ("evaluate", "run", "ddim", "--steps=3,4", "--n=64", "--seeds=0,1", "--quiet")
REFERENCE = ("reference", "python:toys:data", "--features=python:toys:features", "--shape=4x4x1")
REPORT = ("report", "run", "scores", "--out=page.html", "--json", "--quiet")


@pytest.fixture(scope="module")
def load():
    """Other work for every core, of less weight than ours."""
    busy = ["nice", "-n", "5", sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(busy) for _ in range(os.cpu_count() or 1)]
    yield
    for other in others:
        other.kill()
        other.wait()


class Place:
    """A folder with the toys, in which the program is run, and killed."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        write_toys(folder)

    def run(self, words: tuple[str, ...], seconds: float | None = None) -> tuple[int, str]:
        """The exit status and stdout of the program, which lives for some seconds at most."""
        variables = ENVIRONMENT | {"SAMPLERZOO_CACHE": "cache"}
        if seconds is not None:
            variables |= {warm_program.KILL: f"{seconds:.4f}"}
        code, out, err = warm_program.start([*words], self.folder, variables, 300)
        assert code in (0, ENDED), err.decode()
        assert code == 0 or seconds is not None
        return code, out.decode()

    def remove(self, *names: str) -> None:
        for name in names:
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def search_end(folder: Path, _: str) -> dict:
    """What a search leaves, but for how long it took."""
    kept = contents(folder / "run")
    assert set(kept) == FILES
    log = [json.loads(line) for line in kept.pop("log.jsonl").splitlines()]
    result = json.loads(kept.pop("result.json"))
    kept.pop("config.toml")  # which says when checkpoints are written
    same = {key: result[key] for key in ("rows", "table", "hashes", "skipped_steps")}
    return kept | {"log": [(line["step"], line["kid"]) for line in log], "result": same}


def evaluation_end(folder: Path, _: str) -> dict:
    return contents(folder / "scores")


def cache_end(folder: Path, _: str) -> dict:
    kept = contents(folder / "cache")
    return {name: data for name, data in kept.items() if not name.endswith(".tmp")}


def report_end(folder: Path, out: str) -> dict:
    page = (folder / "page.html").read_text()
    assert page.rstrip().endswith("</html>")
    return json.loads(out)


# A command, what it leaves, and the names that are removed for it to begin anew.
STAGES: dict[str, tuple[tuple[str, ...], Callable[[Path, str], dict], tuple[str, ...]]] = {
    "search": (SEARCH, search_end, ("run",)),
    "evaluate": ((*EVALUATE, "--out=scores"), evaluation_end, ("scores",)),
    "cache": (REFERENCE, cache_end, ("cache",)),
    "report": (REPORT, report_end, ("page.html",)),
}


def test_forty_kills_change_nothing(load, tmp_path):
    draw = random.Random(0)
    alone, place = Place(tmp_path / "alone"), Place(tmp_path / "killed")
    total = 0
    for words, end, made in STAGES.values():
        alone.run(words)  # whose programs are compiled now
        alone.remove(*made)
        begun = time.monotonic()
        _, out = alone.run(words)
        took = time.monotonic() - begun
        wanted = end(alone.folder, out)
        place.remove(*made)
        killed = 0
        for _ in range(ATTEMPTS):
            code, out = place.run(words, took * draw.uniform(0.05, 1.0))
            killed += code == ENDED
            if code == 0:
                assert end(place.folder, out) == wanted
                place.remove(*made)
            if killed == KILLS:
                break
        _, out = place.run(words)
        assert end(place.folder, out) == wanted
        total += killed
    assert total == KILLS * len(STAGES)

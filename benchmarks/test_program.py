"""The README's first search, whole: a process that compiles, searches, scores and draws."""

import json
import subprocess
import sys

import pytest


@pytest.mark.benchmark(group="the default search")
@pytest.mark.parametrize("family", ["rddim", "gddim"])
def test_default_search(benchmark, family, tmp_path):
    """On the embedded digits."""
    search = ["search", "--family", family, "--json", "--quiet"]
    command = [sys.executable, "-m", "samplerzoo", *search]

    def run():
        return subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout

    result = json.loads(benchmark.pedantic(run, rounds=1))
    fd = {
        row["sampler"]: row["fd"]
        for row in result["rows"]
        if row["features"] == result["report_features"]
    }
    assert fd[family] < fd["ddim-linear"]
    benchmark.extra_info |= {
        "family": family,
        "steps": result["nfe"],
        "search_seconds": result["search_seconds"],
        "fd_over_ddim": fd[family] / fd["ddim-linear"],
    }

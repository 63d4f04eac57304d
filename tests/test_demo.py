"""The main promise, at full size: the defaults search a much better sampler in about a minute."""

import json
import resource
import subprocess

import numpy as np
import pytest
from PIL import Image

from cli_tools import AS_A_USER, PROGRAM


def cpu_seconds() -> float:
    """Of the processes that this one has begun and seen end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "words", "share"),
    # GDDIM from DDIM, as in the paper: from its default start its gain is less sure.
    [("rddim", (), 1 / 3), ("gddim", ("-F", "start=ddim-quadratic"), 1 / 6)],
    ids=["rddim", "gddim"],
)
def test_a_search_of_default_size(family, words, share, tmp_path):
    before = cpu_seconds()
    done = subprocess.run(
        [*PROGRAM, "search", "--family", family, *words, "--json", "--quiet"],
        cwd=tmp_path,
        env=AS_A_USER,
        capture_output=True,
        text=True,
        check=False,
    )
    took = cpu_seconds() - before
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    fd = {(row["sampler"], row["features"]): row["fd"] for row in result["rows"]}
    for features in (result["report_features"], result["search_features"]):
        assert fd[family, features] <= share * fd["ddim-linear", features]
        others = [v for (s, f), v in fd.items() if f == features and s != family]
        assert fd[family, features] < min(others)
    assert {row["n"] for row in result["rows"]} == {10_000}
    assert {row["nfe"] for row in result["rows"]} == {10}
    for picture in result["pictures"]:
        pixels = np.asarray(Image.open(tmp_path / result["run"] / picture))
        assert pixels.shape[0] > 300
        assert pixels.std() > 20
    assert took < 180, f"{took:.0f} s"  # 90 s of two cores, whatever else they do

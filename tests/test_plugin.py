"""The example plugin, installed by pip and used by the program."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli_tools import ENVIRONMENT

PLUGIN = Path(__file__).parent.parent / "plugins" / "samplerzoo-dpmpp"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that pip has installed the plugin to, and an environment that sees it."""
    pytest.importorskip("hatchling", reason="building the plugin needs hatchling")
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--disable-pip-version-check",
            "--target",
            str(target),
            str(PLUGIN),
        ],
        check=True,
    )
    return ENVIRONMENT | {"PYTHONPATH": str(target)}


def samplerzoo(environment, *words, cwd=None):
    done = subprocess.run(
        [sys.executable, "-m", "samplerzoo", *words],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_is_listed_with_its_distribution(installed):
    found = json.loads(samplerzoo(installed, "list", "families", "--json"))["families"]
    (ours,) = [row for row in found if row["name"] == "dpmpp"]
    assert (ours["distribution"], ours["version"]) == ("samplerzoo-dpmpp", "0.1.0")
    assert ours["error"] is None


@pytest.mark.slow
def test_is_searched_sampled_and_evaluated(installed, tmp_path):
    search = [
        "search",
        "--family",
        "dpmpp",
        "--steps",
        "4",
        "--batch",
        "8",
        "--iterations",
        "2",
        "--n",
        "50",
        "--out",
        "run",
        "--json",
    ]
    result = json.loads(samplerzoo(installed, *search, cwd=tmp_path))
    assert {row["sampler"] for row in result["rows"]} >= {"dpmpp", "ddim-linear"}
    samplerzoo(installed, "sample", "run", "--n", "4", "--out", "x.png", cwd=tmp_path)
    rows = json.loads(
        samplerzoo(
            installed,
            "evaluate",
            "run",
            "dpmpp",
            "--steps",
            "4",
            "--n",
            "50",
            "--json",
            cwd=tmp_path,
        )
    )["rows"]
    assert {row["sampler"] for row in rows} == {"run", "dpmpp-linear", "dpmpp-quadratic"}


@pytest.mark.slow
def test_passes_its_own_tests(installed):
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(PLUGIN / "tests")],
        env=installed,
        check=True,
    )


def test_its_module_is_short():
    assert len((PLUGIN / "samplerzoo_dpmpp.py").read_text().splitlines()) < 40

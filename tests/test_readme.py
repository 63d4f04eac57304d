"""A newcomer follows README: in a fresh environment, from a copy without the Makefile."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cli_tools import ENVIRONMENT, SMALL
from samplerzoo.assets import digits_images

ROOT = Path(__file__).parent.parent
# The searches of the page in small, and what a shell says of a command that fails.
SHELL = f"""
set -eu
samplerzoo() {{
    case $1 in
        search) command samplerzoo "$@" {" ".join(SMALL)} ;;
        evaluate) command samplerzoo "$@" --n 80 --seeds 0 --quiet ;;
        *) command samplerzoo "$@" ;;
    esac
}}
"""
PYTHON = """
from functools import partial
import samplerzoo
samplerzoo.search = partial(samplerzoo.search, batch=8, iterations=4, n=64)
samplerzoo.evaluate = partial(samplerzoo.evaluate, n=80)
"""


@pytest.fixture
def clone(tmp_path):
    """The files that a clone has, but for the Makefile and the tests."""
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("src", "docs", "plugins"):
        left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=left_out)
    return tmp_path


def newcomers_pictures(folder: Path) -> None:
    """A folder of images of the newcomer's own."""
    from PIL import Image

    folder.mkdir()
    for number, image in enumerate(digits_images()[:40]):
        pixels = (127.5 * image[..., 0] + 127.5).astype("uint8")
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.mark.slow
def test_commands_and_code_work(clone):
    """All of README but its last part, for developers, in its order; then its Python."""
    text = (clone / "README.md").read_text().partition("## Work on it")[0]
    fence = r'^```(python|sh)(?: title="([^"]*)")?\n(.*?)^```'
    blocks = re.findall(fence, text, re.MULTILINE | re.DOTALL)
    newcomers_pictures(clone / "images")
    for _, name, code in blocks:
        if name:
            (clone / name).write_text(code)
    (clone / "commands.sh").write_text(SHELL + "".join(c for kind, _, c in blocks if kind == "sh"))
    python = [code for kind, _, code in blocks if kind == "python"]
    (clone / "page.py").write_text(PYTHON + "\n".join(python))
    environment = {k: v for k, v in ENVIRONMENT.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["PIP_CONSTRAINT"] = str(ROOT / "constraints.txt")
    environment["PATH"] = os.pathsep.join(
        path for path in environment["PATH"].split(os.pathsep) if ".venv" not in path
    )
    for command in (["bash", "commands.sh"], [".venv/bin/python", "page.py"]):
        done = subprocess.run(
            command, cwd=clone, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
    for made in ("runs/five/samples.png", "grid.png", "report.html", "runs/mine/result.json"):
        assert (clone / made).stat().st_size > 0

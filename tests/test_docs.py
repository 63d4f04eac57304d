"""Code in the documents runs: Python blocks as they are, `samplerzoo` lines in small."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from cli_tools import ENVIRONMENT, SMALL

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHORT = {"search": SMALL, "evaluate": ("--n=80", "--steps=3", "--seeds=0", "--quiet")}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=ids)
def test_python_blocks(page, tmp_path, monkeypatch, capsys):
    """They run, and print what their comments say."""
    monkeypatch.chdir(tmp_path)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        code = "\n".join(blocks(page, "python"))
        namespace: dict = {"__name__": "page"}
        exec(compile(code, str(page), "exec"), namespace)
    printed = " ".join(capsys.readouterr().out.split())
    for promised in re.findall(r"^ *print\(.*\)  # (.*)$", code, re.MULTILINE):
        assert promised in printed


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "sh")], ids=ids)
def test_shell_blocks(page, tmp_path):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in "".join(blocks(page, "sh")).splitlines():
        program, *words = shlex.split(line, comments=True) or [""]
        if program == "make":
            assert set(words) <= set(targets), line
        elif program == "samplerzoo":
            command = [sys.executable, "-m", "samplerzoo", *words, *SHORT.get(words[0], ())]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True,
                                  check=False, env=ENVIRONMENT)  # fmt: skip
            assert done.returncode == 0, f"{line}: {done.stderr}"
        else:
            assert program in ("", "git", "cd", "pip", "python"), line


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target

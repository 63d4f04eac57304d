"""Compiled programs are kept between runs of the program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli_tools import TINY, TOY, contents, write_toys
from samplerzoo.caches import user_cache

LOOK = (
    "import os\nfrom samplerzoo.caches import keep_compiled\nkeep_compiled()\n"
    "print(os.environ.get('JAX_COMPILATION_CACHE_DIR'))"
)


def told(code: str = LOOK, **variables: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=kept | variables, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_where_they_are_kept(tmp_path, monkeypatch):
    assert told(SAMPLERZOO_CACHE=str(tmp_path)).startswith(f"{tmp_path}/compiled/")
    assert told(SAMPLERZOO_CACHE=str(tmp_path), JAX_COMPILATION_CACHE_DIR="mine") == "mine"
    (tmp_path / "file").touch()
    assert told(SAMPLERZOO_CACHE=str(tmp_path / "file")) == "None"
    assert told(f"import jax\n{LOOK}", SAMPLERZOO_CACHE=str(tmp_path)) == "None"
    monkeypatch.delenv("SAMPLERZOO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "samplerzoo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert user_cache() == Path.home() / ".cache/samplerzoo"


@pytest.mark.slow
def test_the_second_run_compiles_nothing_that_took_long(tmp_path):
    write_toys(tmp_path)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    kept |= {"SAMPLERZOO_CACHE": str(tmp_path / "cache")}
    found = []
    for name in ("one", "two"):
        command = [sys.executable, "-m", "samplerzoo", "search", *TOY, *TINY, f"--out={name}"]
        subprocess.run([*command, "--quiet"], cwd=tmp_path, env=kept, check=True)
        programs = contents(tmp_path / "cache/compiled")
        found.append({k: v for k, v in programs.items() if k.endswith("-cache")})
    assert found[0]
    assert found[0] == found[1]
    for name in ("sampler.safetensors", "samples.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()

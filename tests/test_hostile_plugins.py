"""Plugins that exit, raise, print, never return, or take another's name: named, and no more."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli_tools import ENVIRONMENT, write_plugin

# Of each: what its module does when it is imported, and what is said of it.
HOSTILE = {
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3."),
    "exits_hard": ("import os; os._exit(7)", "ended the process that loaded it (exit status 7)"),
    "aborts": ("import os; os.abort()", "ended the process that loaded it (signal 6)"),
    "kills": ("import os; os.kill(os.getpid(), 9)", "(signal 9)"),
    "raises": ("class Odd(BaseException): pass\nraise Odd('for you')", "Odd: for you."),
    "interrupts": ("raise KeyboardInterrupt", "interrupts the program"),
    "leaves": ("raise GeneratorExit", "GeneratorExit."),
    "prints": ("import os; print('{'); os.write(1, b'[1]\\n'); X = 3", "not a class derived"),
    "closes": ("import os; os.closerange(0, 99); X = 3", "closes"),
    "sleeps": ("import time; time.sleep(99)", "does not load within 3 seconds"),
    "waits": ("import sys; sys.stdin.read(); input()", "EOFError"),
    "recurses": ("def f(): f()\nf()", "RecursionError"),
    "lives_on": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()\nX = 3",
        "not a class derived",
    ),
    "has_children": ("import subprocess; subprocess.Popen(['sleep', '99']); X = 3", "not a class"),
    "speaks_oddly": ("raise ValueError('\\x1b[2Ja\\u202eb' + 'x' * 9999)", "ValueError: [2Ja b"),
    "cannot_speak": ("class E(OSError):\n    def __str__(self): raise self\nraise E", "cannot be"),
    "hides": ("raise type('E' * 999 + '\\x1b', (Exception,), {})", "EEE..."),
}


def listed(plugins: Path, *words: str, limit: str = "3") -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "samplerzoo", "list", *words],
        env=ENVIRONMENT | {"PYTHONPATH": str(plugins), "SAMPLERZOO_PLUGIN_SECONDS": limit},
        capture_output=True,
        text=True,
        timeout=100,
        stdin=subprocess.PIPE,
    )


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins")
    for name, (code, _) in HOSTILE.items():
        write_plugin(folder, f"zoo_{name}", {"families": {name: f"zoo_{name}:X"}}, code)
    write_plugin(folder, "zoo_works", {"metrics": {"works": "zoo_works:X"}}, "X = max")
    return folder


@pytest.fixture(scope="module")
def found(plugins):
    begun = time.monotonic()
    done = listed(plugins, "--json", limit="4")
    assert time.monotonic() - begun < 90
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_all_that_is_hostile_is_named_and_nothing_else_suffers(found):
    errors = {m["name"]: m["error"] for members in found.values() for m in members if m["error"]}
    assert set(errors) == set(HOSTILE) - {"closes"} | ({"closes"} & set(errors))
    for name, error in errors.items():
        word = HOSTILE[name][1].replace("3 seconds", "4 seconds")
        assert word in error or name == "closes", (name, error)
        assert error.isprintable()
        assert len(error) < 500
        assert error.endswith(".")
    (works,) = [row for row in found["metrics"] if row["name"] == "works"]
    assert (works["distribution"], works["version"]) == ("zoo_works", "1.0")
    assert works["error"] is None


def test_of_one_group_nothing_is_loaded(plugins):
    done = listed(plugins, "families")
    assert done.returncode == 0
    assert "ERROR" not in done.stdout
    assert set(HOSTILE) <= {line.split()[0] for line in done.stdout.splitlines()}


@pytest.mark.slow
def test_too_many_that_never_return_are_not_waited_for(tmp_path):
    for n in range(9):
        code = "import time; time.sleep(99)"
        write_plugin(tmp_path, f"zoo_{n}", {"families": {f"f{n}": f"zoo_{n}:X"}}, code)
    begun = time.monotonic()
    done = listed(tmp_path, limit="2")
    assert time.monotonic() - begun < 30
    assert done.stdout.count("does not load within 2 seconds") >= 3
    assert done.stdout.count("It was not tried: others took too long.") >= 4


ALIKE = {
    "width": "fd\u200b",
    "joiner": "f\u2060d",
    "turned": "\u202efd",
    "hyphen": "f\u00add",
    "filler": "fd\u3164",
    "selector": "fd\ufe0f",
    "tag": "fd\U000e0101",
    "wide": "\uff46\uff44",
    "blank": "f\u2800d",
    "braille": "\u2800fd",
}


@pytest.mark.parametrize("kind", ALIKE)
def test_names_that_look_alike_are_a_clash(kind, tmp_path):
    write_plugin(tmp_path, "zoo_evil", {"metrics": {ALIKE[kind]: "zoo_evil:X"}}, "X = max")
    done = listed(tmp_path, "metrics", "--json")
    members = json.loads(done.stdout)["metrics"]
    (mine,) = [m for m in members if m["distribution"] == "zoo_evil"]
    (ours,) = [m for m in members if m["name"] == "fd" and m["distribution"] == "samplerzoo"]
    assert mine["name"] == "fd"
    assert mine["error"] == ours["error"]
    assert "offered by samplerzoo" in mine["error"]
    assert f"by zoo_evil 1.0 (as {ALIKE[kind]!a})" in mine["error"]


# Distributions that are not as they should be.
BROKEN = {
    "latin": b"[samplerzoo.metrics]\nm\xe9 = zoo:X\n",
    "utf-16": "[samplerzoo.metrics]\nm = zoo:X\n".encode("utf-16"),
    "no-value": b"[samplerzoo.metrics]\nm\n",
    "no-module": b"[samplerzoo.metrics]\nm = \n",
    "odd-value": b"[samplerzoo.metrics]\nm = a b c : d e\n",
    "no-group": b"m = zoo:X\n",
    "noise": bytes(range(256)),
    "escapes": b"[samplerzoo.metrics]\n\x1b]0;owned\x07m = zoo:X\n",
    "long": b"[samplerzoo.metrics]\n" + b"m" * 10**6 + b" = zoo:X\n",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_distributions_are_told_and_nothing_else_suffers(kind, tmp_path):
    info = tmp_path / "zoo-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_bytes(b"Name: zoo\x1b[2J\nVersion: 1.0\x07\n" * (kind != "noise"))
    (info / "entry_points.txt").write_bytes(BROKEN[kind])
    done = listed(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rddim" in done.stdout
    for line in (done.stdout + done.stderr).splitlines():
        assert line.isprintable()
        assert len(line) < 700
    if kind in ("latin", "utf-16", "noise"):
        assert "cannot be read" in done.stderr

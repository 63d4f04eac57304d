"""What the program says of itself and asks for: lines, options, targets, words for machines."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

import samplerzoo as sz
from cli_tools import TINY, TOY, begin, contents, end, fail, run, succeed, write_plugin, write_toys
from samplerzoo import notices
from samplerzoo.metrics import Moments
from samplerzoo.registry import GROUPS, entries
from samplerzoo.runs import samplers
from samplerzoo.runs.describing import arguments, details, options_of, summary
from samplerzoo.runs.parts import load_data

PROGRAM = (sys.executable, "-m", "samplerzoo")


def test_version_alone(tmp_path):
    done = succeed("--version", cwd=tmp_path)
    assert done.out.startswith("samplerzoo ")
    assert len(done.out.splitlines()) == 1


@pytest.mark.parametrize("group", GROUPS)
def test_all_that_is_built_in_has_a_line(group):
    for name, points in entries(group).items():
        for point in points:
            line = summary(point)
            assert line.endswith((".", "...")) or "://" in line, (name, line)
            assert line.isprintable()


def test_list_shows_the_line(tmp_path):
    text = succeed("list", "families", cwd=tmp_path).out
    assert "Step as DDIM does" in text
    (ddim,) = [
        m
        for m in json.loads(succeed("list", "families", "--json", cwd=tmp_path).out)["families"]
        if m["name"] == "ddim"
    ]
    assert ddim["description"].startswith("Step as DDIM does")


def test_of_a_name_options_defaults_and_source_are_shown(tmp_path):
    text = succeed("list", "families", "gddim", cwd=tmp_path).out
    assert "gddim.py:" in text
    assert "depth" in text and "[default: 0.0]" in text  # noqa: PT018
    found = json.loads(succeed("list", "families", "gddim", "--json", cwd=tmp_path).out)
    options = {option["name"]: option for option in found["options"]}
    assert set(options) >= {"eta", "depth"}
    assert not {"steps", "times"} & set(options)
    said = options["eta"].pop("description")
    assert said == "The share of DDPM's fresh noise to start from, in [0, 1]."
    assert options["eta"] == {"name": "eta", "type": "float", "default": "0.0", "required": False}
    assert "No family is called 'gdim'" in fail("list", "families", "gdim", cwd=tmp_path)


def test_details_of_an_objective_say_how_its_options_are_typed(tmp_path):
    said = succeed("list", "objectives", "teacher", cwd=tmp_path).out
    assert "Options (--objective teacher:NAME=VALUE,NAME=VALUE):" in said
    assert "  power  int  [default: 2]\n      2 for squared differences, 1 for" in said
    assert "setting  " not in said.partition("Options")[2]


def test_arguments_are_read_off_a_docstring():
    text = "Do it.\n\nArgs:\n    a: One\n        of two.\n    b (int): Two.\n\nReturns:\n    c: No."
    assert arguments(text) == {"a": "One of two.", "b": "Two."}
    assert arguments("Do it.") == arguments("") == {}


@pytest.mark.parametrize("group", GROUPS)
def test_details_of_all_that_is_built_in(group):
    for name in entries(group):
        found = details(group, name)
        assert found["description"], name
        json.dumps(found)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-F", "help"], "start  sampler's name or JSON file"),
        (["--family=gddim", "-F", "help"], "How many past states enter a step, 1 to K"),
        (["--family=heun", "-F", "help"], "Options of the family heun"),
        (["--family=python:mine:Mine", "-F", "help"], "much"),
        (["--kernel=polynomial", "-k", "help"], "degree"),
        (["--kernel=linear", "-k", "help"], "It takes no options."),
    ],
)
def test_help_of_options(words, said, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from samplerzoo import AbstractFamily\n"
        "class Mine(AbstractFamily):\n"
        "    def __init__(self, steps: int, times: str, much: float = 2.0): ...\n"
        "    def table(self, schedule): ...\n"
    )
    done = succeed("search", *words, cwd=tmp_path)
    assert said in done.out
    assert not (tmp_path / "runs").exists()


PLUGIN = '''
import pathlib
pathlib.Path("owned").touch()

class Mine:
    """Say a line\x1b[2J of a plugin.

    And more.
    """

def function():
    """A function."""

from there import far
again = partial(function, 3, x=2)
thing = object()
"""What a thing is."""
nothing = object()
'''


def test_the_line_of_a_plugin_is_read_and_not_run(tmp_path, monkeypatch):
    points = {
        "mine": "plug:Mine",
        "called": "plug:function",
        "far": "plug:far",
        "again": "plug:again",
        "thing": "plug:thing",
        "nothing": "plug:nothing",
        "lost": "plug:lost",
        "gone": "nowhere:x",
        "loop": "looped:x",
        "broken": "broken:x",
        "inner": "plug:Mine.inner",
    }
    write_plugin(tmp_path, "plug", {"kernels": points}, PLUGIN)
    (tmp_path / "there.py").write_text('def far():\n    """Far away."""\n')
    (tmp_path / "looped.py").write_text("from looped import x\n")
    (tmp_path / "broken.py").write_text("def x(:\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    found = {name: summary(entries("kernels")[name][0]) for name in points}
    assert found == {
        "mine": "Say a line [2J of a plugin.",
        "called": "A function.",
        "far": "Far away.",
        "again": "A function (x = 2).",
        "thing": "What a thing is.",
        "nothing": "",
        "lost": "",
        "gone": "",
        "loop": "",
        "broken": "",
        "inner": "",
    }
    assert not (tmp_path / "owned").exists()


def test_options_of_functions_and_partials():
    def make(steps: int, times: str, much: float = 2.0, *, name: str): ...

    found = {o["name"]: (o["default"], o["required"]) for o in options_of(make, ("steps", "times"))}
    assert found == {"much": ("2.0", False), "name": (None, True)}
    found = {o["name"]: (o["default"], o["required"]) for o in options_of(partial(make, name="x"))}
    assert found["name"] == ("'x'", False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search", "--model=nope"], "No model is called 'nope'"),
        (["search", "--model=python:nope:model"], "'python:nope:model' does not load"),
        (["search", "--model=./nope"], "There is no folder or file './nope'"),
        (["search", "--model=unet2d:nope"], "The model 'unet2d:nope' is not there"),
        (["search", "--model=openai:lsun:nope.pt"], "is not there"),
        (["evaluate", "ddim", "--model=nope"], "No model is called 'nope'"),
        (["evaluate", "ddim", "--model=python:nope:model"], "'python:nope:model' does not load"),
        (["evaluate", "ddim", "--model=unet2d:nope"], "The model 'unet2d:nope' is not there"),
    ],
)
def test_a_model_that_is_not_there_comes_first(words, said, tmp_path):
    assert said in fail(*words, cwd=tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search", TOY[0]], "no default for --data, --features and --report-features; give them"),
        (["search", *TOY[:2]], "no default for --features and --report-features; give them"),
        (["search", *TOY[:3]], "no default for --report-features; give one"),
        (["evaluate", "ddim", TOY[0]], "no default for --data and --features; give them"),
        (["export"], "RUN, --to and --out are missing"),
        (["export", "run"], "--to and --out are missing"),
        (["export", "--to=json"], "RUN and --out are missing"),
        (["reference"], "DATA and --features are missing"),
        (["push"], "RUN and OWNER/NAME are missing"),
    ],
)
def test_all_that_is_missing_is_asked_in_one_sentence(words, said, tmp_path):
    write_toys(tmp_path)
    assert said in fail(*words, cwd=tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search", "--out=file/run"], "is not a folder"),
        (["search", "--out=file"], "is a file"),
        (["search", "--out=full"], "is not empty"),
        (["search", "--out=/dev/null/run"], "is not a folder"),
        (["evaluate", "ddim", "--out=file/x"], "is not a folder"),
        (["evaluate", "ddim", "--out=full"], "is not empty and holds no evaluation"),
        (["sample", "run", "--out=nowhere/x.png"], "there is no folder"),
        (["sample", "run", "--out=x.gif"], "must end in .png or .npz"),
        (["report", "run", "--out=nowhere/x.html"], "run"),
    ],
)
def test_targets_are_refused_before_the_work(words, said, tmp_path):
    """No model is there that could have been loaded."""
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    write_toys(tmp_path)
    odd = TOY if words[0] != "sample" and words[0] != "report" else ()
    before = contents(tmp_path)
    done = run(*words, *(w for w in odd if words[0] == "search" or "report" not in w), cwd=tmp_path)
    assert done.code == 2
    assert said in done.err
    assert {name for name in contents(tmp_path) if "__pycache__" not in name} == set(before)


@pytest.mark.slow
def test_lines_for_machines(tmp_path):
    """Progress, warnings and errors are JSON objects, a line each, and nothing else is there."""
    write_toys(tmp_path)
    words = ("search", *TOY, *TINY, "--out=run", "--log-format=json", "--json")
    done = succeed(*words, cwd=tmp_path)
    json.loads(done.out)
    lines = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    others = {line for line in done.err.splitlines() if not line.startswith("{")}
    assert others <= {"toys is imported"}
    progress = [line for line in lines if line.get("event") == "progress"]
    assert {line["label"] for line in progress} >= {"search rddim", "evaluate"}
    assert progress[-1]["done"] == progress[-1]["total"]
    assert all({"time", "level"} <= set(line) for line in lines)
    failed = run("sample", "nope", "--log-format=json", cwd=tmp_path)
    (line,) = map(json.loads, failed.err.splitlines())
    assert (failed.code, line["level"]) == (2, "error")
    assert "nope holds no run" in line["message"]
    sampled = succeed("sample", "run", "--n=4", "--out=x.npz", "--json", cwd=tmp_path)
    told = json.loads(sampled.out)
    assert told["samples"] == "x.npz"
    assert (told["n"], told["finite"], told["shape"]) == (4, 4, [4, 4, 4, 1])
    by_file = succeed("sample", "run/result.json", "--n=4", "--out=y.npz", cwd=tmp_path)
    assert by_file.out == "y.npz\n"
    assert (tmp_path / "x.npz").read_bytes() == (tmp_path / "y.npz").read_bytes()


def test_warnings_are_lines_for_machines(monkeypatch, capsys):
    monkeypatch.setenv(notices.FORMAT, "text")
    logger = logging.getLogger("samplerzoo")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", True)
    notices.log_as_json()
    notices.log_as_json()
    logger.warning("Warning: %s", "one thing.")
    notices.say("info", "another\nthing.")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["level"], first["message"]) == ("warning", "one thing.")
    assert (second["level"], second["message"]) == ("info", "another\nthing.")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_exit_status_says_which_signal_it_was(number, code, tmp_path):
    write_toys(tmp_path)
    process = begin("search", *TOY, *TINY, "--iterations=100000", "--out=run", cwd=tmp_path)
    log = tmp_path / "run/log.jsonl"
    while process.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") > 2):
        time.sleep(0.01)
    process.send_signal(number)
    done = end(process)
    assert done.code == code
    assert "`samplerzoo resume run` continues it" in done.err


@pytest.mark.parametrize("words", ["list", "list families", "list --json", "version", "--help"])
def test_nobody_reads(words, tmp_path):
    command = f"{sys.executable} -m samplerzoo {words} | head -n 1 >/dev/null; exec true"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, env=dict(os.environ)
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_metrics_kernels_and_families_of_code(tmp_path):
    write_toys(tmp_path, "from samplerzoo.metrics.builtin import fd as mine\n")
    (tmp_path / "own.py").write_text(
        "from samplerzoo import Linear, RDDIM\nfrom samplerzoo.metrics.builtin import kid as mine\n"
    )
    words = ("evaluate", "python:own:RDDIM", "--metrics=fd,python:own:mine", "--n=32", "--steps=3")
    found = json.loads(succeed(*words, "--json", "--quiet", *TOY[:3], cwd=tmp_path).out)
    assert {"fd", "kid"} <= set(found["rows"][0])


def test_a_text_or_a_path_a_file_or_a_folder(tmp_path):
    import numpy as np

    moments = Moments(np.zeros(3), np.eye(3))
    for path in (tmp_path / "a.npz", str(tmp_path / "b.npz")):
        moments.save(path)
        assert sz.Statistics(path).digest
    (tmp_path / "bank").mkdir()
    for path in (tmp_path / "bank", str(tmp_path / "bank")):
        with pytest.raises(ValueError, match="One data set's features are needed"):
            sz.Bank.at(path)


@pytest.mark.parametrize("kind", ["pipe", "zero"])
def test_no_pipe_is_data(kind, tmp_path):
    path = tmp_path / "x.npz"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="is not a regular file"):
        load_data(Path(path), (4, 4, 1), (-1.0, 1.0))
    with pytest.raises(ValueError, match="regular file"):
        sz.Statistics(path)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("ddim", ("ddim", "")),
        ("ddim-linear:eta=0.5", ("ddim-linear", "eta=0.5")),
        ("python:a.b:C", ("python:a.b:C", "")),
        ("python:a.b:C-linear", ("python:a.b:C-linear", "")),
        ("python:a.b:C:eta=0.5,x=1", ("python:a.b:C", "eta=0.5,x=1")),
    ],
)
def test_families_of_code_take_a_stride_and_options_too(given, found):
    assert samplers.split_family(given) == found

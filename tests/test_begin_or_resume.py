"""One command for a job that may restart, and what a checkpoint refuses to continue."""

import dataclasses
import json
import signal
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

import samplerzoo as sz
from cli_tools import TINY, TOY, begin, contents, end, fail, succeed, write_toys
from samplerzoo.runs.setup import differences
from samplerzoo.runs.spec import Config
from samplerzoo.runs.store import load_checkpoint, run_folder, save_checkpoint

SEARCH = ("search", *TOY, *TINY, "--out=run", "--resume", "--quiet")
CONFIG = Config(
    data="a", features="b", report_features="c", steps=3, iterations=30, hashes={"model": "d"}
)


@pytest.fixture
def folder(tmp_path):
    write_toys(tmp_path)
    return tmp_path


def seen(path: Path) -> dict[str, bytes]:
    """What of a run is the same whenever it was made."""
    kept = contents(path)
    return {name: kept[name] for name in ("sampler.safetensors", "samples.png", "curve.png")}


@pytest.mark.slow
def test_it_begins_continues_and_returns(folder):
    whole = succeed(*SEARCH, "--json", cwd=folder)
    first = contents(folder / "run")
    again = succeed(*SEARCH, "--json", cwd=folder)
    assert json.loads(again.out) == json.loads(whole.out)
    assert contents(folder / "run") == first
    (folder / "run").rename(folder / "alone")
    for steps in (0, 3, 12):
        process = begin(*SEARCH, "--checkpoint-every=0", cwd=folder)
        log = folder / "run/log.jsonl"
        while process.poll() is None and not (
            (folder / "run/config.toml").exists()
            and (not steps or (log.exists() and log.read_bytes().count(b"\n") >= steps))
        ):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        end(process)
    succeed(*SEARCH, cwd=folder)
    assert seen(folder / "run") == seen(folder / "alone")
    same = {"rows", "table", "skipped_steps", "hashes"}
    ours, theirs = (
        json.loads((folder / name / "result.json").read_text()) for name in ("run", "alone")
    )
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
    before = contents(folder / "run")
    for words, said in {
        ("--seed=1",): "whose seed is 0 where 1 is asked for",
        ("--batch=9", "--n=65"): "whose batch is 8 where 9 is asked for (n differs too)",
        ("--family=gddim",): "whose family is 'rddim' where 'gddim' is asked for",
        ("--steps=4", "--seed=2", "--learning-rate=1"): "(learning_rate and seed differ too)",
    }.items():
        assert said in fail(*SEARCH, *words, cwd=folder)
    assert "--resume needs --out" in fail("search", *TOY, "--resume", cwd=folder)
    assert "holds another run" in fail(*SEARCH[:-2], cwd=folder)
    assert contents(folder / "run") == before


def test_what_is_no_part_of_the_search_may_differ():
    other = dataclasses.replace(
        CONFIG, microbatch=2, checkpoint_every=0.0, directory="/", hashes={}, versions={}
    )
    assert differences(CONFIG, other, "digits") == []
    other = dataclasses.replace(CONFIG, n=11, label=3)
    assert differences(CONFIG, other, "digits") == [("label", None, 3), ("n", 10_000, 11)]


@pytest.mark.parametrize(
    ("given", "now", "then", "same"),
    [
        ("hf:a/b", "hf:a/b@" + "1" * 40, "hf:a/b@" + "2" * 40, True),
        ("hf:a/b@main", "hf:a/b@" + "1" * 40, "hf:a/b@" + "2" * 40, True),
        ("hf:a/b@" + "1" * 40, "hf:a/b@" + "1" * 40, "hf:a/b@" + "2" * 40, False),
        ("hf:a/c", "hf:a/c@" + "1" * 40, "hf:a/b@" + "2" * 40, False),
        ("digits", "digits", "cifar10", False),
    ],
)
def test_a_branch_is_what_it_was_when_the_search_began(given, now, then, same):
    configs = [dataclasses.replace(CONFIG, model=name) for name in (now, then)]
    assert (differences(*configs, given) == []) == same


@pytest.fixture(scope="module")
def state():
    with jax.numpy_dtype_promotion("standard"):
        family = sz.RDDIM(3)
        return sz.start(family, sz.free_parameters(family, times=True), sz.adam(30, 0.03))


def test_a_checkpoint_is_loaded_as_it_was(state, tmp_path):
    save_checkpoint(tmp_path, state, CONFIG)
    found = load_checkpoint(tmp_path, state, CONFIG)
    assert jax.tree.all(jax.tree.map(np.array_equal, found, state))
    moved = dataclasses.replace(
        CONFIG, microbatch=4, checkpoint_every=1.0, directory="/", model="/elsewhere/digits", n=9
    )
    load_checkpoint(tmp_path, state, moved)


EDITS = {
    "seed": 1,
    "learning_rate": 0.1,
    "patience": 5,
    "warm": 2,
    "batch": 64,
    "iterations": 31,
    "family": "gddim",
    "family_options": {"eta": 0.5},
    "times": "linear-searched",
    "kernel": "polynomial",
    "kernel_options": {"degree": 2},
    "optimiser": "slow",
    "label": 3,
    "guidance": 2.0,
    "labels": "0-4",
    "conditions": "/elsewhere/rows.safetensors",
    "dtype": "bfloat16",
    "steps": 4,
    "features": "pixels",
    "objective": "teacher",
}


@pytest.mark.parametrize("name", EDITS)
def test_another_configuration_is_refused_by_name(name, state, tmp_path):
    save_checkpoint(tmp_path, state, CONFIG)
    edited = dataclasses.replace(CONFIG, **{name: EDITS[name]})
    with pytest.raises(ValueError, match=rf"does not fit this run: {name} is .* and was .* anew"):
        load_checkpoint(tmp_path, state, edited)


def test_checkpoints_of_before_say_nothing_and_load(state, tmp_path):
    save_checkpoint(tmp_path, state, CONFIG)
    path = tmp_path / "checkpoint.safetensors"
    safetensors.numpy.save_file(safetensors.numpy.load_file(path), path, {"kind": "checkpoint"})
    load_checkpoint(tmp_path, state, dataclasses.replace(CONFIG, seed=5))


STATES = {
    "step-beyond": ("step", np.asarray(31, np.int32), "at step 31 of 30"),
    "step-negative": ("step", np.asarray(-1, np.int32), "at step -1 of 30"),
    "step-huge": ("step", np.asarray(2**31 - 1, np.int32), "at step 2147483647 of 30"),
    "step-of-a-fraction": ("step", np.asarray(3.5, np.float32), "float32, not int32"),
    "step-of-64-bits": ("step", np.asarray(2**40, np.int64), "int64, not int32"),
    "not-finite": ("parameters.mu", np.full(3, np.nan, np.float32), "not finite"),
    "infinite": ("parameters.mu", np.full(3, np.inf, np.float32), "not finite"),
    "half": ("parameters.mu", np.zeros(3, np.float16), "float16, not float32"),
    "longer": ("parameters.mu", np.zeros(4, np.float32), "shape"),
}


@pytest.mark.parametrize("case", STATES)
def test_states_that_no_search_was_in_are_refused(case, state, tmp_path):
    name, array, said = STATES[case]
    save_checkpoint(tmp_path, state, CONFIG)
    path = tmp_path / "checkpoint.safetensors"
    with safetensors.safe_open(path, "numpy") as file:
        about = file.metadata()
    tensors = safetensors.numpy.load_file(path)
    assert name in tensors, sorted(tensors)
    safetensors.numpy.save_file(tensors | {name: array}, path, about)
    with pytest.raises(ValueError, match=said):
        load_checkpoint(tmp_path, state, CONFIG)


def test_a_file_of_a_run_stands_for_its_folder(tmp_path):
    (tmp_path / "config.toml").touch()
    assert run_folder(tmp_path / "config.toml") == run_folder(str(tmp_path)) == tmp_path

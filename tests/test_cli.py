"""The program as users meet it: real processes, files and plugins."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from cli_tools import (
    ENVIRONMENT,
    FILES,
    PROGRAM,
    TINY,
    TOY,
    contents,
    fail,
    message,
    run,
    succeed,
    write_plugin,
    write_toys,
)

BASELINES = ["ddpm-linear", "ddpm-quadratic", "ddim-linear", "ddim-quadratic"]
COLUMNS = {"sampler", "nfe", "features", "fd", "kid", "kid_se", "precision", "recall", "n", "seed"}


def check_result(result, family, steps, spaces, n, seed):
    assert [result["search_features"], result["report_features"]] == spaces
    assert all(set(row) == COLUMNS for row in result["rows"])
    pairs = [(row["sampler"], row["features"]) for row in result["rows"]]
    names = dict.fromkeys([family, *BASELINES, result["unsearched"]])
    assert pairs == [(name, space) for name in names for space in spaces]
    assert {(row["nfe"], row["n"], row["seed"]) for row in result["rows"]} == {(steps, n, seed)}
    numbers = COLUMNS - {"sampler", "features"}
    assert all(np.isfinite([row[name] for name in numbers]).all() for row in result["rows"])


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The folder around a finished run `run` on the embedded digits, and what it printed."""
    folder = tmp_path_factory.mktemp("digits")
    return folder, succeed("search", *TINY, "--out=run", "--json", cwd=folder)


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """The folder around a finished run `run` on the toy model, made with other options."""
    folder = tmp_path_factory.mktemp("toys")
    write_toys(folder)
    options = ("--family=gddim", "-F", "depth=2", "-F", "start=ddim", "-k", "degree=2")
    more = (
        "--kernel=polynomial",
        "--times=quadratic-decoupled",
        "--learning-rate=0.01",
        "--seed=3",
    )
    words = (*TOY, *TINY, *options, *more, "--seed=3", "--out=run", "--json", "--quiet")
    done = succeed("search", *words, cwd=folder)
    return folder, done


@pytest.mark.slow
def test_search_leaves_a_whole_run(digits):
    folder, done = digits
    assert {path.name for path in (folder / "run").iterdir()} == FILES
    log = [json.loads(line) for line in (folder / "run/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == list(range(1, 31))
    for name in ("samples.png", "curve.png"):
        with Image.open(folder / "run" / name) as image:
            image.load()
    result = json.loads(done.out)
    assert result == json.loads((folder / "run/result.json").read_text())
    check_result(result, "rddim", 3, ["digits-cnn", "digits-mlp"], 64, 0)
    assert result["skipped_steps"] == 0
    assert "search rddim" in done.err
    assert "evaluate" in done.err


@pytest.mark.slow
def test_search_takes_every_option(toys):
    folder, done = toys
    assert done.err == "toys is imported\n"
    spaces = ["python:toys:features", "python:toys:other_features"]
    check_result(json.loads(done.out), "gddim", 3, spaces, 64, 3)
    config = (folder / "run/config.toml").read_text()
    for line in ("depth = 2", "degree = 2", "learning_rate = 0.01", "seed = 3", "batch = 8"):
        assert line in config
    tensors = safetensors.numpy.load_file(folder / "run/sampler.safetensors")
    assert tensors["table.clean"].shape == (3, 2)
    assert np.any(tensors["family.start.times.shift"] != 0)


@pytest.mark.slow
def test_evaluate_gives_the_numbers_of_the_run(digits):
    folder, done = digits
    args = ("run", "ddim", "ddpm-quadratic", "--steps=3", "--n=64", "--seeds=0", "--json")
    rows = json.loads(succeed("evaluate", *args, "--quiet", cwd=folder).out)["rows"]
    known = {(r["sampler"], r["features"]): r for r in json.loads(done.out)["rows"]}
    names = {"run": "rddim"}
    assert len(rows) == 8
    for row in rows:
        expected = known[names.get(row["sampler"], row["sampler"]), row["features"]]
        assert {**row, "sampler": expected["sampler"]} == expected


@pytest.mark.slow
def test_evaluate_families_at_several_steps_and_seeds(toys):
    folder, _ = toys
    args = ("ddim", "ddim", "--steps=5,10,5", "--n=16", "--seeds=0,1,0", "--quiet")
    where = ("--model=python:toys:model", "--data=python:toys:data")
    features = "--features=python:toys:features,pixels"
    done = succeed("evaluate", *args, *where, features, "--json", cwd=folder)
    rows = [
        (r["sampler"], r["nfe"], r["features"], r["seed"]) for r in json.loads(done.out)["rows"]
    ]
    assert len(rows) == len(set(rows)) == 2 * 2 * 2 * 2
    text = succeed("evaluate", *args, *where, features, cwd=folder).out
    assert "±" in text
    assert "n = 16; seed 0, 1" in text


@pytest.mark.slow
def test_sample(digits):
    folder, _ = digits
    done = succeed("sample", "run", "--n", 5, "--seed", 1, "--out", "x.npz", cwd=folder)
    assert done.out == "x.npz\n"
    more = succeed("sample", "run", "--n", 9, "--seed", 1, "--out", "y.npz", cwd=folder)
    assert more.err == ""
    few, many = (np.load(folder / f"{name}.npz")["samples"] for name in "xy")
    assert few.dtype == np.float32
    assert few.shape == (5, 8, 8, 1)
    np.testing.assert_allclose(few, many[:5], atol=1e-5)
    succeed("sample", "run", "--n", 5, cwd=folder)
    with Image.open(folder / "samples.png") as image:
        width, height = (3 * 9 - 1) * 4, (2 * 9 - 1) * 4
        assert image.text["K"] == "3"
        below = np.asarray(image.convert("L"))[height:]
        assert image.size[0] >= width
        assert np.mean(below == 255) > 0.5  # a few lines of text
        assert np.any(below < 100)


@pytest.mark.slow
def test_resume_of_a_finished_run_prints_its_result(digits):
    folder, done = digits
    before = contents(folder / "run")
    assert succeed("resume", "run", "--json", cwd=folder).out == done.out
    assert "rddim" in succeed("resume", "run", cwd=folder).out
    assert contents(folder / "run") == before


def write_images(folder: Path) -> dict[str, Path]:
    """The same 30 grey images as a folder, a zip and an .npz."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
    (folder / "images/deep").mkdir(parents=True)
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for n, image in enumerate(pixels):
            path = folder / "images" / ("deep" if n > 20 else ".") / f"{n:02}.png"
            Image.fromarray(image).save(path)
            archive.write(path, f"{n:02}.png")
    np.savez(folder / "images.npz", images=pixels)
    return {name: folder / name for name in ("images", "images.zip", "images.npz")}


@pytest.mark.slow
def test_data_from_a_folder_a_zip_and_an_npz(tmp_path):
    scores = []
    for name in write_images(tmp_path):
        args = ("evaluate", "ddim-linear", "--n=8", "--steps=1", "--json", "--quiet")
        done = succeed(*args, "--data", name, cwd=tmp_path)
        scores.append(json.loads(done.out)["rows"][0]["fd"])
    np.testing.assert_allclose(scores, scores[0], rtol=1e-5)


@pytest.mark.slow
def test_runs_without_out_get_new_folders(tmp_path):
    write_toys(tmp_path)
    args = ("search", *TOY, *TINY, "--iterations=1", "--n=8", "--quiet")
    for _ in range(2):
        assert "FD and KID are better" in succeed(*args, cwd=tmp_path).out
    assert [p.name for p in sorted((tmp_path / "runs").iterdir())] == ["rddim-3-001", "rddim-3-002"]


def test_both_ways_to_start_are_the_same(tmp_path):
    script = shutil.which("samplerzoo", path=str(Path(sys.executable).parent))
    assert script is not None
    for arguments in (["--help"], ["search", "-h"], ["list"], ["nope"]):
        ours, other = (
            subprocess.run([*start, *arguments], capture_output=True, cwd=tmp_path, env=ENVIRONMENT)
            for start in (PROGRAM, [script])
        )
        assert (ours.returncode, ours.stdout, ours.stderr) == (
            other.returncode,
            other.stdout,
            other.stderr,
        )


def test_list(tmp_path):
    everything = json.loads(succeed("list", "--json", cwd=tmp_path).out)
    groups = {
        "families",
        "kernels",
        "models",
        "formats",
        "features",
        "datasets",
        "metrics",
        "objectives",
        "optimisers",
        "exporters",
    }
    assert groups == set(everything)
    assert {"ddpm", "ddim", "rddim", "gddim"} <= {m["name"] for m in everything["families"]}
    text = succeed("list", cwd=tmp_path).out
    assert "families:" in text
    assert "rational-quadratic" in text
    families = succeed("list", "families", cwd=tmp_path).out
    assert "rddim" in families
    assert "digits" not in families
    assert "families" in json.loads(succeed("list", "families", "--json", cwd=tmp_path).out)


def test_version(tmp_path):
    found = json.loads(succeed("version", "--json", cwd=tmp_path).out)
    assert {"samplerzoo", "jax", "python"} <= set(found)
    assert f"samplerzoo {found['samplerzoo']}\n" in succeed("version", cwd=tmp_path).out


@pytest.mark.parametrize("arguments", [["--help"], ["search", "--help"], ["list", "families"]])
def test_help_is_fast_and_imports_no_jax(arguments, tmp_path):
    code = (
        "import sys, time\nbegun = time.perf_counter()\nfrom samplerzoo.cli import main\n"
        f"sys.argv = ['samplerzoo', *{arguments!r}]\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'jax', 'numpy', 'equinox', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "print(sorted(heavy), time.perf_counter() - begun, file=sys.stderr)"
    )
    seconds = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
        )
        heavy, _, took = done.stderr.rpartition(" ")
        assert heavy == "[]"
        seconds.append(float(took))
    assert min(seconds) < 0.5


def test_an_interruption_ends_at_once(tmp_path):
    """Without Python's own way out, in which JAX's threads crash."""
    code = (
        "import atexit, os, sys\nfrom samplerzoo.cli import main, program\n"
        "@program.command()\ndef stop():\n    print('data')\n    raise KeyboardInterrupt\n"
        "atexit.register(os.abort)\nsys.argv = ['samplerzoo', 'stop']\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (130, "data\n")
    assert done.stderr.strip() == "Interrupted."


# Wrong usage: what is given to `search`, and words that the message must hold.
WRONG = {
    "family": (["--family=rdim"], ["'rdim'", "did you mean 'rddim'", "gddim, heun"]),
    "steps 0": (["--steps=0"], ["steps is 0", "at least 1"]),
    "steps negative": (["--steps=-3"], ["steps is -3"]),
    "steps 1001": (["--steps=1001"], ["steps is 1001", "1000"]),
    "steps text": (["--steps=x"], ["--steps", "'x'"]),
    "no path": (["--data=nope"], ["nope", "neither"]),
    "unknown -F key": (["-F", "foo=1"], ["no option 'foo'", "eta"]),
    "-F of a wrong type": (["-F", "eta=much"], ["eta = 'much'", "float"]),
    "-F bool for a number": (["-F", "eta=true"], ["eta = True", "float"]),
    "-F without =": (["-F", "eta"], ["'eta'", "key=value"]),
    "-F out of range": (["-F", "eta=2"], ["eta is 2"]),
    "-F nan": (["-F", "eta=nan"], ["eta is nan"]),
    "-F steps": (["-F", "steps=5"], ["no option 'steps'"]),
    "unknown -k key": (["-k", "degree=1"], ["no option 'degree'", "none"]),
    "-k of a wrong type": (
        ["--kernel=rbf", "-k", "bandwidths=1"],
        ["bandwidths = 1", "list of float"],
    ),
    "-k out of range": (["--kernel=polynomial", "-k", "degree=0"], ["degree is 0"]),
    "kernel": (["--kernel=linaer"], ["'linaer'", "'linear'"]),
    "gddim depth 0": (["--family=gddim", "-F", "depth=0"], ["depth is 0"]),
    "gddim depth > steps": (["--family=gddim", "-F", "depth=4"], ["depth is 4", "3"]),
    "nothing to search": (
        ["--family=ddim", "--times=linear"],
        ["nothing to search", "linear-searched"],
    ),
    "batch 1": (["--batch=1"], ["batch is 1", "at least 2"]),
    "iterations 0": (["--iterations=0"], ["iterations is 0", "at least 1"]),
    "n 1": (["--n=1"], ["n is 1", "at least 2"]),
    "rate 0": (["--learning-rate=0"], ["learning_rate is 0", "positive"]),
    "rate nan": (["--learning-rate=nan"], ["learning_rate is nan"]),
    "rate inf": (["--learning-rate=inf"], ["learning_rate is inf"]),
    "seed negative": (["--seed=-1"], ["seed is -1"]),
    "seed large": (["--seed=4294967296"], ["seed is 4294967296", "4294967295"]),
    "checkpoints": (["--checkpoint-every=nan"], ["checkpoint_every is nan"]),
    "times": (["--times=cubic"], ["times is 'cubic'", "quadratic", "karras-RHO"]),
    "no module": (["--features=python:nope:x"], ["python:nope:x", "No module named 'nope'"]),
    "no attribute": (["--features=python:toys:x"], ["python:toys:x", "'x'"]),
    "no reference": (["--features=python:toys"], ["python:package.module:attribute"]),
    "model raises": (
        ["--model=python:toys:broken", *TOY[1:]],
        ["python:toys:broken", "KeyError", "lost"],
    ),
    "module raises": (["--features=python:raises:x"], ["python:raises:x", "RuntimeError: stop"]),
    "module exits": (["--features=python:exits:x"], ["python:exits:x", "SystemExit"]),
    "not a model": (["--model=python:toys:SHAPE", *TOY[1:]], ["tuple", "DiffusionModel"]),
    "features of another shape": (
        [*TOY[:2], "--features=digits-cnn", "--report-features=pixels"],
        ["digits-cnn", "(4, 4, 1)"],
    ),
    "features that are not a vector": (["--features=python:toys:image"], ["python:toys:image"]),
    "data of another shape": (["--data=python:toys:data"], ["(4, 4, 1)", "(8, 8, 1)"]),
    "model without defaults": (["--model=python:toys:model"], ["--data", "digits"]),
    "unknown option": (["--nope"], ["--nope"]),
    "argument": (["nope"], ["nope"]),
}


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    """A folder with modules that fail in several ways."""
    folder = tmp_path_factory.mktemp("wrong")
    write_toys(folder, "\ndef broken():\n    raise KeyError('lost')\ndef image(x):\n    return x\n")
    (folder / "raises.py").write_text("raise RuntimeError('stop\\nhere')\n")
    (folder / "exits.py").write_text("import sys\nsys.exit(0)\n")
    return folder


@pytest.mark.parametrize("case", WRONG)
def test_search_refuses(case, wrong):
    arguments, words = WRONG[case]
    before = set(contents(wrong))
    said = fail("search", *TINY, "--out=run", *arguments, cwd=wrong)
    for word in words:
        assert word in said
    assert {name for name in contents(wrong) if "__pycache__" not in name} <= before
    assert not (wrong / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope"], ["'nope'"]),
        (["--nope"], ["--nope"]),
        (["sample"], ["RUN"]),
        (["sample", "nope"], ["nope holds no run"]),
        (["sample", "nope", "--n=0"], ["--n is 0"]),
        (["sample", "nope", "--seed=-1"], ["seed is -1"]),
        (["sample", "nope", "--out=x.gif"], ["x.gif", ".png or .npz"]),
        (["sample", "nope", "--out=no/x.png"], ["no folder"]),
        (["resume", "nope"], ["nope holds no run"]),
        (["resume", "."], ["holds no run"]),
        (["evaluate"], ["RUN|FAMILY"]),
        (["evaluate", "rdim"], ["did you mean 'rddim'"]),
        (["evaluate", "runs/nope"], ["runs/nope", "neither"]),
        (["evaluate", "."], ["holds no run"]),
        (["evaluate", "ddim", "--steps=0"], ["--steps is '0'"]),
        (["evaluate", "ddim", "--steps=a,5"], ["--steps is 'a,5'"]),
        (["evaluate", "ddim", "--steps=1001"], ["1000"]),
        (["evaluate", "ddim", "--seeds=-1"], ["--seeds is '-1'"]),
        (["evaluate", "ddim", "--seeds=4294967296"], ["4294967295"]),
        (["evaluate", "ddim", "--n=1"], ["n is 1"]),
        (["evaluate", "ddim", "--features=nope"], ["'nope'"]),
        (["list", "nope"], ["'nope'", "families"]),
        (["version", "nope"], ["nope"]),
    ],
    ids=" ".join,
)
def test_commands_refuse(arguments, words, tmp_path):
    said = fail(*arguments, cwd=tmp_path)
    for word in words:
        assert word in said
    assert contents(tmp_path) == {}


def test_debug_shows_the_traceback(tmp_path):
    done = run("search", "--family=rdim", "--debug", cwd=tmp_path)
    assert done.code == 2
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1].startswith("Error: No family")


@pytest.mark.slow
def test_out_is_never_overwritten(toys, tmp_path):
    folder, _ = toys
    before = contents(folder / "run")
    said = fail("search", *TOY, *TINY, "--out=run", cwd=folder)
    assert "holds another run" in said
    assert "samplerzoo resume run" in said
    assert contents(folder / "run") == before
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    before = contents(tmp_path)
    assert "file is a file" in fail("search", *TINY, "--out=file", cwd=tmp_path)
    assert "not empty" in fail("search", *TINY, "--out=full", cwd=tmp_path)
    fail("search", *TINY, "--out=file/below", cwd=tmp_path)
    assert contents(tmp_path) == before


def write_wrong_data(folder: Path) -> None:
    """Data sets that cannot be used, by names that the test below knows."""
    (folder / "empty").mkdir()
    for name, size in (("large", 16), ("corrupt", 8)):
        (folder / name).mkdir()
        for n in range(3):
            Image.fromarray(np.full((size, size), n, np.uint8)).save(folder / name / f"{n}.png")
    whole = (folder / "corrupt/1.png").read_bytes()
    (folder / "corrupt/1.png").write_bytes(whole[:40])
    images = np.zeros((3, 8, 8, 1), np.float32)
    np.savez(folder / "unit.npz", images=images + 0.5)
    images[1, 2, 3] = np.nan
    np.savez(folder / "nan.npz", images=images)
    (folder / "text.zip").write_text("not a zip")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("empty", "no image"),
        ("large", "16x16"),
        ("corrupt", "1.png"),
        ("nan.npz", "not finite"),
        ("unit.npz", "lie in [-1, 1]"),
        ("text.zip", "neither"),
    ],
)
def test_search_refuses_data(name, word, tmp_path):
    write_wrong_data(tmp_path)
    before = contents(tmp_path)
    said = fail("search", *TINY, "--data", name, "--out=run", cwd=tmp_path)
    assert word in said
    assert name in said
    assert contents(tmp_path) == before


@pytest.mark.slow
def test_damaged_samplers_are_refused(toys, tmp_path):
    folder, _ = toys
    write_toys(tmp_path)
    shutil.copytree(folder / "run", tmp_path / "run")
    path = tmp_path / "run/sampler.safetensors"
    whole = path.read_bytes()
    foreign = safetensors.numpy.save({"x": np.zeros(3)})
    for data, word in ((whole[:-5], "not a whole"), (b"", "not a whole"), (foreign, "not a sampl")):
        path.write_bytes(data)
        before = contents(tmp_path / "run")
        assert word in fail("sample", "run", "--out=run.png", cwd=tmp_path)
        assert word in fail("evaluate", "run", "--n=8", cwd=tmp_path)
        assert contents(tmp_path / "run") == before
        assert not (tmp_path / "run.png").exists()
    path.unlink()
    assert "samplerzoo resume run" in fail("sample", "run", cwd=tmp_path)


@pytest.mark.slow
def test_evaluate_refuses_runs_on_different_models(toys, digits, tmp_path):
    for name, (folder, _) in (("a", toys), ("b", digits)):
        shutil.copytree(folder / "run", tmp_path / name)
    write_toys(tmp_path)
    assert "differ in model" in fail("evaluate", "a", "b", cwd=tmp_path)


@pytest.mark.slow
def test_a_plugin_is_searched_listed_and_evaluated(tmp_path):
    code = (
        "from samplerzoo import DDIM\n"
        "from samplerzoo.core.families import AbstractFamily\n"
        "class Mine(AbstractFamily):\n"
        "    ddim: DDIM\n"
        "    def __init__(self, steps, times='linear', eta: 'float' = 0.5):\n"
        "        self.ddim = DDIM(steps, times, eta, per_step=True)\n"
        "    def table(self, schedule):\n"
        "        return self.ddim.table(schedule)\n"
    )
    plugins = tmp_path / "plugins"
    write_plugin(plugins, "zoo_mine", {"families": {"mine": "zoo_mine:Mine"}}, code)
    write_toys(tmp_path)
    args = ("search", "--family=mine", *TOY, *TINY, "--out=run", "--json", "--quiet")
    result = json.loads(succeed(*args, cwd=tmp_path, path=plugins).out)
    assert result["rows"][0]["sampler"] == "mine"
    listed = json.loads(succeed("list", "families", "--json", cwd=tmp_path, path=plugins).out)
    mine = next(member for member in listed["families"] if member["name"] == "mine")
    about = {"name": "mine", "distribution": "zoo_mine", "version": "1.0", "error": None}
    assert mine == about | {"description": ""}


@pytest.mark.slow
def test_broken_plugins_are_named_and_hurt_nothing_else(tmp_path):
    plugins = tmp_path / "plugins"
    write_plugin(plugins, "zoo_bad", {"families": {"bad": "zoo_bad:X"}}, "raise OSError('boom')")
    write_plugin(plugins, "zoo_off", {"families": {"off": "zoo_off:X"}}, "print('hi')\nX = int")
    write_plugin(plugins, "zoo_one", {"kernels": {"twice": "zoo_one:X"}}, "X = 1")
    write_plugin(plugins, "zoo_two", {"kernels": {"twice": "zoo_two:X"}}, "X = 1")
    bad = fail("search", "--family=bad", cwd=tmp_path, path=plugins)
    assert "zoo_bad 1.0" in bad
    assert "OSError: boom" in bad
    done = run("search", "--family=off", cwd=tmp_path, path=plugins)
    assert done.err.startswith("hi\n")  # what a plugin prints is not data
    done.err = done.err.removeprefix("hi\n")
    off = message(done, 2)
    assert "zoo_off 1.0" in off
    assert "AbstractFamily" in off
    twice = fail("search", "--kernel=twice", cwd=tmp_path, path=plugins)
    assert "zoo_one 1.0 and by zoo_two 1.0" in twice
    listed = json.loads(succeed("list", "--json", cwd=tmp_path, path=plugins).out)
    errors = {
        (member["name"], member["distribution"]): member["error"]
        for members in listed.values()
        for member in members
        if member["error"]
    }
    assert set(errors) == {
        ("bad", "zoo_bad"),
        ("off", "zoo_off"),
        ("twice", "zoo_one"),
        ("twice", "zoo_two"),
    }
    assert "OSError: boom" in errors["bad", "zoo_bad"]
    text = succeed("list", cwd=tmp_path, path=plugins).out
    assert "ERROR" in text
    assert "OSError: boom" in text
    done = run("search", "--steps=0", cwd=tmp_path, path=plugins)
    assert "steps is 0" in message(done, 2)


SICK = """
import jax

def sick_model():
    "Its gradient is not finite for some samples, though all samples are finite."
    def network(x, t):
        return 0.5 * x * t + 0 * jnp.sqrt(jnp.maximum(1.5 - x[0, 0, 0], 0))
    return DiffusionModel(network, LinearVP(), SHAPE)

def poisoned(x):
    "Features of finite data are finite; those of samples have no finite gradient."
    return x.reshape(-1)[:5] + 0 * jnp.sqrt(jnp.abs(x.reshape(-1)[:5]) * 0)

def nan_features(x):
    return x.reshape(-1) * jnp.nan

def nan_model():
    return DiffusionModel(lambda x, t: x * jnp.where(x > 2, jnp.nan, t), LinearVP(), SHAPE)
"""


@pytest.mark.slow
def test_steps_without_a_finite_gradient_are_skipped_and_counted(tmp_path):
    write_toys(tmp_path, SICK)
    more = ("-F", "start=ddim", "--times=quadratic-searched", "--quiet", "--json")
    args = ("search", "--model=python:toys:sick_model", *TOY[1:], *TINY, *more)
    result = json.loads(succeed(*args, "--batch=4", "--out=run", cwd=tmp_path).out)
    assert 0 < result["skipped_steps"] < 30


@pytest.mark.slow
def test_features_of_the_data_must_be_finite(tmp_path):
    write_toys(tmp_path, SICK)
    args = ("search", *TOY[:2], "--features=python:toys:nan_features", "--report-features=pixels")
    assert "are not all finite" in fail(*args, *TINY, "--out=run", cwd=tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_ten_such_steps_end_the_run_with_the_last_good_sampler(tmp_path):
    write_toys(tmp_path, SICK)
    args = ("search", *TOY[:2], "--features=python:toys:poisoned", "--report-features=pixels")
    said = fail(*args, *TINY, "--quiet", "--out=run", cwd=tmp_path, code=1)
    assert "10 steps in a row" in said
    assert "run/sampler.safetensors" in said
    assert not (tmp_path / "run/result.json").exists()
    succeed("sample", "run", "--n=4", "--out=x.npz", cwd=tmp_path)
    assert np.isfinite(np.load(tmp_path / "x.npz")["samples"]).all()
    assert "10 steps in a row" in fail("resume", "run", "--quiet", cwd=tmp_path, code=1)


@pytest.mark.slow
def test_samples_that_are_not_finite_are_reported(tmp_path):
    write_toys(tmp_path, SICK)
    args = ("evaluate", "ddim-linear", "--model=python:toys:nan_model", *TOY[1:2])
    said = fail(*args, "--features=pixels", "--n=64", "--quiet", cwd=tmp_path, code=1)
    assert "ddim-linear cannot be scored" in said


def test_a_closed_pipe_is_no_error(tmp_path):
    command = f"{sys.executable} -m samplerzoo list | head -c 1"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, env=dict(os.environ)
    )
    assert done.stderr == ""


def test_an_interruption_that_python_drops_is_raised_again():
    code = """if True:
        import gc, os, signal
        from samplerzoo.runs.interruptions import heed_interruptions, stop_if_asked
        heed_interruptions()
        gc.callbacks.append(lambda *_: os.kill(os.getpid(), signal.SIGINT))
        gc.collect()
        gc.callbacks.clear()
        print("dropped")
        stop_if_asked()
        print("lost")
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "dropped\n"
    assert done.stderr.endswith("KeyboardInterrupt\n")

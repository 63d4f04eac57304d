"""Whole runs from Python: as the commands make them, of names or objects, on disk or in memory."""

import dataclasses
import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

import samplerzoo as sz
from cli_tools import FILES, TINY, contents, succeed, write_toys
from samplerzoo.cli.search_command import search as command
from samplerzoo.runs.spec import DEFAULTS, Config

SHAPE = (4, 4, 1)
SMALL = {"steps": 3, "batch": 8, "iterations": 6, "n": 64, "progress": False}


def network(x, t):
    return 0.5 * x * t


def features(x):
    return jnp.tanh(x.reshape(-1)[:5])


def other_features(x):
    return x.reshape(-1)[5:8] ** 2


def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (32, *SHAPE)).astype(np.float32)


def parts() -> dict:
    """The parts of a search as objects: those that `python:toys:...` names in other tests."""
    return {
        "model": sz.DiffusionModel(network, sz.LinearVP(), SHAPE),
        "data": images(),
        "features": features,
        "report_features": other_features,
    }


@pytest.fixture(autouse=True, scope="module")
def promotion():
    """As users have it: optax mixes integers and floats."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def run() -> sz.Run:
    """A search of objects, in memory."""
    return sz.search(**parts(), **SMALL)


def rows(run: sz.Run) -> list[dict]:
    """The scores without the names of their features."""
    return [{k: v for k, v in row.items() if k != "features"} for row in run.scores.records]


def test_a_run_in_memory_has_everything(run):
    assert run.path is None
    assert run.finished
    assert run.table.nfe == 3
    assert isinstance(run.family, sz.RDDIM)
    assert [line["step"] for line in run.log] == [1, 2, 3, 4, 5, 6]
    assert {row.sampler for row in run.scores.rows} > {"rddim", "ddim-quadratic"}
    assert set(run.pictures) == {"samples.png", "curve.png"}
    assert run.config.seed == 0
    assert repr(run) == "Run(rddim, 3 steps, DiffusionModel, in memory)"


def test_samples_of_a_run(run):
    few, many = run.sample(3), run.sample(5)
    assert few.shape == (3, *SHAPE)
    assert few.dtype == np.float32
    np.testing.assert_allclose(few, many[:3], atol=1e-6)
    assert np.abs(run.sample(3, seed=1) - few).max() > 0.1
    np.testing.assert_array_equal(sz.sample(run, 3, key=sz_report_key(0)), few)
    with pytest.raises(ValueError, match="n is 0; it must be at least 1"):
        run.sample(0)
    with pytest.raises(ValueError, match="seed is -1"):
        run.sample(1, seed=-1)


def sz_report_key(seed: int):
    return jax.random.fold_in(jax.random.key(seed), 1)


def test_a_notebook_shows_scores_and_pictures(run):
    page = run._repr_html_()
    assert page.count("data:image/png;base64,") == 2
    assert "<table" in page
    assert run.verdict.replace("'", "&#x27;") in page
    assert "rddim at 3 steps for DiffusionModel" in page


def test_saved_and_loaded_it_is_the_same_run(run, tmp_path):
    saved = run.save(tmp_path / "run")
    assert {path.name for path in saved.path.iterdir()} == FILES
    loaded = sz.load_run(str(tmp_path / "run"), model=parts()["model"])
    np.testing.assert_array_equal(loaded.sample(3), run.sample(3))
    assert loaded.log == run.log
    assert loaded.pictures == run.pictures
    assert loaded.scores.records == run.scores.records
    assert loaded.result == {**run.result, "run": str(tmp_path / "run")}
    jax.tree.map(np.testing.assert_array_equal, loaded.family, run.family)
    again = loaded.save(tmp_path / "again")
    assert contents(again.path).keys() == contents(saved.path).keys()
    for name, data in contents(again.path).items():
        assert name == "result.json" or data == (saved.path / name).read_bytes()
    with pytest.raises(ValueError, match="run holds another run"):
        run.save(tmp_path / "run")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").touch()
    with pytest.raises(ValueError, match="full is not empty"):
        run.save(tmp_path / "full")


@pytest.mark.slow
def test_python_the_command_and_memory_give_the_same(run, tmp_path, monkeypatch):
    """The same numbers to the last bit, and the same files."""
    write_toys(tmp_path)
    monkeypatch.chdir(tmp_path)
    named = {
        "model": "python:toys:model",
        "data": "python:toys:data",
        "features": "python:toys:features",
        "report_features": "python:toys:other_features",
    }
    words = [f"--{part.replace('_', '-')}={name}" for part, name in named.items()]
    succeed("search", *words, *TINY, "--iterations=6", "--out=command", "--quiet", cwd=tmp_path)
    ours = sz.search(**named, **SMALL, out="python")
    assert str(ours.path) == "python"
    theirs = sz.load_run("command")
    assert ours.scores.records == theirs.scores.records
    assert rows(run) == rows(theirs)
    assert contents(ours.path).keys() == contents(theirs.path).keys()
    for name in ("sampler.safetensors", "checkpoint.safetensors", "samples.png"):
        assert (ours.path / name).read_bytes() == (theirs.path / name).read_bytes()
    configs = [tomllib.loads((run.path / "config.toml").read_text()) for run in (ours, theirs)]
    assert configs[0] == configs[1]
    np.testing.assert_array_equal(ours.table.clean, run.table.clean)


def test_all_have_the_same_defaults():
    given = inspect.signature(sz.search).parameters
    options = command.make_context("search", []).params
    known = {field.name for field in dataclasses.fields(Config)}
    chosen = {"start", "warm", "warm_tried", "unsearched", "tried"}
    recorded = {"allow_code", "directory", "hashes", "versions", *chosen}
    assert known - recorded == set(given) & known == set(options) & known
    for name in known - recorded - {"steps", "family_options", "kernel_options"}:
        default = DEFAULTS.get(name)
        assert given[name].default == default, name
        assert options[name] in (default, None), name
    assert options["steps"] == DEFAULTS["steps"]


WRITES = """
import sys, os
opened = []
def look(event, arguments):
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        opened.append(arguments[0])
    if event == "open" and arguments[1] is None and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
        opened.append(arguments[0])
    if event in ("os.mkdir", "os.rename", "tempfile.mkstemp"):
        opened.append(arguments[0])
import test_runs, samplerzoo as sz
sys.addaudithook(look)
run = sz.search(**test_runs.parts(), **test_runs.SMALL)
run.sample(2), run.scores, run._repr_html_()
print(sorted({str(path) for path in opened}))
"""


@pytest.mark.slow
def test_in_memory_nothing_is_written_or_printed(tmp_path):
    """Features of data are kept in the cache, as always; of the run there is nothing."""
    cache = tmp_path / "cache"
    environment = os.environ | {
        "SAMPLERZOO_CACHE": str(cache),
        "PYTHONPATH": str(Path(__file__).parent),
        "MPLCONFIGDIR": str(tmp_path / "matplotlib"),
    }
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WRITES],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = done.stdout.splitlines()
    written = [path for path in re.findall(r"'([^']*)'", line) if not path.startswith("/dev/")]
    assert [p for p in written if not p.startswith((str(cache), str(tmp_path / "mat")))] == []
    assert not any(work.iterdir())
    assert done.stderr == ""


def test_steps_are_told_to_the_callback_and_bars_are_shown(capsys):
    told = []
    sz.search(**parts(), **(SMALL | {"progress": True}), callback=lambda *step: told.append(step))
    assert [step for step, _, _ in told] == [1, 2, 3, 4, 5, 6]
    assert all(np.isfinite(kid) for _, kid, _ in told)
    assert int(told[-1][2].step) == 6
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "search rddim" in printed.err
    assert "evaluate" in printed.err


class StopError(Exception):
    """What a callback raises."""


def stop_at(step: int, error: BaseException):
    def callback(number, kid, state):
        if number == step:
            raise error

    return callback


@pytest.mark.parametrize("error", [StopError(), ValueError("mine"), OSError("mine")])
def test_what_a_callback_raises_ends_the_search(error, run, tmp_path):
    """As it is; the run can be resumed to the same numbers."""
    with pytest.raises(type(error)) as caught:
        sz.search(**parts(), **SMALL, out=tmp_path / "run", callback=stop_at(4, error))
    assert caught.value is error
    check_resumed(tmp_path / "run", run)


def check_resumed(folder: Path, run: sz.Run) -> None:
    unfinished = sz.load_run(folder)
    assert not unfinished.finished
    assert [line["step"] for line in unfinished.log] == [1, 2, 3, 4]
    assert "not finished" in unfinished._repr_html_()
    with pytest.raises(ValueError, match=r"is not finished; `samplerzoo resume .*` finishes it"):
        _ = unfinished.scores
    done = sz.resume(folder, **parts(), progress=False)
    assert done.scores.records == run.scores.records
    assert [(line["step"], line["kid"]) for line in done.log] == [
        (line["step"], line["kid"]) for line in run.log
    ]
    assert sz.resume(folder).scores.records == run.scores.records
    assert not (folder / ".lock").exists()


def slow(steps: int, rate: float) -> optax.GradientTransformation:
    return optax.sgd(rate / steps)


def test_an_optimiser_of_ones_own(run, tmp_path):
    found = sz.search(**parts(), **SMALL, optimiser=slow, out=tmp_path / "run")
    assert found.config.optimiser == "object:slow"
    assert found.config.start == run.config.start
    moved, less = (np.abs(np.asarray(one.table.clean)).max() for one in (run, found))
    assert moved != less
    named = sz.search(**parts(), **SMALL, optimiser="python:test_runs:slow")
    np.testing.assert_array_equal(named.table.clean, found.table.clean)
    for wrong, words in ((lambda steps, rate: rate, "makes float"), (int, "cannot be made of 6")):
        with pytest.raises(ValueError, match=rf"The optimiser .* {words}"):
            sz.search(**parts(), **SMALL, optimiser=wrong)


def test_an_interruption_says_how_to_continue(run, tmp_path):
    stopping = stop_at(4, KeyboardInterrupt())
    with pytest.raises(sz.InterruptedRunError) as caught:
        sz.search(**parts(), **SMALL, out=str(tmp_path / "run"), callback=stopping)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert caught.value.folder == tmp_path / "run"
    assert str(caught.value) == (
        f"Interrupted; `samplerzoo resume {tmp_path / 'run'}` continues it."
    )
    check_resumed(tmp_path / "run", run)
    with pytest.raises(KeyboardInterrupt) as caught:  # in memory there is nothing to continue
        sz.search(**parts(), **SMALL, callback=stopping)
    assert not isinstance(caught.value, sz.InterruptedRunError)


def test_objects_are_asked_for_again(run, tmp_path):
    """A name leads to none of them; other objects than before are refused."""
    with pytest.raises(KeyboardInterrupt):
        sz.search(
            sz.GDDIM(3, "linear", depth=2),
            kernel=sz.Polynomial(),
            **parts(),
            **(SMALL | {"steps": None}),
            out=tmp_path / "run",
            callback=stop_at(2, KeyboardInterrupt()),
        )
    given = parts() | {"family": sz.GDDIM(3, "linear", depth=2), "kernel": sz.Polynomial()}
    extractor = "feature extractor"
    words = {"data": "data set", "features": extractor, "report_features": extractor}
    for part in ("model", "family", "kernel", *words):
        word = words.get(part, part)
        others = {name: value for name, value in given.items() if name != part}
        with pytest.raises(ValueError, match=f"The {word} was an object .*give it again"):
            sz.resume(tmp_path / "run", **others, progress=False)
    for change in (
        {"data": images() / 2},
        {"features": other_features},
        {"family": sz.GDDIM(3, "quadratic", depth=2)},
    ):
        with pytest.raises(ValueError, match="not what it was when this run began"):
            sz.resume(tmp_path / "run", **(given | change), progress=False)
    done = sz.resume(tmp_path / "run", **given, progress=False)
    assert done.finished
    assert done.config.steps == 3
    assert done.config.family == "object:GDDIM"
    assert done.result["sampler"] == "GDDIM"
    unsaid = sz.load_run(tmp_path / "run")
    assert unsaid.table.clean.shape == (3, 2)
    for part in ("model", "family"):
        with pytest.raises(ValueError, match=f"The {part} was an object"):
            getattr(unsaid, part)


@pytest.mark.slow
def test_classes_images_paths_and_functions_stand_for_parts(run, tmp_path):
    """Each gives the numbers of the objects that they stand for."""
    given = parts()
    model, array = given["model"], given["data"]
    np.savez(tmp_path / "data.npz", images=array)
    for change in (
        {"family": sz.RDDIM, "kernel": sz.Linear},
        {"model": lambda: model, "data": lambda: array},
        {"data": sz.Images.of(array, (-1.0, 1.0))},
        {"data": tmp_path / "data.npz"},
        {"data": str(tmp_path / "data.npz")},
    ):
        found = sz.search(**(given | change), **(SMALL | {"iterations": 1, "n": 8}))
        assert found.finished
        first = run.log[0]["kid"]
        np.testing.assert_allclose(found.log[0]["kid"], first, rtol=1e-5)


WRONG = {
    "no model": ({"model": "nope"}, "No model is called 'nope'"),
    "no model, and data missing": (
        {"model": "nope", "data": None, "features": None},
        "No model is called 'nope'",
    ),
    "data missing": ({"data": None}, r"no default for --data; give one"),
    "all missing": (
        {"data": None, "features": None, "report_features": None},
        "no default for --data, --features and --report-features; give them",
    ),
    "options of an object": (
        {"family": sz.GDDIM(3), "family_options": {"depth": 1}},
        "A family that is an object has its options",
    ),
    "steps of an object": ({"family": sz.GDDIM(4)}, "The family has 4 steps where steps is 3"),
    "an option that is not known": ({"family_options": {"foo": 1}}, "no option 'foo'"),
    "steps": ({"steps": 0}, "steps is 0"),
    "no DiffusionModel": ({"model": len}, "The model cannot be made: TypeError"),
    "another type": ({"model": dict}, "The model is a dict, not a DiffusionModel"),
    "data of another shape": ({"data": np.zeros((9, 2, 2, 1))}, r"shape \(2, 2, 1\)"),
    "data out of range": ({"data": np.full((9, *SHAPE), 3.0)}, r"lie in \[3, 3\]"),
    "split of an array": ({"split": "train"}, "no --split"),
    "features without numbers": ({"features": lambda x: x}, "must map a sample to a vector"),
    "seed": ({"seed": -1}, "seed is -1"),
    "microbatch": ({"microbatch": "some"}, "microbatch is 'some'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_searched_is_refused(case, tmp_path):
    change, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        sz.search(**(parts() | SMALL | change), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_taken_is_refused(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.toml").touch()
    before = contents(tmp_path)
    for name, word in (("file", "is a file"), ("full", "not empty"), ("run", "another run")):
        with pytest.raises(ValueError, match=word):
            sz.search(**parts(), **SMALL, out=tmp_path / name)
    assert contents(tmp_path) == before


def test_a_search_without_finite_gradients_keeps_the_last_good_sampler(tmp_path):
    def poisoned(x):
        return x.reshape(-1)[:5] + 0 * jnp.sqrt(jnp.abs(x.reshape(-1)[:5]) * 0)

    given = parts() | {"features": poisoned} | SMALL | {"iterations": 30}
    with pytest.raises(sz.RunError, match="10 steps in a row") as caught:
        sz.search(**given)
    assert caught.value.run.table.nfe == 3
    assert not caught.value.run.finished
    assert np.isfinite(caught.value.run.sample(2)).all()
    with pytest.raises(sz.RunError, match=r"That sampler is .*run/sampler\.safetensors") as caught:
        sz.search(**given, out=tmp_path / "run")
    assert np.isfinite(caught.value.run.sample(2)).all()


def test_samples_that_cannot_be_scored_are_an_error_of_the_run():
    def sick(x, t):
        return jnp.where(x > 4.3, jnp.nan, x * t)  # rare: not among the samples of the choice

    given = parts() | {"model": sz.DiffusionModel(sick, sz.LinearVP(), SHAPE)}
    with pytest.raises(sz.RunError, match="cannot be scored"):
        sz.search("ddim", **given, **(SMALL | {"iterations": 1, "n": 20_000, "batch": 2}))


def test_a_model_that_no_sampler_can_be_tried_on_is_an_error_of_the_run():
    given = parts() | {"model": sz.DiffusionModel(never, sz.LinearVP(), SHAPE)}
    with pytest.raises(sz.RunError, match="None of the unsearched samplers has a finite score"):
        sz.search(**given, **SMALL)


def never(x, t):
    return jnp.where(t < 1, jnp.nan, x * t)


def test_samples_that_are_not_finite_are_told(run, caplog):
    def sick(x, t):
        return x * jnp.nan

    broken = dataclasses.replace(run, loaded=sz.DiffusionModel(sick, sz.LinearVP(), SHAPE))
    broken.sample(4)
    assert "Warning: 4 of 4 samples are not finite." in caplog.text


def scored(run: sz.Run, **fds: float) -> sz.Run:
    """The run with other distances in the report's features."""
    result = dict(run.result)
    space, names = result["report_features"], {n.replace("_", "-"): fd for n, fd in fds.items()}
    names[result["unsearched"]] = names.pop("unsearched")
    result["rows"] = [
        row | {"fd": names[row["sampler"]]} if row["features"] == space else row | {"fd": 0.0}
        for row in result["rows"]
    ]
    return dataclasses.replace(run, found=run.found._replace(result=result))


BASELINES = {"ddpm_linear": 9.0, "ddpm_quadratic": 8.0, "ddim_linear": 5.0}


def test_the_last_sentence_names_the_better_baseline(run):
    space = run.result["report_features"]
    known = run.result["unsearched"]
    against = scored(run, rddim=1.0, ddim_quadratic=4.0, unsearched=2.0, **BASELINES)
    assert against.verdict == (
        f"In {space}, rddim's FD is 0.50 of that of {known}, the best unsearched solver and grid, "
        "at 3 network evaluations and 0.25 of that of ddim-quadratic."
    )
    better = scored(run, rddim=2.0, ddim_quadratic=4.0, unsearched=9.0, **BASELINES)
    assert better.verdict == (
        f"In {space}, rddim's FD is 0.50 of that of ddim-quadratic, the best baseline, at 3 "
        "network evaluations."
    )
    worse = scored(run, rddim=6.0, ddim_quadratic=7.0, unsearched=9.0, **BASELINES)
    assert worse.verdict == (
        f"In {space}, rddim is worse than ddim-linear, the best baseline, at 3 network "
        "evaluations: its FD is 1.20 times as large."
    )
    equal = scored(run, rddim=5.0, ddim_quadratic=7.0, unsearched=9.0, **BASELINES)
    assert "FD is 1.00 of that of ddim-linear" in equal.verdict


def test_pictures_are_pictures(run):
    import io

    for picture in run.pictures.values():
        with Image.open(io.BytesIO(picture)) as image:
            image.load()

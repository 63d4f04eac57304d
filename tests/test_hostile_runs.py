"""Runs of others: names that lead to code or files, files that are none, numbers of no sampler."""

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import tomli_w

import samplerzoo as sz
from hostile import Case, check_refusal, survive
from samplerzoo.assets import digits_schedule
from samplerzoo.core.drawing import make_table
from samplerzoo.runs.names import find
from samplerzoo.runs.parts import describe_model
from samplerzoo.runs.published import pull
from samplerzoo.runs.run import save_run_sampler
from samplerzoo.runs.spec import Config
from samplerzoo.runs.store import save_config, save_result

COMMIT = "c" * 40
PARTS = {"data": "digits", "features": "digits-cnn", "report_features": "digits-mlp"}
SIZES: dict[str, Any] = {"steps": 3, "batch": 4, "iterations": 2, "n": 8}
CANARY = """
import pathlib
pathlib.Path({mark!r}).touch()

def f(x):
    return x.reshape(-1)[:3]

def model():
    raise SystemExit("the canary sings")

Family = Kernel = data = metric = model
"""


def row(features: str) -> dict:
    return {"sampler": "rddim", "nfe": 3, "features": features, "fd": 1.0, "n": 8, "seed": 0}


def write_run(folder: Path, changes: dict | None = None, result: dict | None = None) -> None:
    """A finished run of others, whose configuration and result say something else."""
    folder.mkdir(parents=True, exist_ok=True)
    config = Config(**PARTS, **SIZES)
    save_config(folder, config)
    if changes:
        import tomllib

        content = tomllib.loads((folder / "config.toml").read_text()) | changes
        (folder / "config.toml").write_text(tomli_w.dumps(content))
    family = sz.RDDIM(3)
    save_run_sampler(folder, config, family, make_table(family, digits_schedule()))
    spaces = [PARTS["features"], PARTS["report_features"]]
    said = {"sampler": "rddim", "nfe": 3, "search_features": spaces[0]}
    said |= {"report_features": spaces[1], "rows": [row(space) for space in spaces]}
    save_result(folder, said | {"pictures": ["samples.png"]} | (result or {}))


def hub(folder: Path) -> Path:
    """Where the Hub's client keeps a run of a case's name."""
    repository = folder.parent / "home/hub" / f"models--evil--{folder.name}"
    return repository / "snapshots" / COMMIT


def published(changes: dict, result: dict | None = None) -> Callable[[Path], None]:
    return lambda folder: write_run(hub(folder), changes, result)


def name(folder: Path) -> str:
    return f"hf:evil/{folder.name}@{COMMIT}"


def sample(folder: Path) -> Any:
    return sz.sample(name(folder), n=2)


def evaluate(folder: Path, **more: Any) -> Any:
    return sz.evaluate(name(folder), n=8, progress=False, **more)


def report(folder: Path) -> Any:
    return sz.report(name(folder), progress=False).headline


def export(folder: Path) -> Any:
    return sz.export(name(folder), "json", folder / "out")


def family(folder: Path) -> Any:
    return sz.load_run(name(folder)).family


def pull_and_search(folder: Path) -> Any:
    """A run that is pulled without a word of its code, and then continued."""
    out = pull(name(folder), folder / "out")
    (out / "result.json").unlink()
    return sz.resume(out, progress=False)


def pull_and_evaluate(folder: Path) -> Any:
    return sz.evaluate(pull(name(folder), folder / "out"), n=8, progress=False)


CODE, FILE, NONE, TYPE = "code on this machine", "names no files of this machine", "No ", "of type"
# By part: names that lead to code if anything looks at them less than whole.
SPELLINGS = {
    "plain": ("python:canary:f", CODE),
    "called": ("python:canary:f()", CODE),
    "in-a-list": ("digits-cnn,python:canary:f", NONE),
    "first-of-a-list": ("python:canary:f,digits-cnn", CODE),
    "spaced-list": ("digits-cnn , python:canary:f", NONE),
    "space-before": (" python:canary:f", NONE),
    "tab-before": ("\tpython:canary:f", NONE),
    "line-before": ("\npython:canary:f", NONE),
    "space-inside": ("python :canary:f", NONE),
    "capitals": ("PYTHON:canary:f", NONE),
    "wide-letters": ("ｐｙｔｈｏｎ:canary:f", NONE),
    "invisible": ("python\u200b:canary:f", NONE),
    "twice": ("python:python:canary:f", CODE),
    "behind-a-file": ("resnet:python:canary:f", FILE),
    "an-array": (["python:canary:f"], TYPE),
    "a-table": ({"name": "python:canary:f"}, TYPE),
    "terminal": ("python:canary:\x1b[2J\u202ef", CODE),
    "long": ("python:canary:" + "f" * 9000, CODE),
    "an-object": ("object:canary", "cannot hold"),
}
NAMED: dict[str, tuple[dict, Callable[[Path], Any], str]] = {
    f"{part}-{kind}": ({part: value}, evaluate, word)
    for part in ("features", "report_features")
    for kind, (value, word) in SPELLINGS.items()
}
READERS = {
    "evaluate": evaluate,
    "sample": sample,
    "report": report,
    "export": export,
    "pulled": pull_and_evaluate,
    "resumed": pull_and_search,
}
NAMED |= {
    f"model-{verb}": ({"model": "python:canary:model"}, read, CODE)
    for verb, read in READERS.items()
}
NAMED |= {
    "model-of-a-format": ({"model": "unet2d:python:canary:model"}, sample, FILE),
    "model-in-a-list": ({"model": "digits,python:canary:model"}, sample, NONE),
    "model-spaced": ({"model": " python:canary:model"}, sample, NONE),
    "model-an-array": ({"model": ["python:canary:model"]}, sample, TYPE),
    "model-that-says-it-is-trusted": (
        {"model": "python:canary:model", "allow_code": True},
        sample,
        CODE,
    ),
    "model-of-another-folder": (
        {"model": "python:canary:model", "directory": "/tmp"},
        sample,
        CODE,
    ),
    "data-plain": ({"data": "python:canary:data"}, evaluate, CODE),
    "data-called": ({"data": "python:canary:data()"}, evaluate, CODE),
    "data-resumed": ({"data": "python:canary:data"}, pull_and_search, CODE),
    "data-in-a-list": ({"data": "digits,python:canary:data"}, evaluate, FILE),
    "data-spaced": ({"data": " python:canary:data"}, evaluate, FILE),
    "data-an-array": ({"data": ["python:canary:data"]}, evaluate, TYPE),
    "family-plain": ({"family": "python:canary:Family"}, family, CODE),
    "family-resumed": ({"family": "python:canary:Family"}, pull_and_search, CODE),
    "family-in-a-list": ({"family": "rddim,python:canary:Family"}, family, NONE),
    "family-option": ({"family_options": {"times": "python:canary:f"}}, family, "no option"),
    "family-option-of-code": ({"family_options": {"__import__": "canary"}}, family, "no option"),
    "kernel-plain": ({"kernel": "python:canary:Kernel"}, pull_and_search, CODE),
    "kernel-in-a-list": ({"kernel": "linear,python:canary:Kernel"}, pull_and_search, NONE),
    "kernel-option": ({"kernel_options": {"f": "python:canary:f"}}, pull_and_search, "no option"),
    "metrics": ({"metrics": "python:canary:metric"}, evaluate, "unknown key 'metrics'"),
    "optimiser": ({"optimiser": "python:canary:f"}, pull_and_search, CODE),
    "objective-plain": ({"objective": "python:canary:f"}, pull_and_search, CODE),
    "objective-in-a-sum": ({"objective": "kid+python:canary:f"}, pull_and_search, CODE),
    "objective-weighed": ({"objective": "kid + 0.1*python:canary:f"}, pull_and_search, CODE),
    "objective-with-options": ({"objective": "python:canary:f:power=1"}, pull_and_search, CODE),
    "objective-of-no-name": ({"objective": "kid+ python :canary:f"}, pull_and_search, "key=value"),
    "objective-an-array": ({"objective": ["python:canary:f"]}, pull_and_search, TYPE),
    "features-searched": ({"features": "digits-cnn,python:canary:f"}, pull_and_search, CODE),
    "features-searched-spaced": (
        {"features": "digits-cnn, python:canary:f"},
        pull_and_search,
        CODE,
    ),
    "package": ({"versions": {"canary": "1"}}, pull_and_search, "needs the package canary"),
}
# Names that lead to files of the one who reads.
FILES = {
    "data-absolute": ({"data": "/etc/passwd"}, evaluate, FILE),
    "data-relative": ({"data": "tests"}, evaluate, FILE),
    "data-here": ({"data": "."}, evaluate, FILE),
    "data-device": ({"data": "/dev/zero"}, evaluate, FILE),
    "data-process": ({"data": "/proc/self/environ"}, evaluate, FILE),
    "data-address": ({"data": "file:///etc/passwd"}, evaluate, FILE),
    "data-home": ({"data": "~/.ssh"}, evaluate, FILE),
    "data-resumed": ({"data": "tests"}, pull_and_search, FILE),
    "model-folder": ({"model": "/etc"}, sample, FILE),
    "model-here": ({"model": "./tests"}, sample, FILE),
    "model-of-a-format": ({"model": "unet2d:/etc"}, sample, FILE),
    "model-nowhere": ({"model": "/nowhere/at/all"}, sample, "no folder or file"),
    "features-file": ({"features": "resnet:/etc/passwd"}, evaluate, FILE),
    "report-features-file": ({"report_features": "resnet:/dev/zero"}, evaluate, FILE),
}
CASES = {
    f"{kind}-{key}": Case(published(changes), read, word)
    for kind, cases in (("code", NAMED), ("file", FILES))
    for key, (changes, read, word) in cases.items()
}


def clone(mark: str) -> Callable[[Path], None]:
    """A run that git or the Hub's client has put on this disk."""

    def make(folder: Path) -> None:
        write_run(folder / "run", {"model": "python:canary:model", "allow_code": True})
        (folder / "run" / mark).mkdir(parents=True)

    return make


def sample_clone(folder: Path) -> Any:
    return sz.sample(folder / "run", n=2)


def sample_cached(folder: Path) -> Any:
    return sz.sample(hub(folder), n=2)


CASES |= {
    "code-clone": Case(clone(".git"), sample_clone, CODE),
    "code-clone-by-its-file": Case(
        clone(".git"), lambda f: sz.sample(f / "run/sampler.safetensors", n=2), CODE
    ),
    "code-clone-resumed": Case(
        lambda f: (clone(".git")(f), (f / "run/result.json").unlink()),
        lambda f: sz.resume(f / "run", progress=False),
        CODE,
    ),
    "code-downloaded": Case(clone(".cache/huggingface"), sample_clone, CODE),
    "code-in-the-cache": Case(published({"model": "python:canary:model"}), sample_cached, CODE),
}


def in_place_of(file: str, put: Callable[[Path], Any]) -> Callable[[Path], None]:
    """A run on this disk, one of whose files is something else."""

    def make(folder: Path) -> None:
        write_run(folder / "run")
        path = folder / "run" / file
        path.unlink(missing_ok=True)
        put(path)

    return make


def listen(path: Path) -> None:
    place = os.getcwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(place)


ODD: dict[str, Callable[[Path], Any]] = {
    "pipe": os.mkfifo,
    "zero": lambda path: path.symlink_to("/dev/zero"),
    "process": lambda path: path.symlink_to("/proc/self/environ"),
    "socket": listen,
    "folder": Path.mkdir,
    "loop": lambda path: path.symlink_to(path.name),
}


def load(folder: Path) -> Any:
    return sz.load_run(folder / "run").scores


def load_table(folder: Path) -> Any:
    return sz.load_run(folder / "run").table


def load_log(folder: Path) -> Any:
    return sz.load_run(folder / "run").log


def search_on(folder: Path) -> Any:
    (folder / "run/result.json").unlink()
    return sz.resume(folder / "run", progress=False)


PLACES = {
    "config.toml": (load, ""),
    "sampler.safetensors": (load_table, ""),
    "result.json": (load, ""),
    "log.jsonl": (load_log, ""),
    "checkpoint.safetensors": (search_on, ""),
}
# What is there and no file is as nothing: the folder of a log, a loop that leads nowhere.
HARMLESS = {"place-log.jsonl-loop", "place-result.json-loop", "place-checkpoint.safetensors-loop"}
CASES |= {
    f"place-{file}-{kind}": Case(in_place_of(file, put), read, word)
    for file, (read, word) in PLACES.items()
    for kind, put in ODD.items()
    if f"place-{file}-{kind}" not in HARMLESS
}


def altered(change: Callable[[dict[str, np.ndarray]], Any]) -> Callable[[Path], None]:
    """A run whose sampler's numbers are others."""

    def make(folder: Path) -> None:
        write_run(folder / "run")
        path = folder / "run/sampler.safetensors"
        with safetensors.safe_open(path, "numpy") as file:
            tensors = {key: file.get_tensor(key).copy() for key in file.keys()}  # noqa: SIM118
            about = file.metadata()
        tensors |= change(tensors)
        safetensors.numpy.save_file(tensors, path, about)

    return make


def times(*values: float) -> Callable[[dict], dict]:
    return lambda _: {"table.times": np.asarray(values, np.float32)}


def steps(number: int, depth: int = 1) -> Callable[[dict], dict]:
    weights = np.zeros((number, depth), np.float32)
    grid = np.linspace(0.9, 0.1, number, dtype=np.float32)
    return lambda _: {
        "table.times": grid,
        "table.clean": weights,
        "table.noise": weights,
        "table.fresh": 0 * grid,
    }


def as_type(name: str, kind: Any) -> Callable[[dict], dict]:
    return lambda found: {f"table.{name}": found[f"table.{name}"].astype(kind)}


def sample_altered(folder: Path) -> Any:
    return sz.sample(folder / "run", n=2)


T_MAX = digits_schedule().t_max
NUMBERS = {
    "other-steps": (steps(4), "4 steps where config.toml says 3"),
    "fewer-steps": (steps(2), "2 steps where config.toml says 3"),
    "one-step": (steps(1), "1 steps where config.toml says 3"),
    "many-steps": (steps(5000), "SAMPLERZOO_MAX_STEPS"),
    "no-steps": (steps(0), "does not hold a whole sampler"),
    "too-deep": (steps(3, 4), "does not hold a whole sampler"),
    "time-zero": (times(0.9, 0.5, 0.0), "not above 0"),
    "time-negative": (times(0.9, 0.5, -0.1), "not above 0"),
    "time-late": (times(1.5 * T_MAX, 0.5, 0.1), "not above 0 and at most"),
    "time-huge": (times(3e38, 0.5, 0.1), "not above 0 and at most"),
    "time-nan": (times(np.nan, 0.5, 0.1), "not finite"),
    "time-infinite": (times(np.inf, 0.5, 0.1), "not finite"),
    "float64": (as_type("clean", np.float64), "float64, not float32"),
    "float16": (as_type("noise", np.float16), "float16, not float32"),
    "whole-numbers": (as_type("times", np.int64), "int64, not float32"),
    "truths": (as_type("fresh", np.bool_), "bool, not float32"),
    "weight-nan": (lambda f: {"table.noise": f["table.noise"] * np.nan}, "not finite"),
    "spread-nan": (lambda _: {"table.spread": np.asarray(np.nan, np.float32)}, "not finite"),
    "spread-of-many": (lambda _: {"table.spread": np.ones(3, np.float32)}, "not one number"),
    "scalar": (lambda _: {"table.times": np.asarray(1, np.float32)}, "a whole sampler"),
    "matrix-of-times": (lambda f: {"table.times": f["table.clean"]}, "whole sampler"),
}
CASES |= {
    f"numbers-{key}": Case(altered(change), sample_altered, word)
    for key, (change, word) in NUMBERS.items()
}


def scored(result: dict) -> Callable[[Path], None]:
    return lambda folder: write_run(folder / "run", result=result)


def of_another_table(folder: Path) -> None:
    scored({"table": "0" * 64})(folder)


def report_folder(folder: Path) -> Any:
    return sz.report(folder / "run", progress=False).headline


RESULTS: dict[str, tuple[dict, str]] = {
    "rows-of-numbers": ({"rows": [1, 2]}, "a row that does not hold scores"),
    "rows-of-nothing": ({"rows": None}, "rows is null"),
    "row-of-texts": ({"rows": [row("a") | {"fd": "1"}]}, "a row that does not hold scores"),
    "row-of-a-huge-number": ({"rows": [row("a") | {"fd": 10**400}]}, "does not hold scores"),
    "row-without-a-name": ({"rows": [row("a") | {"sampler": ""}]}, "does not hold scores"),
    "row-of-a-long-name": ({"rows": [row("a" * 9999)]}, "does not hold scores"),
    "row-of-lists": ({"rows": [row("a") | {"n": [8]}]}, "does not hold scores"),
    "no-name": ({"sampler": 5}, "sampler is 5"),
    "nfe": ({"nfe": -1}, "nfe is -1"),
    "cost": ({"cost": {"a": "b"}}, "cost.a is 'b'"),
    "seconds": ({"search_seconds": "1"}, "search_seconds is '1'"),
    "digest": ({"table": "x"}, "table is 'x'"),
}
CASES |= {
    f"result-{key}": Case(scored(result), load, word) for key, (result, word) in RESULTS.items()
}
OTHER = "are of another sampler"
CASES |= {
    "result-of-another-table": Case(of_another_table, load, OTHER),
    "result-of-another-table-reported": Case(of_another_table, report_folder, OTHER),
    "result-of-another-table-published": Case(published({}, {"table": "0" * 64}), report, OTHER),
    "result-of-another-table-said": Case(
        of_another_table, lambda f: sz.load_run(f / "run").verdict, OTHER
    ),
}


def said(text: str | bytes) -> Callable[[Path], None]:
    """A run whose configuration is a text."""

    def make(folder: Path) -> None:
        write_run(folder / "run")
        data = text if isinstance(text, bytes) else text.encode()
        (folder / "run/config.toml").write_bytes(data)

    return make


def line(key: str, value: str) -> str:
    parts = {"data": '"digits"', "features": '"digits-cnn"', "report_features": '"digits-mlp"'}
    return "".join(f"{k} = {v}\n" for k, v in (parts | {key: value}).items())


CONFIGS = {
    "long": ("x = '" + "a" * 10**6 + "'", "SAMPLERZOO_MAX_CONFIG_BYTES"),
    "long-value": (line("steps", '"' + "a" * 60_000 + '"'), "of type int"),
    "deep": ("x = " + "[" * 5000 + "]" * 5000, "config.toml"),
    "key": (".".join("a" * 3000) + " = 1", "too many parts"),
    "unknown-key": ('"\\u001b[1m" = 1\n' + line("steps", "3"), "unknown key"),
    "not-text": (b"\xff\xfe", "not Unicode"),
    "steps": (line("steps", "99999"), "SAMPLERZOO_MAX_STEPS"),
    "steps-huge": (line("steps", "1" + "0" * 500), "must be"),
    "seed": (line("seed", "-1"), "at least 0"),
    "batch": (line("batch", "1e9"), "of type int"),
    "iterations": (line("iterations", "9999999999"), "at most 2147483647"),
    "rate": (line("learning_rate", "nan"), "positive number"),
    "options": (line("family_options", '"eta"'), "of type dict"),
    "times": (line("times", '"\\u001b[2J"'), "it must be a grid"),
}
CASES |= {f"config-{key}": Case(said(text), load, word) for key, (text, word) in CONFIGS.items()}


def inspect(folder: Path) -> Any:
    return describe_model(name(folder))


# A run that is looked at as if it were a model.
INSPECTED = {
    f"inspected-{part}": Case(
        published({part: "python:canary:f"}),
        lambda f: describe_model(name(f)),
        "'supported': False",
    )
    for part in ("model", "features", "report_features", "data", "family")
}

ALL = CASES | INSPECTED


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "code").mkdir()
    (folder / "code/canary.py").write_text(CANARY.format(mark=str(folder / "owned")))
    variables = {
        "HF_HOME": str(folder / "home"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(folder / "code"),
        "SAMPLERZOO_CACHE": str(folder / "features"),
    }
    return survive("test_hostile_runs", folder, ALL, memory=2**36, table="ALL", variables=variables)


@pytest.mark.parametrize("case", CASES)
def test_hostile_runs_are_refused(case, outcomes):
    kinds = ("ValueError", "LimitError", "UntrustedNameError", "RegistryError", "ConnectionError")
    check_refusal(outcomes[case], CASES[case].word, megabytes=1500, kinds=kinds)


@pytest.mark.parametrize("case", INSPECTED)
def test_what_is_inspected_is_not_run(case, outcomes):
    found = outcomes[case]
    assert (found.kind, found.breaches) == ("value", [])
    assert INSPECTED[case].word in found.text


@pytest.mark.parametrize("case", sorted(HARMLESS))
def test_what_leads_nowhere_is_not_there(case, tmp_path):
    _, file, kind = case.split("-")
    in_place_of(file, ODD[kind])(tmp_path)
    run = sz.load_run(tmp_path / "run")
    assert run.log == []
    assert run.finished == (file != "result.json")


def test_the_canary_sings(tmp_path, monkeypatch):
    """Where code may run, the same names run it."""
    mark = tmp_path / "owned"
    (tmp_path / "canary.py").write_text(CANARY.format(mark=str(mark)))
    monkeypatch.syspath_prepend(str(tmp_path))
    find("features", "python:canary:f", allow_code=True)
    assert mark.exists()


def test_one_s_own_run_may_name_code(tmp_path, monkeypatch):
    write_run(tmp_path / "run", {"model": "python:own_model:model", "directory": str(tmp_path)})
    (tmp_path / "own_model.py").write_text("from samplerzoo.assets import digits_model as model\n")
    assert sz.sample(tmp_path / "run", n=2).shape == (2, 8, 8, 1)


def test_names_of_rows_are_what_a_terminal_may_show(tmp_path):
    write_run(tmp_path / "run", result={"rows": [row("a\x1b[2J\u202eb"), row("digits-mlp")]})
    assert sz.load_run(tmp_path / "run").scores.text().replace("\n", "").isprintable()


def test_runs_of_before_have_no_digests_and_load(tmp_path):
    write_run(tmp_path / "run")
    run = sz.load_run(tmp_path / "run")
    assert "table" not in run.checked_result
    assert len(run.scores.rows) == 2


def test_a_file_of_a_run_stands_for_the_run(tmp_path):
    write_run(tmp_path / "run")
    whole = sz.load_run(tmp_path / "run")
    for file in ("sampler.safetensors", "config.toml", "result.json"):
        for path in (tmp_path / "run" / file, str(tmp_path / "run" / file)):
            assert sz.load_run(path).path == whole.path
    for path in (tmp_path / "run", str(tmp_path / "run/sampler.safetensors")):
        table, about = sz.load_sampler(path)
        assert np.array_equal(table.times, whole.table.times)
        assert about["family"] == "rddim"


def test_the_way_back_is_what_is_told(tmp_path):
    """What a message asks for works: a result of another table is made again."""
    write_run(tmp_path / "run", result={"table": "0" * 64})
    with pytest.raises(ValueError, match=OTHER):
        sz.load_run(tmp_path / "run").scores  # noqa: B018
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    result = json.loads((tmp_path / "copy/result.json").read_text())
    del result["table"]
    (tmp_path / "copy/result.json").write_text(json.dumps(result))
    assert sz.load_run(tmp_path / "copy").scores.rows

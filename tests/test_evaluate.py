"""`samplerzoo evaluate`: its matrix, the folder that keeps it, and its tables."""

import csv
import io
import json
import signal
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cli_tools import TOY, begin, end, fail, succeed, write_toys
from samplerzoo.metrics import FeatureSet, Moments
from samplerzoo.metrics.builtin import fd
from samplerzoo.runs.evaluation import ROWS, open_evaluation
from samplerzoo.runs.rows import Row
from samplerzoo.runs.scores import lacks

WHERE = (TOY[0], TOY[1], "--n=16", "--quiet")


def row(sampler="ddim", nfe=5, features="a", seed=0, **scores):
    return Row(sampler, nfe, features, 8, seed, scores)


def about(n):
    return {"model": "toy", "depends_on": {"n": n}}


def test_a_folder_keeps_rows_and_merges_metrics(tmp_path):
    first = open_evaluation(tmp_path, about(8), {"ddim 5": "x"}, {})
    first.add([row(fd=1.0), row(features="b", fd=2.0)])
    again = open_evaluation(tmp_path, about(8), {"ddim 5": "x", "ddim 10": "y"}, {})
    assert again.rows == first.rows
    assert again.has("ddim", 5, 0, {"a": ["fd"], "b": ["fd"]})
    assert not again.has("ddim", 5, 0, {"a": ["fd", "kid"]})
    assert not again.has("ddim", 5, 1, {"a": ["fd"]})
    again.add([row(kid=0.5)])
    last = open_evaluation(tmp_path, about(8), {}, {})
    assert last.rows["ddim", 5, "a", 0] == row(fd=1.0, kid=0.5)
    assert last.samplers == {"ddim 5": "x", "ddim 10": "y"}


@pytest.mark.parametrize(
    ("n", "samplers", "word"),
    [(9, {}, "another n"), (8, {"ddim 5": "z"}, "another sampler ddim 5")],
)
def test_a_folder_refuses_what_its_rows_do_not_fit(tmp_path, n, samplers, word):
    open_evaluation(tmp_path, about(8), {"ddim 5": "x"}, {})
    with pytest.raises(ValueError, match=word):
        open_evaluation(tmp_path, about(n), samplers, {})


def test_a_folder_remembers_what_its_old_rows_depend_on(tmp_path):
    """Also what an evaluation in between did not ask for: another feature space, held-out data."""

    def depending(**on):
        return {"model": "toy", "depends_on": on}

    open_evaluation(tmp_path, depending(mine="w.p@1", held="x"), {}, {})
    open_evaluation(tmp_path, depending(pixels="w.p@1"), {}, {})
    with pytest.raises(ValueError, match="another mine than now"):
        open_evaluation(tmp_path, depending(mine="v.p@1"), {}, {})
    with pytest.raises(ValueError, match="another held than now"):
        open_evaluation(tmp_path, depending(held="y"), {}, {})
    open_evaluation(
        tmp_path, depending(mine="w.q@2", held="x"), {}, {}
    )  # by another version of JAX


def test_moments_of_another_width_are_refused_before_any_sample_is_drawn():
    reference = FeatureSet(moments=Moments(np.zeros(3), np.eye(3)))
    with pytest.raises(ValueError, match="5 features and the reference 3"):
        lacks(fd, jnp.ravel, (1, 5), reference, 8)


def test_other_folders_are_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="holds no evaluation"):
        open_evaluation(tmp_path, about(8), {}, {})
    (tmp_path / "evaluation.json").write_text("{")
    for content in ("{", "[]", "5", '{"about": 5}', '{"about": {"depends_on": {}}, "rows": []}'):
        (tmp_path / "evaluation.json").write_text(content)
        with pytest.raises(ValueError, match="damaged"):
            open_evaluation(tmp_path, about(8), {}, {})


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.integers(0, 400))
def test_a_torn_file_of_rows_loses_at_most_what_was_torn(tmp_path, cut):
    folder = tmp_path / str(cut)
    folder.mkdir(exist_ok=True)
    (folder / "evaluation.json").unlink(missing_ok=True)
    (folder / ROWS).unlink(missing_ok=True)
    rows = [row(seed=n, fd=float(n)) for n in range(4)]
    open_evaluation(folder, about(8), {}, {}).add(rows)
    whole = (folder / ROWS).read_bytes()
    (folder / ROWS).write_bytes(whole[:cut])
    found = open_evaluation(folder, about(8), {}, {})
    assert list(found.rows.values()) == rows[: whole[:cut].count(b"}")]
    found.add([row(seed=9, fd=9.0)])
    assert row(seed=9, fd=9.0) in open_evaluation(folder, about(8), {}, {}).rows.values()


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """A folder with the toy model, and a run called `run` at 3 steps on it."""
    folder = tmp_path_factory.mktemp("evaluate")
    write_toys(folder)
    tiny = ("--batch=8", "--iterations=2", "--n=16", "--steps=3", "--quiet")
    succeed("search", *TOY, *tiny, "--out=run", cwd=folder)
    return folder


@pytest.mark.slow
def test_the_matrix_grows_in_its_folder(toys):
    args = ("evaluate", "run", "--steps=3", "--baselines", "--seeds=0,1", *WHERE, "--out=scores")
    features = "--features=python:toys:features,pixels"
    few = json.loads(succeed(*args, features, "--metrics=fd", "--json", cwd=toys).out)
    samplers = {row["sampler"] for row in few["rows"]}
    assert samplers >= {"run", "ddpm-linear", "ddpm-quadratic", "ddim-linear", "ddim-quadratic"}
    assert len(samplers) <= 6  # and the best unsearched, if it is another
    assert len(few["rows"]) == len(samplers) * 2 * 2
    assert {r["nfe"] for r in few["rows"]} == {3}
    lines = (toys / "scores" / ROWS).read_text().splitlines()
    same = succeed(*args, features, "--metrics=fd", "--json", cwd=toys)
    assert json.loads(same.out)["rows"] == few["rows"]
    assert (toys / "scores" / ROWS).read_text().splitlines() == lines
    more = succeed(*args, features, "ddim-linear:eta=0.5", "--metrics=fd,kid", "--json", cwd=toys)
    rows = json.loads(more.out)["rows"]
    assert len(rows) == (len(samplers) + 1) * 2 * 2
    assert {r["sampler"] for r in rows} >= {"run", "ddim-linear:eta=0.5", "ddpm-quadratic"}
    for old in few["rows"]:
        (new,) = [
            r for r in rows if all(r[k] == old[k] for k in ("sampler", "nfe", "features", "seed"))
        ]
        assert np.isclose(new["fd"], old["fd"], rtol=1e-5)
        assert new["kid_se"] > 0
    for name in ("evaluation.json", "scores.csv", "scores.md"):
        assert (toys / "scores" / name).stat().st_size > 100
    said = fail(*args, features, "--n=17", cwd=toys)
    assert "another n" in said


@pytest.mark.slow
def test_an_interrupted_evaluation_goes_on(toys):
    words = (
        "evaluate",
        "ddim",
        "--steps=3,200",
        "--seeds=0,1,2,3",
        *WHERE[:2],
        "--n=2000",
        "--features=pixels",
        "--metrics=fd",
        "--out=cut",
    )
    process = begin(*words, cwd=toys)
    rows = toys / "cut" / ROWS
    while process.poll() is None and not (rows.exists() and rows.read_text().count("\n") >= 2):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    done = end(process)
    assert done.code == 130
    assert "the same evaluation continues in cut." in done.err
    kept = [json.loads(line) for line in rows.read_text().splitlines()]
    assert 2 <= len(kept) < 2 * 2 * 4
    found = json.loads(succeed(*words, "--json", cwd=toys).out)["rows"]
    assert len(found) == 2 * 2 * 4
    assert all(line in found for line in kept)


@pytest.mark.slow
def test_several_devices_give_the_scores_of_one(toys):
    """Also where they do not divide the samples."""
    args = (
        "evaluate",
        "ddim",
        "--steps=3",
        *WHERE[:2],
        "--n=37",
        "--quiet",
        "--json",
        "--features=python:toys:features,pixels",
    )
    four = ("env", "JAX_NUM_CPU_DEVICES=4")
    one, several = (
        json.loads(succeed(*args, cwd=toys, before=before).out)["rows"] for before in ((), four)
    )
    assert len(one) == len(several) == 4
    for left, right in zip(one, several, strict=True):
        assert left.keys() == right.keys()
        numbers = [name for name, value in left.items() if isinstance(value, float)]
        for name in numbers:
            assert np.isclose(left[name], right[name], rtol=1e-4, atol=1e-6), name


@pytest.mark.slow
@pytest.mark.parametrize("form", ["markdown", "csv", "json"])
def test_formats(toys, form):
    args = ("evaluate", "ddim-linear", "--steps=2", *WHERE, "--features=pixels", "--metrics=fd")
    text = succeed(*args, "--format", form, cwd=toys).out
    parsed = {
        "markdown": lambda: text.splitlines()[2].startswith("| ddim-linear | 2 |"),
        "csv": lambda: len(list(csv.DictReader(io.StringIO(text)))) == 1,
        "json": lambda: json.loads(text)["rows"][0]["nfe"] == 2,
    }
    assert parsed[form]()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ddim:eta",), "key=value"),
        (("ddim:gain=2",), "no option 'gain'"),
        (("ddim", "--metrics=inception-score"), "does not apply"),
        (("ddim", "--metrics=memorisation"), "does not apply"),
        (("ddim", "--metrics=nope"), "No metric is called 'nope'"),
        (("ddim", "--held-out-split=x"), "--held-out;"),
        (("ddim", "--out=toys.py"), "is a file"),
        (("ddim", "--out=."), "holds no evaluation"),
    ],
)
def test_wrong_matrices_are_refused(toys: Path, words, said):
    assert said in fail("evaluate", *words, *WHERE, "--features=pixels", cwd=toys)

"""Searches of whatever objective, by name or as an object, in one feature space or several."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplerzoo as sz
from cli_tools import TINY, TOY, contents, fail, succeed, write_toys
from samplerzoo.core.objectives import Sum, Teacher
from samplerzoo.runs.objectives import Term, parse_objective
from samplerzoo.runs.setup import configure, load_setup
from samplerzoo.runs.spec import DEFAULTS
from test_runs import SMALL, features, other_features, parts

TEACHER = "kid+0.5*teacher:size=16,steps=6"


@pytest.fixture(autouse=True, scope="module")
def promotion():
    """As users have it: optax mixes integers and floats."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def setup(**more):
    given = {**DEFAULTS, **parts(), **SMALL, **more}
    del given["progress"]
    config, objects = configure(given)
    return load_setup(config, objects, progress=False), config, objects


def test_names_are_taken_apart():
    assert parse_objective("kid") == [Term(1.0, "kid", {})]
    assert parse_objective(" 2e-1 * teacher:power=1,space=features + kid") == [
        Term(0.2, "teacher", {"power": 1, "space": "features"}),
        Term(1.0, "kid", {}),
    ]
    assert parse_objective("python:a.b:c:x=1+0.5*python:d:e") == [
        Term(1.0, "python:a.b:c", {"x": 1}),
        Term(0.5, "python:d:e", {}),
    ]


@pytest.mark.parametrize("text", ["", "+", "kid+", "*kid", "kid*2", "-1*kid", "0*kid", "1e999*kid"])
def test_what_is_no_sum_is_refused(text):
    with pytest.raises(ValueError, match="The objective is"):
        parse_objective(text)


@pytest.mark.slow
def test_terms_share_a_pool_and_are_scaled_and_kept():
    found, config, objects = setup(objective=TEACHER)
    assert isinstance(found.objective, Sum)
    teacher = found.objective.terms[1]
    assert isinstance(teacher, Teacher)
    assert teacher.targets.shape == (16, 16)
    assert set(found.computed) == {"teacher of 16 in states, 6", f"weights of {TEACHER}"}
    changed = {name: 2 * array for name, array in found.computed.items()}
    again = load_setup(config, objects, False, changed).objective
    np.testing.assert_array_equal(again.weights, 2 * found.objective.weights)
    np.testing.assert_array_equal(again.terms[1].targets, 2 * teacher.targets)


@pytest.mark.slow
def test_several_spaces_are_searched_at_once():
    run = sz.search(**{**parts(), "features": [features, "pixels"]}, **SMALL)
    assert run.config.features == "object:features,pixels"
    spaces = {row.features for row in run.scores.rows}
    assert spaces == {"object:features", "pixels", "object:other_features"}
    assert run.result["search_features"] == "object:features,pixels"
    text = str(run.scores)
    assert text.count("(searched)") == 2
    assert text.count("(not searched)") == 1


def test_an_objective_as_an_object():
    pool = sz.Pool(jax.random.key(0), 8)
    teacher = sz.Teacher(jnp.ravel, np.zeros((8, 16), np.float32), pool)
    run = sz.search(**parts(), **{**SMALL, "batch": 8}, objective=teacher)
    assert run.config.objective == "object:Teacher"
    assert all(line["kid"] > 0 for line in run.log)
    assert len(run.config.hashes["objective"]) > 20


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("nothing", "No objective is called 'nothing'"),
        ("kid:power=2", "has no option 'power'"),
        ("teacher:power=5", "power is 5; it must be 1 or 2"),
        ("teacher:size=4", "knows 4 samples, fewer than the batch of 8"),
        ("teacher:space=nowhere", "'nowhere'; it must be states or features"),
        ("teacher:size=0", "its size is|size is 0"),
        ("teacher:size=16+teacher:size=17", "defined on different samples"),
        ("classifier", "needs features of a classifier; object:features are not"),
        ("python:nowhere:attribute", "nowhere"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_search(objective, message):
    with pytest.raises(ValueError, match=message):
        sz.search(**parts(), **SMALL, objective=objective)


def test_objects_of_one_name_are_refused():
    def twin(x):
        return other_features(x)

    twin.__name__ = "features"
    with pytest.raises(ValueError, match="Two of the features have one name"):
        sz.search(**{**parts(), "features": [features, twin]}, **SMALL)


@pytest.mark.slow
def test_the_command_keeps_the_teacher_and_resumes_from_it(tmp_path):
    write_toys(tmp_path)
    options = (*TOY[:2], "--features=python:toys:features,pixels", TOY[3], *TINY, "--quiet")
    search = ("search", *options, f"--objective={TEACHER}", "--json")
    whole = json.loads(succeed(*search, "--out=whole", cwd=tmp_path).out)
    assert whole["search_features"] == "python:toys:features,pixels"
    before = contents(tmp_path / "whole")
    assert "objective.safetensors" in before
    (tmp_path / "whole" / "result.json").unlink()
    (tmp_path / "whole" / "checkpoint.safetensors").unlink()
    succeed("resume", "whole", "--quiet", cwd=tmp_path)
    after = contents(tmp_path / "whole")
    assert after["sampler.safetensors"] == before["sampler.safetensors"]
    listed = json.loads(succeed("list", "--json", cwd=tmp_path).out)
    assert {row["name"] for row in listed["objectives"]} >= {"kid", "teacher", "classifier"}
    assert "no option 'power'" in fail(*search[:-2], "--objective=kid:power=2", cwd=tmp_path)

"""Schedulers' configurations as samplers: files, refusals, and what is done with them."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplerzoo as sz
from cli_tools import fail, succeed
from hub_server import TOKEN, serve
from samplerzoo.core.families import FixedTable
from samplerzoo.formats.scheduler_tables import read_sampler
from samplerzoo.runs.saved import as_text, parse_saved, read_saved
from test_runs import SMALL, features, images, other_features, promotion  # noqa: F401

DDIM = {"_class_name": "DDIMScheduler", "clip_sample": False}
DPM = {"_class_name": "DPMSolverMultistepScheduler"}
EULER = {"_class_name": "EulerDiscreteScheduler"}
PNDM = {"_class_name": "PNDMScheduler"}
BETAS = np.linspace(1e-4, 0.02, 1000)


def network(x, t):
    return 0.5 * x * jnp.sin(t)


@pytest.fixture(scope="module")
def model() -> sz.DiffusionModel:
    return sz.DiffusionModel(network, sz.DiscreteVP.from_betas(BETAS), (4, 4, 1))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """DDIM in 3 steps, in a file whose name has a space."""
    path = tmp_path_factory.mktemp("imports") / "my ddim.json"
    sz.import_scheduler(DDIM, 3, path)
    return path


def test_ddim_is_ddim(model, path):
    """Leading: a third of 1000 apart, from timestep 666 on."""
    saved = read_saved(path)
    assert saved.name == "ddim-3"
    assert saved.family.times == (667, 334, 1)
    signal = np.cumprod(1 - BETAS)[[666, 333, 0]]
    np.testing.assert_allclose(saved.alphas, np.sqrt(signal), rtol=1e-12)
    clean = np.sqrt(np.append(signal[1:], 1))
    np.testing.assert_allclose(np.ravel(saved.family.clean), clean, rtol=1e-12)
    np.testing.assert_allclose(np.ravel(saved.family.noise), np.sqrt(1 - clean**2), atol=1e-8)
    assert saved.family.spread == 1


def test_the_file_is_that_of_an_export(path):
    """Its numbers go to the other tools as well; the text of a configuration gives the same."""
    content = json.loads(path.read_text())
    assert {"timesteps", "sigmas_ve", "recurrence", "notes"} < set(content)
    assert content["about"]["scheduler"] == "DDIMScheduler"
    saved = read_saved(path)
    assert parse_saved(as_text(saved)) == saved


def test_a_baseline_beside_others(model, path):
    given = {"model": model, "data": images(), "features": features, "metrics": "fd"}
    scores = sz.evaluate([path, "ddim"], steps=3, n=16, **given, progress=False)
    assert [row.sampler for row in scores.rows] == [str(path), "ddim-linear", "ddim-quadratic"]
    assert scores.rows[0].nfe == 3
    again = sz.evaluate({"mine": read_saved(path)}, n=16, **given, progress=False)
    assert again.rows[0].scores == scores.rows[0].scores


def test_samples(model, path):
    drawn = sz.sample(path, 4, model=model)
    table = read_saved(path).table
    expected = sz.draw_samples(table, model, jax.random.fold_in(jax.random.key(0), 1), 4)
    np.testing.assert_array_equal(drawn, expected)
    with pytest.raises(ValueError, match="is numbers alone; give its model too"):
        sz.sample(path, 4)


@pytest.mark.slow
def test_a_search_starts_from_it(model, path):
    """And keeps its numbers, whatever becomes of the file."""
    given = {"data": images(), "features": features, "report_features": other_features}
    still = {**SMALL, "iterations": 1, "learning_rate": 1e-12}
    start = read_saved(path)
    run = sz.search("gddim", family_options={"start": start}, model=model, **given, **still)
    assert run.config.start == ""
    assert parse_saved(run.config.family_options["start"]) == start
    assert run.result is not None
    assert run.result["start"] == "ddim-3"
    np.testing.assert_allclose(run.table.times, start.table.times)
    np.testing.assert_allclose(run.table.clean[:, :1], start.table.clean, rtol=1e-5)
    assert isinstance(run.family, sz.GDDIM)
    assert isinstance(run.family.start, FixedTable)


def test_a_start_has_its_own_times(model, path):
    given = {"data": images(), "features": features, "report_features": other_features}
    given |= {"family_options": {"start": str(path)}, "model": model, **SMALL}
    with pytest.raises(ValueError, match="'ddim-3' has times of its own beside times 'karras'"):
        sz.search("rddim", times="karras", **given)


@pytest.mark.parametrize(("steps", "asked"), [(4, 4), ([3, 5], 5), (None, 10)])
def test_a_start_has_its_own_number_of_steps(model, path, steps, asked, tmp_path):
    """Said before anything is made, of a sweep before its first search; of files and objects."""
    given = {"data": images(), "features": features, "report_features": other_features}
    given |= {"model": model, **SMALL, "steps": steps, "out": tmp_path / "run"}
    for start in (str(path), path, read_saved(path)):
        with pytest.raises(ValueError, match=r"^The start 'ddim-3' has 3 network eval") as found:
            sz.search("rddim", family_options={"start": start}, **given)
        assert f"where steps is {asked}; give steps 3, or a start of {asked}." in str(found.value)
    assert not (tmp_path / "run").exists()


def test_another_models_levels_are_refused(path):
    other = sz.DiffusionModel(network, sz.LinearVP(), (4, 4, 1))
    with pytest.raises(ValueError, match="made for another model's noise levels"):
        sz.sample(path, 1, model=other)
    betas = sz.DiscreteVP.from_betas(BETAS / 2)
    with pytest.raises(ValueError, match="made for another model's noise levels"):
        sz.sample(path, 1, model=sz.DiffusionModel(network, betas, (4, 4, 1)))


HOSTILE = [
    ({"_class_name": "LCMScheduler"}, "_class_name is 'LCMScheduler'; supported are DDIM"),
    ({}, "_class_name is null; supported are DDIM"),
    ({"_class_name": ["DDIMScheduler"]}, "supported are DDIM"),
    ({**DDIM, "thresholding": True}, "says thresholding, which is not supported"),
    ({**DDIM, "rescale_betas_zero_snr": True}, "the last level would hold no signal"),
    ({**DDIM, "timestep_spacing": "evenly"}, "timestep_spacing is 'evenly'; it must be 'linspace'"),
    ({**DDIM, "steps_offset": -1}, "steps_offset is -1; it must be a whole number from 0"),
    ({**DDIM, "steps_offset": math.nan}, "steps_offset is nan; it must be"),
    ({**DDIM, "steps_offset": 900}, "asks for the timesteps 1566 to 900"),
    ({**DDIM, "beta_start": math.nan}, "beta_start is nan; it must be"),
    ({**DDIM, "trained_betas": [0.5, "a"]}, r"trained_betas\[1\]|trained_betas is"),
    ({**DDIM, "num_train_timesteps": 2}, "steps is 3; the model was trained on 2 timesteps"),
    ({"_class_name": "DDPMScheduler", "variance_type": "learned_range"}, "variance_type is"),
    (PNDM, "needs 4 without skip_prk_steps"),
    ({**PNDM, "skip_prk_steps": True, "prediction_type": "sample"}, "alone"),
    ({**DPM, "algorithm_type": "dpmsolver"}, "algorithm_type is 'dpmsolver'; it must be"),
    ({**DPM, "solver_order": 4}, "solver_order is 4"),
    ({**DPM, "use_dynamic_shifting": True}, "the shift would depend on the size of the image"),
    ({"_class_name": "UniPCMultistepScheduler", "solver_type": "bh1"}, "not finite at data"),
    (
        {"_class_name": "UniPCMultistepScheduler", "predict_x0": False},
        "predict_x0 is false; it must be true",
    ),
    ({**EULER, "use_karras_sigmas": True, "sigma_max": 900.0}, "leave"),
    ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 0}, "shift is 0; it must be"),
    (
        {"_class_name": "FlowMatchEulerDiscreteScheduler", "stochastic_sampling": True},
        "its noise would not be the table's",
    ),
]


@pytest.mark.parametrize(("config", "message"), HOSTILE)
def test_what_cannot_be_had_is_refused(config, message):
    with pytest.raises(ValueError, match=message) as found:
        read_sampler(config, 3)
    assert len(str(found.value)) < 400


def test_what_must_be_known_is_said():
    config = {"_class_name": "DDIMScheduler", "skip_prk_steps": True}
    notes = sz.import_scheduler(config, 2).notes
    assert "has no option 'skip_prk_steps'" in notes[0]
    assert "use_clipped_model_output" in notes[1]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda c: c.pop("fresh"), "fresh is missing"),
        (lambda c: c["clean"].pop(), "its columns are of 2 and 3 rows"),
        (lambda c: c.update(times=[1e999, 1.0, 0.5]), r"times\[0\] is inf"),
        (lambda c: c.update(noise=[[0.1], [0.1, 0.2], [0.3]]), "rows of 1 and 2 numbers"),
        (lambda c: c.update(clean=[[0.1] * 9] * 3, noise=[[0.1] * 9] * 3), "of 9 numbers"),
        (lambda c: c.update(init_sigma=-1.0), "init_sigma is -1.0"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, path, broken, message):
    content = json.loads(path.read_text())
    broken(content)
    damaged = tmp_path / "damaged.json"
    damaged.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        sz.evaluate(damaged, n=4, progress=False)


def test_where_it_may_lie(tmp_path):
    expected = sz.import_scheduler(DDIM, 3)
    text = json.dumps(DDIM)
    (tmp_path / "pipeline" / "scheduler").mkdir(parents=True)
    inside = tmp_path / "pipeline" / "scheduler" / "scheduler_config.json"
    inside.write_text(text)
    for source in (tmp_path / "pipeline", inside.parent, inside):
        assert sz.import_scheduler(source, 3) == expected
    with pytest.raises(ValueError, match="There is no scheduler/scheduler_config"):
        sz.import_scheduler(tmp_path, 3)
    with pytest.raises(ValueError, match="is not there: give a scheduler_config"):
        sz.import_scheduler(tmp_path / "nothing", 3)


def test_the_command(tmp_path, path):
    (tmp_path / "scheduler_config.json").write_text(json.dumps(DDIM))
    given = ("--steps", "3", "--out", "a b.json")
    done = succeed("import", "scheduler_config.json", *given, cwd=tmp_path)
    assert done.out == "a b.json: ddim-3, 3 network evaluations\n"
    assert read_saved(tmp_path / "a b.json") == read_saved(path)
    told = json.loads(succeed("import", ".", *given, "--json", cwd=tmp_path).out)
    assert told["times"] == [667, 334, 1]
    assert "must end in .json" in fail("import", ".", "--out", "x.txt", cwd=tmp_path)
    assert "at least 1" in fail("import", ".", "--steps", "0", "--out", "x.json", cwd=tmp_path)


def test_from_the_hub(tmp_path, path):
    with serve() as hub:
        hub.add("a/pipeline", {"scheduler/scheduler_config.json": json.dumps(DDIM).encode()})
        hub.add("a/network", {"config.json": b"{}"})
        variables = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": tmp_path / "cache",
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
        }
        before = ("env", *(f"{name}={value}" for name, value in variables.items()))
        given = ("--steps", "3", "--out", "x.json")
        succeed("import", "hf:a/pipeline", *given, cwd=tmp_path, before=before)
        assert read_saved(tmp_path / "x.json") == read_saved(path)
        said = fail("import", "hf:a/network", *given, cwd=tmp_path, before=before)
        assert "There is no scheduler/scheduler_config.json or scheduler_config.json in" in said


LISTS = {"steps": 3, "batch": 8, "iterations": 1, "n": 16, "progress": False}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schedule", "prediction", "kinds"),
    [
        (
            sz.DiscreteVP.from_betas(BETAS),
            "eps",
            ["DPMSolverMultistepScheduler", "EulerDiscreteScheduler"],
        ),
        (
            sz.RectifiedFlow(),
            "flow",
            ["UniPCMultistepScheduler", "FlowMatchEulerDiscreteScheduler"],
        ),
    ],
    ids=["timesteps", "sigmas"],
)
def test_the_best_list_of_each_scheduler(tmp_path, schedule, prediction, kinds):
    model = sz.DiffusionModel(network, schedule, (4, 4, 1), prediction)
    given = {"data": images(), "features": features, "report_features": other_features}
    run = sz.search("ddim", times="searched", model=model, **given, **LISTS)
    options = {"grid_only": True, "n": 32, "shift": 3.0, "progress": False}
    (path,) = sz.export(run, "json", tmp_path, "mine", **options)
    assert path == tmp_path / "mine-grid.json"
    found = json.loads(path.read_text())
    assert [one["scheduler"] for one in found["lists"]] == kinds
    for one in found["lists"]:
        values = one["values"]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)
        own = one["fd_of_the_searched_sampler"]
        assert set(one["fd"]) == set(own) == set(one["fd_of_the_schedulers_own_list"])
    if prediction == "eps":
        assert all(value == int(value) for value in found["lists"][0]["values"])


def test_lists_are_refused_where_there_are_none(tmp_path):
    run = sz.Run(sz.Config(data="digits", features="pixels", report_features="pixels"))
    with pytest.raises(ValueError, match="A list alone is exported as json, not as 'diffusers'"):
        sz.export(run, "diffusers", tmp_path, grid_only=True)

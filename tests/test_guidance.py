"""Guidance as numbers of a sampler: a weight per evaluation, fixed or searched, and its cost."""

import dataclasses
import json
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from jax.flatten_util import ravel_pytree

import samplerzoo as sz
from samplerzoo import (
    DDIM,
    GDDIM,
    KID,
    RDDIM,
    CosineVP,
    DiffusionModel,
    Guided,
    Linear,
    StepTable,
    free_parameters,
)
from samplerzoo.core.engine import start_of
from samplerzoo.core.families import guide
from samplerzoo.core.objectives import Pool, table_targets
from samplerzoo.exporters.diffusers import export_diffusers
from samplerzoo.exporters.json_file import export_json
from samplerzoo.exporters.k_diffusion import export_k_diffusion
from samplerzoo.exporters.sampler import plain_sampler
from samplerzoo.features import Pixels
from samplerzoo.files import read_tensors, write_tensors
from samplerzoo.registry import entries
from samplerzoo.runs.guiding import fixed_part, read_guidance
from samplerzoo.runs.objectives import ObjectiveSetting, SearchedSpace, teacher_objectives
from samplerzoo.runs.parts import load_family, load_model
from samplerzoo.runs.saved import as_text, parse_saved, read_saved
from samplerzoo.runs.store import load_sampler, run_name, save_sampler

KEY = jax.random.key(3)
MIX = np.random.default_rng(0).normal(size=(3, 3))
ROWS = np.random.default_rng(1).normal(size=(4, 3))


def network(x, t, row):
    return jnp.tanh(x @ MIX + t + row)


def conditional(network=network) -> DiffusionModel:
    """A model of vectors of 3 numbers, whose condition is added inside the network."""
    rows = jnp.asarray(ROWS)
    return DiffusionModel(
        network, CosineVP(), (3,), "x0", clip=None, conditions=rows, null=0 * rows[0]
    )


def by_hand(table: StepTable, index: int) -> np.ndarray:
    """A sample of a table of depth 1 without fresh noise, each row written out."""
    model, schedule = conditional(), CosineVP()
    x, own = start_of(table, model, KEY, jnp.asarray(index))
    row, x = ROWS[int(model.condition_of(own))], np.asarray(x)
    weights = np.ones(table.steps) if table.guidance is None else np.asarray(table.guidance)
    for n, t in enumerate(table.times):
        alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
        without, told = np.tanh(x @ MIX + float(t)), np.tanh(x @ MIX + float(t) + row)
        x0 = without + weights[n] * (told - without)
        eps = (x - alpha * x0) / sigma
        x = float(table.clean[n, 0]) * x0 + float(table.noise[n, 0]) * eps
    return x


def test_guided_samples_are_those_written_out(x64):
    model = conditional()
    plain = DDIM(4).table(model.schedule)
    draws = eqx.filter_jit(sz.sample_batch)
    for weights in ((2.0, 2.0, 2.0, 2.0), (1.0, 3.5, 0.0, 1.0)):
        table = guide(plain, weights)
        found = draws(table, model, KEY, jnp.arange(3))
        for index, sample in enumerate(found):
            np.testing.assert_allclose(sample, by_hand(table, index), rtol=1e-11)
    alike = draws(guide(plain, (1.0,) * 4), model, KEY, jnp.arange(3))
    np.testing.assert_allclose(alike, draws(plain, model, KEY, jnp.arange(3)), rtol=1e-13)
    np.testing.assert_allclose(alike[0], by_hand(plain, 0), rtol=1e-11)


def test_nfe_is_what_the_network_is_called():
    calls = []

    def counted(x, t, row):
        # What is told is batched with the conditions, so that each pass is heard.
        jax.debug.callback(lambda row: calls.append(row), row)
        return network(x, t, row)

    model = conditional(counted)
    plain = DDIM(4).table(model.schedule)
    draw = jax.jit(lambda table: sz.sample_batch(table, model, KEY, jnp.arange(1)))
    for weights, expected in (((1, 1, 1, 1), 4), ((1, 3, 2, 1), 6), ((2, 2, 0, 0.5), 8)):
        calls.clear()
        table = guide(plain, [float(weight) for weight in weights])
        jax.block_until_ready(draw(table))
        jax.effects_barrier()
        assert table.nfe == len(calls) == expected
        assert table.steps == 4
    assert plain.nfe == 4


def test_the_passes_of_a_guided_row_are_one_batched_call(x64):
    model = conditional()
    table = guide(DDIM(3).table(model.schedule), (2.0, 2.0, 2.0))
    program = str(jax.make_jaxpr(partial(sz.sample_batch, table, model, KEY))(jnp.arange(5)))
    assert program.count("tanh") == 2  # one in each branch
    assert program.count("f64[5,2,3] = tanh") == 1


def test_gradients_are_those_of_finite_differences(x64):
    """Of weights, times and coefficients, with conditions; the first row's answer is weighted too.

    A weight that stands at 1 and is searched has a derivative, and fixed ones are not moved.
    """
    model, data = conditional(), np.random.default_rng(2).normal(size=(20, 3))
    objective = KID(Pixels(), Linear(), data)
    family = Guided(RDDIM(4, eta=0.4), (1, 2, 3, 1), (0, 1, 3))
    free, rest = eqx.partition(family, free_parameters(family, times=True))
    start, unravel = ravel_pytree(free)

    def loss(numbers, microbatch):
        table = eqx.combine(unravel(numbers), rest).table(model.schedule)
        return sz.batch_loss(table, model, objective, KEY, 8, microbatch)

    slopes = jax.jit(jax.grad(lambda numbers: loss(numbers, 3)))(start)
    value = jax.jit(lambda numbers: loss(numbers, None))
    for n, step in enumerate(np.eye(len(start)) * 1e-5):
        difference = (value(start + step) - value(start - step)) / 2e-5
        np.testing.assert_allclose(slopes[n], difference, rtol=1e-5, atol=1e-9)
    weights = unravel(slopes).moves
    assert weights.shape == (3,)
    assert np.all(np.abs(weights) > 1e-6)


def test_fixed_weights_of_1_are_one_evaluation_and_searched_ones_two():
    table = Guided(DDIM(3), (1.0, 1.0, 2.0), (1,)).table(CosineVP())
    assert table.nfe == 5
    np.testing.assert_allclose(table.guidance, [1, 1, 2], rtol=2e-7)
    assert table.guidance is not None
    assert table.guidance[0] == 1 != table.guidance[1]


def test_guidance_leaves_the_other_numbers_alone():
    model = load_model(conditional)
    plain, family = (load_family("gddim", 3, "linear", model, o) for o in ({}, {"guidance": 2}))
    table, expected = family.table(model.schedule), plain.table(model.schedule)
    np.testing.assert_array_equal(np.asarray(table.guidance), [2.0, 2.0, 2.0])
    assert eqx.tree_equal(dataclasses.replace(table, guidance=None), expected)


@pytest.mark.parametrize("name", entries("families"))
def test_every_family_has_guidance(name):
    model = load_model(conditional)
    plain = load_family(name, 3, "linear", model, {})
    family = load_family(name, 3, "linear", model, {"guidance": "2-searched"})
    weights = eqx.filter_eval_shape(family.table, model.schedule).guidance
    assert weights is not None
    assert weights.shape == (3,)
    free = jax.tree.leaves(eqx.filter(family, free_parameters(family)))
    assert len(free) == 1 + len(jax.tree.leaves(eqx.filter(plain, free_parameters(plain))))
    fixed = load_family(name, 3, "linear", model, {"guidance": 2})
    assert len(jax.tree.leaves(eqx.filter(fixed, free_parameters(fixed)))) == len(free) - 1


def test_a_member_is_guided_too():
    model = load_model(conditional)
    family = load_family(GDDIM(3), 3, "", model, {"guidance": 3.5})
    assert family.table(model.schedule).nfe == 6
    with pytest.raises(ValueError, match="has 3 steps where steps is 4"):
        load_family(GDDIM(3), 4, "", model, {"guidance": 3.5})


def test_models_without_guidance_are_told():
    plain = load_model(lambda: DiffusionModel(lambda x, t: x, CosineVP(), (3,)))
    with pytest.raises(ValueError, match=r"this model has no conditions; leave guidance out"):
        load_family("ddim", 3, "linear", plain, {"guidance": 2})
    lacking = DiffusionModel(network, CosineVP(), (3,), conditions=jnp.asarray(ROWS))
    with pytest.raises(ValueError, match=r"this model has no condition that stands for none"):
        load_family("ddim", 3, "linear", load_model(lacking), {"guidance": 2})
    table = guide(DDIM(2).table(CosineVP()), (2.0, 2.0))
    with pytest.raises(ValueError, match="no condition that stands for none"):
        sz.sample_batch(table, lacking, KEY, jnp.arange(2))
    with pytest.raises(ValueError, match=r"this model has no conditions; leave guidance out"):
        load_family("rddim", 3, "", plain, {"start": "ddim-linear:guidance=2"})
    with pytest.raises(ValueError, match=r"The family has guidance, and this model has no"):
        load_family(Guided(DDIM(3), (1.0, 2.0, 1.0)), 3, "", plain, {})
    with pytest.raises(ValueError, match="2 weights of guidance for a sampler of 3 steps"):
        Guided(DDIM(3), (1, 2)).table(CosineVP())
    with pytest.raises(ValueError, match="Row 3 is searched, and there are 3 weights"):
        Guided(DDIM(3), (1.0, 2.0, 3.0), (3,))


READ = {
    2: ((2, 2, 2, 2), ()),
    0.5: ((0.5,) * 4, ()),
    "2": ((2,) * 4, ()),
    "searched": ((1,) * 4, (0, 1, 2, 3)),
    "2.5-searched": ((2.5,) * 4, (0, 1, 2, 3)),
    "1/3/0/1": ((1, 3, 0, 1), ()),
    "1/3/0/1-searched": ((1, 3, 0, 1), (0, 1, 2, 3)),
    "3@0.25-0.75": ((1, 3, 3, 1), ()),
    "3@0-1": ((3,) * 4, ()),
    "3@0.25-0.75-searched": ((1, 3, 3, 1), (1, 2)),
    "4-rising": ((1, 2, 3, 4), ()),
    "4-falling-searched": ((4, 3, 2, 1), (0, 1, 2, 3)),
    "4@0.5-1-rising": ((1, 1, 3, 4), ()),
}


@pytest.mark.parametrize("given", READ)
def test_weights_are_read(given):
    weights, searched = read_guidance(given, 4)
    np.testing.assert_allclose(weights, READ[given][0])
    assert searched == READ[given][1]
    np.testing.assert_allclose(read_guidance(fixed_part(given), 4).weights, weights)


ODD = ("", "two", "-1", "2searched", "-searched", "1//2", "2@0.2", "2-up", True, None, [2], "1e3")


@pytest.mark.parametrize("given", ODD)
def test_what_is_no_weight_is_refused(given):
    with pytest.raises(ValueError, match=r"guidance is .*; it must be a weight such as 2, .*"):
        read_guidance(given, 4)


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="3 weights for 4 steps; give one, or one for each"):
        read_guidance("1/2/3", 4)
    for text in ("2@0.8-0.2", "2@0.3-0.4", "2@0-2"):
        with pytest.raises(ValueError, match="two rising shares of the steps"):
            read_guidance(text, 4)


@given(st.text("0123456789./@-searchdifgln", max_size=20), st.integers(1, 12))
def test_any_text_is_read_or_refused(text, steps):
    try:
        weights, searched = read_guidance(text, steps)
    except ValueError:
        return
    assert len(weights) == steps
    assert np.all(np.isfinite(weights))
    assert set(searched) <= set(range(steps))


def test_a_sampler_file_has_the_weights(tmp_path):
    path, family = tmp_path / "sampler.safetensors", Guided(DDIM(3), (1.0, 2.0, 3.0))
    save_sampler(path, family, family.table(CosineVP()), {})
    table, _ = load_sampler(path)
    np.testing.assert_array_equal(np.asarray(table.guidance), [1, 2, 3])
    assert table.nfe == 5
    tensors, about = read_tensors(path)
    assert load_plain(tmp_path, tensors, about).guidance is None
    for odd, why in (
        (np.ones(4, np.float32), "guidance is not one weight for each step"),
        (np.ones((3, 1), np.float32), "guidance is not one weight for each step"),
        (np.ones(3, np.float16), "guidance are float16, not float32"),
        (np.full(3, np.inf, np.float32), "numbers that are not finite"),
    ):
        write_tensors(path, {**tensors, "table.guidance": odd}, about)
        with pytest.raises(ValueError, match=why):
            load_sampler(path)


def load_plain(folder, tensors: dict, about: dict) -> StepTable:
    """The sampler of a file as it was before there was guidance."""
    path = folder / "old.safetensors"
    old = {name: array for name, array in tensors.items() if name != "table.guidance"}
    write_tensors(path, old, about)
    return load_sampler(path)[0]


def test_only_json_takes_the_weights(tmp_path):
    model = conditional()
    table = guide(DDIM(3).table(model.schedule), (1.0, 2.0, 3.0))
    sampler = plain_sampler("guided", table, model)
    (path,) = export_json(sampler, tmp_path / "json")
    assert json.loads(path.read_text())["nfe"] == 5
    saved = read_saved(path)
    for found in (saved, parse_saved(as_text(saved))):
        assert eqx.tree_equal(found.table_on(model), found.table)
        np.testing.assert_array_equal(found.table.guidance, [1, 2, 3])
    unguided = dataclasses.replace(model, conditions=None, null=None)
    with pytest.raises(ValueError, match="'guided' has guidance, and this model has no conditions"):
        saved.table_on(unguided)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "guidance": [1, 2]}))
    with pytest.raises(ValueError, match="its columns are of 2 and 3 rows"):
        read_saved(path)
    for write in (export_diffusers, export_k_diffusion):
        with pytest.raises(ValueError, match=r"weight of guidance for each step.* as json"):
            write(sampler, tmp_path / "other")
    plain = plain_sampler("plain", DDIM(3).table(model.schedule), model)
    assert '"guidance"' not in export_json(plain, tmp_path / "json")[0].read_text()


def test_a_teacher_is_guided_where_that_is_asked():
    model, pool = conditional(), Pool(KEY, 4)
    setting = ObjectiveSetting(
        model, [SearchedSpace("pixels", Pixels(), np.zeros((2, 3)))], Linear(), KEY, {}
    )
    plain = sz.dpmpp_multistep(5, order=3, times="logsnr").table(model.schedule)
    for options, table in (({}, plain), ({"guidance": 3}, guide(plain, (3.0,) * 5))):
        (teacher,) = teacher_objectives(setting, size=4, steps=5, **options)
        expected = table_targets(Pixels(), table, model, pool)
        np.testing.assert_allclose(teacher.targets, expected, rtol=1e-5)
    assert len(setting.computed) == 2
    with pytest.raises(ValueError, match="adaptive solution, which has no guidance"):
        teacher_objectives(setting, size=4, steps=0, guidance=3)
    without = setting._replace(model=dataclasses.replace(model, null=None), computed={})
    with pytest.raises(ValueError, match="The teacher has guidance, and this model has no"):
        teacher_objectives(without, size=4, steps=5, guidance=3)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Two searches of the embedded digits, a weight searched at each step but the first."""
    out = tmp_path_factory.mktemp("guided") / "sweep"
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        sz.search(
            family="rddim",
            family_options={"guidance": "2@0.3-1-searched", "start": "ddim"},
            times="quadratic-searched",
            model="digits-conditional",
            steps=[2, 3],
            batch=8,
            iterations=3,
            n=32,
            out=out,
            progress=False,
        )
    return out


@pytest.mark.slow
def test_a_search_moves_weights_and_says_the_evaluations(sweep):
    for steps, nfe in ((2, 3), (3, 5)):
        run = sz.load_run(sweep / run_name(steps))
        result, table = run.checked_result, run.table
        assert result["nfe"] == table.nfe == nfe
        weights = np.asarray(table.guidance)
        assert weights[0] == 1
        assert np.all(np.abs(weights[1:] - 2) > 1e-3)
        assert eqx.tree_equal(run.family.table(run.model.schedule), table, rtol=1e-5)
        rivals = {row["sampler"]: row["nfe"] for row in result["rows"]}
        assert rivals["ddim-linear:guidance=2@0.3-1"] == rivals[result["unsearched"]] == nfe
        assert set(rivals.values()) == {nfe}


@pytest.mark.slow
def test_scores_and_reports_say_the_evaluations(sweep):
    given = [
        sweep / run_name(2),
        "ddim-linear:guidance=2@0.3-1",
        "ddim-linear:guidance=4",
        "ddim-linear",
    ]
    scores = sz.evaluate(given, steps=2, n=32, metrics="fd", progress=False)
    assert sorted(row.nfe for row in scores.rows if row.features == "digits-mlp") == [2, 3, 3, 4]
    page = sz.report([sweep, scores], progress=False).html
    assert '<th scope="col">guidance</th>' in page
    assert "ddim-linear:guidance=2@0.3-1, NFE 3" in page


def test_weights_for_each_step_do_not_fit_a_sweep(tmp_path):
    out = tmp_path / "sweep"
    with pytest.raises(ValueError, match="2 weights for 3 steps; give one, or one for each"):
        sz.search(
            family_options={"guidance": "1/3-searched"},
            model="digits-conditional",
            steps=[2, 3],
            out=out,
            progress=False,
        )
    assert not out.exists()

"""Conditions per sample: drawn from the sample's own key, the same wherever it is drawn."""

import dataclasses
from contextlib import suppress

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

import samplerzoo as sz
from samplerzoo import (
    DDIM,
    KID,
    RDDIM,
    CosineVP,
    DiffusionModel,
    Linear,
    assets,
    draw_samples,
)
from samplerzoo.backbones import LabelledMLP, Rounded
from samplerzoo.core.ode import follow_ode_batch
from samplerzoo.features import Pixels
from samplerzoo.files import digest, write_tensors
from samplerzoo.runs.conditions import read_conditions
from samplerzoo.runs.errors import UntrustedNameError
from samplerzoo.runs.parts import load_model
from samplerzoo.runs.spec import read_labels
from samplerzoo.testing import check_model

KEY = jax.random.key(3)
WEIGHTS = np.random.default_rng(0).normal(size=(3, 3))
ROWS = np.random.default_rng(1).normal(size=(7, 3))


def network(x, t, row):
    return jnp.tanh(x @ WEIGHTS + t + row["shift"])


def conditional(rows=ROWS) -> DiffusionModel:
    """A model of vectors of 3 numbers, whose conditions are moved means."""
    rows = {"shift": jnp.asarray(rows)}
    return DiffusionModel(network, CosineVP(), (3,), "x0", clip=None, conditions=rows)


def test_every_row_is_drawn_as_often():
    model, n = conditional(), 20_000
    keys = jax.vmap(lambda i: jax.random.fold_in(KEY, i))(jnp.arange(n))
    rows = np.bincount(np.asarray(jax.vmap(model.condition_of)(keys)), minlength=7)
    expected = n / 7
    assert np.sum((rows - expected) ** 2 / expected) < 22.46  # chi-square, 6 degrees, p = 0.001


def test_samples_are_those_of_their_own_rows(x64):
    """Each as an unconditional model whose network has the sample's row in it, whatever the cut."""
    model = conditional()
    table = DDIM(3, eta=0.5).table(model.schedule)
    found = draw_samples(table, model, KEY, 9)
    np.testing.assert_allclose(draw_samples(table, model, KEY, 9, batch=4), found, rtol=1e-12)

    @jax.jit
    def alone(row, index):
        def told(x, t):
            return network(x, t, {"shift": row})

        own = DiffusionModel(told, CosineVP(), (3,), "x0", clip=None)
        return sz.sample_batch(table, own, KEY, index[None])[0]

    for index, sample in enumerate(found):
        row = model.condition_of(jax.random.fold_in(KEY, index))
        expected = alone(jnp.asarray(ROWS)[row], jnp.asarray(index))
        np.testing.assert_allclose(sample, expected, rtol=1e-12)


def test_the_ode_and_long_tables_share_rows(x64):
    model, indices = conditional(), jnp.arange(4)
    table = DDIM(200, "quadratic").table(model.schedule)
    exact = jax.jit(lambda: follow_ode_batch(model, KEY, indices, None, 1e-5, 1e-5))().sample
    found = jax.jit(lambda: sz.sample_batch(table, model, KEY, indices))()
    np.testing.assert_allclose(found, exact, atol=0.05)
    apart = np.abs(np.asarray(exact)[:, None] - np.asarray(exact))[~np.eye(4, dtype=bool)]
    assert np.max(apart) > 0.5


def test_gradients_are_those_of_finite_differences(x64):
    model, data = conditional(), np.random.default_rng(2).normal(size=(20, 3))
    objective = KID(Pixels(), Linear(), data)
    family = RDDIM(3, eta=0.4)

    def loss(mu, microbatch):
        table = eqx.tree_at(lambda family: family.mu, family, mu).table(model.schedule)
        return sz.batch_loss(table, model, objective, KEY, 8, microbatch)

    mu = jnp.asarray([0.1, -0.2, 0.05])
    slope = jax.jit(jax.grad(lambda mu: loss(mu, 3)))(mu)
    value = jax.jit(lambda mu: loss(mu, None))
    for n, step in enumerate(np.eye(3) * 1e-6):
        difference = (value(mu + step) - value(mu - step)) / 2e-6
        np.testing.assert_allclose(slope[n], difference, rtol=1e-7)


def test_a_model_without_conditions_is_left_alone():
    model = DiffusionModel(lambda x, t: x, CosineVP(), (3,))
    assert model.for_sample(KEY) is model
    assert digest(dataclasses.replace(model, conditions=jnp.arange(3))) != digest(model)


def test_what_cannot_be_conditions_is_refused():
    with pytest.raises(ValueError, match=r"one leading axis, of at least one row"):
        dataclasses.replace(conditional(), conditions={"a": jnp.zeros(3), "b": jnp.zeros(4)})
    for odd in ({}, jnp.zeros(()), jnp.zeros((0, 3))):
        with pytest.raises(ValueError, match="one leading axis, of at least one row"):
            dataclasses.replace(conditional(), conditions=odd)
    with pytest.raises(ValueError, match="must be like a row"):
        dataclasses.replace(conditional(), null={"shift": jnp.zeros(4)})
    with pytest.raises(ValueError, match=r"for_sample\(key\)` is the model of the sample"):
        conditional()(jnp.zeros(3), jnp.asarray(0.5))


def labelled() -> DiffusionModel:
    """A random network of 4x4 images with 5 labels, of which the last stands for none."""
    network = LabelledMLP(size=16, width=8, hidden=8, depth=1, classes=5, key=jax.random.key(0))
    labels = jnp.arange(5, dtype=jnp.int32)
    null = jnp.asarray(5, jnp.int32)
    return DiffusionModel(network, CosineVP(), (4, 4, 1), conditions=labels, null=null)


def rows_of(model: DiffusionModel) -> list[int]:
    return np.asarray(model.conditions).tolist()


def test_labels_are_chosen_among_those_of_the_model():
    check_model(labelled)
    assert rows_of(load_model(labelled)) == [0, 1, 2, 3, 4]
    assert rows_of(load_model(labelled, labels="all")) == [0, 1, 2, 3, 4]
    assert rows_of(load_model(labelled, labels="3")) == [3]
    assert rows_of(load_model(labelled, labels="0-2,4,4")) == [0, 1, 2, 4, 4]
    with pytest.raises(ValueError, match=r"The model has no label 5; it has 5, from 0 to 4\."):
        load_model(labelled, labels="3-7")
    with pytest.raises(ValueError, match="has no classes as conditions"):
        load_model(conditional, labels="3")
    with pytest.raises(ValueError, match="one stands for the other"):
        load_model(labelled, labels="3", conditions="a.safetensors")
    with pytest.raises(ValueError, match="give neither a label nor guidance"):
        load_model(labelled, labels="3", label=3)
    with pytest.raises(ValueError, match="takes --labels"):
        load_model(labelled, label=3)


def test_networks_of_other_precision_are_told_conditions():
    whole, half = load_model(labelled), load_model(labelled, "bfloat16")
    assert isinstance(half.network, Rounded)
    table = DDIM(2).table(whole.schedule)
    found, expected = (draw_samples(table, model, KEY, 4) for model in (half, whole))
    np.testing.assert_allclose(found, expected, atol=0.1)


@given(st.text("0123456789-,al", max_size=12))
def test_labels_are_read_or_refused(text):
    found = None
    with suppress(ValueError):
        found = read_labels(text)
    assert found is None or (0 < len(found) <= 100_000 and min(found) >= 0)


def test_ranges_of_labels():
    assert read_labels("0-9") == list(range(10))
    assert read_labels("7,1-2") == [7, 1, 2]
    for text in ("", "-3", "9-0", "0-999999999", "1,,2", "all,3", "0-99999,1"):
        with pytest.raises(ValueError, match=r"at most 100,000\."):
            read_labels(text)


def test_conditions_from_a_file(tmp_path):
    path = tmp_path / "rows.safetensors"
    rows, null = ROWS.astype(np.float32), np.zeros(3, np.float32)
    write_tensors(path, {"shift": rows, "other": rows}, {})
    found, none = read_conditions(path)
    assert sorted(found) == ["other", "shift"]
    assert none is None
    both = {"shift": rows, "other": rows, "shift.null": null, "other.null": null}
    write_tensors(path, both, {})
    model = load_model(conditional, conditions=path)
    jax.tree.map(np.testing.assert_array_equal, model.conditions, {"other": rows, "shift": rows})
    jax.tree.map(np.testing.assert_array_equal, model.null, {"other": null, "shift": null})
    write_tensors(path, {"embeddings": rows, "null": null}, {})
    found, none = read_conditions(path)
    np.testing.assert_array_equal(found, rows)
    np.testing.assert_array_equal(none, null)
    with pytest.raises(UntrustedNameError, match="names no files of this machine"):
        load_model(conditional, conditions=path, allow_code=False)


ODD = {
    "a.null alone": {"a.null": np.zeros((2, 3), np.float32)},
    "one of two": {"a": ROWS, "b": ROWS, "a.null": ROWS[0]},
    "another": {"a": ROWS, "b.null": ROWS[0]},
    "not finite": {"a": np.asarray([[np.nan]], np.float32)},
}


@pytest.mark.parametrize("name", ODD)
def test_files_without_conditions_are_refused(name, tmp_path):
    path = tmp_path / "rows.safetensors"
    write_tensors(path, ODD[name], {})
    with pytest.raises(ValueError, match=r"rows.safetensors holds .*(give one tensor|not finite)"):
        read_conditions(path)


def test_conditions_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "rows.safetensors"
    with pytest.raises(ValueError, match=r"no file of conditions .*give a safetensors file"):
        load_model(conditional, conditions=path)
    write_tensors(path, {"a": ROWS, "null": ROWS}, {})
    with pytest.raises(ValueError, match=r"The conditions in .* must be like a row"):
        load_model(conditional, conditions=path)
    write_tensors(path, {"a": ROWS}, {})
    with pytest.raises(ValueError, match=r"cannot take a sample .*, a scalar time and a condition"):
        load_model(conditional, conditions=path)
    with pytest.raises(ValueError, match=r"cannot take a sample .*, a scalar time and a condition"):
        load_model(lambda: DiffusionModel(lambda x, t: x, CosineVP(), (3,)), conditions=path)


@pytest.mark.slow
def test_a_run_reproduces_its_labels(tmp_path):
    """From its folder; the samples of a run are of the classes that it was asked for."""
    images = np.random.default_rng(0).uniform(-1, 1, (32, 4, 4, 1)).astype(np.float32)
    parts = {"model": labelled, "data": images, "features": Pixels(), "report_features": tanh}
    with jax.numpy_dtype_promotion("standard"):
        run = sz.search(**parts, labels="0,3", steps=3, batch=8, iterations=6, n=64, progress=False)
        assert run.config.labels == "0,3"
        assert rows_of(run.model) == [0, 3]
        run.save(tmp_path / "run")
        loaded = sz.load_run(tmp_path / "run", model=labelled)
        np.testing.assert_array_equal(loaded.sample(5), run.sample(5))


def tanh(x):
    return jnp.tanh(x.reshape(-1)[:5])


def test_digits_are_those_that_are_asked_for():
    """As a classifier that the search does not know sees them."""
    model, n = load_model("digits-conditional", labels="1,3-5"), 200
    table = DDIM(10, "quadratic").table(model.schedule)
    samples = jnp.asarray(draw_samples(table, model, KEY, n))
    keys = jax.vmap(lambda i: jax.random.fold_in(KEY, i))(jnp.arange(n))
    asked = np.asarray(model.conditions)[np.asarray(jax.vmap(model.condition_of)(keys))]
    assert set(asked.tolist()) == {1, 3, 4, 5}
    seen = np.argmax(jax.vmap(assets.digits_mlp().logits)(samples), axis=1)
    assert np.mean(seen == asked) > 0.9


def test_the_conditional_digits_are_small():
    assert (assets.FOLDER / "digits-conditional.safetensors").stat().st_size < 1_500_000

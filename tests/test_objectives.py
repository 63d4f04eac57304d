"""Objectives: each is what it says, and exact however a batch is cut."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from samplerzoo import (
    DDIM,
    GDDIM,
    KID,
    RDDIM,
    Classifier,
    CosineVP,
    DiffusionModel,
    Polynomial,
    Pool,
    Sum,
    Teacher,
    batch_loss,
    sample_batch,
)
from samplerzoo.core.drawing import make_table
from samplerzoo.core.engine import start_of
from samplerzoo.core.history import has_stalled, smoothed
from samplerzoo.core.objectives import ode_targets, table_targets
from samplerzoo.core.scaling import scaled
from samplerzoo.core.warm import warm_start
from samplerzoo.testing import gaussian_model

WEIGHTS = np.random.default_rng(0).normal(size=(3, 3, 3))
DATA = np.random.default_rng(1).normal(size=(20, 3))
BATCH, SIZE = 6, 9


def network(x, t):
    return jnp.tanh(x @ WEIGHTS[0] + t)


def phi(x):
    return jnp.tanh(x @ WEIGHTS[1])


def logits(x):
    return phi(x) @ WEIGHTS[2]


def parts():
    """A model, the pool of a teacher, and each objective."""
    model = DiffusionModel(network, CosineVP(), (3,), prediction="v", clip=None)
    pool = Pool(jax.random.key(5), SIZE)
    targets = np.random.default_rng(2).normal(size=(SIZE, 3))
    terms = {
        "kid": KID(phi, Polynomial(), phi(DATA)),
        "squares": Teacher(phi, targets, pool),
        "absolute": Teacher(jnp.ravel, targets, pool, power=1),
        "entropy": Classifier(logits),
        "label": Classifier(logits, label=2),
    }
    terms["sum"] = Sum(tuple(terms.values()), np.linspace(0.5, 2.5, len(terms)))
    return model, terms


@pytest.mark.slow
def test_the_gradient_is_that_of_finite_differences_however_a_batch_is_cut(x64):
    """Of the sum of all objectives, in four samples and then two, against six at once."""
    model, terms = parts()
    table = RDDIM(3).table(model.schedule)
    flat, rebuild = ravel_pytree(table)
    free = np.ones(flat.size)
    free[0] = 0  # the first time is held fixed

    def loss(flat, microbatch=None):
        return batch_loss(rebuild(flat), model, terms["sum"], jax.random.key(3), BATCH, microbatch)

    value, slope = jax.jit(jax.value_and_grad(loss))(flat)
    parted, other = jax.jit(jax.value_and_grad(lambda flat: loss(flat, 4)))(flat)
    np.testing.assert_allclose(parted, value, rtol=1e-12)
    np.testing.assert_allclose(other, slope, rtol=1e-9, atol=1e-13)
    direction = free * np.random.default_rng(3).normal(size=flat.size)
    along = jax.jit(lambda h: loss(flat + h * direction))
    numeric = (along(1e-5) - along(-1e-5)) / 2e-5
    np.testing.assert_allclose(slope @ direction, numeric, rtol=1e-7)


def test_a_teacher_compares_the_samples_of_its_noises(x64):
    """The samples of a batch are different ones of the pool, chosen by the step's key."""
    model, terms = parts()
    teacher, key = terms["squares"], jax.random.key(3)
    table = RDDIM(3).table(model.schedule)
    samples = np.asarray(sample_batch(table, model, teacher.noises.key, jnp.arange(SIZE)))
    errors = np.mean((np.asarray(phi(samples)) - np.asarray(teacher.targets)) ** 2, axis=1)
    whole = batch_loss(table, model, teacher, key, SIZE)
    np.testing.assert_allclose(whole, errors.mean(), rtol=1e-12)
    chosen = jax.random.choice(key, SIZE, (BATCH,), replace=False)
    assert len(set(chosen.tolist())) == BATCH
    found = batch_loss(table, model, teacher, key, BATCH)
    np.testing.assert_allclose(found, errors[chosen].mean(), rtol=1e-12)
    assert found != batch_loss(table, model, teacher, jax.random.key(4), BATCH)


def test_a_teacher_agrees_with_itself(x64):
    """Where the student is the teacher, the distance is 0."""
    model, _ = parts()
    table = make_table(GDDIM(4), model.schedule)
    pool = Pool(jax.random.key(5), SIZE)
    targets = table_targets(phi, table, model, pool, batch=4)
    assert targets.shape == (SIZE, 3)
    loss = batch_loss(table, model, Teacher(phi, targets, pool), jax.random.key(0), BATCH)
    assert loss < 1e-28


def test_the_adaptive_teacher_is_the_exact_solution(x64):
    """On a Gaussian, along which the probability-flow ODE only shifts and scales."""
    schedule = CosineVP()
    mean, scale = 0.3, 0.5
    model, pool = gaussian_model(schedule, mean, scale), Pool(jax.random.key(5), 5)
    end = 0.01 * schedule.t_max
    found = ode_targets(jnp.ravel, model, pool, end, tolerance=1e-9, batch=2)

    def deviation(t):
        return jnp.sqrt((scale * schedule.alpha(t)) ** 2 + schedule.sigma(t) ** 2)

    assert found.shape == (5, 3)
    table = make_table(DDIM(1), schedule)
    starts = np.stack([start_of(table, model, pool.key, jnp.asarray(n))[0] for n in range(5)])
    t = jnp.asarray(schedule.t_max)
    units = (starts - schedule.alpha(t) * mean) / deviation(t)
    at = jnp.asarray(end)
    x = schedule.alpha(at) * mean + deviation(at) * units
    x0, _ = jax.vmap(lambda x: model(x, at))(x)
    np.testing.assert_allclose(found, x0, atol=1e-6)


def test_classifiers_are_asked_for_a_label_or_how_sure_they_are(x64):
    _, terms = parts()
    x = np.random.default_rng(4).normal(size=(7, 3))
    p = jax.nn.softmax(logits(jnp.asarray(x)), axis=-1)
    for name, wanted in (
        ("label", -np.log(p[:, 2]).mean()),
        ("entropy", -np.sum(p * np.log(p), axis=1).mean()),
    ):
        each = jnp.stack([terms[name].features(jnp.asarray(row), jnp.asarray(0)) for row in x])
        np.testing.assert_allclose(terms[name].distance(each), wanted, rtol=1e-12)


def test_weights_are_in_units_of_the_start(x64):
    model, terms = parts()
    table = make_table(DDIM(3), model.schedule)
    given = Sum((terms["kid"], terms["squares"]), np.array([3.0, 0.5]))

    def score(total, key):
        """The terms one by one, on the batch of all."""
        alone = (Sum(total.terms, one) for one in np.eye(2))
        return jnp.stack([batch_loss(table, model, each, key, BATCH) for each in alone])

    found = scaled(given, score, jax.random.key(0))
    keys = [jax.random.fold_in(jax.random.key(0), n) for n in range(4)]
    errors = [float(batch_loss(table, model, terms["squares"], key, BATCH)) for key in keys]
    np.testing.assert_allclose(found.weights[1], 0.5 / np.mean(errors), rtol=1e-9)
    rescaled = scaled(Sum(found.terms, 2 * found.weights), score, jax.random.key(0))
    np.testing.assert_allclose(rescaled.weights / found.weights, 2 * found.weights / given.weights)


def test_what_does_not_fit_is_refused():
    _, terms = parts()
    pool = Pool(jax.random.key(0), 4)
    with pytest.raises(ValueError, match="There are 3 targets for 4 noises; one each is needed"):
        Teacher(phi, np.zeros((3, 2)), pool)
    with pytest.raises(ValueError, match="power is 3; it must be 1 or 2"):
        Teacher(phi, np.zeros((4, 2)), pool, power=3)
    with pytest.raises(ValueError, match="1 objectives and 2 weights"):
        Sum((terms["kid"],), np.ones(2))
    with pytest.raises(ValueError, match="defined on different samples; give them one pool"):
        Sum((terms["squares"], Teacher(phi, np.zeros((4, 2)), pool)), np.ones(2))
    with pytest.raises(ValueError, match="knows 9 samples, fewer than the batch of 10"):
        batch_loss(RDDIM(3).table(CosineVP()), parts()[0], terms["squares"], jax.random.key(0), 10)


def test_smoothing_weighs_the_past_and_leaves_gaps_out():
    assert smoothed([2.0, 2.0, float("nan"), 2.0]) == pytest.approx([2, 2, 2, 2])
    assert np.isnan(smoothed([float("nan"), 1.0])[0])
    assert smoothed([1.0, 0.0], decay=0.5) == pytest.approx([1, 1 / 3])


def test_a_search_has_stalled_after_its_patience():
    falling = [1 / (1 + n) for n in range(50)]
    assert not has_stalled(falling, 5)
    assert has_stalled([*falling, *[1.0] * 5], 5)
    assert not has_stalled([*falling, *[1.0] * 4], 5)
    assert not has_stalled([], 1)
    with pytest.raises(ValueError, match="patience is 0; it must be at least 1"):
        has_stalled(falling, 0)


@pytest.mark.parametrize("family", [RDDIM, GDDIM])
def test_a_search_is_carried_over_to_a_neighbour(family):
    """The ends stay the ends, and the same number of steps is the same family."""
    arrays, rest = eqx.partition(family(5), eqx.is_inexact_array)
    flat, rebuild = ravel_pytree(arrays)
    found = eqx.combine(rebuild(jnp.linspace(0.1, 0.9, flat.size)), rest)
    for a, b in zip(*map(jax.tree.leaves, (warm_start(family(5), found), found)), strict=True):
        np.testing.assert_array_equal(a, b)
    for steps in (4, 8):
        carried = warm_start(family(steps), found)
        trees = (carried, found, family(steps))
        for new, old, like in zip(*map(jax.tree.leaves, trees), strict=True):
            assert jnp.shape(new) == jnp.shape(like)
            if jnp.ndim(new) == 1:
                np.testing.assert_allclose([new[0], new[-1]], [old[0], old[-1]], rtol=1e-6)
    with pytest.raises(ValueError, match="same family with the same options only"):
        warm_start(DDIM(4), found)

"""Search: the same twice, resumable, safe from what is not finite, and of use."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from samplerzoo import (
    DDIM,
    GDDIM,
    KID,
    RDDIM,
    CosineVP,
    DivergedError,
    Polynomial,
    adam,
    finish,
    free_parameters,
    mmd,
    sample_batch,
    start,
)
from samplerzoo.core.optimise import PATIENCE, compile_step, descend, skipped
from samplerzoo.testing import gaussian_model


@pytest.fixture(autouse=True)
def optax_promotes():
    """optax's schedules mix integers and floats."""
    with jax.numpy_dtype_promotion("standard"):
        yield


MODEL = gaussian_model(CosineVP())
REFERENCE = 0.3 + 0.5 * np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
ITERATIONS = 8


def identity(x):
    return x


def begin(family=None, features=identity, **options):
    """A search's constant arguments, and its first state."""
    family = RDDIM(3) if family is None else family
    optimiser = adam(options.pop("iterations", ITERATIONS), options.pop("rate", 0.05))
    objective = KID(features, Polynomial(), REFERENCE)
    state = start(family, free_parameters(family, **options), optimiser)
    return family, objective, optimiser, state


def steps(made, state=None, seed=0, batch=8, iterations=ITERATIONS):
    family, objective, optimiser, first = made
    key = jax.random.key(seed)
    step = compile_step(family, first, MODEL, objective, optimiser, batch)
    return descend(step, state or first, key, iterations)


def same(one, other):
    leaves, others = jax.tree.leaves(one), jax.tree.leaves(other)
    return all(np.array_equal(a, b) for a, b in zip(leaves, others, strict=True))


@functools.cache
def whole_search():
    """One search of everything that RDDIM has, that was never interrupted."""
    return begin(decoupled=True), list(steps(begin(decoupled=True)))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_states():
    made, once = whole_search()
    assert [int(state.step) for state, _ in once] == list(range(1, ITERATIONS + 1))
    assert all(same(a, b) for a, b in zip(once, steps(made), strict=True))
    first, *_ = steps(made, seed=1)
    assert not same(once[0], first)


def test_a_search_goes_on_from_any_state():
    """Bit for bit as if it had not been interrupted, from numbers alone."""
    made, whole = whole_search()
    state = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf).copy()), whole[4][0])
    rest = list(steps(made, state))
    assert len(rest) == ITERATIONS - 5
    assert all(same(a, b) for a, b in zip(whole[5:], rest, strict=True))
    assert list(steps(made, whole[-1][0])) == []


def test_the_first_step_is_one_of_adam():
    """The score and the move, by hand from the start's samples."""
    (family, objective, _, first), ((state, kid), *_) = whole_search()
    key = jax.random.fold_in(jax.random.key(0), 0)

    @jax.jit
    def score(parameters):
        table = eqx.combine(parameters, family).table(MODEL.schedule)
        return mmd(
            Polynomial(), sample_batch(table, MODEL, key, jnp.arange(8)), objective.reference
        )

    np.testing.assert_allclose(kid, score(first.parameters), rtol=1e-4, atol=1e-5)
    slopes = jax.grad(score)(first.parameters)
    for slope, moved in zip(
        jax.tree.leaves(slopes), jax.tree.leaves(subtract(state, first)), strict=True
    ):
        clear = np.abs(slope) > 1e-4
        expected = -0.05 / 3 * np.sign(slope)  # the warm-up's first rate
        np.testing.assert_allclose(moved[clear], expected[clear], rtol=1e-2)
    assert sum(np.sum(np.abs(leaf) > 1e-4) for leaf in jax.tree.leaves(slopes)) > 8


def subtract(state, first):
    return jax.tree.map(lambda a, b: a - b, state.parameters, first.parameters)


def test_only_what_is_chosen_moves():
    family = GDDIM(3)
    nothing = jax.tree.map(lambda _: False, family)
    spec = eqx.tree_at(lambda f: f.mu0, nothing, True)
    optimiser = adam(ITERATIONS, 0.05)
    made = (family, begin()[1], optimiser, start(family, spec, optimiser))
    *_, (state, _) = steps(made)
    found = finish(family, state)
    assert np.all(found.mu0 != 0)
    assert same(eqx.tree_at(lambda f: f.mu0, found, family.mu0), family)


def test_nothing_free_is_refused():
    with pytest.raises(ValueError, match="no free parameter to search"):
        begin(DDIM(3))
    begin(DDIM(3), times=True)


def test_steps_that_are_not_finite_are_skipped_and_counted():
    """Features are NaN for far samples, which some batches have and others have not."""
    far = 1.5

    def fragile(x):
        return jnp.where(jnp.max(jnp.abs(x)) > far, jnp.nan, x)

    made = begin(RDDIM(3, eta=1.0), fragile, iterations=40)
    before, bad = made[-1], 0
    for state, kid in steps(made, iterations=40):
        moved = not same(state.parameters, before.parameters)
        assert moved == np.isfinite(kid)
        assert int(state.step) == int(before.step) + 1
        bad += not np.isfinite(kid)
        assert skipped(state) == bad
        before = state
    assert 3 < bad < 37, bad


def test_patience_in_a_row_end_the_search():
    made = begin(features=lambda x: x / 0)
    states = []
    with pytest.raises(DivergedError, match=f"{PATIENCE} steps in a row"):
        states.extend(steps(made, iterations=50))
    # `extend` keeps what came before the error
    assert len(states) == PATIENCE
    last = states[-1][0]
    assert same(last.parameters, made[-1].parameters)
    assert skipped(last) == PATIENCE
    with pytest.raises(DivergedError):
        next(steps(made, last, iterations=50))


def updates(gradients, **options):
    """What `adam` does with given gradients of one parameter."""
    optimiser = adam(len(gradients), 0.1, **options)
    state, found = optimiser.init(jnp.zeros(2)), []
    for gradient in gradients:
        update, state = optimiser.update(jnp.asarray(gradient, jnp.float32), state)
        found.append(np.asarray(update))
    return np.array(found), state, optimiser


def test_the_learning_rate_warms_up_and_follows_a_cosine_to_zero():
    found, state, optimiser = updates(np.ones((20, 2)))
    # Adam's step for a constant gradient is the learning rate itself. A third is warm-up.
    warm, rest = 0.1 * np.arange(1, 7) / 7, 0.05 * (1 + np.cos(np.pi * np.arange(14) / 14))
    expected = np.concatenate([warm, rest])
    np.testing.assert_allclose(-found[:, 0], expected, rtol=1e-4)
    after, _ = optimiser.update(jnp.ones(2), state)
    np.testing.assert_allclose(after, 0, atol=1e-9)


def test_the_warm_up_of_a_long_search_takes_30_steps():
    optimiser = adam(300, 0.1)
    state, found = optimiser.init(jnp.zeros(1)), []
    for _ in range(32):
        update, state = optimiser.update(jnp.ones(1), state)
        found.append(-update[0])
    np.testing.assert_allclose(found[:30], 0.1 * np.arange(1, 31) / 31, rtol=1e-4)
    np.testing.assert_allclose(found[30:], 0.1, rtol=1e-3)


def test_the_gradient_is_clipped_by_its_norm():
    """Adam alone would forget the scale, but not the ratio of two gradients."""
    huge, _, _ = updates([[3e6, 4e6], [0.3, 0.4], [0.0, 0.1]])
    clipped, _, _ = updates([[0.6, 0.8], [0.3, 0.4], [0.0, 0.1]])
    free, _, _ = updates([[3e6, 4e6], [0.3, 0.4], [0.0, 0.1]], clip=1e9)
    np.testing.assert_allclose(huge, clipped, rtol=1e-5)
    assert np.max(np.abs(huge - free)) > 1e-3
    assert isinstance(adam(3, 0.1), optax.GradientTransformation)


@pytest.mark.slow
def test_a_searched_sampler_beats_ddim_on_fresh_samples():
    """At 5 steps, on samples of another seed and other data."""
    family = RDDIM(5)
    made = begin(family, iterations=150, rate=0.02)
    *_, (state, _) = steps(made, batch=512, iterations=150)
    fresh = 0.3 + 0.5 * jax.random.normal(jax.random.key(8), (4000, 3))

    @eqx.filter_jit
    def score(family):
        table = family.table(MODEL.schedule)
        samples = sample_batch(table, MODEL, jax.random.key(9), jnp.arange(4000))
        return mmd(Polynomial(), samples, fresh)

    ddim, searched = float(score(DDIM(5))), float(score(finish(family, state)))
    assert ddim > 1e-2
    assert searched < ddim / 10

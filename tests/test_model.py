"""Prediction types, clipping and learned variance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from samplerzoo import CosineVP, DiffusionModel
from schedules import MAKERS

# What a network that knows the truth puts out, written out for each prediction type.
OUTPUTS = {
    "eps": lambda x0, eps, alpha, sigma: eps,
    "x0": lambda x0, eps, alpha, sigma: x0,
    "v": lambda x0, eps, alpha, sigma: alpha * eps - sigma * x0,
    "flow": lambda x0, eps, alpha, sigma: eps - x0,
}

types = pytest.mark.parametrize("prediction", OUTPUTS)
numbers = st.floats(-1, 1)
shares = st.floats(0.01, 0.99)


@types
@pytest.mark.parametrize("name", MAKERS)
@settings(deadline=None, max_examples=10)
@given(shares, numbers, numbers)
def test_an_exact_output_gives_back_data_and_noise(name, prediction, share, clean, noise):
    with jax.enable_x64(True):
        schedule = MAKERS[name]()
        t = jnp.asarray(share * schedule.t_max)
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        x0, eps = jnp.asarray([clean, -clean]), jnp.asarray([3 * noise, noise])
        out = OUTPUTS[prediction](x0, eps, alpha, sigma)
        model = DiffusionModel(lambda x, t: out, schedule, (2,), prediction, clip=None)
        found = model(alpha * x0 + sigma * eps, t)
        # x0 is read off eps with sigma / alpha times the rounding, eps off x0 with alpha / sigma
        np.testing.assert_allclose(found.x0, x0, atol=1e-14 * (1 + 10 * sigma / alpha))
        np.testing.assert_allclose(found.eps, eps, atol=1e-14 * (1 + 10 * alpha / sigma))


@types
@pytest.mark.parametrize("clip", [None, (-1.0, 1.0), (0.0, 0.5)])
@settings(deadline=None, max_examples=15)
@given(st.sampled_from(list(MAKERS)), shares, st.floats(-5, 5), st.floats(-5, 5))
def test_estimates_give_back_the_state(clip, prediction, name, share, state, answer):
    """Whatever the network answers, clipped or not."""
    with jax.enable_x64(True):
        schedule = MAKERS[name]()
        t, x = jnp.asarray(share * schedule.t_max), jnp.asarray([state])
        model = DiffusionModel(
            lambda x, t: jnp.asarray([answer]), schedule, (1,), prediction, clip=clip
        )
        x0, eps = model(x, t)
        back = schedule.alpha(t) * x0 + schedule.sigma(t) * eps
        np.testing.assert_allclose(back, x, atol=1e-11)
        if clip is not None:
            assert clip[0] <= x0[0] <= clip[1]


def test_clipping_leaves_alone_what_is_inside(x64):
    schedule, t = CosineVP(), jnp.asarray(0.4)
    x = jnp.asarray([0.1, -0.2])
    clipped, free = (
        DiffusionModel(lambda x, t: 0.5 * x, schedule, (2,), "x0", clip)(x, t)
        for clip in ((-1.0, 1.0), None)
    )
    np.testing.assert_array_equal(clipped.x0, free.x0)
    np.testing.assert_allclose(clipped.eps, free.eps, rtol=1e-14)


@types
def test_of_a_learned_variance_the_first_channels_are_used(prediction):
    """And the rest, even where it is not finite, has no influence."""
    schedule, t = CosineVP(), jnp.asarray(0.4)
    x = jax.random.normal(jax.random.key(0), (4, 4, 3))

    def wide(x, t):
        return jnp.concatenate([jnp.sin(x) * t, jnp.full_like(x, jnp.nan)], axis=-1)

    one = DiffusionModel(lambda x, t: jnp.sin(x) * t, schedule, (4, 4, 3), prediction)(x, t)
    two = DiffusionModel(wide, schedule, (4, 4, 3), prediction)(x, t)
    assert one.x0.shape == (4, 4, 3)
    np.testing.assert_array_equal(one.x0, two.x0)
    np.testing.assert_array_equal(one.eps, two.eps)


def test_an_unknown_prediction_is_refused():
    with pytest.raises(ValueError, match="'score'; it must be one of eps, x0, v, flow"):
        DiffusionModel(lambda x, t: x, CosineVP(), (2,), prediction="score")

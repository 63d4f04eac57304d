"""Noise schedules against closed forms, NumPy and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from samplerzoo import EDM, CosineVP, DiscreteVP, LinearVP, RectifiedFlow
from schedules import MAKERS

BETAS = np.linspace(1e-4, 0.02, 1000)
VP = ("discrete", "linear", "cosine")

every = pytest.mark.parametrize("name", MAKERS)
shares = st.floats(0, 1)
quick = settings(deadline=None, max_examples=50)


@every
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_data_is_at_zero(name, dtype):
    with jax.enable_x64(dtype == "float64"):
        schedule = MAKERS[name]()
        zero = jnp.zeros((), dtype)
        assert schedule.alpha(zero) == 1
        assert schedule.sigma(zero) == 0
        assert schedule.alpha(zero).dtype == schedule.sigma(zero).dtype == dtype


@every
def test_log_snr_falls_strictly(name):
    @quick
    @given(shares, shares)
    def check(one, other):
        s, t = sorted((one, other))
        if t < s + 1e-9:
            return
        with jax.enable_x64(True):
            schedule = MAKERS[name]()
            s, t = jnp.asarray(s * schedule.t_max), jnp.asarray(t * schedule.t_max)
            # log-SNR without the logarithm of a signal that may be 0 at t_max
            near = schedule.alpha(s) * schedule.sigma(t)
            assert near > schedule.alpha(t) * schedule.sigma(s)

    check()


@every
def test_log_snr_falls_on_a_fine_grid(x64, name):
    schedule = MAKERS[name]()
    t = np.linspace(0, schedule.t_max, 20_001)[1:-1]
    snr = np.log(jax.vmap(schedule.alpha)(t)) - np.log(jax.vmap(schedule.sigma)(t))
    assert np.all(np.diff(snr) < 0)


@pytest.mark.parametrize("name", VP)
def test_variance_is_preserved(name):
    @quick
    @given(shares)
    def check(share):
        with jax.enable_x64(True):
            schedule = MAKERS[name]()
            t = jnp.asarray(share * schedule.t_max)
            assert abs(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2 - 1) < 1e-14

    check()


@every
def test_derivatives_agree_with_finite_differences(x64, name):
    schedule = MAKERS[name]()
    for share in (0.00037, 0.0123456, 0.30037, 0.71234, 0.9995):
        t, h = jnp.asarray(share * schedule.t_max), 1e-6 * share * schedule.t_max
        for level in (schedule.alpha, schedule.sigma):
            numeric = (level(t + h) - level(t - h)) / (2 * h)
            np.testing.assert_allclose(jax.grad(level)(t), numeric, rtol=1e-5, atol=1e-9)


@every
def test_derivatives_are_finite_from_the_smallest_times_to_the_last(name):
    """In float32: knots, the level below the first timestep and t_max included."""
    schedule = MAKERS[name]()
    t = jnp.asarray([1e-3, 0.5, 1.0, 2.0, 500.0, 999.5, 1000.0]) / 1000 * schedule.t_max
    for level in (schedule.alpha, schedule.sigma):
        assert np.all(np.isfinite(jax.vmap(jax.grad(level))(t)))


def test_discrete_is_exact_at_integers(x64):
    schedule, signal = DiscreteVP.from_betas(BETAS), np.cumprod(1 - BETAS)
    t = jnp.arange(1.0, 1001.0)
    np.testing.assert_allclose(jax.vmap(schedule.alpha)(t) ** 2, signal, rtol=1e-13)
    np.testing.assert_allclose(jax.vmap(schedule.sigma)(t) ** 2, 1 - signal, rtol=1e-13)
    assert (schedule.t_max, schedule.steps) == (1000.0, 1000)


def test_discrete_keeps_its_digits_in_float32():
    """`1 - alpha^2` in float32 would lose three of the first levels' digits."""
    schedule, signal = DiscreteVP.from_betas(BETAS), np.cumprod(1 - BETAS)
    t = jnp.arange(1.0, 1001.0)
    np.testing.assert_allclose(jax.vmap(schedule.alpha)(t), np.sqrt(signal), rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(schedule.sigma)(t), np.sqrt(1 - signal), rtol=1e-6)


def test_discrete_between_integers(x64):
    """Linear in log-SNR from the first level on, and in sigma below it."""
    schedule, signal = DiscreteVP.from_betas(BETAS), np.cumprod(1 - BETAS)
    snr = np.log(signal / (1 - signal))
    for low, share in ((1, 0.5), (10, 0.25), (998, 0.9)):
        t = jnp.asarray(low + share)
        found = 2 * np.log(schedule.alpha(t) / schedule.sigma(t))
        expected = (1 - share) * snr[low - 1] + share * snr[low]
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    for t in (0.25, 0.5):
        np.testing.assert_allclose(schedule.sigma(jnp.asarray(t)), t * np.sqrt(1e-4), rtol=1e-11)
    below, above = jnp.asarray(1 - 1e-9), jnp.asarray(1 + 1e-9)
    for level in (schedule.alpha, schedule.sigma):
        np.testing.assert_allclose(level(below), level(above), rtol=1e-8)


def test_discrete_from_alphas_cumprod_is_from_betas(x64):
    one, other = DiscreteVP.from_betas(BETAS), DiscreteVP.from_alphas_cumprod(np.cumprod(1 - BETAS))
    assert np.array_equal(one.log_snr, other.log_snr)


@pytest.mark.parametrize(
    "betas",
    [[0.1, -0.1], [0.1, 0.0], [0.0, 0.1], [0.1, 1.0], [0.1, 1.5], [0.1, np.nan], [[0.1, 0.2]], []],
)
def test_bad_betas_are_refused(betas):
    with pytest.raises(ValueError, match="falls strictly inside"):
        DiscreteVP.from_betas(np.asarray(betas))


def test_linear_vp_integrates_its_betas(x64):
    schedule, t = LinearVP(), np.linspace(0, 1, 11)[1:]
    knots = [np.linspace(0, end, 1001) for end in t]
    integral = np.array([np.trapezoid(0.1 + (20 - 0.1) * k, k) for k in knots])
    np.testing.assert_allclose(jax.vmap(schedule.alpha)(t), np.exp(-integral / 2), rtol=1e-12)


def test_cosine_vp_is_the_squared_cosine(x64):
    schedule, t = CosineVP(), np.linspace(0, 0.9946, 11)
    f = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2
    np.testing.assert_allclose(jax.vmap(schedule.alpha)(t) ** 2, f / f[0], rtol=1e-12)


@every
def test_small_noise_keeps_its_digits_in_float32(name):
    """Against float64, at a ten-thousandth of the way."""
    share = 1e-4
    small = MAKERS[name]()
    found = small.sigma(jnp.asarray(share * small.t_max))
    with jax.enable_x64(True):
        exact = MAKERS[name]()
        expected = float(exact.sigma(jnp.asarray(share * exact.t_max)))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_straight_lines(x64):
    t = jnp.asarray(0.3)
    assert (EDM().alpha(t), EDM().sigma(t)) == (1, 0.3)
    assert (RectifiedFlow().alpha(t), RectifiedFlow().sigma(t)) == (0.7, 0.3)

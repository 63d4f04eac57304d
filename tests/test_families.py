"""Families: their tables against the formulas, and each at its start against DDIM."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplerzoo import (
    DDIM,
    DDPM,
    GDDIM,
    RDDIM,
    CosineVP,
    DiffusionModel,
    Times,
    free_parameters,
    sample_batch,
)
from samplerzoo.core.families import heun, ipndm, presets
from schedules import MAKERS

SIGNAL = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))

strides = pytest.mark.parametrize("stride", ["linear", "quadratic"])


def signal_and_noise():
    """`alpha^2, sigma^2` at 1000, 800, ..., 200, 0 in NumPy."""
    signal = np.append(SIGNAL[[999, 799, 599, 399, 199]], 1.0)
    return signal, 1 - signal


def posterior_variance():
    signal, noise = signal_and_noise()
    beta = 1 - signal[:-1] / signal[1:]
    return beta * noise[1:] / noise[:-1], beta


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim_is_equation_12(x64, eta):
    table = DDIM(5, eta=eta).table(MAKERS["discrete"]())
    signal, noise = signal_and_noise()
    variance = eta**2 * posterior_variance()[0]
    np.testing.assert_allclose(table.times, [1000, 800, 600, 400, 200], rtol=1e-14)
    np.testing.assert_allclose(table.clean[:, 0], np.sqrt(signal[1:]), rtol=1e-11)
    np.testing.assert_allclose(table.noise[:, 0], np.sqrt(noise[1:] - variance), rtol=1e-9)
    np.testing.assert_allclose(table.fresh, np.sqrt(variance), rtol=1e-9)


@pytest.mark.parametrize("variance", ["posterior", "forward"])
def test_ddpm_is_the_posterior_mean(x64, variance):
    """`x_s = c0 x0 + ct x_t` with DDPM's coefficients, read as a table."""
    table = DDPM(5, variance=variance).table(MAKERS["discrete"]())
    signal, noise = signal_and_noise()
    posterior, beta = posterior_variance()
    c0 = np.sqrt(signal[1:]) * beta / noise[:-1]
    ct = np.sqrt(1 - beta) * noise[1:] / noise[:-1]
    np.testing.assert_allclose(table.clean[:, 0], c0 + ct * np.sqrt(signal[:-1]), rtol=1e-9)
    np.testing.assert_allclose(table.noise[:, 0], ct * np.sqrt(noise[:-1]), rtol=1e-9, atol=1e-12)
    fresh = np.sqrt(posterior if variance == "posterior" else beta)
    fresh[-1] = 0
    np.testing.assert_allclose(table.fresh, fresh, rtol=1e-9)


def test_per_step_numbers_act_on_their_step(x64):
    schedule = CosineVP()
    one = DDIM(4, eta=1.0).table(schedule).fresh
    eta = eqx.tree_at(lambda f: f.eta, DDIM(4, per_step=True), jnp.asarray([0.1, -0.5, 1.0, 7.0]))
    np.testing.assert_allclose(eta.table(schedule).fresh, one * np.array([0.1, -0.5, 1, 0]))
    gain = eqx.tree_at(lambda f: f.gain, DDPM(4, per_step=True), jnp.asarray([0.1, 2.0, 1.0, 7.0]))
    np.testing.assert_allclose(gain.table(schedule).fresh, one * np.array([0.1, 2, 1, 0]))


def test_noise_beyond_the_marginal_is_cut_there(x64):
    """lambda is at most sigma_s, where nothing of eps is left."""
    schedule = CosineVP()
    family = eqx.tree_at(lambda f: f.eta, DDIM(4, per_step=True), jnp.full(4, 1e3))
    table = family.table(schedule)
    sigma = jax.vmap(schedule.sigma)(table.times[1:])
    np.testing.assert_allclose(table.fresh[:-1], sigma, rtol=1e-14)
    np.testing.assert_array_equal(table.noise, 0)
    assert table.fresh[-1] == 0


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_rddim_is_its_three_numbers(x64, name, eta):
    """`x_s ~ N(mu x0 + nu x_t, lambda^2)` with the documented differences from DDIM."""
    schedule, rng = MAKERS[name](), np.random.default_rng(0)
    mu, nu, spread = map(jnp.asarray, rng.normal(size=(3, 5)))
    family = eqx.tree_at(lambda f: (f.mu, f.nu, f.sigma), RDDIM(5, eta=eta), (mu, nu, spread))
    table = family.table(schedule)
    grid = schedule.t_max * (1 - np.arange(6) / 5)
    alpha, sigma = (np.asarray(jax.vmap(f)(grid)) for f in (schedule.alpha, schedule.sigma))
    scale = np.hypot(alpha, sigma)
    posterior = (
        sigma[1:]
        / sigma[:-1]
        * np.sqrt(np.maximum(0, sigma[:-1] ** 2 - (alpha[:-1] * sigma[1:] / alpha[1:]) ** 2))
    )
    ddim = np.sqrt(sigma[1:] ** 2 - (eta * posterior) ** 2) / sigma[:-1]  # weight of x_t in DDIM
    weight = ddim + nu * scale[1:] / scale[:-1]
    data = alpha[1:] - ddim * alpha[:-1] + mu * scale[1:]
    x0, eps = 0.7, -1.3
    x_t = alpha[:-1] * x0 + sigma[:-1] * eps
    found = table.clean[:, 0] * x0 + table.noise[:, 0] * eps
    np.testing.assert_allclose(found, data * x0 + weight * x_t, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(table.fresh, eta * posterior + spread * scale[1:], rtol=1e-11)


@strides
@pytest.mark.parametrize("eta", [0.0, 0.7])
@pytest.mark.parametrize("name", MAKERS)
def test_rddim_and_gddim_start_as_ddim_exactly(name, eta, stride):
    """Bit for bit, in float32."""
    schedule = MAKERS[name]()
    base = DDIM(6, stride, eta=eta).table(schedule)
    same = {
        1: [RDDIM(6, stride, eta), GDDIM(6, stride, eta, depth=1)],
        6: [GDDIM(6, stride, eta)],
        3: [GDDIM(6, stride, eta, depth=3)],
    }
    for depth, families in same.items():
        for family in families:
            table = family.table(schedule)
            assert table.depth == depth
            for ours, theirs in zip(
                jax.tree.leaves(table), jax.tree.leaves(base.to_depth(depth)), strict=True
            ):
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_their_samples_are_those_of_ddim(eta):
    schedule = CosineVP()
    model = DiffusionModel(lambda x, t: jnp.sin(3 * x) * (1 - t), schedule, (5,))
    draws = eqx.filter_jit(sample_batch)

    def samples(family):
        return draws(family.table(schedule), model, jax.random.key(0), jnp.arange(16))

    base = samples(DDIM(6, eta=eta))
    np.testing.assert_array_equal(samples(RDDIM(6, eta=eta)), base)
    np.testing.assert_array_equal(samples(GDDIM(6, eta=eta, depth=1)), base)
    np.testing.assert_allclose(samples(GDDIM(6, eta=eta)), base, rtol=1e-5, atol=1e-5)
    assert np.std(base) > 0.1


def test_ddpm_is_ddim_with_eta_1():
    one, other = DDPM(6).table(CosineVP()), DDIM(6, eta=1.0).table(CosineVP())
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def names(family, **options):
    """The names of the leaves that the spec selects."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(
        eqx.filter(family, free_parameters(family, **options))
    )
    return {jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves}


@pytest.mark.parametrize(
    ("family", "own", "holder"),
    [
        (DDPM(5), set(), "mean.times"),
        (DDPM(5, per_step=True), {"gain"}, "mean.times"),
        (DDIM(5), set(), "times"),
        (DDIM(5, per_step=True), {"eta"}, "times"),
        (RDDIM(5), {"mu", "nu", "sigma"}, "start.times"),
        (GDDIM(5), {"mu0", "mu", "sigma"}, "start.times"),
    ],
)
def test_what_is_searched(family, own, holder):
    assert names(family) == own
    assert names(family, times=True) == own | {f"{holder}.moves"}
    assert names(family, decoupled=True) == own | {f"{holder}.moves", f"{holder}.shift"}
    assert names(family, times=True, decoupled=True) == names(family, decoupled=True)
    everything = eqx.filter(family, eqx.is_inexact_array)
    assert len(jax.tree.leaves(everything)) == len(own) + 2


def test_a_table_keeps_its_dtype():
    for make in (DDPM, DDIM, RDDIM, GDDIM):
        assert {leaf.dtype for leaf in jax.tree.leaves(make(4).table(CosineVP()))} == {
            np.dtype("float32")
        }


def test_given_times_are_used():
    times = Times.fit(np.array([1000.0, 300.0, 20.0, 0.0]), t_max=1000.0)
    for make in (DDPM, DDIM, RDDIM, GDDIM):
        table = make(3, times).table(MAKERS["discrete"]())
        np.testing.assert_allclose(table.times, [1000, 300, 20], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: DDIM(5, eta=-0.1), "eta is -0.1; it must lie between 0"),
        (lambda: DDIM(5, eta=1.5), "eta is 1.5; it must lie between 0"),
        (lambda: DDIM(5, eta=float("nan")), "eta is nan"),
        (lambda: DDPM(5, variance="learned"), "variance is 'learned'; it must be"),
        (lambda: GDDIM(5, depth=6), "depth is 6; it must lie between 1 and the number of steps, 5"),
        (lambda: GDDIM(5, depth=0), "depth is 0"),
    ],
)
def test_bad_options_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


STARTS = {
    "dpmpp-3m": lambda steps: presets.dpmpp_3m(steps, "karras"),
    "unipc-3": lambda steps: presets.unipc_3(steps, "logsnr"),
    "heun": lambda steps: heun(steps, "quadratic"),
    "sde": lambda steps: presets.sde_dpmpp_2m(steps),
    "afs": lambda steps: ipndm(steps, "quadratic", afs=True),
    "ddpm": lambda steps: DDPM(steps),
}


def equal(table, other):
    for ours, theirs in zip(jax.tree.leaves(table), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", STARTS)
def test_any_sampler_is_a_start(name):
    """A search begins at it, bit for bit; its times are searched with the rest."""
    schedule, start = CosineVP(), STARTS[name](6)
    base = start.table(schedule)
    equal(RDDIM(6, start=start).table(schedule), base)
    for depth in (None, 1, 3):
        table = GDDIM(6, depth=depth, start=start).table(schedule)
        equal(table, base.to_depth(max(depth or 6, base.depth)))
    searched = names(GDDIM(6, start=start), times=True)
    assert {"mu0", "mu", "sigma"} < searched
    assert any(name.endswith("times.moves") for name in searched)


def test_deviations_are_added_to_the_start(x64):
    """The same numbers as from DDIM, on the start's own times."""
    schedule, rng = CosineVP(), np.random.default_rng(0)
    mu, nu, sigma = map(jnp.asarray, rng.normal(size=(3, 6)))
    past = jnp.asarray(rng.normal(size=(6, 2)))

    def change(make, values, start):
        moved = eqx.tree_at(
            lambda f: [getattr(f, name) for name in values], make(start), list(values.values())
        )
        return moved.table(schedule), make(start).table(schedule)

    for make, values in (
        (lambda start: RDDIM(6, start=start), {"mu": mu, "nu": nu, "sigma": sigma}),
        (lambda start: GDDIM(6, depth=2, start=start), {"mu0": mu, "mu": past, "sigma": sigma}),
    ):
        table, base = change(make, values, presets.dpmpp_3m(6, "karras"))
        other, plain = change(make, values, DDIM(6, "karras"))
        depth = other.depth
        np.testing.assert_array_equal(table.times, other.times)
        for name in ("clean", "noise"):
            added, expected = (
                getattr(a, name) - getattr(b, name) for a, b in ((table, base), (other, plain))
            )
            np.testing.assert_allclose(added[:, :depth], expected, atol=1e-12)
            np.testing.assert_array_equal(added[:, depth:], 0)
        np.testing.assert_allclose(table.fresh - base.fresh, other.fresh - plain.fresh, atol=1e-12)


@pytest.mark.parametrize("make", [RDDIM, GDDIM])
def test_a_start_that_does_not_fit_is_refused(make):
    with pytest.raises(ValueError, match="has 5 evaluations where 6 steps are asked"):
        make(6, start=ipndm(5)).table(CosineVP())
    for given in ({"times": "karras"}, {"eta": 0.5}):
        with pytest.raises(ValueError, match="A start has its own times and eta"):
            make(6, start=ipndm(6), **given)

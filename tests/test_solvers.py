"""Solvers: independent formulas and implementations, their orders, and what they cost."""

import functools
import itertools
from functools import partial

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize

from samplerzoo import (
    DDIM,
    EDM,
    GDDIM,
    RDDIM,
    CosineVP,
    DiffusionModel,
    LinearVP,
    Times,
    run_table,
)
from samplerzoo.core.drawing import make_table
from samplerzoo.core.engine import draw
from samplerzoo.core.families import (
    deis,
    dpmpp_multistep,
    dpmpp_singlestep,
    exponential,
    heun,
    ipndm,
    presets,
    runge_kutta,
    unipc,
)
from samplerzoo.core.families.tableaus import Tableau
from samplerzoo.core.schedule import noise_ratio, time_at
from samplerzoo.registry import entries, load
from schedules import MAKERS

WEIGHTS = np.random.default_rng(0).normal(size=(3, 3))
START = np.random.default_rng(1).normal(size=3)
METHODS = ("Heun", "Midpoint", "Ralston", "Bosh3", "Dopri5", "Tsit5", "Dopri8")


def network(x, t):
    return jnp.tanh(jnp.asarray(WEIGHTS, x.dtype) @ x / jnp.sqrt(1 + jnp.sum(x**2)) + jnp.cos(t))


def end_of(table, schedule, x=START, network=network, prediction="eps"):
    """Where a sampler without noise ends, from `sigma(t_max) * x`."""
    x = schedule.sigma(jnp.asarray(schedule.t_max)) * jnp.asarray(x)
    return np.asarray(run(table, schedule, x, network, prediction))


@eqx.filter_jit
def run(table, schedule, x, network, prediction="eps"):
    """Where a sampler ends from a state: one program for all tables of the same shapes."""
    model = DiffusionModel(network, schedule, x.shape, prediction, clip=None)
    return run_table(table, model, x, jax.random.key(0))


def close(found, expected, tolerance=1e-8):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def same(table, other):
    for ours, theirs in zip(jax.tree.leaves(table), jax.tree.leaves(other), strict=True):
        close(ours, theirs, 1e-10)


# One answer is DDIM, whatever the solver.
FIRST_ORDER = {
    "dpmpp_multistep": partial(dpmpp_multistep, order=1),
    "dpmpp_singlestep": partial(dpmpp_singlestep, order=1),
    "unip": partial(unipc, order=1, corrector=False),
    "deis": partial(deis, degree=0),
    "ipndm": partial(ipndm, order=1),
    "exponential": partial(exponential, order=1, answer="eps"),
}


@pytest.mark.parametrize("name", FIRST_ORDER)
@pytest.mark.parametrize("end", [0.0, 0.01])
def test_one_answer_is_ddim(x64, name, end):
    schedule = CosineVP()
    base = DDIM(6, Times.of("karras", 6, end)).table(schedule)
    same(FIRST_ORDER[name](6, "karras", end=end).table(schedule), base)


def test_one_answer_with_all_noise_is_ddpm(x64):
    schedule = CosineVP()
    base = make_table(DDIM(6, "logsnr", eta=1.0), schedule)
    same(make_table(dpmpp_multistep(6, "logsnr", order=1, eta=1.0), schedule), base)


def lagrange(nodes, j, x):
    others = np.delete(nodes, j)
    return np.prod([(x - other) / (nodes[j] - other) for other in others], axis=0)


def integrated(schedule, grid, order, variable, answer):
    """A multistep table by adaptive quadrature of Lagrange's polynomials, in NumPy."""
    steps = len(grid) - 1
    alpha, sigma = (
        np.append([float(f(jnp.asarray(t))) for t in grid[:-1]], end)
        for f, end in ((schedule.alpha, 1.0), (schedule.sigma, 0.0))
    )

    def ratio(t):
        return float(noise_ratio(schedule, jnp.asarray(t)))

    def place(v):
        return float(time_at(schedule, jnp.asarray(v))) if variable == "time" else v

    clean, noise = np.zeros((2, steps, order))
    for n in range(steps):
        count = min(order, n + 1)
        rows = np.arange(n, n - count, -1)
        nodes = grid[rows] if variable == "time" else sigma[rows] / alpha[rows]
        weights = [
            alpha[n + 1]
            * scipy.integrate.quad(
                lambda v, j=j: lagrange(nodes, j, place(v)),  # noqa: B023
                sigma[n] / alpha[n],
                sigma[n + 1] / alpha[n + 1],
                epsabs=1e-12,
                epsrel=1e-12,
            )[0]
            for j in range(count)
        ]
        for j, row in enumerate(rows):
            noise[row, n - row] = weights[j]
        clean[n, 0] += alpha[n + 1]
        noise[n, 0] += alpha[n + 1] / alpha[n] * sigma[n]
    return clean, noise


@pytest.mark.parametrize("variable", ["time", "ratio"])
@pytest.mark.parametrize("count", [3, 4])
def test_deis_is_its_integrals(x64, variable, count):
    """tAB and rhoAB, integrated by SciPy, down to data."""
    schedule = LinearVP()
    grid = np.array([1.0, 0.7, 0.45, 0.25, 0.1, 0.02, 0.0])
    if variable == "time":
        family = deis(6, Times.fit(grid), count - 1, lower_order_final=False)
    else:
        family = exponential(6, Times.fit(grid), count, "eps", "ratio", lower_order_final=False)
    table = make_table(family, schedule)
    clean, noise = integrated(schedule, grid, count, variable, "eps")
    close(table.clean, clean)
    close(table.noise, noise)


def test_three_s_with_all_answers_is_an_integral(x64):
    """The third-order step over the log-SNR in x0, by SciPy."""
    schedule = CosineVP()
    table = make_table(dpmpp_singlestep(4, "logsnr", 3, exact_moments=True), schedule)
    times = np.asarray(table.times)
    half = np.array([-np.log(float(noise_ratio(schedule, jnp.asarray(t)))) for t in times])
    sigma = float(schedule.sigma(jnp.asarray(times[3])))
    weights = [
        sigma
        * scipy.integrate.quad(
            lambda v, j=j: np.exp(v) * lagrange(half[:3], j, v), half[0], half[3], epsrel=1e-12
        )[0]
        for j in range(3)
    ]
    back = sigma / float(schedule.sigma(jnp.asarray(times[0])))
    close(table.clean[0, 2], weights[0] + back * float(schedule.alpha(jnp.asarray(times[0]))))
    close([table.clean[1, 1], table.clean[2, 0]], weights[1:])
    close([table.noise[0, 2], table.noise[1, 1], table.noise[2, 0]], [sigma, 0, 0])


@pytest.mark.parametrize("method", METHODS)
def test_runge_kutta_is_diffrax(x64, method):
    """On the same steps in sigma / alpha; then, from its least, Euler's to data."""
    schedule, stages = CosineVP(), {"Bosh3": 3, "Dopri5": 6, "Tsit5": 6, "Dopri8": 13}
    steps = 3
    nfe = stages.get(method, 2) * steps + 1
    family = runge_kutta(nfe, "karras", method)
    model = DiffusionModel(network, schedule, (3,), clip=None)
    grid = family.times(schedule)[1]
    v = jax.vmap(partial(noise_ratio, schedule))(grid[:-1])

    def slope(ratio, y, _):
        t = time_at(schedule, ratio)
        return model(schedule.alpha(t) * y, t).eps

    first, last = schedule.alpha(grid[0]), schedule.alpha(grid[-2])
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(slope),
        getattr(diffrax, method)(),
        v[0],
        v[-1],
        None,
        schedule.sigma(grid[0]) * START / first,
        stepsize_controller=diffrax.StepTo(v),
    )
    expected = model(last * solution.ys[-1], grid[-2]).x0
    table = make_table(family, schedule)
    assert table.nfe == nfe
    close(end_of(table, schedule), expected)


def test_runge_kutta_fills_up_with_euler(x64):
    """Evaluations that are left over are Euler's steps, the first; with few all are."""
    schedule = CosineVP()
    table = make_table(heun(6, "linear"), schedule)
    np.testing.assert_allclose(table.times, schedule.t_max * np.array([4, 3, 2, 2, 1, 1]) / 4)
    ddim = DDIM(6, "quadratic").table(schedule).to_depth(6)
    same(make_table(runge_kutta(6, "quadratic"), schedule), ddim)


def churned(schedule, grid, strength, low, high, noise, keys, x):
    """EDM's algorithm 2, for `alpha = 1`."""
    model = DiffusionModel(network, schedule, (3,), clip=None)
    steps, state = len(grid) - 1, 0
    for t, after in itertools.pairwise(grid):
        gain = min(strength / steps, np.sqrt(2) - 1) if low <= t <= high else 0
        raised = t * (1 + gain)
        if gain:
            fresh = draw(keys, state, (3,))
            x = x + np.sqrt(raised**2 - t**2) * noise * fresh
        slope = (x - model(x, jnp.asarray(raised)).x0) / raised
        following = x + (after - raised) * slope
        state += 1
        if after:
            other = (following - model(following, jnp.asarray(after)).x0) / after
            following = x + (after - raised) * (slope + other) / 2
            state += 1
        x = following
    return x


def test_heun_with_churn_is_edms_algorithm_2(x64):
    schedule, key = EDM(), jax.random.key(5)
    settings = {"churn": 3.0, "churn_low": 0.05, "churn_high": 50.0, "churn_noise": 1.01}
    family = heun(11, "karras", **settings)
    x = 80 * jnp.asarray(START)
    expected = churned(schedule, np.asarray(family.times(schedule)[1]), *settings.values(), key, x)
    model = DiffusionModel(network, schedule, (3,), clip=None)
    table = make_table(family, schedule)
    assert np.sum(np.asarray(table.fresh) > 0) == 4
    close(run_table(table, model, x, key), expected)


@pytest.mark.parametrize(
    "make",
    [
        partial(ipndm, order=4),
        partial(dpmpp_multistep, order=3),
        partial(dpmpp_singlestep, order=2),
        partial(unipc, order=3),
        partial(deis, degree=2),
        heun,
    ],
)
@pytest.mark.parametrize("name", ["cosine", "edm", "flow"])
def test_afs_is_the_same_with_an_analytic_first_answer(x64, make, name):
    """One evaluation less than the solver whose network knows the first answer by itself."""
    schedule, with_x0 = knowing(name)
    short = make(7, "quadratic", afs=True).table(schedule).to_depth(7)
    whole = make(8, "quadratic").table(schedule).to_depth(8)
    assert short.nfe == 7
    found = run(short, schedule, short.spread * jnp.asarray(START), network)
    close(found, end_of(whole, schedule, network=with_x0, prediction="x0"))


@functools.cache
def knowing(name):
    """A schedule, and a network of x0 that knows the first answer by itself."""
    schedule = MAKERS[name]()

    def with_x0(x, t):  # where alpha is 0 at first, eps gives no x0
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        scale = jnp.hypot(alpha, sigma)
        x0 = alpha * x / (scale * (scale + sigma))
        return jnp.where(t == schedule.t_max, x0, (x - sigma * network(x, t)) / alpha)

    return schedule, with_x0


def test_afs_takes_no_noise():
    for make in (partial(dpmpp_multistep, eta=1.0), partial(heun, churn=1.0)):
        with pytest.raises(ValueError, match="afs spares the first evaluation of the ODE"):
            make(5, afs=True)


# Every registered family, and what else is made of one.
SOLVERS = {
    **{name: load("families", name) for name in entries("families")},
    "exponential-3": partial(exponential, order=3),
    "heun-churn": partial(heun, churn=5.0),
    "ipndm-afs": partial(ipndm, afs=True),
    "heun-afs": partial(heun, afs=True),
    **{method: partial(runge_kutta, method=method) for method in METHODS},
    "gddim": lambda steps: GDDIM(steps, start=ipndm(steps, "karras")),
    "rddim": lambda steps: RDDIM(steps, start=unipc(steps, afs=True)),
}


CALLS = []


def counted(x, t):
    """The network, which notes each time that it is run."""
    jax.debug.callback(lambda: CALLS.append(1))
    return network(x, t)


# Steps of several evaluations leave some over, or not.
STAGED = ("runge-kutta", "heun", "heun-churn", "heun-afs", "dpmpp-2s", "dpmpp-3s", *METHODS)


@pytest.mark.parametrize(
    ("name", "steps"), [(name, 5) for name in SOLVERS] + [(n, k) for n in STAGED for k in (1, 8)]
)
def test_the_evaluations_are_those_of_the_table(name, steps):
    """Counted as the program runs: K calls of the network for a sample."""
    schedule = CosineVP()
    table = SOLVERS[name](steps).table(schedule)
    CALLS.clear()
    jax.block_until_ready(run(table, schedule, jnp.ones(3), counted))
    jax.effects_barrier()
    assert table.nfe == steps
    assert len(CALLS) == steps


MEANS, DEVIATIONS, SHARES = np.array([-1.0, 0.8]), np.array([0.5, 0.35]), np.array([0.4, 0.6])


def mean_of_data(x, sigma):
    """The exact estimate of x0 for a mixture of two Gaussians, where alpha is 1."""
    variance = DEVIATIONS**2 + sigma**2
    away = np.asarray(x)[:, None] - MEANS
    share = SHARES / np.sqrt(variance) * np.exp(-(away**2) / (2 * variance))
    each = MEANS + DEVIATIONS**2 / variance * away
    return np.sum(share * each, axis=1) / np.sum(share, axis=1)


STATES = 8 * np.array([-1.3, -0.4, 0.2, 0.9, 1.6])
FIRST, LAST = 8.0, 0.35  # sigma


@pytest.fixture(scope="module")
def exact_end():
    """Where the ODE takes the states, by SciPy."""
    solved = scipy.integrate.solve_ivp(
        lambda sigma, x: (x - mean_of_data(x, sigma)) / sigma,
        (FIRST, LAST),
        STATES,
        method="DOP853",
        rtol=1e-13,
        atol=1e-13,
    )
    return solved.y[:, -1]


def run_plainly(table):
    """A table without noise, in NumPy."""
    states = np.zeros((table.nfe + table.depth, len(STATES)))
    states[0] = STATES
    for n in range(table.nfe):
        sigma = float(table.times[n])
        x0 = mean_of_data(states[n], sigma)
        eps = (states[n] - x0) / sigma
        for d in range(table.depth):
            states[n + 1 + d] += float(table.clean[n, d]) * x0 + float(table.noise[n, d]) * eps
    return states[table.nfe]


# The order of each: of multistep solvers, of what makes one step of several evaluations of the
# grid, and of what makes several evaluations of one step. The midpoint rule keeps 2M's order, but
# the halved moment costs 3M one.
full = partial(partial, lower_order_final=False)
MULTISTEP = {
    "ddim": (DDIM, 1),
    "dpmpp-2m": (full(presets.dpmpp_2m), 2),
    "dpmpp-2m-exact": (full(presets.dpmpp_2m, exact_moments=True), 2),
    "dpmpp-3m": (full(presets.dpmpp_3m), 2),
    "dpmpp-3m-exact": (full(presets.dpmpp_3m, exact_moments=True), 3),
    "unip-2": (full(presets.unipc_2, corrector=False), 2),
    "unip-3": (full(presets.unipc_3, corrector=False), 3),
    "unipc-1": (full(unipc, order=1), 2),
    "unipc-2": (full(presets.unipc_2), 3),
    "unipc-2-bh1": (full(presets.unipc_2, b=1), 3),
    "unipc-3": (full(presets.unipc_3), 4),
    "deis-2": (full(presets.deis_2), 3),
    "deis-3": (full(presets.deis_3), 4),
    "exponential-eps-3": (full(exponential, order=3, answer="eps"), 3),
    "exponential-ratio-4": (full(exponential, order=4, answer="eps", variable="ratio"), 4),
}
SINGLESTEP = {
    "dpmpp-2s": (full(presets.dpmpp_2s), 2),
    "dpmpp-3s": (full(presets.dpmpp_3s), 3),
    "dpmpp-3s-exact": (full(presets.dpmpp_3s, exact_moments=True), 3),
}
STAGES = {"Heun": 2, "Midpoint": 2, "Ralston": 2, "Bosh3": 3, "Dopri5": 5, "Tsit5": 5}


def uneven(n, first, last):
    """The length h of n equal steps in the log of sigma, after and before powers of it."""

    def total(h):
        return n * h + sum(h**power for power in (*first, *last)) - np.log(FIRST / LAST)

    h = scipy.optimize.brentq(total, 1e-9, np.log(FIRST / LAST))
    lengths = [*(h**power for power in first), *[h] * n, *(h**power for power in last)]
    grid = FIRST * np.exp(-np.append(0, np.cumsum(lengths)))
    return h, Times.fit(grid, t_max=FIRST)


def slope(make, numbers, first, last, exact_end):
    """The slope of the logarithms of errors and of lengths, between two numbers of steps."""
    found = []
    for n in numbers:
        h, times = uneven(n, first, last)
        table = make_table(make(n, times), EDM(t_max=FIRST))
        found.append((h, np.max(np.abs(run_plainly(table) - exact_end))))
    (coarse, worse), (fine, better) = found
    return np.log(worse / better) / np.log(coarse / fine)


@pytest.mark.parametrize("name", MULTISTEP)
def test_order_of_multistep_solvers(x64, exact_end, name):
    """Their first steps, of fewer answers, are as much shorter as makes them no matter."""
    make, order = MULTISTEP[name]
    first = [(order + 2.5) / answers for answers in range(2, order + 1)]
    numbers = (160, 320) if name in ("unipc-2", "unipc-3") else (80, 160)
    found = slope(lambda n, times: make(len(times), times), numbers, first, [], exact_end)
    assert abs(found - order) < 0.15


@pytest.mark.parametrize("name", SINGLESTEP)
def test_order_of_singlestep_solvers(x64, exact_end, name):
    make, order = SINGLESTEP[name]
    found = slope(make, (96, 192), [], [], exact_end)
    assert abs(found - order) < 0.15


@pytest.mark.parametrize("method", STAGES)
def test_order_of_runge_kutta_methods(x64, exact_end, method):
    """Their last step, of Euler's, is as much shorter."""
    order = STAGES[method]
    stages = len(Tableau.of(method).places)

    def make(n, times):
        return runge_kutta(n * stages + 1, times, method)

    found = slope(make, (24, 48), [], [order], exact_end)
    assert abs(found - order) < 0.15

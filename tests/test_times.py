"""Time grids: valid for any parameters, and exact where they are fitted."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from samplerzoo import DDIM, DDPM, GDDIM, RDDIM, RectifiedFlow, Times
from samplerzoo.core.families import GRIDS
from samplerzoo.core.schedule import noise_ratio
from schedules import MAKERS

FAMILIES = (DDPM, DDIM, RDDIM, GDDIM)


@st.composite
def parameters(draw, most):
    steps = draw(st.sampled_from([1, 2, 5, most]))  # few, for each is compiled
    reals = st.floats(-1e6, 1e6) | st.floats(-3, 3)
    return draw(arrays(np.float64, (2, steps), elements=reals))


def plain(t_max):
    """A schedule that only its `t_max` matters of."""
    return RectifiedFlow(t_max=t_max)


@eqx.filter_jit
def place(times, schedule):
    return times(schedule)


def check_falls(times, schedule):
    told, grid = map(np.asarray, place(times, schedule))
    assert told.shape == (len(grid) - 1,)
    assert told[0] == grid[0]
    for row in (told, grid):
        assert np.all(np.diff(row) < 0)
        assert row[0] <= schedule.t_max
    assert told[-1] > grid[-1]
    assert grid[-1] == 0


ANCHORS = [*GRIDS, "karras-5", 1.0, 0.37]  # numbers: the first share of a list


def anchored(anchor, steps):
    """A name, or a list that falls from a first share."""
    if isinstance(anchor, str):
        return anchor
    return tuple(float(anchor * (1 - n / steps)) for n in range(steps + 1))


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "most"), [("float32", 40), ("float64", 300)])
def test_any_parameters_give_falling_times(dtype, most):
    @settings(deadline=None, max_examples=60)
    @given(parameters(most), st.sampled_from(ANCHORS), st.sampled_from(list(MAKERS)))
    def check(reals, anchor, name):
        with jax.enable_x64(dtype == "float64"):
            moves, shift = (jnp.asarray(row, dtype) for row in reals)
            check_falls(Times(moves, shift, anchored(anchor, len(moves))), MAKERS[name]())

    check()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("anchor", GRIDS)
@pytest.mark.parametrize("steps", [1, 2, 3, 40])
def test_the_farthest_parameters_give_falling_times(dtype, anchor, steps):
    """All the way in one gap, wherever it is, and told times pushed together or apart."""
    with jax.enable_x64(dtype == "float64"):
        for n in range(steps):
            for sign in (-1, 1):
                moves = jnp.zeros(steps, dtype).at[n].set(sign * 1e6)
                shift = jnp.asarray([(-1.0) ** m * sign * 1e6 for m in range(steps)], dtype)
                check_falls(Times(moves, shift, anchor), MAKERS["edm"]())


@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from([1, 2, 7, 30]), st.floats(0.5, 2000), st.floats(0.2, 1))
def test_fit_gives_back_grid_and_told_times(data, steps, t_max, start):
    gaps = data.draw(arrays(np.float64, steps, elements=st.floats(0.05, 1)))
    moves = data.draw(arrays(np.float64, steps, elements=st.floats(-0.99, 0.99)))
    grid = np.append(np.cumsum(gaps[::-1])[::-1], 0) * (start * t_max / gaps.sum())
    grid[0] = min(grid[0], t_max)
    near = -np.diff(grid)
    told = grid[:-1].copy()
    told[1:] += moves[1:] * 0.45 * near[1:] * near[:-1] / (near[1:] + near[:-1])
    with jax.enable_x64(True):
        found_told, found_grid = Times.fit(grid, told, t_max=t_max)(plain(t_max))
        np.testing.assert_allclose(found_grid, grid, rtol=1e-12)
        np.testing.assert_allclose(found_told, told, rtol=1e-12)
        found_told, found_grid = Times.fit(grid, t_max=t_max)(plain(t_max))
        np.testing.assert_allclose(found_grid, grid, rtol=1e-12)
        assert np.array_equal(found_told, found_grid[:-1])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
@pytest.mark.parametrize("stride", ["linear", "quadratic"])
@pytest.mark.parametrize("steps", [1, 2, 5, 10, 50])
def test_strides(dtype, tolerance, stride, steps):
    share = np.array([1 - n / steps for n in range(steps + 1)])
    expected = {"linear": 1000 * share, "quadratic": 1000 * share**2}[stride]
    with jax.enable_x64(dtype == "float64"):
        told, grid = Times.of(stride, steps)(plain(1000.0))
        assert told.dtype == grid.dtype == dtype
        np.testing.assert_allclose(grid, expected, rtol=tolerance)
        np.testing.assert_allclose(told, expected[:-1], rtol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_thousand_steps(dtype):
    with jax.enable_x64(dtype == "float64"):
        check_falls(Times.of("linear", 1000), plain(1000.0))
        np.testing.assert_allclose(
            Times.of("linear", 1000)(plain(1000.0))[1], np.arange(1000, -1, -1), rtol=1e-5
        )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("steps", [0, -3])
def test_a_bad_number_of_steps_is_refused(family, steps):
    with pytest.raises(ValueError, match="must be a whole number of at least 1"):
        family(steps)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unknown_stride_is_refused(family):
    for name in ("cubic", "karras-", "karras-0", "karras-nan", "karras-x", "linear-2"):
        with pytest.raises(ValueError, match=f"{name!r}; it must be one of linear, quadratic, log"):
            family(5, name)


def test_true_is_no_number_of_steps():
    with pytest.raises(ValueError, match="whole number"):
        Times.of("linear", True)


def test_times_of_another_length_are_refused():
    with pytest.raises(ValueError, match="times has 4 steps where 5 are asked"):
        DDIM(5, Times.of("linear", 4))


@pytest.mark.parametrize(
    "grid", [[1, 0.5, 0.5, 0], [1, 0.5, -0.1], [0.5, 1, 0], [0], [1.2, 0.5, 0]]
)
def test_a_grid_that_does_not_fall_is_refused(grid):
    with pytest.raises(ValueError, match="must fall strictly"):
        Times.fit(np.asarray(grid, float))


@pytest.mark.parametrize("told", [[1, 0.2], [1, 0.8], [0.9, 0.5], [1, np.nan]])
def test_told_times_out_of_reach_are_refused(told):
    with pytest.raises(ValueError, match="told time"):
        Times.fit(np.array([1.0, 0.5, 0.0]), np.asarray(told, float))


def test_gradient_of_the_grid_agrees_with_finite_differences(x64):
    rng = np.random.default_rng(0)
    reals, way = map(jnp.asarray, rng.normal(size=(2, 2, 6)))
    weights = rng.normal(size=13)

    def total(reals):
        told, grid = Times(reals[0], reals[1], "quadratic")(plain(1000.0))
        return jnp.dot(weights, jnp.concatenate([told, grid]))

    slope = jnp.vdot(jax.grad(total)(reals), way)
    numeric = (total(reals + 1e-6 * way) - total(reals - 1e-6 * way)) / 2e-6
    np.testing.assert_allclose(slope, numeric, rtol=1e-7)


def ratios(schedule, times):
    return np.asarray(jax.vmap(lambda t: noise_ratio(schedule, t))(times), np.float64)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("end", [0.0, 0.01])
@pytest.mark.parametrize("rho", [7.0, 5.0, None])
def test_karras_and_log_snr_are_their_formulas(x64, name, end, rho):
    """From `t_max` to the first trained level or EDM's least (or to the end), then data."""
    schedule, steps = MAKERS[name](), 9
    end = end * schedule.t_max
    anchor = {7.0: "karras", 5.0: "karras-5", None: "logsnr"}[rho]
    told, grid = place(Times.of(anchor, steps, end), schedule)
    assert grid[0] == schedule.t_max
    assert grid[-1] == end
    inner = grid if end else grid[:-1]
    if name == "flow":  # its first ratio is infinite, and taken as 500
        found = np.append(500.0, ratios(schedule, inner[1:]))
    else:
        found = ratios(schedule, inner)
    least = {"discrete": found[0] and float(noise_ratio(schedule, jnp.asarray(1.0)))}
    low = float(noise_ratio(schedule, jnp.asarray(end))) if end else least.get(name, 0.002)
    high = found[0]
    ramp = np.linspace(0, 1, len(inner))
    if rho is None:
        expected = np.exp(np.log(high) + ramp * (np.log(low) - np.log(high)))
    else:
        expected = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_array_equal(told, grid[:-1])


def test_edm_has_edms_own_sigmas(x64):
    """Karras et al. 2022, table 1: sigma from 80 to 0.002, rho 7, then 0."""
    sigmas = Times.of("karras", 18)(MAKERS["edm"]())[1]
    ramp = np.arange(18) / 17
    expected = (80 ** (1 / 7) + ramp * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(sigmas, np.append(expected, 0), rtol=1e-12)


@pytest.mark.parametrize("grid", GRIDS)
def test_an_end_before_data(x64, grid):
    """K + 1 times from `t_max` to the end; DDIM's last state is at its level."""
    schedule = MAKERS["discrete"]()
    times = Times.of(grid, 6, end=1.0)
    assert times(schedule)[1][-1] == 1.0
    table = DDIM(6, times).table(schedule)
    level = schedule.alpha(jnp.asarray(1.0)), schedule.sigma(jnp.asarray(1.0))
    np.testing.assert_allclose((table.clean[-1, 0], table.noise[-1, 0]), level, rtol=1e-12)
    if grid == "linear":
        np.testing.assert_allclose(times(schedule)[1], np.linspace(1000, 1, 7), rtol=1e-12)


@pytest.mark.parametrize("end", [-1.0, np.inf, np.nan])
def test_an_end_that_is_no_time_is_refused(end):
    with pytest.raises(ValueError, match="it must be a time of the schedule"):
        Times.of("linear", 5, end)


def test_an_end_beside_times_with_another_is_refused():
    with pytest.raises(ValueError, match="have an end of their own"):
        Times.of(Times.of("linear", 5), 5, end=1.0)

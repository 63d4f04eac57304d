"""Time grids: valid for any parameters, and exact where they are fitted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from samplerzoo import DDIM, DDPM, GDDIM, RDDIM, Times
from samplerzoo.core.families import STRIDES

FAMILIES = (DDPM, DDIM, RDDIM, GDDIM)


@st.composite
def parameters(draw, most):
    steps = draw(st.sampled_from([1, 2, 5, most]))  # few, for each is compiled
    reals = st.floats(-1e6, 1e6) | st.floats(-3, 3)
    return draw(arrays(np.float64, (2, steps), elements=reals))


def check_falls(times, t_max):
    told, grid = map(np.asarray, times(t_max))
    assert told.shape == (len(grid) - 1,)
    assert told[0] == grid[0]
    for row in (told, grid):
        assert np.all(np.diff(row) < 0)
        assert row[0] <= t_max
    assert told[-1] > 0
    assert grid[-1] == 0


@pytest.mark.parametrize(("dtype", "most"), [("float32", 40), ("float64", 300)])
def test_any_parameters_give_falling_times(dtype, most):
    @settings(deadline=None, max_examples=100)
    @given(parameters(most), st.sampled_from([1.0, 0.37]), st.sampled_from([1000.0, 0.9946]))
    def check(reals, start, t_max):
        with jax.enable_x64(dtype == "float64"):
            gaps, shift = (jnp.asarray(row, dtype) for row in reals)
            check_falls(Times(gaps, shift, start), t_max)

    check()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("steps", [1, 2, 3, 40])
def test_the_farthest_parameters_give_falling_times(dtype, steps):
    """All the way in one gap, wherever it is, and told times pushed together or apart."""
    with jax.enable_x64(dtype == "float64"):
        for n in range(steps):
            for sign in (-1, 1):
                gaps = jnp.zeros(steps, dtype).at[n].set(sign * 1e6)
                shift = jnp.asarray([(-1.0) ** m * sign * 1e6 for m in range(steps)], dtype)
                check_falls(Times(gaps, shift), 1000.0)


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
        found_told, found_grid = Times.fit(grid, told, t_max=t_max)(t_max)
        np.testing.assert_allclose(found_grid, grid, rtol=1e-12)
        np.testing.assert_allclose(found_told, told, rtol=1e-12)
        found_told, found_grid = Times.fit(grid, t_max=t_max)(t_max)
        np.testing.assert_allclose(found_grid, grid, rtol=1e-12)
        assert np.array_equal(found_told, found_grid[:-1])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("steps", [1, 2, 5, 10, 50])
def test_strides(dtype, tolerance, stride, steps):
    share = np.array([1 - n / steps for n in range(steps + 1)])
    expected = {"linear": 1000 * share, "quadratic": 1000 * share**2}[stride]
    with jax.enable_x64(dtype == "float64"):
        told, grid = Times.of(stride, steps)(1000.0)
        assert told.dtype == grid.dtype == dtype
        np.testing.assert_allclose(grid, expected, rtol=tolerance)
        np.testing.assert_allclose(told, expected[:-1], rtol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_thousand_steps(dtype):
    with jax.enable_x64(dtype == "float64"):
        check_falls(Times.of("linear", 1000), 1000.0)
        np.testing.assert_allclose(
            Times.of("linear", 1000)(1000.0)[1], np.arange(1000, -1, -1), rtol=1e-5
        )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("steps", [0, -3])
def test_a_bad_number_of_steps_is_refused(family, steps):
    with pytest.raises(ValueError, match="must be a whole number of at least 1"):
        family(steps)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unknown_stride_is_refused(family):
    with pytest.raises(ValueError, match="'cubic'; it must be one of linear, quadratic"):
        family(5, "cubic")


def test_true_is_no_number_of_steps():
    with pytest.raises(ValueError, match="whole number"):
        Times.of("linear", True)


def test_times_of_another_length_are_refused():
    with pytest.raises(ValueError, match="times has 4 steps where 5 are asked"):
        DDIM(5, Times.of("linear", 4))


@pytest.mark.parametrize("grid", [[1, 0.5, 0.5, 0], [1, 0.5], [0.5, 1, 0], [0], [1.2, 0.5, 0]])
def test_a_grid_that_does_not_fall_to_data_is_refused(grid):
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
        told, grid = Times(reals[0], reals[1])(1000.0)
        return jnp.dot(weights, jnp.concatenate([told, grid]))

    slope = jnp.vdot(jax.grad(total)(reals), way)
    numeric = (total(reals + 1e-6 * way) - total(reals - 1e-6 * way)) / 2e-6
    np.testing.assert_allclose(slope, numeric, rtol=1e-7)

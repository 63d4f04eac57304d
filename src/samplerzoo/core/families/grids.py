"""The grids that have a name: K + 1 times from `t_max` to data, or to an earlier end."""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..schedule import AbstractSchedule, least_time, noise_ratio, time_at
from ..types import Grid, Scalar

Numbers: TypeAlias = Float[np.ndarray, "knots"]  # a grid that the levels play no part in
_MOST = 500.0  # of sigma / alpha: where a grid starts for a schedule that keeps nothing of data


def linear(schedule: AbstractSchedule, steps: int, end: float) -> Numbers:
    """Space the times evenly."""
    return end + (schedule.t_max - end) * _shares(steps)


def quadratic(schedule: AbstractSchedule, steps: int, end: float) -> Numbers:
    """Space the square roots of the times evenly (DDIM's quadratic)."""
    first, last = schedule.t_max**0.5, end**0.5
    return (last + (first - last) * _shares(steps)) ** 2


def logsnr(schedule: AbstractSchedule, steps: int, end: float) -> Grid:
    """Space the log-SNR evenly, down to the least time where the end is data.

    Source: Lu et al. 2022, DPM-Solver, section 3.4.
    """
    return _over_ratios(schedule, steps, end, jnp.log, jnp.exp)


def karras(schedule: AbstractSchedule, steps: int, end: float, rho: float = 7.0) -> Grid:
    """Space `(sigma / alpha)^(1 / rho)` evenly, down to the least time where the end is data.

    Source: Karras et al. 2022, eq. 5.
    """
    return _over_ratios(
        schedule, steps, end, lambda ratio: ratio ** (1 / rho), lambda knot: knot**rho
    )


GRIDS: dict[str, Callable[..., Grid | Numbers]] = {
    "linear": linear,
    "quadratic": quadratic,
    "logsnr": logsnr,
    "karras": karras,
}
STRIDES = ("linear", "quadratic")  # those of DDIM's paper, with which baselines are run


def named_grid(name: str) -> Callable[[AbstractSchedule, int, float], Grid | Numbers]:
    """Find the grid of a name: one of `GRIDS`, or `karras-RHO` for another exponent than 7.

    Args:
        name: Such as `linear`, `logsnr` or `karras-5`.

    Returns:
        A function of a schedule, a number of steps and the time where the grid ends.

    Raises:
        ValueError: For another name.
    """
    base, dash, number = name.partition("-")
    if not dash and base in GRIDS:
        return GRIDS[base]
    rho = _positive(number)
    if base != "karras" or rho is None:
        raise ValueError(f"times is {name!r}; it must be one of {', '.join(GRIDS)} or karras-RHO.")
    return lambda schedule, steps, end: karras(schedule, steps, end, rho)


def _over_ratios(
    schedule: AbstractSchedule,
    steps: int,
    end: float,
    to_knot: Callable[[Array], Array],
    to_ratio: Callable[[Array], Array],
) -> Grid:
    """Times whose knots, a function of `sigma / alpha`, are evenly spaced."""

    def between(gaps: int, last: Scalar) -> Grid:
        first = jnp.asarray(schedule.t_max, last.dtype)
        if gaps == 0:
            return first[None]
        high = to_knot(jnp.minimum(noise_ratio(schedule, first), _MOST))
        low = to_knot(noise_ratio(schedule, last))
        knots = low + (high - low) * jnp.asarray(_shares(gaps)[1:-1], low.dtype)
        inner = jax.vmap(lambda knot: time_at(schedule, to_ratio(knot)))(knots)
        return jnp.concatenate([first[None], inner, last[None]])

    if end:
        return between(steps, jnp.asarray(end))
    return jnp.append(between(steps - 1, least_time(schedule)), 0)


def _shares(steps: int) -> Float[np.ndarray, "knots"]:
    """From 1 to 0 in so many equal gaps."""
    return np.arange(steps, -1, -1) / steps


def _positive(text: str) -> float | None:
    """A positive number, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < float("inf") else None

"""The reference: the probability-flow ODE solved by diffrax, as exactly as asked."""

from functools import partial

import diffrax
import jax
import jax.numpy as jnp

from .model import DiffusionModel
from .types import State


def solve_ode(
    model: DiffusionModel, x: State, t_end: float, rtol: float = 1e-6, atol: float = 1e-6
) -> State:
    """The end of the probability-flow ODE from state `x` at `t_max`, estimated at `t_end` > 0.

    With `alpha = r cos(angle)`, `sigma = r sin(angle)` it is, for every schedule,
    `d(x / r) / d angle = cos(angle) eps - sin(angle) x0` (DDIM's eq. 14 without its singularity
    where alpha is 0): the limit of DDIM for many steps. The times of an angle are found by
    bisection, since levels known at the integers have kinks in their derivatives. At `t_end` the
    model's x0 is returned. Adaptive (Dormand-Prince 5), for one sample.
    """
    schedule = model.schedule
    first, last = jnp.asarray(schedule.t_max, x.dtype), jnp.asarray(t_end, x.dtype)

    def angle(t):
        return jnp.arctan2(schedule.sigma(t), schedule.alpha(t))

    def scale(t):
        return jnp.hypot(schedule.alpha(t), schedule.sigma(t))

    def halve(_, bracket, wanted):
        low, high = bracket
        middle = (low + high) / 2
        below = angle(middle) < wanted
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    def slope(wanted, y, _):
        t, _ = jax.lax.fori_loop(0, 60, partial(halve, wanted=wanted), (last, first))
        x0, eps = model(scale(t) * y, t)
        return jnp.cos(wanted) * eps - jnp.sin(wanted) * x0

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(slope),
        diffrax.Dopri5(),
        angle(first),
        angle(last),
        None,
        x / scale(first),
        stepsize_controller=diffrax.PIDController(rtol, atol),
        max_steps=100_000,
    )
    assert solution.ys is not None
    return model(scale(last) * solution.ys[-1], last).x0

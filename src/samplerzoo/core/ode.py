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
    """Solve the probability-flow ODE of a model for one sample, as exactly as asked: the reference.

    With `alpha = r cos(angle)`, `sigma = r sin(angle)` it is, for every schedule,
    `d(x / r) / d angle = cos(angle) eps - sin(angle) x0` (DDIM's eq. 14 without its singularity
    where alpha is 0): the limit of DDIM for many steps. It is solved by Dormand and Prince's method
    of order 5 with adaptive steps. The times of an angle are found by bisection, since levels known
    at the integers have kinks in their derivatives.

    Args:
        model: The model.
        x: The state at the schedule's `t_max`, of the model's shape.
        t_end: The time to end at, above 0, where the model's x0 is returned.
        rtol: The relative tolerance of a step.
        atol: The absolute tolerance of a step.

    Returns:
        The sample, of the model's shape.

    Source:
        Song et al. 2021 (arXiv 2011.13456), section 4.3; Song, Meng and Ermon 2021
        (arXiv 2010.02502), eq. 14.
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

"""The reference: the probability-flow ODE solved by diffrax, as exactly as asked."""

import diffrax
import jax
import jax.numpy as jnp

from ._types import State
from .model import DiffusionModel


def solve_ode(
    model: DiffusionModel, x: State, t_end: float, rtol: float = 1e-6, atol: float = 1e-6
) -> State:
    """The end of the probability-flow ODE from state `x` at `t_max`, estimated at `t_end` > 0.

    In `y = x / alpha` and `rho = sigma / alpha` the ODE is `dy / drho = eps` (Song, Meng, Ermon
    2021, eq. 14), integrated here along `t`; at `t_end` the model's x0 is returned. It is the
    limit of DDIM for many steps. Adaptive (Dormand-Prince 5), for one sample.
    """
    schedule = model.schedule

    def rho(t):
        return schedule.sigma(t) / schedule.alpha(t)

    def slope(t, y, _):
        return jax.grad(rho)(t) * model(schedule.alpha(t) * y, t).eps

    first, last = jnp.asarray(schedule.t_max, x.dtype), jnp.asarray(t_end, x.dtype)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(slope),
        diffrax.Dopri5(),
        first,
        last,
        None,
        x / schedule.alpha(first),
        stepsize_controller=diffrax.PIDController(rtol, atol),
        max_steps=100_000,
    )
    assert solution.ys is not None
    return model(schedule.alpha(last) * solution.ys[-1], last).x0

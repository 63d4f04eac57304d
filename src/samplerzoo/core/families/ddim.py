"""DDIM (Song, Meng, Ermon 2021, eq. 12 and 16)."""

import jax
import jax.numpy as jnp

from ..schedule import AbstractSchedule
from ..table import StepTable
from ..types import Grid, Steps
from .family import AbstractFamily, levels, sqrt
from .times import Times


class DDIM(AbstractFamily):
    """`x_s = alpha_s x0 + sqrt(sigma_s^2 - lambda^2) eps + lambda z`, `lambda = eta * posterior`.

    `eta = 0` is deterministic, 1 is DDPM with the posterior variance. With `per_step`, eta is a
    free parameter of every step; else only the times can be searched.
    """

    times: Times
    eta: Steps | float

    def __init__(
        self, steps: int, times: str | Times = "linear", eta: float = 0.0, per_step: bool = False
    ):
        if not 0 <= eta <= 1:
            raise ValueError(f"eta is {eta}; it must lie between 0 (DDIM) and 1 (DDPM).")
        self.times = Times.of(times, steps)
        self.eta = jnp.full(steps, float(eta)) if per_step else float(eta)

    def table(self, schedule: AbstractSchedule) -> StepTable:
        told, grid = self.times(schedule.t_max)
        alpha, sigma = levels(schedule, grid)
        fresh = jnp.clip(self.eta * posterior(schedule, told, grid), -sigma, sigma)
        noise = sqrt(sigma**2 - fresh**2)
        return StepTable(told, alpha[:, None], noise[:, None], fresh)


def posterior(schedule: AbstractSchedule, told: Steps, grid: Grid) -> Steps:
    """The standard deviation of `q(x_s | x_t, x0)`, from the told times to the grid's next."""
    _, sigma = levels(schedule, grid)
    return forward(schedule, told, grid) * sigma / jax.vmap(schedule.sigma)(told)


def forward(schedule: AbstractSchedule, told: Steps, grid: Grid) -> Steps:
    """The standard deviation of `q(x_t | x_s)`, DDPM's larger choice."""
    alpha, sigma = levels(schedule, grid)
    alpha_t, sigma_t = jax.vmap(schedule.alpha)(told), jax.vmap(schedule.sigma)(told)
    return sqrt(sigma_t**2 - (alpha_t * sigma / alpha) ** 2)

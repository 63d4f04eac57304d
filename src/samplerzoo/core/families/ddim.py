"""DDIM (Song, Meng, Ermon 2021, eq. 12 and 16)."""

import jax
import jax.numpy as jnp

from ..schedule import AbstractSchedule
from ..table import StepTable
from ..types import Grid, Steps
from .family import AbstractFamily, levels, sqrt
from .times import Times


class DDIM(AbstractFamily):
    """Step as DDIM does, with as much fresh noise as `eta` says.

    `x_s = alpha_s x0 + sqrt(sigma_s^2 - lambda^2) eps + lambda z`, with `lambda = eta * posterior`.
    With `per_step`, eta is a free parameter of every step; else only the times can be searched.

    Args:
        steps: K, the number of network evaluations.
        times: A grid's name, see `Times.of`, or Times.
        eta: The share of DDPM's fresh noise: 0 is deterministic, 1 is DDPM with the posterior
            variance.
        per_step: Free eta at every step.

    Raises:
        ValueError: `eta` is not in [0, 1], or the steps or times are not valid.

    Source:
        Song, Meng and Ermon 2021 (arXiv 2010.02502), eq. 12 and 16.
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
        told, grid = self.times(schedule)
        alpha, sigma = levels(schedule, grid)
        fresh = jnp.clip(self.eta * posterior(schedule, told, grid), -sigma, sigma)
        noise = sqrt(sigma**2 - fresh**2)
        return StepTable(told, alpha[:, None], noise[:, None], fresh)


def start_at(
    start: AbstractFamily | None, steps: int, times: str | Times | None, eta: float
) -> AbstractFamily:
    """Return the sampler to which a family adds its deviations: DDIM where none is given."""
    if start is None:
        return DDIM(steps, "linear" if times is None else times, eta)
    if times is not None or eta:
        raise ValueError("A start has its own times and eta; give them to it, and none beside it.")
    return start


def start_table(start: AbstractFamily, schedule: AbstractSchedule, steps: int) -> StepTable:
    """Return the start's table, or raise ValueError where it has not `steps` rows."""
    table = start.table(schedule)
    if table.steps != steps:
        raise ValueError(f"The start has {table.steps} evaluations where {steps} steps are asked.")
    return table


def posterior(schedule: AbstractSchedule, told: Steps, grid: Grid) -> Steps:
    """The standard deviation of `q(x_s | x_t, x0)`, from the told times to the grid's next."""
    _, sigma = levels(schedule, grid)
    return forward(schedule, told, grid) * sigma / jax.vmap(schedule.sigma)(told)


def forward(schedule: AbstractSchedule, told: Steps, grid: Grid) -> Steps:
    """The standard deviation of `q(x_t | x_s)`, DDPM's larger choice."""
    alpha, sigma = levels(schedule, grid)
    alpha_t, sigma_t = jax.vmap(schedule.alpha)(told), jax.vmap(schedule.sigma)(told)
    return sqrt(sigma_t**2 - (alpha_t * sigma / alpha) ** 2)

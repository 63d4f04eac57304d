"""RDDIM: the Markov family of the DDSS paper (Watson et al. 2022), free at every step."""

import jax
import jax.numpy as jnp

from ..schedule import AbstractSchedule
from ..table import StepTable
from ..types import Steps
from .ddim import DDIM
from .family import AbstractFamily
from .times import Times


class RDDIM(AbstractFamily):
    """Step from the last state with all coefficients free: DDIM until it is searched.

    `x_s ~ N(mu x0 + nu x_t, lambda^2 I)` with mu, nu and lambda free at every step: the Markov
    family of the DDSS paper. The fields hold the differences from DDIM(eta), 0 at the start, in
    units of the marginal's scale `sqrt(alpha^2 + sigma^2)` (1 for a variance-preserving schedule).

    Args:
        steps: K, the number of network evaluations.
        times: `linear` or `quadratic` stride, or Times.
        eta: The share of DDPM's fresh noise to start from, in [0, 1].

    Raises:
        ValueError: eta is not in [0, 1], or the steps or times are not valid.

    Source:
        Watson et al. 2022 (arXiv 2202.05830), eq. 10 and 11.
    """

    ddim: DDIM
    mu: Steps
    nu: Steps
    sigma: Steps

    def __init__(self, steps: int, times: str | Times = "linear", eta: float = 0.0):
        self.ddim = DDIM(steps, times, eta)
        self.mu = self.nu = self.sigma = jnp.zeros(steps)

    def table(self, schedule: AbstractSchedule) -> StepTable:
        base = self.ddim.table(schedule)
        alpha, sigma = jax.vmap(schedule.alpha)(base.times), jax.vmap(schedule.sigma)(base.times)
        here = jnp.hypot(alpha, sigma)
        there = jnp.concatenate([here[1:], jnp.ones_like(here[:1])])
        nu = self.nu * there / here
        return StepTable(
            base.times,
            base.clean + (self.mu * there + nu * alpha)[:, None],
            base.noise + (nu * sigma)[:, None],
            base.fresh + self.sigma * there,
        )

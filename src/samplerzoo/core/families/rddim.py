"""RDDIM: the Markov family of the DDSS paper (Watson et al. 2022), free at every step."""

import dataclasses

import jax
import jax.numpy as jnp

from ..schedule import AbstractSchedule
from ..table import StepTable
from ..types import Steps
from .ddim import start_at, start_table
from .family import AbstractFamily
from .times import Times


class RDDIM(AbstractFamily):
    """Step from the last state with all coefficients free: its start until it is searched.

    `x_s ~ N(mu x0 + nu x_t, lambda^2 I)` with mu, nu and lambda free at every step: the Markov
    family of the DDSS paper, which starts as DDIM. The fields hold the differences from the start,
    0 at first, in units of the marginal's scale `sqrt(alpha^2 + sigma^2)` (1 for a
    variance-preserving schedule). They are added to any start, such as a solver that looks further
    back.

    Args:
        steps: K, the number of network evaluations.
        times: A grid's name (`linear` by default) or Times; a start has its own.
        eta: The share of DDPM's fresh noise to start from, in [0, 1].
        start: Another sampler than DDIM(eta), of as many evaluations.

    Raises:
        ValueError: `eta` is not in [0, 1], the steps or times are not valid, or times or eta stand
            beside a start.

    Source:
        Watson et al. 2022 (arXiv 2202.05830), eq. 10 and 11.
    """

    start: AbstractFamily
    mu: Steps
    nu: Steps
    sigma: Steps

    def __init__(
        self,
        steps: int,
        times: str | Times | None = None,
        eta: float = 0.0,
        start: AbstractFamily | None = None,
    ):
        self.start = start_at(start, steps, times, eta)
        self.mu = self.nu = self.sigma = jnp.zeros(steps)

    def table(self, schedule: AbstractSchedule) -> StepTable:
        base = start_table(self.start, schedule, len(self.mu))
        alpha, sigma = jax.vmap(schedule.alpha)(base.times), jax.vmap(schedule.sigma)(base.times)
        here = jnp.hypot(alpha, sigma)
        there = jnp.concatenate([here[1:], jnp.ones_like(here[:1])])
        nu = self.nu * there / here
        return dataclasses.replace(
            base,
            clean=base.clean.at[:, 0].add(self.mu * there + nu * alpha),
            noise=base.noise.at[:, 0].add(nu * sigma),
            fresh=base.fresh + self.sigma * there,
        )

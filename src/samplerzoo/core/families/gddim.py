"""GDDIM: the non-Markovian family of the DDSS paper (eq. 13-14, called GGDM there)."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..schedule import AbstractSchedule
from ..table import StepTable
from ..types import Steps
from .ddim import start_at, start_table
from .family import AbstractFamily
from .times import Times


class GDDIM(AbstractFamily):
    """Step from all past states with all coefficients free: its start until it is searched.

    `x_s ~ N(mu0 x0 + sum_u mu_u x_u, lambda^2 I)` over the last `depth` states `x_u`: the
    non-Markovian family of the DDSS paper, called GGDM there. `mu[n, d]` is the weight of state
    `x_n` in `x_{n+1+d}`. The fields hold differences from the start, DDIM(eta) by default, as
    RDDIM's do; a start that looks further back than `depth` keeps its own weights there.

    Args:
        steps: K, the number of network evaluations.
        times: A grid's name (`linear` by default) or Times; a start has its own.
        eta: The share of DDPM's fresh noise to start from, in [0, 1].
        depth: How many past states enter a step, 1 to K; all by default.
        start: Another sampler than DDIM(eta), of as many evaluations.

    Raises:
        ValueError: The depth is not in 1..K, eta is not in [0, 1], the steps or times are not
            valid, or times or eta stand beside a start.

    Source:
        Watson et al. 2022 (arXiv 2202.05830), eq. 13 and 14.
    """

    start: AbstractFamily
    mu0: Steps
    mu: Float[Array, "K depth"]
    sigma: Steps

    def __init__(
        self,
        steps: int,
        times: str | Times | None = None,
        eta: float = 0.0,
        depth: int | None = None,
        start: AbstractFamily | None = None,
    ):
        self.start = start_at(start, steps, times, eta)
        depth = steps if depth is None else depth
        if not 1 <= depth <= steps:
            raise ValueError(
                f"depth is {depth}; it must lie between 1 and the number of steps, {steps}."
            )
        self.mu0 = self.sigma = jnp.zeros(steps)
        self.mu = jnp.zeros((steps, depth))

    def table(self, schedule: AbstractSchedule) -> StepTable:
        steps, depth = self.mu.shape
        base = start_table(self.start, schedule, steps)
        base = base.to_depth(max(depth, base.depth))
        alpha, sigma = jax.vmap(schedule.alpha)(base.times), jax.vmap(schedule.sigma)(base.times)
        here = jnp.hypot(alpha, sigma)
        there = jnp.concatenate([here[1:], jnp.ones(depth, here.dtype)])
        reached = jnp.arange(steps)[:, None] + jnp.arange(depth)[None, :]  # index of x_{n+1+d} - 1
        mu = jnp.where(reached < steps, self.mu * there[reached] / here[:, None], 0)
        clean = base.clean.at[:, :depth].add(mu * alpha[:, None])
        return dataclasses.replace(
            base,
            clean=clean.at[:, 0].add(self.mu0 * there[:steps]),
            noise=base.noise.at[:, :depth].add(mu * sigma[:, None]),
            fresh=base.fresh + self.sigma * there[:steps],
        )

"""DPM-Solver++(2M) (Lu et al. 2022, algorithm 2), with a free strength of its correction."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from samplerzoo import AbstractFamily, AbstractSchedule, StepTable, Times


class DPMpp(AbstractFamily):
    """Second-order multistep in x0; `strength` is 1 at the start, 0 would be DDIM."""

    times: Times
    strength: Float[Array, "K"]

    def __init__(self, steps: int, times: str | Times = "linear"):
        self.times = Times.of(times, steps)
        self.strength = jnp.ones(steps)

    def table(self, schedule: AbstractSchedule) -> StepTable:
        told, grid = self.times(schedule)
        alpha, sigma = jax.vmap(schedule.alpha)(told), jax.vmap(schedule.sigma)(told)
        end = jnp.ones_like(alpha[:1])
        alpha_s = jnp.concatenate([jax.vmap(schedule.alpha)(grid[1:-1]), end])
        sigma_s = jnp.concatenate([jax.vmap(schedule.sigma)(grid[1:-1]), 0 * end])
        # Step lengths in log(alpha / sigma); the last, to data, is endless and stays first order.
        h = jnp.log(alpha_s / alpha)[:-1] - jnp.log(sigma_s[:-1] / sigma[:-1])
        data = alpha_s - sigma_s * alpha / sigma  # -alpha_s (e^-h - 1)
        more = (self.strength * data)[1:-1] * h[1:] / (2 * h[:-1])
        clean = jnp.zeros((len(told), min(2, len(told)))).at[:, 0].set(alpha_s)
        if len(told) > 2:
            clean = clean.at[1:-1, 0].add(more).at[:-2, 1].add(-more)
        noise = jnp.zeros_like(clean).at[:, 0].set(sigma_s)
        return StepTable(told, clean, noise, jnp.zeros_like(told))

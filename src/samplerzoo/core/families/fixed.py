"""A sampler that is known as numbers alone."""

import equinox as eqx
import jax.numpy as jnp

from ..schedule import AbstractSchedule
from ..table import StepTable
from .family import AbstractFamily


class FixedTable(AbstractFamily):
    """Hold a table as it is: on any schedule the same, with nothing in it that is searched.

    It is what a search starts from where a sampler comes from elsewhere, as numbers.

    Args:
        times: The times told to the network, K of them.
        clean: The weights of x0, K rows of depth numbers.
        noise: The weights of eps, K rows of depth numbers.
        fresh: The standard deviations of the fresh noise, K of them.
        spread: The standard deviation of the first state.
        guidance: The weights of classifier-free guidance, K of them; None without.
    """

    times: tuple[float, ...] = eqx.field(static=True)
    clean: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    noise: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    fresh: tuple[float, ...] = eqx.field(static=True)
    spread: float = eqx.field(static=True)
    guidance: tuple[float, ...] | None = eqx.field(static=True, default=None)

    def table(self, schedule: AbstractSchedule) -> StepTable:
        return StepTable(
            jnp.asarray(self.times, float),
            jnp.asarray(self.clean, float),
            jnp.asarray(self.noise, float),
            jnp.asarray(self.fresh, float),
            jnp.asarray(self.spread, float),
            None if self.guidance is None else jnp.asarray(self.guidance, float),
        )

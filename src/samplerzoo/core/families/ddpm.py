"""DDPM (Ho, Jain, Abbeel 2020), on any sub-sequence of times."""

import dataclasses

import jax.numpy as jnp

from ..schedule import AbstractSchedule
from ..table import StepTable
from ..types import Steps
from .ddim import DDIM, forward
from .family import AbstractFamily
from .times import Times


class DDPM(AbstractFamily):
    """Sample by ancestral steps: the posterior's mean, and fresh noise at every step but the last.

    Args:
        steps: K, the number of network evaluations, on any sub-sequence of the model's times.
        times: A grid's name, see `Times.of`, or Times.
        variance: `posterior`, or `forward`, the larger of DDPM's two choices.
        per_step: Free a gain on the fresh noise of every step.

    Raises:
        ValueError: The variance is neither, or the steps or times are not valid.

    Source:
        Ho, Jain and Abbeel 2020 (arXiv 2006.11239), eq. 6 and 7.
    """

    mean: DDIM
    gain: Steps | float
    variance: str

    def __init__(
        self,
        steps: int,
        times: str | Times = "linear",
        variance: str = "posterior",
        per_step: bool = False,
    ):
        if variance not in ("posterior", "forward"):
            raise ValueError(f"variance is {variance!r}; it must be posterior or forward.")
        self.mean = DDIM(steps, times, eta=1.0)
        self.gain = jnp.ones(steps) if per_step else 1.0
        self.variance = variance

    def table(self, schedule: AbstractSchedule) -> StepTable:
        mean = self.mean.table(schedule)
        fresh = mean.fresh
        if self.variance == "forward":
            fresh = forward(schedule, *self.mean.times(schedule)).at[-1].set(0)
        return dataclasses.replace(mean, fresh=self.gain * fresh)

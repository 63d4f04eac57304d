"""A frozen network with its schedule, seen by samplers only as `(x, t) -> (x0, eps)`."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from .schedule import AbstractSchedule
from .types import Scalar, State

# A network's output is p * x0 + q * eps; each prediction type is its (p, q) at (alpha, sigma).
PREDICTIONS: dict[str, Callable] = {
    "eps": lambda alpha, sigma: (0.0, 1.0),
    "x0": lambda alpha, sigma: (1.0, 0.0),
    "v": lambda alpha, sigma: (-sigma, alpha),
    "flow": lambda alpha, sigma: (-1.0, 1.0),
}


class Estimate(NamedTuple):
    """The data and the noise a model sees in a state: `x = alpha x0 + sigma eps`, always."""

    x0: State
    eps: State


class DiffusionModel(eqx.Module):
    """A pre-trained network as samplers see it.

    `network(x, t)` takes one sample of shape `shape` (channels last) and a scalar time of the
    schedule; of an output with learned variance (twice the channels) the first half is used.
    `clip` is the range of the data, to which x0 is clipped, or None. `passes` counts the network
    evaluations of one call: 2 with classifier-free guidance.
    """

    network: Callable[[Array, Array], Array]
    schedule: AbstractSchedule
    shape: tuple[int, ...] = eqx.field(static=True)
    prediction: str = eqx.field(static=True, default="eps")
    clip: tuple[float, float] | None = eqx.field(static=True, default=(-1.0, 1.0))
    passes: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if not self.shape or min(self.shape) < 1:
            raise ValueError(f"The shape is {self.shape}; one or more positive sizes are needed.")
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise ValueError(f"clip is {self.clip}; it must be (low, high) with low below high.")
        if self.prediction not in PREDICTIONS:
            raise ValueError(
                f"The prediction type is {self.prediction!r}; it must be one of "
                f"{', '.join(PREDICTIONS)}."
            )

    def __call__(self, x: State, t: Scalar) -> Estimate:
        """Estimates of x0 and eps at state `x` and time `0 < t <= t_max`."""
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        out = self.network(x, t)[..., : self.shape[-1]]
        p, q = PREDICTIONS[self.prediction](alpha, sigma)
        det = alpha * q - sigma * p
        x0, eps = (q * x - sigma * out) / det, (alpha * out - p * x) / det
        if self.clip is not None:
            x0 = jnp.clip(x0, *self.clip)
            eps = (x - alpha * x0) / sigma
        return Estimate(x0, eps)

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
    """Hold the data and the noise that a model sees in a state: `x = alpha x0 + sigma eps`, always.

    Args:
        x0: The estimate of the data, of the state's shape.
        eps: The estimate of the noise, of the state's shape.
    """

    x0: State
    eps: State


class DiffusionModel(eqx.Module):
    """Join a frozen network with its schedule, as samplers see both: `model(x, t)`.

    Args:
        network: A function `network(x, t)` of one sample of shape `shape` (channels last) and a
            scalar time of the schedule, such as an Equinox module. Of an output with learned
            variance (twice the channels) the first half is used.
        schedule: The levels `alpha(t)` and `sigma(t)` that the network was trained on.
        shape: The shape of one sample, (H, W, C) for images.
        prediction: What the network's output is: `eps`, `x0`, `v` or `flow`.
        clip: The range (low, high) of the data, to which x0 is clipped; None to leave it.
        passes: The network evaluations of one call: 2 with classifier-free guidance.

    Raises:
        ValueError: The shape is empty or not positive, the range is not (low, high), or the
            prediction type is unknown.

    Source:
        Salimans and Ho 2022 (arXiv 2202.00512), section 4, for the prediction types.
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
        """Estimate the data and the noise in one state.

        Args:
            x: The state, of shape `shape`.
            t: Its time, `0 < t <= t_max`.

        Returns:
            The estimates `(x0, eps)`, with x0 clipped and `x = alpha x0 + sigma eps`.
        """
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        out = self.network(x, t)[..., : self.shape[-1]]
        p, q = PREDICTIONS[self.prediction](alpha, sigma)
        det = alpha * q - sigma * p
        x0, eps = (q * x - sigma * out) / det, (alpha * out - p * x) / det
        if self.clip is not None:
            x0 = jnp.clip(x0, *self.clip)
            eps = (x - alpha * x0) / sigma
        return Estimate(x0, eps)

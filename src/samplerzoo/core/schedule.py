"""Noise schedules: `x_t = alpha(t) x_0 + sigma(t) eps`, with data at `t = 0`.

Every schedule satisfies `alpha(0) = 1`, `sigma(0) = 0`, and its log-SNR
`2 log(alpha / sigma)` falls strictly with `t`.
"""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .types import Scalar


class AbstractSchedule(eqx.Module):
    """Signal and noise levels as functions of a real time in `[0, t_max]`.

    `steps` is the number of levels the model was trained on, or None for continuous time.
    """

    t_max: eqx.AbstractVar[float]
    steps: eqx.AbstractVar[int | None]

    @abstractmethod
    def alpha(self, t: Scalar) -> Scalar:
        """The factor of the data, 1 at `t = 0`."""

    @abstractmethod
    def sigma(self, t: Scalar) -> Scalar:
        """The standard deviation of the noise, 0 at `t = 0`."""


class DiscreteVP(AbstractSchedule):
    """Variance-preserving levels known at the integers 1..T (Ho et al. 2020).

    Level `t` is the training timestep `t - 1`, so that `t = 0` is data. The log-SNR is
    interpolated linearly between integers, and sigma between 0 and 1, so that times are real
    numbers with a gradient.
    """

    log_snr: Float[Array, "T"]
    t_max: float
    steps: int | None

    def __init__(self, log_snr: Float[Array, "T"]):
        self.log_snr = log_snr
        self.steps = log_snr.shape[0]
        self.t_max = float(log_snr.shape[0])

    @classmethod
    def from_alphas_cumprod(cls, alphas_cumprod: ArrayLike) -> "DiscreteVP":
        """From the cumulative products `alpha_t^2`, strictly decreasing inside (0, 1)."""
        signal = np.asarray(alphas_cumprod, np.float64)
        falls = signal.ndim == 1 and np.all(np.diff(signal) < 0)
        if not (falls and signal.size and signal[-1] > 0 and signal[0] < 1):
            raise ValueError(
                "alphas_cumprod must be one row of numbers that falls strictly inside (0, 1)."
            )
        return cls(jnp.asarray(np.log(signal) - np.log1p(-signal)))

    @classmethod
    def from_betas(cls, betas: ArrayLike) -> "DiscreteVP":
        """From the per-step variances `beta_t` of DDPM."""
        return cls.from_alphas_cumprod(np.cumprod(1 - np.asarray(betas, np.float64), axis=-1))

    def _log_snr(self, t: Scalar) -> Scalar:
        levels = jnp.arange(1, self.log_snr.shape[0] + 1, dtype=self.log_snr.dtype)
        return jnp.interp(t, levels, self.log_snr)

    def alpha(self, t: Scalar) -> Scalar:
        first = jnp.sqrt(1 - self.sigma(jnp.minimum(t, 1)) ** 2)
        return jnp.where(t < 1, first, jnp.sqrt(jax.nn.sigmoid(self._log_snr(t))))

    def sigma(self, t: Scalar) -> Scalar:
        return jnp.minimum(t, 1) * jnp.sqrt(jax.nn.sigmoid(-self._log_snr(t)))


class LinearVP(AbstractSchedule):
    """Continuous VP with `beta(t)` linear in `t` (Song et al. 2021, eq. 32-33)."""

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_max: float = 1.0
    steps: int | None = None

    def _log_alpha(self, t: Scalar) -> Scalar:
        return -0.25 * t**2 * (self.beta_max - self.beta_min) - 0.5 * t * self.beta_min

    def alpha(self, t: Scalar) -> Scalar:
        return jnp.exp(self._log_alpha(t))

    def sigma(self, t: Scalar) -> Scalar:
        return jnp.sqrt(-jnp.expm1(2 * self._log_alpha(t)))


class CosineVP(AbstractSchedule):
    """Continuous cosine VP (Nichol and Dhariwal 2021, eq. 17).

    `t_max` stays below 1, where the signal would vanish and x0 could not be read off eps.
    """

    offset: float = 0.008
    t_max: float = 0.9946
    steps: int | None = None

    def alpha(self, t: Scalar) -> Scalar:
        zero = np.pi / 2 * self.offset / (1 + self.offset)
        return jnp.cos(zero + np.pi / 2 * t / (1 + self.offset)) / np.cos(zero)

    def sigma(self, t: Scalar) -> Scalar:
        # 1 - alpha^2 as a product of sines, exact down to t = 0.
        zero, angle = np.pi / 2 * self.offset / (1 + self.offset), np.pi / 2 / (1 + self.offset) * t
        return jnp.sqrt(jnp.sin(angle) * jnp.sin(angle + 2 * zero)) / np.cos(zero)


class EDM(AbstractSchedule):
    """Variance exploding, `alpha = 1`, `sigma = t` (Karras et al. 2022)."""

    t_max: float = 80.0
    steps: int | None = None

    def alpha(self, t: Scalar) -> Scalar:
        return jnp.ones_like(t)

    def sigma(self, t: Scalar) -> Scalar:
        return t


class RectifiedFlow(AbstractSchedule):
    """Straight lines, `alpha = 1 - t`, `sigma = t` (Liu et al. 2023).

    With a flow, v or x0 prediction `t_max` may be 1; an eps prediction needs less.
    """

    t_max: float = 1.0
    steps: int | None = None

    def alpha(self, t: Scalar) -> Scalar:
        return 1 - t

    def sigma(self, t: Scalar) -> Scalar:
        return t

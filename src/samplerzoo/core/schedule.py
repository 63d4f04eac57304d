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
    """Describe the signal and noise levels of a model over a real time in `[0, t_max]`.

    A schedule has `alpha(0) = 1` and `sigma(0) = 0`, and its log-SNR `2 log(alpha / sigma)` falls
    strictly with the time.

    Attributes:
        t_max: The time at which sampling starts from pure noise.
        steps: The number of levels that the model was trained on; None for continuous time.
    """

    t_max: eqx.AbstractVar[float]
    steps: eqx.AbstractVar[int | None]

    @abstractmethod
    def alpha(self, t: Scalar) -> Scalar:
        """Return the factor of the data, 1 at `t = 0`.

        Args:
            t: A time in `[0, t_max]`.

        Returns:
            `alpha(t)`, a scalar of the type of `t`.
        """

    @abstractmethod
    def sigma(self, t: Scalar) -> Scalar:
        """Return the standard deviation of the noise, 0 at `t = 0`.

        Args:
            t: A time in `[0, t_max]`.

        Returns:
            `sigma(t)`, a scalar of the type of `t`.
        """


class DiscreteVP(AbstractSchedule):
    """Interpolate the variance-preserving levels of a model trained on timesteps 1..T.

    Level `t` is the training timestep `t - 1`, so that `t = 0` is data. The log-SNR is linear
    between integers, and sigma linear between 0 and 1, so that times are real numbers with a
    gradient. `from_betas` and `from_alphas_cumprod` are the usual ways to make one.

    Args:
        log_snr: `2 log(alpha / sigma)` at the integers 1..T, falling.

    Source:
        Ho, Jain and Abbeel 2020 (arXiv 2006.11239), eq. 4.
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
        """Make the schedule from the cumulative products `alpha_t^2`.

        Args:
            alphas_cumprod: T numbers that fall strictly inside (0, 1); `alphas_cumprod` in DDPM's
                and diffusers' code.

        Returns:
            The schedule, with `t_max = T`.

        Raises:
            ValueError: They are not one row of numbers that falls strictly inside (0, 1).
        """
        signal = np.asarray(alphas_cumprod, np.float64)
        falls = signal.ndim == 1 and np.all(np.diff(signal) < 0)
        if not (falls and signal.size and signal[-1] > 0 and signal[0] < 1):
            raise ValueError(
                "alphas_cumprod must be one row of numbers that falls strictly inside (0, 1)."
            )
        return cls(jnp.asarray(np.log(signal) - np.log1p(-signal)))

    @classmethod
    def from_betas(cls, betas: ArrayLike) -> "DiscreteVP":
        """Make the schedule from the variances that DDPM adds at every training step.

        Args:
            betas: T numbers in (0, 1): `beta_t`, with `alpha_t^2 = prod (1 - beta_s)`.

        Returns:
            The schedule, with `t_max = T`.

        Raises:
            ValueError: The products of `1 - beta_t` do not fall strictly inside (0, 1).
        """
        return cls.from_alphas_cumprod(np.cumprod(1 - np.asarray(betas, np.float64), axis=-1))

    def _log_snr(self, t: Scalar) -> Scalar:
        # As jnp.interp, whose search for the interval an index of integers does not need.
        last = self.log_snr.shape[0]
        right = jnp.clip(jnp.floor(t).astype(int), 1, max(last - 1, 1))
        left = self.log_snr[right - 1]
        between = left + (t - right.astype(t.dtype)) * (
            self.log_snr.at[right].get(mode="clip") - left
        )
        return jnp.where(t < 1, self.log_snr[0], jnp.where(t > last, self.log_snr[-1], between))

    def alpha(self, t: Scalar) -> Scalar:
        first = jnp.sqrt(1 - self.sigma(jnp.minimum(t, 1)) ** 2)
        return jnp.where(t < 1, first, jnp.sqrt(jax.nn.sigmoid(self._log_snr(t))))

    def sigma(self, t: Scalar) -> Scalar:
        return jnp.minimum(t, 1) * jnp.sqrt(jax.nn.sigmoid(-self._log_snr(t)))


class LinearVP(AbstractSchedule):
    """Preserve the variance in continuous time, with `beta(t)` linear in `t`.

    Args:
        beta_min: `beta(0)`, per unit of time.
        beta_max: `beta(1)`, per unit of time.
        t_max: The time at which sampling starts.
        steps: None: the time is continuous.

    Source:
        Song et al. 2021 (arXiv 2011.13456), eq. 32 and 33.
    """

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
    """Preserve the variance in continuous time, with `alpha` a cosine.

    Args:
        offset: What keeps the levels from changing too slowly near data.
        t_max: The time at which sampling starts. It stays below 1, where the signal would vanish
            and x0 could not be read off eps.
        steps: None: the time is continuous.

    Source:
        Nichol and Dhariwal 2021 (arXiv 2102.09672), eq. 17.
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
    """Let the variance grow: `alpha = 1`, `sigma = t`.

    Args:
        t_max: The largest sigma, at which sampling starts.
        steps: None: the time is continuous.

    Source:
        Karras et al. 2022 (arXiv 2206.00364).
    """

    t_max: float = 80.0
    steps: int | None = None

    def alpha(self, t: Scalar) -> Scalar:
        return jnp.ones_like(t)

    def sigma(self, t: Scalar) -> Scalar:
        return t


class RectifiedFlow(AbstractSchedule):
    """Join data and noise by straight lines: `alpha = 1 - t`, `sigma = t`.

    Args:
        t_max: The time at which sampling starts. It may be 1 with a flow, v or x0 prediction; an
            eps prediction needs less.
        steps: None: the time is continuous.

    Source:
        Liu, Gong and Liu 2023 (arXiv 2209.03003).
    """

    t_max: float = 1.0
    steps: int | None = None

    def alpha(self, t: Scalar) -> Scalar:
        return 1 - t

    def sigma(self, t: Scalar) -> Scalar:
        return t


def noise_ratio(schedule: AbstractSchedule, t: Scalar) -> Scalar:
    """Compute `sigma / alpha` at a time: 0 at data, infinite where nothing of it is left."""
    return schedule.sigma(t) / schedule.alpha(t)


@eqx.filter_jit
def time_at(schedule: AbstractSchedule, ratio: Scalar) -> Scalar:
    """Find the time at which `sigma / alpha` is `ratio`, at most `t_max`, by bisection.

    Levels known at the integers have kinks, which would stop Newton's method; one step of it at the
    end gives the derivative.

    Args:
        schedule: Its log-SNR falls strictly, so that there is one such time.
        ratio: Positive and finite.

    Returns:
        The time, differentiable in the ratio.
    """
    last = jnp.asarray(schedule.t_max, ratio.dtype)

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        below = schedule.sigma(middle) < ratio * schedule.alpha(middle)
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    def log_ratio(t):
        return jnp.log(schedule.sigma(t)) - jnp.log(schedule.alpha(t))

    found = jax.lax.fori_loop(0, 80, halve, (jnp.zeros_like(last), last))
    t = jax.lax.stop_gradient((found[0] + found[1]) / 2)
    value, slope = jax.value_and_grad(log_ratio)(t)
    step = (value - jnp.log(ratio)) / jax.lax.stop_gradient(slope)
    return jnp.minimum(t - jnp.where(jnp.isfinite(step), step, 0), last)


def least_time(schedule: AbstractSchedule) -> Scalar:
    """Find the least time at which a network is asked where nothing else is said.

    Of a model of discrete time that is the first level it was trained on; in continuous time it is
    where `sigma / alpha` is 0.002, as EDM has it.
    """
    return jnp.asarray(1.0) if schedule.steps else time_at(schedule, jnp.asarray(0.002))

"""The reference: the probability-flow ODE solved by diffrax, as exactly as asked."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .compiling import jit
from .engine import draw
from .model import DiffusionModel
from .schedule import least_time, time_at
from .types import Key, Scalar, State

# Of Dormand and Prince's method: 6 evaluations a step, tried or taken, and one before the first.
_STAGES, _BEFORE = 6, 1


class Solution(NamedTuple):
    """Where an ODE ends, and how many network evaluations that took.

    Attributes:
        sample: The model's x0 at the end, of its shape.
        nfe: The network evaluations, of rejected steps and of the end included.
    """

    sample: Array
    nfe: Int[Array, "..."]


def solve_ode(
    model: DiffusionModel,
    x: State,
    t_end: float | None = None,
    rtol: float = 1e-6,
    atol: float = 1e-6,
) -> State:
    """Solve the probability-flow ODE of a model for one sample, as exactly as asked: the reference.

    Args:
        model: The model.
        x: The state at the schedule's `t_max`, of the model's shape.
        t_end: As in `follow_ode`.
        rtol: The relative tolerance of a step.
        atol: The absolute tolerance of a step.

    Returns:
        The sample, of the model's shape.
    """
    return follow_ode(model, x, t_end, rtol, atol).sample


def follow_ode(
    model: DiffusionModel,
    x: State,
    t_end: float | None = None,
    rtol: float | Scalar = 1e-6,
    atol: float | Scalar = 1e-6,
) -> Solution:
    """Solve the probability-flow ODE of a model for one sample, and count what that takes.

    With `alpha = r cos(angle)`, `sigma = r sin(angle)` it is, for every schedule,
    `d(x / r) / d angle = cos(angle) eps - sin(angle) x0` (DDIM's eq. 14 without its singularity
    where alpha is 0): the limit of DDIM for many steps. It is solved by Dormand and Prince's method
    of order 5 with adaptive steps.

    Args:
        model: The model.
        x: The state at the schedule's `t_max`, of the model's shape.
        t_end: The time to end at, above 0, where the model's x0 is returned; by default the least
            that the named grids have, see `least_time`.
        rtol: The relative tolerance of a step.
        atol: The absolute tolerance of a step.

    Returns:
        The sample, of the model's shape, and the network evaluations.

    Source:
        Song et al. 2021 (arXiv 2011.13456), section 4.3; Song, Meng and Ermon 2021
        (arXiv 2010.02502), eq. 14.
    """
    first, last = ends(model, t_end, x.dtype)
    start = x / scale(model, first)
    y, tried = integrate(slope(model), angle(model, first), angle(model, last), start, rtol, atol)
    return Solution(model(scale(model, last) * y, last).x0, evaluations(tried) + 1)


def follow_ode_batch(
    model: DiffusionModel,
    key: Key,
    indices: Int[Array, "N"],
    t_end: float | None = None,
    rtol: float | Scalar = 1e-6,
    atol: float | Scalar = 1e-6,
) -> Solution:
    """Solve the ODE from where `sample_batch` starts: the samples that a table approaches.

    Args:
        model: The model.
        key: What the series of samples stands for.
        indices: The numbers of the samples, (N,).
        t_end: As in `follow_ode`.
        rtol: The relative tolerance of a step.
        atol: The absolute tolerance of a step.

    Returns:
        The samples, (N, *model.shape), and the network evaluations of each, (N,).
    """

    def one(index: Int[Array, ""]) -> Solution:
        spread = model.schedule.sigma(jnp.asarray(model.schedule.t_max))
        own = jax.random.fold_in(key, index)
        start = spread * draw(own, 0, model.shape)
        return follow_ode(model.for_sample(own), start, t_end, rtol, atol)

    return jax.vmap(one)(indices)


class AdaptiveODE(eqx.Module):
    """Hold the adaptive solver of the ODE as a sampler, see `adaptive_ode`.

    Args:
        rtol: The relative tolerance of a step.
        atol: The absolute tolerance of a step.
        nfe: The network evaluations of a sample, on average.
    """

    rtol: Scalar
    atol: Scalar
    nfe: int = eqx.field(static=True)


def adaptive_ode(
    model: DiffusionModel, key: Key, rtol: float = 1e-5, atol: float = 1e-5, n: int = 64
) -> AdaptiveODE:
    """Make the adaptive solver of a model's ODE a sampler, whose evaluations are counted.

    Args:
        model: The model.
        key: What the samples are drawn from whose evaluations are counted.
        rtol: The relative tolerance of a step.
        atol: The absolute tolerance of a step.
        n: How many samples are counted.

    Returns:
        The sampler, with the mean of the counts as its NFE.

    Raises:
        ValueError: A tolerance is not above 0.
    """
    if not (rtol > 0 and atol > 0):
        raise ValueError(f"rtol is {rtol} and atol {atol}; both must be above 0.")
    ode = AdaptiveODE(jnp.asarray(rtol, float), jnp.asarray(atol, float), 0)
    counts = jit(_counts)(ode, model, key, jnp.arange(n))
    return AdaptiveODE(ode.rtol, ode.atol, round(float(jnp.mean(counts))))


def _counts(
    ode: AdaptiveODE, model: DiffusionModel, key: Key, indices: Int[Array, "N"]
) -> Int[Array, "N"]:
    return follow_ode_batch(model, key, indices, None, ode.rtol, ode.atol).nfe


def sample_ode(
    ode: AdaptiveODE, model: DiffusionModel, key: Key, indices: Int[Array, "N"]
) -> Float[Array, "N ..."]:
    """Draw samples as `sample_batch` does, by the adaptive solver."""
    return follow_ode_batch(model, key, indices, None, ode.rtol, ode.atol).sample


def ends(model: DiffusionModel, t_end: float | None, dtype: Any) -> tuple[Scalar, Scalar]:
    """Return the first time and the last, above 0."""
    last = least_time(model.schedule) if t_end is None else t_end
    return jnp.asarray(model.schedule.t_max, dtype), jnp.asarray(last, dtype)


def angle(model: DiffusionModel, t: Scalar) -> Scalar:
    """Return the angle whose tangent is `sigma / alpha`."""
    return jnp.arctan2(model.schedule.sigma(t), model.schedule.alpha(t))


def scale(model: DiffusionModel, t: Scalar) -> Scalar:
    """Return `r = sqrt(alpha^2 + sigma^2)`."""
    return jnp.hypot(model.schedule.alpha(t), model.schedule.sigma(t))


def slope(model: DiffusionModel) -> Callable[[Scalar, State], State]:
    """Return the slope of `x / r` over the angle."""

    def at(angle: Scalar, y: State) -> State:
        t = time_at(model.schedule, jnp.tan(angle))
        x0, eps = model(scale(model, t) * y, t)
        return jnp.cos(angle) * eps - jnp.sin(angle) * x0

    return at


def evaluations(tried: Int[Array, ""]) -> Int[Array, ""]:
    """Count the evaluations of so many steps of `integrate`, tried or taken."""
    return _STAGES * tried + _BEFORE


def integrate(
    slope: Callable[[Scalar, Any], Any],
    start: Scalar,
    end: Scalar,
    y: Any,
    rtol: float | Scalar,
    atol: float | Scalar,
) -> tuple[Any, Int[Array, ""]]:
    """Integrate a pytree of arrays by adaptive steps (Dormand and Prince, order 5).

    Returns:
        What it is at the end, and how many steps were tried.
    """
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda time, y, _: slope(jnp.asarray(time), y)),
        diffrax.Dopri5(),
        start,
        end,
        None,
        y,
        stepsize_controller=diffrax.PIDController(rtol, atol),
        max_steps=100_000,
    )
    return jax.tree.map(lambda ys: ys[-1], solution.ys), solution.stats["num_steps"]

"""The likelihood of data under a model: the change of variables along its probability-flow ODE."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .compiling import jit
from .model import DiffusionModel
from .ode import angle, ends, evaluations, integrate, scale, slope
from .types import Key, Scalar, State

EXACT = 256  # numbers in a sample, up to which the trace is computed exactly


class Likelihood(NamedTuple):
    """Hold the mean negative log-likelihood of samples.

    Attributes:
        bits: In bits per dimension.
        error: Its standard error, over the samples.
        nfe: The network evaluations of a sample, on average; each has derivatives beside it.
    """

    bits: float
    error: float
    nfe: float


def log_likelihood(
    model: DiffusionModel,
    x: State,
    key: Key | None = None,
    probes: int | None = None,
    t_end: float | None = None,
    rtol: float = 1e-6,
    atol: float = 1e-6,
) -> Scalar:
    """Compute the log-density of one sample under a model's probability-flow ODE.

    The sample is taken as the state at `t_end` and followed to `t_max`, where states are
    `N(0, sigma^2 I)`; on the way the log-density changes by the divergence. The model's clipping is
    left out: where it acts, nothing has a density.

    Args:
        model: The model, in whose dtype this is computed: float64 for more than five digits.
        x: The sample, of the model's shape.
        key: What the probes are drawn from; none is needed for the exact trace.
        probes: How many random directions (Rademacher's) estimate the trace, without bias; None for
            the exact trace, at the cost of as many derivatives as there are numbers in a sample.
        t_end: The time above 0 that the sample is taken to be at; by default `least_time`.
        rtol: The relative tolerance of a step.
        atol: The absolute tolerance of a step.

    Returns:
        The natural logarithm of the density.

    Raises:
        ValueError: There are probes, and no key.

    Source:
        Song et al. 2021 (arXiv 2011.13456), section 4.3 and appendix D.2; Hutchinson 1990.
    """
    return follow_likelihood(model, x, key, probes, t_end, rtol, atol)[0]


def follow_likelihood(
    model: DiffusionModel,
    x: State,
    key: Key | None,
    probes: int | None,
    t_end: float | None,
    rtol: float,
    atol: float,
) -> tuple[Scalar, Int[Array, ""]]:
    """Compute the log-density as `log_likelihood` does, and count the network evaluations."""
    follow = slope(dataclasses.replace(model, clip=None))
    first, last = ends(model, t_end, x.dtype)
    if probes is None:
        directions = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
    elif key is None:
        raise ValueError("probes is given and key is not; random directions need one.")
    else:
        directions = jax.random.rademacher(key, (probes, *x.shape), x.dtype)

    def change(angle: Scalar, state: tuple[State, Scalar]) -> tuple[State, Scalar]:
        value, forward = jax.linearize(lambda y: follow(angle, y), state[0])
        along = jax.vmap(lambda v: jnp.vdot(v, forward(v)))(directions)
        return value, jnp.sum(along) / (1 if probes is None else probes)

    start = x / scale(model, last), jnp.zeros((), x.dtype)
    (y, divergence), tried = integrate(
        change, angle(model, last), angle(model, first), start, rtol, atol
    )
    # x / r is what flows: its density is that of x times r to the power of the dimension.
    spread = model.schedule.sigma(first) / scale(model, first)
    prior = -0.5 * jnp.sum((y / spread) ** 2) - x.size * (
        jnp.log(spread) + 0.5 * math.log(2 * math.pi)
    )
    return prior + divergence - x.size * jnp.log(scale(model, last)), evaluations(tried)


def nll(
    model: DiffusionModel,
    x: Float[np.ndarray, "N ..."],
    key: Key,
    bin_width: float | None = 2 / 255,
    probes: int | None = None,
    t_end: float | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    batch: int = 100,
    advance: Callable[[int], Any] = lambda done: None,
) -> Likelihood:
    """Compute the negative log-likelihood of data, in bits per dimension.

    Args:
        model: The model.
        x: The data, (N, *model.shape), N at least 2.
        key: What the noise of the bins and the probes are drawn from.
        bin_width: The distance of two values that a number of the data can have, 2 / 255 for images
            of 8 bits in [-1, 1]. Noise makes the data uniform in their bins, and bits are those of
            the data as they are (an upper bound). None for data that are real numbers, whose bits
            can be negative.
        probes: Random directions that estimate the trace; by default it is exact for at most 256
            numbers in a sample, and estimated by one direction for more.
        t_end: As in `log_likelihood`.
        rtol: The relative tolerance of a step.
        atol: The absolute tolerance of a step.
        batch: Samples at a time.
        advance: A function that is told how many samples were done, after each batch.

    Returns:
        The mean over the data, and its standard error.

    Raises:
        ValueError: There are fewer than two samples, or they are not of the model's shape.

    Source:
        Song et al. 2021 (arXiv 2011.13456), appendix D.2; Theis et al. 2016 (arXiv 1511.01844).
    """
    if x.shape[1:] != model.shape or len(x) < 2:
        raise ValueError(
            f"The data have shape {x.shape}; they must be two or more samples of the model's "
            f"shape, {model.shape}."
        )
    size = math.prod(model.shape)
    if probes is None and size > EXACT:
        probes = 1

    def bits(sample: Array, number: Array) -> tuple[Array, Array]:
        own = jax.random.fold_in(key, number)
        if bin_width is not None:
            sample = sample + bin_width * (jax.random.uniform(own, model.shape, sample.dtype) - 0.5)
        probe = jax.random.fold_in(own, 1)
        found, nfe = follow_likelihood(model, sample, probe, probes, t_end, rtol, atol)
        width = math.log2(bin_width) if bin_width else 0.0
        return -found / (size * math.log(2)) - width, nfe

    compiled = jit(jax.vmap(bits))
    found = []
    for start in range(0, len(x), batch):
        numbers = np.arange(start, start + batch) % len(x)  # the last batch is filled up
        found.append(jax.device_get(compiled(jnp.asarray(x[numbers]), jnp.asarray(numbers))))
        advance(min(batch, len(x) - start))
    each, counts = (np.concatenate(parts)[: len(x)] for parts in zip(*found, strict=True))
    each = each.astype(np.float64)
    error = float(np.std(each, ddof=1) / math.sqrt(len(x)))
    return Likelihood(float(np.mean(each)), error, float(np.mean(counts)))

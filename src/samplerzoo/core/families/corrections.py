"""Solvers as tables: DDIM's step from a past state, and a correction of it.

The probability-flow ODE, integrated from a state `x_b` (its base) to `x_t`, is

    x_t / sigma_t = x_b / sigma_b + integral of x0 d(alpha / sigma)     where the answer f is x0,
    x_t / alpha_t = x_b / alpha_b + integral of eps d(sigma / alpha)    where it is eps.

Taken as constant at `f_b`, either answer makes this DDIM. Solvers take a polynomial through answers
`f_j` that were seen at other nodes:

    x_t = alpha_t x0_b + sigma_t eps_b + sum_j g_j (f_j - f_b),   sum_j g_j r_j^k = M_k,  k = 1..m.

`r_j` is the place of a node on the way from b (0) to t (1), in the coordinate of the polynomial,
and the moment `M_k` is the integral of `r^k`, times `sigma_t` or `alpha_t`. Solvers differ in the
answer, the coordinate, the nodes of each step, and in moments that are approximate.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..schedule import AbstractSchedule
from ..table import StepTable
from ..types import Grid, Steps
from .family import levels

_LEAST = 1e-8  # of alpha, where nothing is left of the data: sigma / alpha is finite then


class Levels(NamedTuple):
    """What the states of a grid are at, from the first, (K + 1,); the last may be data."""

    schedule: AbstractSchedule
    time: Grid
    alpha: Grid
    sigma: Grid

    @classmethod
    def of(cls, schedule: AbstractSchedule, grid: Grid) -> "Levels":
        """Ask a schedule for the levels of a grid."""
        first = schedule.alpha(grid[0]), schedule.sigma(grid[0])
        rest = levels(schedule, grid)
        alpha, sigma = (jnp.append(a, b) for a, b in zip(first, rest, strict=True))
        return cls(schedule, grid, alpha, sigma)

    @property
    def ratio(self) -> Grid:
        """Return `sigma / alpha`."""
        return self.sigma / jnp.maximum(self.alpha, _LEAST)

    @property
    def log_ratio(self) -> Grid:
        """Return its logarithm, and 0 at data, where nothing asks for it."""
        return jnp.log(jnp.where(self.sigma > 0, self.ratio, 1))


class Span(NamedTuple):
    """Steps from their bases b to t: the times and levels of both ends, (steps,)."""

    schedule: AbstractSchedule
    answer: str
    time_b: Array
    time_t: Array
    alpha_b: Array
    alpha_t: Array
    sigma_b: Array
    sigma_t: Array
    h: Array  # the length in log(alpha / sigma)

    @property
    def whole(self) -> Array:
        """The moment of a constant: DDIM's weight of the answer."""
        if self.answer == "x0":
            return -self.alpha_t * jnp.expm1(-self.h)
        return self.sigma_t - self.alpha_t * self.sigma_b / self.alpha_b


Moment: TypeAlias = Callable[[Span, int], Array]
Coordinate: TypeAlias = Callable[[Levels], Grid]


class Stage(NamedTuple):
    """How a state is made: from which base, with which other answers, by which moments.

    `nodes` and `base` number the rows whose answers are taken, and there is a moment for each node.
    Without nodes it is DDIM's step.
    """

    base: int
    nodes: tuple[int, ...] = ()
    moments: tuple[Moment, ...] = ()


def log_snr(states: Levels) -> Grid:
    """Take the polynomial in the log-SNR."""
    return -states.log_ratio


def ratio(states: Levels) -> Grid:
    """Take the polynomial in `sigma / alpha`."""
    return states.ratio


def inverse_ratio(states: Levels) -> Grid:
    """Take the polynomial in `alpha / sigma`."""
    return states.alpha / jnp.where(states.sigma > 0, states.sigma, 1)


def time(states: Levels) -> Grid:
    """Take the polynomial in the schedule's time."""
    return states.time


def index(states: Levels) -> Grid:
    """Take the polynomial in the number of the step, as if all were of one length."""
    return jnp.arange(len(states.time), dtype=states.time.dtype)


def exact(span: Span, k: int) -> Array:
    """Integrate a power of the log-SNR exactly."""
    if span.answer == "x0":
        return span.alpha_t * span.h * _rising(span.h, k)
    return -span.alpha_t * span.sigma_b / span.alpha_b * span.h * _falling(span.h, k)


def half(span: Span, k: int) -> Array:
    """Take half of the exact moment, as common code of DPM-Solver++(3M) does for its second."""
    return exact(span, k) / 2


def flat(span: Span, k: int) -> Array:
    """Integrate as if the coordinate were that of the integral.

    It is, for eps over `sigma / alpha`. Over the log-SNR it is an approximation: DPM-Solver++'s
    midpoint rule, and UniPC with B(h) = exp(h) - 1.
    """
    return span.whole / (k + 1)


def straight(span: Span, k: int) -> Array:
    """Integrate as if the exponential were constant: UniPC with B(h) = h."""
    end = span.alpha_t if span.answer == "x0" else -span.sigma_t
    return end * span.h / (k + 1)


def in_time(span: Span, k: int) -> Array:
    """Integrate a power of the time for eps, numerically (DEIS's tAB).

    By parts, `alpha_t (v_t - k integral of v r^(k-1) dr)` with `v = sigma / alpha`. The way is put
    as `1 - r = u^2`, for v grows as the root of the time from data, or as the time itself.
    """
    u, weight = _quadrature(span.h)
    times = span.time_t[:, None] + (span.time_b - span.time_t)[:, None] * u**2
    alpha, sigma = (
        jax.vmap(jax.vmap(f))(times) for f in (span.schedule.alpha, span.schedule.sigma)
    )
    total = jnp.sum(weight * 2 * u * (1 - u**2) ** (k - 1) * sigma / alpha, axis=1)
    return span.sigma_t - k * span.alpha_t * total


def _rising(h: Array, k: int) -> Array:
    """The integral of `exp((r - 1) h) r^k` over [0, 1]."""
    r, weight = _quadrature(h)
    near = jnp.sum(weight * jnp.exp((r - 1) * jnp.minimum(h, _FAR)[:, None]) * r**k, axis=1)
    far = jnp.maximum(h, _FAR)
    value = -jnp.expm1(-far) / far
    for power in range(1, k + 1):
        value = (1 - power * value) / far
    return jnp.where(h > _FAR, value, near)


def _falling(h: Array, k: int) -> Array:
    """The integral of `exp(-r h) r^k` over [0, 1]."""
    r, weight = _quadrature(h)
    near = jnp.sum(weight * jnp.exp(-r * jnp.minimum(h, _FAR)[:, None]) * r**k, axis=1)
    far = jnp.maximum(h, _FAR)
    value = -jnp.expm1(-far) / far
    for power in range(1, k + 1):
        value = (power * value - jnp.exp(-far)) / far
    return jnp.where(h > _FAR, value, near)


_FAR = 20.0  # up to this length the quadrature is exact to the last digits; the recursions, beyond
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(32)


def _quadrature(like: Array) -> tuple[Float[Array, "1 n"], Float[Array, "1 n"]]:
    """Gauss and Legendre's points and weights on [0, 1], beside one row for each of `like`."""
    points = jnp.asarray((_POINTS + 1) / 2, like.dtype)
    return points[None], jnp.asarray(_WEIGHTS / 2, like.dtype)[None]


def correct(
    stages: Sequence[Stage],
    states: Levels,
    answer: str,
    coordinate: Coordinate,
    eta: float = 0.0,
) -> Float[Array, "K K"]:
    """Compute the weights of the answers in the corrections of states 1..K.

    Args:
        stages: How each state is made, K of them or fewer (the last are then left alone).
        states: Their levels, and those of the start.
        answer: Which of the network's answers is taken for a polynomial, `x0` or `eps`.
        coordinate: What it is a polynomial in.
        eta: The share of a reverse SDE's noise (with x0): the integral's exponent is `(1 + eta) h`.

    Returns:
        The weight of row j's answer in state m, at [m - 1, j].
    """
    place, steps = coordinate(states), len(states.time) - 1
    alike: dict[tuple[Moment, ...], list[int]] = {}
    for state, stage in enumerate(stages, 1):
        if stage.nodes:
            alike.setdefault(stage.moments, []).append(state)
    weights = [jnp.zeros(1, place.dtype)]  # all of them in a row, first that of all other answers
    where, count = np.zeros((steps, steps), int), 1
    for moments, group in alike.items():
        target = np.array(group)
        base = np.array([stages[state - 1].base for state in group])
        nodes = np.array([stages[state - 1].nodes for state in group])
        span = _span(states, answer, base, target, eta)
        length = place[target] - place[base]
        r = [(place[nodes[:, j]] - place[base]) / length for j in range(len(moments))]
        wanted = [moment(span, k) for k, moment in enumerate(moments, 1)]
        found = _with_moments(r, wanted)
        found = jnp.stack([*found, -sum(found)], axis=1)
        rows = np.concatenate([nodes, base[:, None]], axis=1)
        where[target[:, None] - 1, rows] = count + np.arange(rows.size).reshape(rows.shape)
        weights.append(found.ravel())
        count += rows.size
    return jnp.concatenate(weights)[where]


def _with_moments(r: Sequence[Array], wanted: Sequence[Array]) -> list[Array]:
    """Solve `sum_j g_j r_j^k = M_k`, k = 1..n, for different `r_j` that are not 0.

    A library's solver of such a small system takes far longer to compile than this.

    Source:
        Golub and Van Loan, Matrix Computations, algorithm 4.6.2 (Bjorck and Pereyra).
    """
    found, n = list(wanted), len(wanted)
    for k in range(n - 1):
        for i in range(n - 1, k, -1):
            found[i] = found[i] - r[k] * found[i - 1]
    for k in range(n - 2, -1, -1):
        for i in range(k + 1, n):
            found[i] = found[i] / (r[i] - r[i - k - 1])
        for i in range(k, n - 1):
            found[i] = found[i] - found[i + 1]
    return [weight / node for weight, node in zip(found, r, strict=True)]


def _span(
    states: Levels,
    answer: str,
    base: Int[np.ndarray, "steps"],
    target: Int[np.ndarray, "steps"],
    eta: float,
) -> Span:
    length = states.log_ratio[base] - states.log_ratio[target]
    return Span(
        states.schedule,
        answer,
        states.time[base],
        states.time[target],
        states.alpha[base],
        states.alpha[target],
        states.sigma[base],
        states.sigma[target],
        (1 + eta) * length,
    )


def lay_out(
    told: Steps,
    base: Int[np.ndarray, "K"],
    clean: Steps,
    noise: Steps,
    fresh: Steps,
    answer: str,
    matrix: Float[Array, "K K"],
    depth: int,
) -> StepTable:
    """Lay DDIM's steps and their corrections out as a table.

    Args:
        told: The times told to the network.
        base: The row from whose state each of the states 1..K is made.
        clean: The weight of that row's x0 in it.
        noise: That of its eps.
        fresh: The fresh noise that comes to it.
        answer: To which estimate the corrections belong, `x0` or `eps`.
        matrix: Their weights, as `correct` gives them.
        depth: How far back they reach.

    Returns:
        The table, of that depth or K.
    """
    steps = len(told)
    rows, columns = np.arange(steps)[:, None], np.arange(min(depth, steps))[None, :]
    reached = np.minimum(rows + columns, steps - 1)  # the state that a column is of, less one
    correction = jnp.where(rows + columns < steps, matrix[reached, rows], 0)
    made = base[reached] == rows  # from which state each state is made
    made &= rows + columns < steps
    clean, noise = (jnp.where(made, weight[reached], 0) for weight in (clean, noise))
    if answer == "x0":
        clean = clean + correction
    else:
        noise = noise + correction
    return StepTable(told, clean, noise, fresh)


def without_first(table: StepTable, schedule: AbstractSchedule) -> StepTable:
    """Spare the first evaluation: take eps to be the state itself (AFS, the analytic first step).

    At `t_max` a state is noise almost alone: `eps = x / sqrt(alpha^2 + sigma^2)`. All that the
    first row adds is then a multiple of the first state, and so is the second state, if no noise
    comes to it: the second state gives what the first would.

    Args:
        table: A sampler without fresh noise in its first row.
        schedule: Its levels.

    Returns:
        The sampler of one evaluation less, which starts at the second state, with its spread.

    Source:
        Dockhorn, Vahdat and Kreis 2022, GENIE (arXiv 2210.05475), section 3.2.
    """
    alpha, sigma = schedule.alpha(table.times[0]), schedule.sigma(table.times[0])
    scale = jnp.hypot(alpha, sigma)
    x0, eps = alpha / ((scale + sigma) * scale), 1 / scale  # of the first state; x0 is what is left
    weight = x0 * table.clean[0] + eps * table.noise[0]  # of it in the states that follow
    again = weight[1:] / weight[0]
    alpha, sigma = schedule.alpha(table.times[1]), schedule.sigma(table.times[1])
    depth = min(table.depth, table.steps - 1)
    clean = table.clean[1:].at[0, : len(again)].add(alpha * again)
    noise = table.noise[1:].at[0, : len(again)].add(sigma * again)
    start = schedule.sigma(jnp.asarray(schedule.t_max, weight.dtype))
    return StepTable(
        table.times[1:], clean[:, :depth], noise[:, :depth], table.fresh[1:], weight[0] * start
    )

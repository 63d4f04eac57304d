"""Exponential integrators: polynomials through the network's last answers.

Each is data for one family: which answers make a state, in which coordinate, by which moments.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..schedule import AbstractSchedule
from ..table import StepTable
from ..types import Steps
from .corrections import (
    Coordinate,
    Levels,
    Moment,
    Stage,
    correct,
    exact,
    flat,
    half,
    in_time,
    index,
    inverse_ratio,
    lay_out,
    log_snr,
    ratio,
    straight,
    time,
    without_first,
)
from .family import AbstractFamily, sqrt
from .times import Times

_SHORT = 15  # with fewer steps than this, DPM-Solver++ and DEIS end with lower orders


class Plan(NamedTuple):
    """A solver as data: how each state is made, and how it is corrected once it has been seen.

    `correctors` are those of the states 1, 2, ...: the next state is made from the corrected one.
    """

    answer: str
    coordinate: Coordinate
    stages: tuple[Stage, ...]
    correctors: tuple[Stage, ...] = ()


class ExponentialIntegrator(AbstractFamily):
    """Solve the probability-flow ODE, or its SDE, by polynomials through the network's answers.

    Functions make the known ones, such as `dpmpp_multistep`. Only the times can be searched.

    Args:
        times: Those of the states, as many as the plan has stages.
        plan: The solver.
        eta: The share of the reverse SDE's noise: 0 is the ODE, 1 SDE-DPM-Solver++.
        afs: Spare the first evaluation, see `without_first`.
    """

    times: Times
    plan: Plan = eqx.field(static=True)
    eta: float = 0.0
    afs: bool = False

    def __check_init__(self):
        if self.eta < 0:
            raise ValueError(f"eta is {self.eta}; it must be 0 (the ODE) or more.")
        if self.eta and self.afs:
            raise ValueError("afs spares the first evaluation of the ODE; it does not go with eta.")

    def table(self, schedule: AbstractSchedule) -> StepTable:
        told, grid = self.times(schedule)
        states = Levels.of(schedule, grid)
        base = np.array([stage.base for stage in self.plan.stages])
        noise, fresh = self._noise(states, base)
        table = lay_out(
            told,
            base,
            states.alpha[1:],
            noise,
            fresh,
            self.plan.answer,
            self._corrections(states),
            _depth(self.plan),
        )
        return without_first(table, schedule) if self.afs else table

    def _noise(self, states: Levels, base: Int[np.ndarray, "K"]) -> tuple[Steps, Steps]:
        """The weights of the old noise and of fresh noise: what `exp(-eta h)` leaves of the old."""
        sigma = states.sigma[1:]
        if not self.eta:
            return sigma, jnp.zeros_like(sigma)
        left = jnp.where(sigma > 0, states.ratio[1:] / states.ratio[base], 1) ** self.eta
        return sigma * left, sigma * sqrt(1 - left**2)

    def _corrections(self, states: Levels) -> Float[Array, "K K"]:
        answer, coordinate, stages, correctors = self.plan
        matrix = correct(stages, states, answer, coordinate, self.eta)
        if not correctors:
            return matrix
        change = correct(correctors, states, answer, coordinate) - matrix
        scale = states.sigma if answer == "x0" else states.alpha
        carried = (scale[2:] / scale[1:-1])[:, None] * change[:-1]
        return jnp.concatenate([matrix[:1], matrix[1:] + carried])


def _depth(plan: Plan) -> int:
    """How far back a state's weights reach; those of a correction, to the state after it."""
    made = [m - min((s.base, *s.nodes)) for m, s in enumerate(plan.stages, 1)]
    corrected = [m + 1 - min((s.base, *s.nodes)) for m, s in enumerate(plan.correctors, 1)]
    return max(made + corrected)


# The moments of a step from one, two, ... answers.
_USUAL = ((), (flat,), (exact, half))
_EXACT, _FLAT, _IN_TIME = (
    tuple((moment,) * n for n in range(4)) for moment in (exact, flat, in_time)
)


def dpmpp_multistep(
    steps: int,
    times: str | Times = "linear",
    order: int = 2,
    eta: float = 0.0,
    exact_moments: bool = False,
    lower_order_final: bool = True,
    end: float = 0.0,
    afs: bool = False,
) -> ExponentialIntegrator:
    """Make DPM-Solver++(2M) or (3M): the last answers in x0, a polynomial in the log-SNR.

    All common code of 3M (the authors', diffusers, k-diffusion) takes half of the second moment, so
    that its order of convergence is 2, not 3; so does this, unless it takes exact moments.

    Args:
        steps: K, the number of network evaluations.
        times: A grid's name, see `Times.of`, or Times.
        order: How many answers, 1 to 3.
        eta: The share of the reverse SDE's noise: 0 is the ODE, 1 SDE-DPM-Solver++.
        exact_moments: Integrate the polynomial exactly; without, 2M takes the midpoint rule.
        lower_order_final: End with steps of fewer answers where there are fewer than 15 steps.
        end: The time where a named grid ends; 0 is data, to which the last step takes one answer.
        afs: Spare the first evaluation, see `without_first`; the times are K + 1 then.

    Returns:
        The family.

    Raises:
        ValueError: The order is not in 1..3, eta is negative or beside afs, or the steps or times
            are not valid.

    Source:
        Lu et al. 2022 (arXiv 2211.01095), algorithm 2 and appendix B, and their code.
    """
    _check_order(order, 3)
    own = _times(steps, times, end, afs)
    lower = lower_order_final and len(own) < _SHORT
    stages = _multistep(
        _orders(len(own), order, lower, to_data=not own.end), _EXACT if exact_moments else _USUAL
    )
    return ExponentialIntegrator(own, Plan("x0", log_snr, stages), eta, afs)


def dpmpp_singlestep(
    steps: int,
    times: str | Times = "linear",
    order: int = 2,
    exact_moments: bool = False,
    lower_order_final: bool = True,
    end: float = 0.0,
    afs: bool = False,
) -> ExponentialIntegrator:
    """Make DPM-Solver++(2S) or (3S): steps of two or three evaluations, in x0, over the log-SNR.

    All K times are the grid's, as in diffusers: what lies inside a step is told to the network too.
    3S takes a step's first and last answer, which is of order 3 where the last is at two thirds of
    the way, as on a grid of uniform log-SNR.

    Args:
        steps: K, the number of network evaluations.
        times: A grid's name, see `Times.of`, or Times.
        order: How many evaluations a step, 1 to 3.
        exact_moments: Integrate the polynomial through all of a step's answers exactly.
        lower_order_final: End with a step of one evaluation. Without, only the evaluations that
            are left over by whole steps make one of a lower order.
        end: The time where a named grid ends; 0 is data, to which the last step takes one answer.
        afs: Spare the first evaluation, see `without_first`; the times are K + 1 then.

    Returns:
        The family.

    Raises:
        ValueError: The order is not in 1..3, or the steps or times are not valid.

    Source:
        Lu et al. 2022 (arXiv 2211.01095), algorithm 1, and DPM-Solver (arXiv 2206.00927).
    """
    _check_order(order, 3)
    own = _times(steps, times, end, afs)
    orders = _blocks(len(own), order, lower_order_final)
    if not own.end:
        orders[-1] = 1
    stages = tuple(_inside(state, n, exact_moments) for state, n in enumerate(orders, 1))
    return ExponentialIntegrator(own, Plan("x0", log_snr, stages), 0.0, afs)


def unipc(
    steps: int,
    times: str | Times = "linear",
    order: int = 2,
    b: int = 2,
    corrector: bool = True,
    lower_order_final: bool = True,
    end: float = 0.0,
    afs: bool = False,
) -> ExponentialIntegrator:
    """Make UniPC in x0: a prediction from the last answers, corrected by the answer that follows.

    Args:
        steps: K, the number of network evaluations.
        times: A grid's name, see `Times.of`, or Times.
        order: How many answers the prediction takes, 1 to 3.
        b: 1 for B(h) = h, 2 for B(h) = exp(h) - 1.
        corrector: Correct each state once it has been seen (UniC); without, this is UniP.
        lower_order_final: End with steps of fewer answers.
        end: The time where a named grid ends; 0 is data, to which the last step takes one answer.
        afs: Spare the first evaluation, see `without_first`; the times are K + 1 then.

    Returns:
        The family.

    Raises:
        ValueError: The order is not in 1..3, b is neither, or the steps or times are not valid.

    Source:
        Zhao et al. 2023 (arXiv 2302.04867), algorithms 1 and 2.
    """
    _check_order(order, 3)
    if b not in (1, 2):
        raise ValueError(f"b is {b}; it must be 1, for B(h) = h, or 2, for B(h) = exp(h) - 1.")
    own = _times(steps, times, end, afs)
    orders = _orders(len(own), order, lower_order_final, to_data=not own.end)
    first: Moment = flat if b == 2 else straight
    stages = _multistep(orders, ((), (first,), (exact, exact)))
    ahead = ((first,), (exact, exact), (exact, exact, exact))
    correctors = tuple(
        Stage(m - 1, (m, *range(m - 2, m - 1 - n, -1)), ahead[n - 1])
        for m, n in enumerate(orders[:-1], 1)
    )
    return ExponentialIntegrator(
        own, Plan("x0", log_snr, stages, correctors if corrector else ()), 0.0, afs
    )


def deis(
    steps: int,
    times: str | Times = "linear",
    degree: int = 2,
    lower_order_final: bool = True,
    end: float = 0.0,
    afs: bool = False,
) -> ExponentialIntegrator:
    """Make DEIS tAB: the last answers in eps, a polynomial in the time.

    Args:
        steps: K, the number of network evaluations.
        times: A grid's name, see `Times.of`, or Times.
        degree: Of the polynomial, 0 to 3, through one answer more: tAB2 is degree 2.
        lower_order_final: End with steps of fewer answers where there are fewer than 15 steps.
        end: The time where a named grid ends; 0 is data.
        afs: Spare the first evaluation, see `without_first`; the times are K + 1 then.

    Returns:
        The family.

    Raises:
        ValueError: The degree is not in 0..3, or the steps or times are not valid.

    Source:
        Zhang and Chen 2023 (arXiv 2204.13902), eq. 14 and 15.
    """
    if degree not in range(4):
        raise ValueError(f"degree is {degree}; it must be one of 0, 1, 2 and 3.")
    own = _times(steps, times, end, afs)
    lower = lower_order_final and len(own) < _SHORT
    stages = _multistep(_orders(len(own), degree + 1, lower), _IN_TIME)
    return ExponentialIntegrator(own, Plan("eps", time, stages), 0.0, afs)


def ipndm(
    steps: int,
    times: str | Times = "linear",
    order: int = 4,
    end: float = 0.0,
    afs: bool = False,
) -> ExponentialIntegrator:
    """Make iPNDM: the last answers in eps, with Adams and Bashforth's weights of equal steps.

    Args:
        steps: K, the number of network evaluations.
        times: A grid's name, see `Times.of`, or Times.
        order: How many answers, 1 to 4; the first steps take as many as there are.
        end: The time where a named grid ends; 0 is data.
        afs: Spare the first evaluation, see `without_first`; the times are K + 1 then.

    Returns:
        The family.

    Raises:
        ValueError: The order is not in 1..4, or the steps or times are not valid.

    Source:
        Zhang and Chen 2023 (arXiv 2204.13902), section 3.3, after Liu et al. 2022, PNDM.
    """
    _check_order(order, 4)
    own = _times(steps, times, end, afs)
    stages = _multistep(_orders(len(own), order, lower=False), _FLAT)
    return ExponentialIntegrator(own, Plan("eps", index, stages), 0.0, afs)


def exponential(
    steps: int,
    times: str | Times = "linear",
    order: int = 2,
    answer: str = "x0",
    variable: str = "log-snr",
    lower_order_final: bool = True,
    end: float = 0.0,
    afs: bool = False,
) -> ExponentialIntegrator:
    """Make an exponential integrator: the last answers, a polynomial that is integrated exactly.

    In eps over the log-SNR it is diffusers' DEIS (`logrho`), over sigma / alpha DEIS's rhoAB.

    Args:
        steps: K, the number of network evaluations.
        times: A grid's name, see `Times.of`, or Times.
        order: How many answers, 1 to 4.
        answer: `x0` or `eps`.
        variable: What the polynomial is in: `log-snr`, or `ratio`, which is sigma / alpha for eps
            and alpha / sigma for x0.
        lower_order_final: End with steps of fewer answers where there are fewer than 15 steps.
        end: The time where a named grid ends; 0 is data, to which the last step takes one answer,
            but in eps over the ratio, which is finite there.
        afs: Spare the first evaluation, see `without_first`; the times are K + 1 then.

    Returns:
        The family.

    Raises:
        ValueError: The order is not in 1..4, the answer or the variable is another, or the steps or
            times are not valid.

    Source:
        Zhang and Chen 2023 (arXiv 2204.13902); Lu et al. 2022 (arXiv 2211.01095).
    """
    _check_order(order, 4)
    known = {
        ("x0", "log-snr"): (log_snr, _EXACT),
        ("eps", "log-snr"): (log_snr, _EXACT),
        ("x0", "ratio"): (inverse_ratio, _FLAT),
        ("eps", "ratio"): (ratio, _FLAT),
    }
    if (answer, variable) not in known:
        raise ValueError(
            f"answer is {answer!r} and variable {variable!r}; they must be x0 or eps, and log-snr "
            "or ratio."
        )
    coordinate, moments = known[answer, variable]
    own = _times(steps, times, end, afs)
    lower = lower_order_final and len(own) < _SHORT
    to_data = not own.end and coordinate is not ratio
    stages = _multistep(_orders(len(own), order, lower, to_data), moments)
    return ExponentialIntegrator(own, Plan(answer, coordinate, stages), 0.0, afs)


def _check_order(order: int, most: int) -> None:
    if order not in range(1, most + 1):
        raise ValueError(f"order is {order}; it must lie between 1 and {most}.")


def _times(steps: int, times: str | Times, end: float, afs: bool) -> Times:
    """The times of all states, of which an analytic first step is one more."""
    return Times.of(times, steps + 1 if afs else steps, end)


def _orders(steps: int, order: int, lower: bool, to_data: bool = False) -> list[int]:
    """How many answers make each state: as many as there are at first, fewer and fewer at the end.

    At data only one, where the polynomial would be infinite.
    """
    orders = [min(order, n + 1, steps - n if lower else order) for n in range(steps)]
    return [*orders[:-1], 1] if to_data else orders


def _blocks(steps: int, order: int, lower: bool) -> list[int]:
    """The same for steps of several evaluations, which each count up from one."""
    block = list(range(1, order + 1))
    if not lower or order == 1:
        return [n for _ in range(0, steps, order) for n in block][:steps]
    whole, rest = divmod(steps - 1, order)
    tail = list(range(1, rest + 2)) if rest + 1 < order else [*range(1, order), 1]
    return block * whole + tail


def _multistep(orders: list[int], moments: tuple[tuple[Moment, ...], ...]) -> tuple[Stage, ...]:
    """States made from the one before, with the last answers."""
    return tuple(
        Stage(m - 1, tuple(range(m - 2, m - 1 - n, -1)), moments[n - 1])
        for m, n in enumerate(orders, 1)
    )


def _inside(state: int, order: int, exact_moments: bool) -> Stage:
    """A state made from the first of its step, `order` evaluations back."""
    if order == 1:
        return Stage(state - 1)
    if order == 2:
        return Stage(state - 2, (state - 1,), (exact if exact_moments else flat,))
    if exact_moments:
        return Stage(state - 3, (state - 1, state - 2), (exact, exact))
    return Stage(state - 3, (state - 1,), (exact,))

"""Explicit Runge-Kutta methods, from diffrax's Butcher tableaus, in eps over sigma / alpha.

That is EDM's ODE, `dy / dv = eps` with `y = x / alpha` and `v = sigma / alpha`.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..schedule import AbstractSchedule, time_at
from ..table import StepTable
from ..types import Steps
from .corrections import Levels, lay_out, without_first
from .family import AbstractFamily, sqrt
from .times import Times

_KNOWN = 1e6  # sigma / alpha below which a state holds something of the data
_MOST = 500.0  # taken for it above, to place the stages of a step


class Tableau(NamedTuple):
    """A method as data: where the states of a step lie, and the weights of its answers in each.

    The first answer is that of the step's start, at 0; the last state, at 1, is its end.
    """

    places: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, name: str) -> "Tableau":
        """Read the tableau of one of diffrax's explicit solvers.

        A last stage whose answer is the first of the next step (FSAL) is left out.

        Args:
            name: The solver's class, such as `Heun`, `Bosh3` or `Dopri5`.

        Returns:
            The tableau.

        Raises:
            ValueError: There is no such solver.
        """
        import diffrax

        solvers = {n: s for n, s in vars(diffrax).items() if _is_explicit(s)}
        if name not in solvers:
            raise ValueError(f"method is {name!r}; it must be one of {', '.join(sorted(solvers))}.")
        tableau = solvers[name].tableau
        end = np.trim_zeros(tableau.b_sol, "b")
        inner = len(end) - 1
        rows = (*tableau.a_lower[:inner], end)
        return cls((*map(float, tableau.c[:inner]), 1.0), tuple(tuple(map(float, r)) for r in rows))


def _is_explicit(solver: Any) -> bool:
    """Whether something of diffrax is a solver with one tableau and no implicit stage."""
    import diffrax

    tableau = getattr(solver, "tableau", None)
    return isinstance(tableau, diffrax.ButcherTableau) and not tableau.implicit


_EULER = Tableau((1.0,), ((1.0,),))


class Churn(NamedTuple):
    """Noise that comes to each step's start and raises its level (EDM's stochastic sampler).

    A step from `v = sigma / alpha` begins at `(1 + min(strength / steps, 0.414)) v`, where `v` lies
    between `low` and `high`, and at the first step's level at most; the noise is `noise` times as
    strong as that level has it.
    """

    strength: float = 0.0
    low: float = 0.0
    high: float = float("inf")
    noise: float = 1.0


class _States(NamedTuple):
    """The states 1..K of all steps: which step each is of, from which row, and how it is made."""

    step: Int[np.ndarray, "K"]
    base: Int[np.ndarray, "K"]
    place: Float[np.ndarray, "K"]
    ends: Bool[np.ndarray, "K"]
    weights: Float[np.ndarray, "K K"]  # of the answers, less DDIM's


class RungeKutta(AbstractFamily):
    """Solve the probability-flow ODE by steps of a Runge-Kutta method.

    K evaluations are one step of Euler's at the end, before it as many of the method's as there is
    room for, and first Euler's for the evaluations that remain. `heun` and `runge_kutta` make it.
    Only the times can be searched.

    Args:
        times: Those of the steps, fewer than K.
        tableau: The method.
        evaluations: K, or one more with afs.
        churn: The noise before each step.
        afs: Spare the first evaluation, see `without_first`.

    Raises:
        ValueError: A number of the churn is negative, or it stands beside afs.
    """

    times: Times
    tableau: Tableau = eqx.field(static=True)
    evaluations: int = eqx.field(static=True)
    churn: Churn = eqx.field(static=True, default=Churn())
    afs: bool = False

    def __check_init__(self):
        if not (self.churn.strength >= 0 and self.churn.noise >= 0):
            raise ValueError(
                f"churn is {self.churn.strength}, its noise {self.churn.noise}; they must be at "
                "least 0."
            )
        if self.churn.strength and self.afs:
            raise ValueError("afs spares the first evaluation of the ODE; it has no churn.")

    def table(self, schedule: AbstractSchedule) -> StepTable:
        told, grid = self.times(schedule)
        levels, made = Levels.of(schedule, grid), _states(self.evaluations, self.tableau)
        start, v = self._starts(schedule, levels)
        known = v < _KNOWN
        arrived = levels.ratio[1:]
        way = arrived - jnp.where(known, v, _MOST)
        place, weights = (jnp.asarray(a, v.dtype) for a in (made.place, made.weights))
        ratio = arrived[made.step] - (1 - place) * way[made.step]  # before any noise comes to it
        time = _times(schedule, made, grid, start, ratio)
        inside = time > 0
        alpha = jax.vmap(schedule.alpha)(jnp.where(inside, time, grid[0]))
        alpha = jnp.where(inside, alpha, 1)
        raised = jnp.where(made.ends, jnp.append(v[1:], 0)[made.step], 0)
        # What is told at a step's start moves with it.
        told = jnp.minimum(told * start / grid[:-1], grid[0])
        rows = jnp.where(made.ends, jnp.append(told[1:], 0)[made.step], time)
        table = lay_out(
            jnp.append(told[:1], rows[:-1]),
            made.base,
            alpha,
            alpha * ratio,
            self.churn.noise * alpha * sqrt((raised - ratio) * (raised + ratio)),
            "eps",
            (alpha * jnp.where(known, way, 0)[made.step])[:, None] * weights,
            len(self.tableau.places),
        )
        return without_first(table, schedule) if self.afs else table

    def _starts(self, schedule: AbstractSchedule, levels: Levels) -> tuple[Array, Array]:
        """The times at which steps start, and sigma / alpha there, once noise has come to them."""
        time, v = levels.time[:-1], levels.ratio[:-1]
        strength, low, high, _ = self.churn
        if not strength:
            return time, v
        gain = min(strength / len(v), 2**0.5 - 1)
        raised = jnp.minimum(jnp.where((v >= low) & (v <= high), v * (1 + gain), v), v[0])
        times = jax.vmap(lambda ratio: time_at(schedule, ratio))(raised)
        return jnp.where(raised > v, times, time), raised


def _times(
    schedule: AbstractSchedule, made: _States, grid: Array, start: Array, ratio: Steps
) -> Steps:
    """The times of the states 1..K, where noise has come to the steps' ends."""
    ends, inner = made.ends, np.flatnonzero(made.place < 1)
    time = jnp.where(ends, jnp.append(start[1:], grid[-1])[made.step], grid[1:][made.step])
    return time.at[inner].set(jax.vmap(lambda r: time_at(schedule, r))(ratio[inner]))


def _states(evaluations: int, tableau: Tableau) -> _States:
    """Lay the states of all steps out, one for each evaluation."""
    columns, weights, row = [], np.zeros((evaluations, evaluations)), 0
    for step, method in enumerate(_steps(evaluations, tableau)):
        for place, given in zip(*method, strict=True):
            state = len(columns)
            weights[state, row : row + len(given)] = given
            weights[state, row] -= place  # DDIM's, which takes the start's answer all the way
            columns.append((step, row, place, len(given) == len(method.places)))
        row = len(columns)
    step, base, place, ends = map(np.array, zip(*columns, strict=True))
    return _States(step, base, place, ends, weights)


def _steps(evaluations: int, tableau: Tableau) -> list[Tableau]:
    """The methods of the steps that a number of evaluations is enough for."""
    whole, rest = divmod(evaluations - 1, len(tableau.places))
    return [_EULER] * rest + [tableau] * whole + [_EULER]


def heun(
    steps: int,
    times: str | Times = "linear",
    churn: float = 0.0,
    churn_low: float = 0.0,
    churn_high: float = float("inf"),
    churn_noise: float = 1.0,
    end: float = 0.0,
    afs: bool = False,
) -> RungeKutta:
    """Make Heun's method as EDM has it: two evaluations a step, and one for the last.

    With an even number of evaluations the first step is Euler's. With churn it is EDM's stochastic
    sampler, whose first step is never churned, for a state is noise alone there.

    Args:
        steps: K, the number of network evaluations: of K // 2 + 1 steps.
        times: A grid's name, see `Times.of`, or the Times of the steps.
        churn: S_churn of EDM; 0 is the ODE.
        churn_low: S_min, in sigma / alpha.
        churn_high: S_max, in sigma / alpha.
        churn_noise: S_noise.
        end: The time where a named grid ends; 0 is data.
        afs: Spare the first evaluation, see `without_first`; its error grows with the first step,
            so that this needs a grid whose first step is short in sigma / alpha.

    Returns:
        The family.

    Raises:
        ValueError: A number of the churn is negative or beside afs, or the steps or times are not
            valid.

    Source:
        Karras et al. 2022 (arXiv 2206.00364), algorithms 1 and 2.
    """
    noise = Churn(churn, churn_low, churn_high, churn_noise)
    return _made(Tableau.of("Heun"), steps, times, end, afs, noise)


def runge_kutta(
    steps: int,
    times: str | Times = "linear",
    method: str = "Dopri5",
    end: float = 0.0,
    afs: bool = False,
) -> RungeKutta:
    """Make any explicit method of which diffrax has the tableau.

    Args:
        steps: K, the number of network evaluations. A step takes as many as the method has stages,
            less one where the last is the first of the next step (FSAL): 3 of Bosh3, 6 of Dopri5
            and Tsit5, 13 of Dopri8. The last step is Euler's, and so are the first, for what
            evaluations remain.
        times: A grid's name, see `Times.of`, or the Times of the steps.
        method: The class of diffrax, such as `Midpoint`, `Ralston`, `Bosh3`, `Tsit5` or `Dopri8`.
        end: The time where a named grid ends; 0 is data.
        afs: Spare the first evaluation, see `without_first`.

    Returns:
        The family.

    Raises:
        ValueError: There is no such method, or the steps or times are not valid.
    """
    return _made(Tableau.of(method), steps, times, end, afs, Churn())


def _made(
    tableau: Tableau, steps: int, times: str | Times, end: float, afs: bool, churn: Churn
) -> RungeKutta:
    Times.of("linear", steps)  # a number of steps that it refuses is none here either
    evaluations = steps + afs
    own = Times.of(times, len(_steps(evaluations, tableau)), end)
    return RungeKutta(own, tableau, evaluations, churn, afs)

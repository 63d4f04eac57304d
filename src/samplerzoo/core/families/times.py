"""Where a sampler evaluates its network: K times between `t_max` and data."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..schedule import AbstractSchedule
from ..types import Steps
from .grids import named_grid

_FLOOR = 0.01  # of 1 / K^2 of the way: what a searched gap can shrink to, or a tenth of itself


class Times(eqx.Module):
    """Place K times between `t_max` and data: a grid that falls, and the times told to the network.

    Any real values of the arrays give a valid grid, so that times can be searched.

    Args:
        moves: What is added to the logarithms of the anchor's gaps, (K,): then a softmax, and a
            running sum. Zeros are the anchor itself.
        shift: What moves the time told at each step away from the grid's (*decoupled* times), (K,),
            within half of the gaps beside it, so that told times fall too. The first is told as it
            is.
        anchor: The grid before it is searched: a name, see `GRIDS`, or K + 1 shares of `t_max`.
        end: Where the grid ends, a time of the schedule: 0, which is data, or earlier.
    """

    moves: Steps
    shift: Steps
    anchor: str | tuple[float, ...] = eqx.field(static=True)
    end: float = eqx.field(static=True, default=0.0)

    @classmethod
    def of(cls, times: "str | Sequence[float] | Times", steps: int, end: float = 0.0) -> "Times":
        """Make the times of a grid's name, or check that given ones are of the right number.

        Args:
            times: `linear`, `quadratic`, `logsnr`, `karras` or `karras-RHO`, such as `karras-5`; or
                Times, which are returned as they are.
            steps: K, the number of network evaluations.
            end: Where a named grid ends, a time of the schedule: 0 is data.

        Returns:
            The times, K of them.

        Raises:
            ValueError: The number of steps is below 1, the name is unknown, the Times are not K, or
                the end is negative or not that of the Times.
        """
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ValueError(f"steps is {steps!r}; it must be a whole number of at least 1.")
        if isinstance(times, Times):
            if times.moves.shape != (steps,):
                raise ValueError(f"times has {times.moves.shape[0]} steps where {steps} are asked.")
            if end and end != times.end:
                raise ValueError(f"end is {end}, but the times given have an end of their own.")
            return times
        if not isinstance(times, str):
            raise ValueError(f"times is {times!r}; it must be the name of a grid, or a Times.")
        named_grid(times)
        if not 0 <= end < float("inf"):
            raise ValueError(f"end is {end}; it must be a time of the schedule, 0 for data.")
        return cls(jnp.zeros(steps), jnp.zeros(steps), times, float(end))

    @classmethod
    def fit(cls, grid: ArrayLike, told: ArrayLike | None = None, t_max: float = 1.0) -> "Times":
        """Find the Times that have a given grid.

        Args:
            grid: K + 1 times that fall from at most `t_max` to 0, or to an end before data.
            told: The times told to the network, (K,), each near its own of the grid; the grid's by
                default.
            t_max: The unit of both: a schedule's `t_max`, or 1 for shares of it.

        Returns:
            The times, K of them.

        Raises:
            ValueError: The grid does not fall so, or a told time is out of reach.
        """
        grid = np.asarray(grid, np.float64) / t_max
        steps = len(grid) - 1
        if steps < 1 or grid[0] > 1 or not grid[-1] >= 0 or not np.all(np.diff(grid) < 0):
            raise ValueError(
                "A grid must fall strictly from its first time, at most t_max, to its last, 0 for "
                "data."
            )
        shift = np.zeros(steps)
        if told is not None:
            moved = np.asarray(told) / t_max - grid[:-1]
            share = moved[1:] / np.asarray(_room(-np.diff(grid)))[1:]
            if abs(moved[0]) > 1e-6 or not np.all(np.abs(share) < 1):
                raise ValueError(
                    "The first told time must be the grid's first, and each other one must be "
                    "nearer to its grid time than 0.45 a b / (a + b), for the gaps a, b beside it."
                )
            shift[1:] = np.arctanh(share)
        anchor = tuple(float(time) for time in grid)
        return cls(jnp.zeros(steps), jnp.asarray(shift), anchor, anchor[-1] * t_max)

    def __len__(self) -> int:
        """Return K."""
        return self.moves.shape[0]

    def __call__(self, schedule: AbstractSchedule) -> tuple[Steps, Float[Array, "K+1"]]:
        """Return the times on a schedule.

        Args:
            schedule: Named grids depend on its levels, all on its `t_max`.

        Returns:
            The times told to the network, (K,), and the grid, (K + 1,), whose last time is the end.
        """
        steps = len(self)
        first, last, gaps = self._anchored(schedule)
        floor = jnp.minimum(_FLOOR / steps**2, gaps / 10)
        rest = 1 - jnp.sum(floor)
        gaps = floor + rest * jax.nn.softmax(jnp.log((gaps - floor) / rest) + self.moves)
        # Summed from the end, so that small times keep their digits and none is negative.
        share = jnp.cumsum(gaps[::-1])[::-1]
        share = jnp.concatenate([jnp.ones_like(share[:1]), share[1:], jnp.zeros_like(share[:1])])
        grid = last + (first - last) * share
        told = grid[:-1] + (first - last) * _room(gaps) * jnp.tanh(self.shift)
        return told, grid

    def _anchored(self, schedule: AbstractSchedule) -> tuple[Array, Array, Steps]:
        """The first and the last time before a search, and the gaps as shares of the way."""
        dtype = self.moves.dtype
        if isinstance(self.anchor, tuple):
            grid = np.asarray(self.anchor) * schedule.t_max
            first = grid[0]
        else:
            grid = named_grid(self.anchor)(schedule, len(self), self.end)
            first = schedule.t_max
        last, gaps = grid[-1], (grid[:-1] - grid[1:]) / (grid[0] - grid[-1])
        return jnp.asarray(first, dtype), jnp.asarray(last, dtype), jnp.asarray(gaps, dtype)


class PlacedTimes(eqx.Module):
    """Hold times as numbers in the place of `Times`: on any schedule they stay what they are.

    Args:
        told: The times told to the network, (K,).
        grid: The times of the states, (K + 1,).
    """

    told: Steps
    grid: Float[Array, "K+1"]

    def __call__(self, schedule: AbstractSchedule) -> tuple[Steps, Float[Array, "K+1"]]:
        """Return both, whatever the schedule."""
        return self.told, self.grid


def _room(gaps: ArrayLike) -> Array:
    """How far each told time may move: less than half of either gap beside it, smoothly."""
    below = jnp.asarray(gaps)
    above = jnp.concatenate([jnp.zeros_like(below[:1]), below[:-1]])
    return 0.45 * above * below / (above + below)

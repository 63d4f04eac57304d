"""Where a sampler evaluates its network: K times between `t_max` and data."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..types import Steps

# t = t_max (1 - n / K)^power for n = 0..K
STRIDES = {"linear": 1, "quadratic": 2}
_FLOOR = 0.01  # of 1 / K^2: the least share of the way that one gap can shrink to


class Times(eqx.Module):
    """Place K times between `t_max` and data: a grid that falls, and the times told to the network.

    Any real values of the arrays give a valid grid, so that times can be searched.

    Args:
        gaps: The unconstrained logarithms of the grid's gaps, (K,): a softmax, then a running sum.
        shift: What moves the time told at each step away from the grid's (*decoupled* times), (K,),
            within half of the gaps beside it, so that told times fall too. The first is told as it
            is.
        start: The first time as a share of `t_max`.
    """

    gaps: Steps
    shift: Steps
    start: float = eqx.field(static=True, default=1.0)

    @classmethod
    def of(cls, times: "str | Sequence[float] | Times", steps: int) -> "Times":
        """Make the times of a stride's name, or check that given ones are of the right number.

        Args:
            times: `linear` or `quadratic`, or Times, which are returned as they are.
            steps: K, the number of network evaluations.

        Returns:
            The times, K of them.

        Raises:
            ValueError: The number of steps is below 1, the stride is unknown, or the Times are not
                K.
        """
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ValueError(f"steps is {steps!r}; it must be a whole number of at least 1.")
        if isinstance(times, Times):
            if times.gaps.shape != (steps,):
                raise ValueError(f"times has {times.gaps.shape[0]} steps where {steps} are asked.")
            return times
        if not isinstance(times, str) or times not in STRIDES:
            raise ValueError(
                f"times is {times!r}; it must be one of {', '.join(STRIDES)}, or a Times."
            )
        return cls.fit((1 - np.arange(steps + 1) / steps) ** STRIDES[times])

    @classmethod
    def fit(cls, grid: ArrayLike, told: ArrayLike | None = None, t_max: float = 1.0) -> "Times":
        """Find the Times that have a given grid.

        Args:
            grid: K + 1 times that fall from at most `t_max` to 0.
            told: The times told to the network, (K,), each near its own of the grid; the grid's by
                default.
            t_max: The unit of both: a schedule's `t_max`, or 1 for shares of it.

        Returns:
            The times, K of them.

        Raises:
            ValueError: The grid does not fall so, or a told time is out of reach.
        """
        grid = np.asarray(grid, np.float64) / t_max
        steps, gaps = len(grid) - 1, -np.diff(grid) / grid[0]
        floor = _FLOOR / max(steps, 1) ** 2
        if steps < 1 or grid[0] > 1 or grid[-1] != 0 or not np.all(gaps > floor):
            raise ValueError(
                "A grid must fall strictly from its first time, at most t_max, to 0, and each of "
                f"its K gaps must be more than {_FLOOR} / K^2 of the way."
            )
        shift = np.zeros(steps)
        if told is not None:
            moved = np.asarray(told) / t_max - grid[:-1]
            share = moved[1:] / np.asarray(_room(gaps * grid[0]))[1:]
            if abs(moved[0]) > 1e-6 or not np.all(np.abs(share) < 1):
                raise ValueError(
                    "The first told time must be the grid's first, and each other one must be "
                    "nearer to its grid time than 0.45 a b / (a + b), for the gaps a, b beside it."
                )
            shift[1:] = np.arctanh(share)
        logits = jnp.asarray(np.log((gaps - floor) / (1 - steps * floor)))
        return cls(logits, jnp.asarray(shift, logits.dtype), float(grid[0]))

    def __call__(self, t_max: float) -> tuple[Steps, Float[Array, "K+1"]]:
        """Return the times on a schedule's scale.

        Args:
            t_max: The schedule's first time.

        Returns:
            The times told to the network, (K,), and the grid, (K + 1,), whose last time is 0.
        """
        steps = self.gaps.shape[0]
        floor = _FLOOR / steps**2
        gaps = floor + (1 - steps * floor) * jax.nn.softmax(self.gaps)
        # Summed from the end, so that small times keep their digits and none is negative.
        grid = jnp.cumsum(gaps[::-1])[::-1]
        grid = jnp.concatenate([jnp.ones_like(grid[:1]), grid[1:], jnp.zeros_like(grid[:1])])
        told = grid[:-1] + _room(gaps) * jnp.tanh(self.shift)
        return self.start * t_max * told, self.start * t_max * grid


def _room(gaps: ArrayLike) -> Array:
    """How far each told time may move: less than half of either gap beside it, smoothly."""
    below = jnp.asarray(gaps)
    above = jnp.concatenate([jnp.zeros_like(below[:1]), below[:-1]])
    return 0.45 * above * below / (above + below)

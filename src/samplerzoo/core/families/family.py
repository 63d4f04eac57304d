"""What a sampler family is, and what of it is searched."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..schedule import AbstractSchedule
from ..table import StepTable
from ..types import Grid, Steps
from .times import Times


class AbstractFamily(eqx.Module):
    """Map free parameters and a noise schedule to a sampler: a pure function to a `StepTable`.

    The free parameters are the floating-point array fields, unconstrained: any real values give a
    valid table. A member is made as `Member(steps, times=..., **options)` and is a known sampler
    until it is searched. Its options are its constructor's other arguments,
    whose annotations say what they may be.
    `samplerzoo.testing.check_family` checks all of this.
    """

    @abstractmethod
    def table(self, schedule: AbstractSchedule) -> StepTable:
        """Return the sampler, as numbers.

        Args:
            schedule: The levels of the model that it is for.

        Returns:
            The table, of K rows.
        """


def free_parameters(
    family: AbstractFamily, times: bool = False, decoupled: bool = False
) -> PyTree[bool]:
    """Choose what of a family is searched: every floating-point array but the times, by default.

    Any other choice is another filter spec, made with `equinox.tree_at`.

    Args:
        family: The family.
        times: Search the grid of times too.
        decoupled: Search the grid, and the times told to the network apart from it.

    Returns:
        An Equinox filter spec: the family with True in the place of each leaf that is searched.
    """

    def spec(node):
        if isinstance(node, Times):
            return eqx.tree_at(lambda t: (t.moves, t.shift), node, (times or decoupled, decoupled))
        return eqx.is_inexact_array(node)

    return jax.tree.map(spec, family, is_leaf=lambda node: isinstance(node, Times))


def levels(schedule: AbstractSchedule, grid: Grid) -> tuple[Steps, Steps]:
    """Compute `(alpha, sigma)` at the states a sampler steps to: `grid` without its first time.

    At data they are (1, 0), without asking the schedule for its derivative there.
    """
    there = grid[1:]
    inside = there > 0
    safe = jnp.where(inside, there, grid[0])
    alpha, sigma = jax.vmap(schedule.alpha)(safe), jax.vmap(schedule.sigma)(safe)
    return jnp.where(inside, alpha, 1), jnp.where(inside, sigma, 0)


def sqrt(x: Steps) -> Steps:
    """The square root, 0 with a gradient of 0 for what is not positive."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)

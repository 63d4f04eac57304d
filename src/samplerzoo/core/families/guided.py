"""Guidance as numbers of a sampler: any family's table with a weight for each evaluation."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..schedule import AbstractSchedule
from ..table import StepTable
from .family import AbstractFamily


class Guided(AbstractFamily):
    """Give a family's samplers classifier-free guidance, with a weight for each evaluation.

    The network's answer at row n is `null + w_n * (conditioned - null)`, where `null` is its answer
    without a condition: 1 is the condition alone, at one network evaluation; every other weight
    costs two. Searched weights are moved from where they start, and are never exactly 1.

    Args:
        family: The family, whose own parameters stay as free as they are.
        weights: The weights, (K,), from which searched ones start.
        searched: The rows whose weights are free parameters; the others are fixed.

    Raises:
        ValueError: A searched row is not one of the weights'.

    Source:
        Ho and Salimans 2022 (arXiv 2207.12598), eq. 6, with `w` for their `1 + w`; Kynkaanniemi et
        al. 2024 (arXiv 2404.07724) for weights of 1 outside an interval.
    """

    family: AbstractFamily
    moves: Float[Array, "searched"] | None
    weights: tuple[float, ...]
    searched: tuple[int, ...]

    def __init__(
        self, family: AbstractFamily, weights: Sequence[int | float], searched: Sequence[int] = ()
    ):
        if odd := sorted(set(searched) - set(range(len(weights)))):
            raise ValueError(f"Row {odd[0]} is searched, and there are {len(weights)} weights.")
        self.family = family
        self.weights = tuple(map(float, weights))
        self.searched = tuple(searched)
        self.moves = jnp.zeros(len(self.searched)) if self.searched else None

    def table(self, schedule: AbstractSchedule) -> StepTable:
        table = self.family.table(schedule)
        weights = jnp.asarray(self.weights, table.clean.dtype)
        if self.moves is not None:
            rows = jnp.asarray(self.searched)
            moved = weights[rows] + self.moves.astype(weights.dtype)
            # Else a weight that stands at 1 would cost one evaluation, and have no gradient.
            moved = moved + jnp.where(moved == 1, jnp.finfo(jnp.float32).eps, 0).astype(moved.dtype)
            weights = weights.at[rows].set(moved)
        return guide(table, weights)


def guide(table: StepTable, weights: Float[Array, "K"] | Sequence[int | float]) -> StepTable:
    """Give a table the weights of classifier-free guidance.

    Args:
        table: The sampler.
        weights: A weight for each of its K evaluations.

    Returns:
        The same sampler with guidance.

    Raises:
        ValueError: There are more weights or fewer than rows.
    """
    weights = jnp.asarray(weights, table.clean.dtype)
    if len(weights) != table.steps:
        raise ValueError(
            f"There are {len(weights)} weights of guidance for a sampler of {table.steps} steps; "
            "give one for each."
        )
    return dataclasses.replace(table, guidance=weights)

"""What an objective is, and which samples it is computed on."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from ..types import Key, Scalar, State


class Pool(eqx.Module):
    """Hold a fixed series of samples, from which a search draws its batches.

    Args:
        key: What the series stands for; sample i draws from `fold_in(key, i)`.
        size: How many samples there are.
    """

    key: Key
    size: int = eqx.field(static=True)


class AbstractObjective(eqx.Module):
    """Score a batch of samples by a number that a search makes small.

    The score may be a statistic of the whole batch, such as KID: `features` says what of each
    sample it needs, and `distance` computes it from the features of all samples. So its gradient is
    exact however a batch is cut into micro-batches and over devices, with the memory of one
    micro-batch. All arrays are fields. `samplerzoo.testing.check_objective` checks this.
    """

    def pool(self) -> Pool | None:
        """Say which samples it is defined on.

        An objective that knows something of each sample, such as what another sampler makes of the
        same noise, is defined on those alone.

        Returns:
            The samples; None where any will do.
        """
        return None

    @abstractmethod
    def features(self, sample: State, index: Int[Array, ""]) -> PyTree[Array]:
        """Compute what of one sample the distance needs.

        Args:
            sample: The sample, of the model's shape.
            index: Its number in the series that it was drawn from.

        Returns:
            A PyTree of arrays, of the same shapes for each sample.
        """

    @abstractmethod
    def distance(self, features: PyTree[Float[Array, "N ..."]]) -> Scalar:
        """Compute the score of a batch from the features of all its samples.

        Args:
            features: As `features` gives them, with a leading axis of at least two samples.

        Returns:
            The score, differentiable in the features; smaller is better.
        """


def check_pool(objective: AbstractObjective, batch: int) -> None:
    """Raise ValueError where an objective is defined on fewer samples than a batch has."""
    pool = objective.pool()
    if pool is not None and pool.size < batch:
        raise ValueError(
            f"The objective knows {pool.size} samples, fewer than the batch of {batch}; lower the "
            "batch, or give it a pool of more."
        )


def choose(objective: AbstractObjective, key: Key, batch: int) -> tuple[Key, Int[Array, "batch"]]:
    """Choose a batch of samples for an objective.

    Args:
        objective: The objective.
        key: The key of the step.
        batch: How many samples.

    Returns:
        The key of a series, and the numbers of the samples in it: the first ones of the step's own
        series, or different ones of the objective's pool, drawn by the step's key.

    Raises:
        ValueError: The pool is smaller than the batch.
    """
    check_pool(objective, batch)
    if (pool := objective.pool()) is None:
        return key, jnp.arange(batch)
    return pool.key, jax.random.choice(key, pool.size, (batch,), replace=False)

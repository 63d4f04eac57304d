"""Several objectives at once."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PyTree

from ..types import Scalar, State
from .objective import AbstractObjective, Pool


class Sum(AbstractObjective):
    """Combine objectives by a weighted sum.

    Args:
        terms: The objectives. Those that have pools must have the same one.
        weights: The weight of each.

    Raises:
        ValueError: There are no terms, not as many weights, or different pools.
    """

    terms: tuple[AbstractObjective, ...]
    weights: Float[Array, "terms"]

    def __init__(self, terms: Sequence[AbstractObjective], weights: Float[ArrayLike, "terms"]):
        self.terms = tuple(terms)
        self.weights = jnp.asarray(weights)
        if not self.terms or self.weights.shape != (len(self.terms),):
            raise ValueError(
                f"There are {len(self.terms)} objectives and {self.weights.size} weights; at least "
                "one objective is needed, and a weight for each."
            )
        pools = self._pools()
        if not all(_same(pools[0], pool) for pool in pools):
            raise ValueError("The objectives are defined on different samples; give them one pool.")

    def pool(self) -> Pool | None:
        """Say which samples it is defined on.

        Returns:
            Those of the terms that are defined on some; else None.
        """
        return next(iter(self._pools()), None)

    def _pools(self) -> list[Pool]:
        return [pool for term in self.terms if (pool := term.pool()) is not None]

    def features(self, sample: State, index: Int[Array, ""]) -> tuple[PyTree[Array], ...]:
        return tuple(term.features(sample, index) for term in self.terms)

    def distance(self, features: tuple[PyTree[Float[Array, "N ..."]], ...]) -> Scalar:
        pairs = zip(self.terms, features, strict=True)
        return jnp.dot(self.weights, jnp.stack([term.distance(found) for term, found in pairs]))


def _same(one: Pool, other: Pool) -> bool:
    keys = [np.asarray(jax.random.key_data(pool.key)) for pool in (one, other)]
    return one.size == other.size and np.array_equal(keys[0], keys[1])

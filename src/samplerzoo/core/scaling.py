"""Weights of a sum of objectives, in units of what each is worth at the start."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .objectives import Sum
from .types import Key

BATCHES = 4  # from which the values at the start are estimated


def scaled(total: Sum, score: Callable[[Sum, Key], Float[Array, "terms"]], key: Key) -> Sum:
    """Divide the weight of each term of a sum by the term's value at the start of a search.

    So weights compare terms of different units. A value is the mean over a few batches, or their
    standard deviation where that is greater, since less than that a step cannot see.

    Args:
        total: The sum.
        score: Gives the values of a sum's terms on a batch that a key stands for, for the sampler
            that the search starts from.
        key: What the batches are drawn from.

    Returns:
        The sum with other weights, whose value at the start is about the sum of the weights given.

    Raises:
        ValueError: A term is not finite at the start.
    """
    keys = [jax.random.fold_in(key, n) for n in range(BATCHES)]
    found = jnp.stack([score(total, own) for own in keys])
    size = jnp.maximum(jnp.abs(jnp.mean(found, axis=0)), jnp.std(found, axis=0))
    if not bool(jnp.all(jnp.isfinite(size))):
        raise ValueError("An objective is not finite for the sampler that the search starts from.")
    weights = total.weights / jnp.where(size > 0, size, 1)
    return eqx.tree_at(lambda each: each.weights, total, weights)

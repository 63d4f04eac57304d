"""A search begun from the result of another, at a neighbouring number of steps."""

from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .families import AbstractFamily

F = TypeVar("F", bound=AbstractFamily)


def warm_start(family: F, found: F) -> F:
    """Carry searched parameters over to the same family at another number of steps.

    Parameters of steps, arrays with a leading axis of K, are interpolated linearly along the grid,
    its first step from the first and its last from the last. A second axis counts steps back, and
    keeps its meaning: it is cut, or filled up with zeros.

    Args:
        family: The family at the new number of steps, as it was made: what is not interpolated is
            its own.
        found: The searched family, of the same options.

    Returns:
        The family with interpolated parameters.

    Raises:
        ValueError: The two have different parameters.
    """
    new, rest = eqx.partition(family, eqx.is_inexact_array)
    old = eqx.filter(found, eqx.is_inexact_array)
    pairs = [jax.tree_util.tree_leaves_with_path(tree) for tree in (new, old)]
    names = [[jax.tree_util.keystr(path) for path, _ in leaves] for leaves in pairs]
    if names[0] != names[1] or any(a.ndim != b.ndim for (_, a), (_, b) in zip(*pairs, strict=True)):
        raise ValueError(
            "A search can start from the result of the same family with the same options only; "
            f"{type(family).__name__} and {type(found).__name__} have other parameters."
        )
    leaves = [_carry(b, a.shape) for (_, a), (_, b) in zip(*pairs, strict=True)]
    return eqx.combine(jax.tree.unflatten(jax.tree.structure(new), leaves), rest)


def _carry(values: Array, shape: tuple[int, ...]) -> Array:
    """Interpolate the first axis, and cut or fill up the others, to a shape."""
    if not shape or values.shape == shape:
        return values
    place = jnp.linspace(0, values.shape[0] - 1, shape[0], dtype=values.dtype)
    low = place.astype(int)  # rounded down
    high = jnp.minimum(low + 1, values.shape[0] - 1)
    share = (place - low.astype(values.dtype)).reshape(-1, *(1,) * (values.ndim - 1))
    found = (1 - share) * values[low] + share * values[high]
    kept = tuple(slice(size) for size in shape[1:])
    found = found[(slice(None), *kept)]
    return jnp.pad(found, [(0, new - old) for new, old in zip(shape, found.shape, strict=True)])

"""Networks made of networks: with other times, of other precision, or with a label fixed."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax.typing import DTypeLike
from jaxtyping import Array, Int, PyTree

from ..core.types import Scalar, State


class Retimed(eqx.Module):
    """A network that was trained on timesteps from 0, at level `t` of a `DiscreteVP`.

    It is told `scale * (t - 1)`, and the condition where there is one.
    """

    network: Callable[..., Array]
    scale: float = eqx.field(static=True, default=1.0)

    def __call__(self, x: State, t: Scalar, *condition: PyTree[Array]) -> State:
        return self.network(x, self.scale * (t - 1), *condition)


class Labelled(eqx.Module):
    """A network `(x, t, label)` with its label fixed."""

    network: Callable[[Array, Array, Array], Array]
    label: Int[Array, ""]

    def __call__(self, x: State, t: Scalar) -> State:
        return self.network(x, t, self.label)


class Guided(eqx.Module):
    """Classifier-free guidance: `null + scale * (labelled - null)`, at twice the cost.

    `null` is the label that stands for none (Ho and Salimans 2022, with `scale` = 1 + w).
    """

    network: Callable[[Array, Array, Array], Array]
    label: Int[Array, ""]
    null: Int[Array, ""]
    scale: float = eqx.field(static=True)

    def __call__(self, x: State, t: Scalar) -> State:
        without = self.network(x, t, self.null)
        return without + self.scale * (self.network(x, t, self.label) - without)


class Rounded(eqx.Module):
    """A network whose weights and inputs are of another precision; its output is of the sample's.

    The time stays as it is: timesteps up to 1000 need more bits than bfloat16 has.
    """

    network: Callable[..., Array]
    dtype: DTypeLike = eqx.field(static=True)

    def __init__(self, network: Callable[..., Array], dtype: DTypeLike):
        """`network` may be of any precision."""
        self.network = _rounded(network, dtype)
        self.dtype = dtype

    def __call__(self, x: State, t: Scalar, *condition: PyTree[Array]) -> State:
        told = _rounded(condition, self.dtype)
        return self.network(x.astype(self.dtype), t, *told).astype(x.dtype)


def _rounded(tree: Any, dtype: DTypeLike) -> Any:
    """A tree with its floating-point arrays in another precision."""
    return jax.tree.map(
        lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, tree
    )

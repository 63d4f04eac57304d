"""The sample itself as its features."""

import equinox as eqx
from jaxtyping import Array, Float

from ..core.types import State


class Pixels(eqx.Module):
    """The flattened sample."""

    def __call__(self, x: State) -> Float[Array, "d"]:
        return x.reshape(-1)

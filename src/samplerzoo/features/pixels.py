"""The sample itself as its features."""

import equinox as eqx
from jaxtyping import Array, Float

from ..core.types import State
from .extractor import AbstractExtractor


class Pixels(AbstractExtractor):
    """The flattened sample."""

    head: None = eqx.field(static=True, default=None)

    def __call__(self, x: State) -> Float[Array, "d"]:
        return x.reshape(-1)

    def rounded(self) -> "Pixels":
        return self

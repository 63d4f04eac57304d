"""The sample itself as its features."""

from jaxtyping import Array, Float

from ..core.types import State
from .extractor import AbstractExtractor


class Pixels(AbstractExtractor):
    """The flattened sample."""

    def __call__(self, x: State) -> Float[Array, "d"]:
        return x.reshape(-1)

    def classifier(self) -> None:
        return None

    def rounded(self) -> "Pixels":
        return self

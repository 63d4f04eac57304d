"""What a feature extractor says of itself."""

import abc
from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core.types import State
from ..wording import sentence

Head: TypeAlias = Callable[[Array], Array]
Extractor: TypeAlias = Callable[[Array], Array]


class AbstractExtractor(eqx.Module):
    """Map one sample to a vector, differentiably, with what belongs to the map.

    What has no head and does not round may be a plain function of one sample instead.
    """

    @abc.abstractmethod
    def __call__(self, x: State) -> Float[Array, "d"]:
        """Compute the features of one sample, as differentiable numbers.

        Args:
            x: The sample, (H, W, C).

        Returns:
            Its features, (d,).
        """

    @abc.abstractmethod
    def classifier(self) -> Head | None:
        """Return the classifier's head, if the features are a classifier's.

        Returns:
            A function from the features of one sample, (d,), to unnormalised log-probabilities;
            None where there is no head.
        """

    @abc.abstractmethod
    def rounded(self) -> "AbstractExtractor":
        """Return the extractor that reports use, which reads a sample as it reads an image file.

        Returns:
            The extractor with each sample rounded to 8 bits, which has no gradient; itself, where
            its published scores were not made of files of 8 bits.
        """


class Function(AbstractExtractor):
    """A function of one sample as an extractor, without a head and without rounding."""

    function: Callable[[Array], Array]

    def __call__(self, x: State) -> Array:  # whether it is a vector is checked with a sentence
        return self.function(x)

    def classifier(self) -> None:
        return None

    def rounded(self) -> "Function":
        return self


def as_extractor(given: Callable[[Array], Array]) -> AbstractExtractor:
    """Return an extractor as it is, and any other callable as a function of one sample."""
    return given if isinstance(given, AbstractExtractor) else Function(given)


def check_extractor(phi: Callable[[Array], Array], shape: tuple[int, ...], what: str) -> None:
    """Check that an extractor maps a sample of a shape to a vector; nothing is computed.

    Args:
        phi: The extractor.
        shape: The shape of a sample.
        what: What messages call it, such as "The feature extractor 'pixels'".

    Raises:
        ValueError: It cannot take such a sample, or returns something else.
    """
    remedy = "A function of one sample is needed, or a samplerzoo.AbstractExtractor; behind "
    remedy += "python:, MODULE:NAME() stands for what a function or class without arguments makes."
    try:
        out: Any = eqx.filter_eval_shape(phi, jax.ShapeDtypeStruct(shape, jnp.float32))
    except Exception as error:
        raise ValueError(
            f"{what} cannot take a sample of shape {shape}: {sentence(error)} {remedy}"
        ) from error
    found = getattr(out, "shape", None)
    if found is None or len(found) != 1:
        returned = f"a {type(out).__name__}" if found is None else f"shape {found}"
        raise ValueError(f"{what} must map a sample to a vector; it returns {returned}. {remedy}")

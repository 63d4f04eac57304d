"""The features of a set of images, and what metrics derive from them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .checks import MOMENTS_ONLY, LackingError, check_features, pieces
from .moments import Moments, accumulate

T = TypeVar("T")


class FeatureSet:
    """Hold the features of a set of images, or their moments alone, and what follows from them.

    Args:
        features: The features, (N, d); they may be a memory map.
        moments: Their mean and covariance, where they are known; computed when asked for otherwise.
        head: A function from one image's features to logits, (classes,).
        held_out: The features of images that the model was not trained on.

    Raises:
        ValueError: Neither features nor moments are given, or features are not finite.
    """

    def __init__(
        self,
        features: Float[ArrayLike, "N d"] | None = None,
        *,
        moments: Moments | None = None,
        head: Callable[[Array], Array] | None = None,
        held_out: FeatureSet | None = None,
    ):
        if features is None and moments is None:
            raise ValueError("A FeatureSet needs features or moments; neither is given.")
        self._features = None if features is None else check_features(features)
        self._moments, self._head, self.held_out = moments, head, held_out
        self._known: dict[tuple, Any] = {}

    @property
    def features(self) -> Float[np.ndarray, "N d"]:
        """Return the features, (N, d); raise `LackingError` where only moments are known."""
        if self._features is None:
            raise LackingError(MOMENTS_ONLY)
        return self._features

    @property
    def count(self) -> int | None:
        """Return the number `N` of images; None where only moments are known."""
        return None if self._features is None else len(self._features)

    @property
    def has_head(self) -> bool:
        """Tell whether the features are a classifier's, so that there are logits."""
        return self._head is not None

    @property
    def width(self) -> int:
        """Return the number `d` of features of an image."""
        return len(self.moments.mean) if self._features is None else self._features.shape[1]

    @cached_property
    def moments(self) -> Moments:
        """Return the mean and the covariance, computed a chunk at a time unless given."""
        return self._moments or accumulate(pieces(self.features))

    @cached_property
    def logits(self) -> Float[np.ndarray, "N classes"] | None:
        """Return the head's logits, (N, classes); None where there is no head."""
        if self._head is None:
            return None
        apply = jax.jit(jax.vmap(self._head))
        chunks = [np.asarray(apply(jnp.asarray(chunk))) for chunk in pieces(self.features)]
        return np.concatenate(chunks)

    def once(self, compute: Callable[..., T], *options: Any) -> T:
        """Return `compute(features, *options)`, kept: a reference is compared with many sets.

        Args:
            compute: A function of the features.
            *options: Its further arguments, which can be hashed.

        Returns:
            What it returned the first time.
        """
        key = (compute, *options)
        if key not in self._known:
            self._known[key] = compute(self.features, *options)
        return self._known[key]


Points: TypeAlias = Float[ArrayLike, "_ d"] | FeatureSet


def pair(x: Points, y: Points) -> tuple[FeatureSet, FeatureSet]:
    """Two sets to be compared; a ValueError where their features differ in width."""
    left, right = (z if isinstance(z, FeatureSet) else FeatureSet(z) for z in (x, y))
    check_widths(left.width, right.width)
    return left, right


def check_widths(samples: int, reference: int) -> None:
    """Raise ValueError where samples and reference have different numbers of features."""
    if samples != reference:
        raise ValueError(
            f"The samples have {samples} features and the reference {reference}; both must come "
            "from the same extractor."
        )

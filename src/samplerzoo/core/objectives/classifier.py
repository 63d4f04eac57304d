"""How sure a classifier is of samples, or how sure that they are of a class."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..types import Scalar, State
from .objective import AbstractObjective


class Classifier(AbstractObjective):
    """Measure what a classifier says of samples: the cross-entropy of a label, or the entropy.

    The entropy is small where the classifier is sure, whatever of; by itself it makes samples
    alike, so add it to another objective.

    Args:
        logits: Maps one sample to a classifier's unnormalised log-probabilities (classes,).
        label: The class that all samples are to be of, such as that of a conditional model; None
            for the entropy.
    """

    logits: Callable[[Array], Array]
    label: int | None = eqx.field(static=True, default=None)

    def features(self, sample: State, index: Int[Array, ""]) -> Scalar:
        log = jax.nn.log_softmax(self.logits(sample))
        if self.label is None:
            return -jnp.sum(jnp.exp(log) * log)
        return -log[self.label]

    def distance(self, features: Float[Array, "N"]) -> Scalar:
        return jnp.mean(features)

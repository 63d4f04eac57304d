"""Small classifiers whose last-but-one activations are features."""

import jax
from jaxtyping import Array, Float

from ..backbones import Conv, Dense
from ..core.types import Key
from .extractor import AbstractExtractor, Head


class ConvClassifier(AbstractExtractor):
    """Three convolutions with two poolings by averages, then one hidden layer."""

    convs: tuple[Conv, ...]
    hidden: Dense
    head: Dense

    def __init__(self, size: int, channels: int, classes: int, features: int, *, key: Key):
        keys = jax.random.split(key, 5)
        self.convs = tuple(
            Conv(i, o, key=k)
            for i, o, k in zip((1, channels, channels), (channels,) * 3, keys[:3], strict=True)
        )
        self.hidden = Dense((size // 4) ** 2 * channels, features, key=keys[3])
        self.head = Dense(features, classes, key=keys[4])

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "d"]:
        """The last-but-one activations."""
        for n, conv in enumerate(self.convs):
            x = jax.nn.silu(conv(x))
            if n > 0:
                x = x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, -1).mean((1, 3))
        return jax.nn.silu(self.hidden(x.reshape(-1)))

    def classifier(self) -> Head:
        return self.head

    def rounded(self) -> "ConvClassifier":
        return self

    def logits(self, x: Float[Array, "H W C"]) -> Float[Array, "classes"]:
        """Unnormalised log-probabilities of the classes."""
        return self.head(self(x))


class MLPClassifier(AbstractExtractor):
    """Two hidden layers on the flattened image."""

    first: Dense
    hidden: Dense
    head: Dense

    def __init__(self, size: int, width: int, classes: int, features: int, *, key: Key):
        keys = jax.random.split(key, 3)
        self.first = Dense(size, width, key=keys[0])
        self.hidden = Dense(width, features, key=keys[1])
        self.head = Dense(features, classes, key=keys[2])

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "d"]:
        """The last-but-one activations."""
        return jax.nn.relu(self.hidden(jax.nn.relu(self.first(x.reshape(-1)))))

    def classifier(self) -> Head:
        return self.head

    def rounded(self) -> "MLPClassifier":
        return self

    def logits(self, x: Float[Array, "H W C"]) -> Float[Array, "classes"]:
        """Unnormalised log-probabilities of the classes."""
        return self.head(self(x))

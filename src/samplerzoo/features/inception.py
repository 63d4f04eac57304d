"""The Inception-v3 network of the FID (its weights are of 2015-12-05), channels last.

It differs from torchvision's: average pools leave the padding out, the last block pools by maxima,
and there are 1008 classes. Each batch norm is folded into the convolution before it.
"""

import dataclasses
import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..backbones.layers import convolve, halve
from ..layouts import read_matrix
from .extractor import AbstractExtractor, Head
from .inception_blocks import ARCHITECTURE, Conv, Layers, convolutions
from .resizing import INCEPTION, Preprocessing
from .tensors import Shapes, Tensors, check, fold, norm_shapes, single, without_counts

EPS = 1e-3
FEATURES, CLASSES = 2048, 1008


class Inception(AbstractExtractor):
    """FID's Inception-v3: 2048 features, and logits of 1008 classes for the Inception Score."""

    kernels: dict[str, Float[Array, "h w C D"]]
    biases: dict[str, Float[Array, "D"]]
    weight: Float[Array, "d classes"]
    preprocessing: Preprocessing
    rounding: bool = eqx.field(static=True, default=False)

    @classmethod
    def from_tensors(cls, tensors: Tensors, preprocessing: str = "torch-fidelity") -> "Inception":
        """From the tensors of the published checkpoint.

        `preprocessing` is "torch-fidelity", "pytorch-fid" or "clean-fid". Raises ValueError where
        a tensor is missing, left over or of another shape.
        """
        tensors = without_counts(tensors)
        check(tensors, shapes())
        names = [name for name, *_ in convolutions()]
        folded = {n: fold(tensors, f"{n}.conv", f"{n}.bn", EPS) for n in names}
        return cls(
            {name: kernel for name, (kernel, _) in folded.items()},
            {name: bias for name, (_, bias) in folded.items()},
            single(read_matrix(tensors["fc.weight"])),
            INCEPTION[preprocessing],
        )

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "d"]:
        """The means over the pixels of the last block (`pool3`), of a sample in [-1, 1]."""
        h = self.preprocessing(x, self.rounding)
        layers = Layers(self._convolve, lambda kind, x: POOLS[kind](x))
        for name, step in ARCHITECTURE.items():
            h = step.run(name, h, layers)
        return jnp.mean(h, (0, 1))

    def classifier(self) -> Head:
        return self.head

    def rounded(self) -> "Inception":
        """Return the same with samples rounded to 8 bits, as if written to images."""
        return dataclasses.replace(self, rounding=True)

    def head(self, features: Float[Array, "d"]) -> Float[Array, "classes"]:
        """The logits without their bias, as the Inception Score is computed of."""
        return features @ self.weight

    def _convolve(self, name: str, conv: Conv, x: Float[Array, "H W C"]) -> Float[Array, "h w D"]:
        h = _convolve(x, self.kernels[name], conv)
        return jax.nn.relu(h + self.biases[name][None, None, :])


def shapes() -> Shapes:
    """Of every tensor of the checkpoint."""
    found = {"fc.weight": (CLASSES, FEATURES), "fc.bias": (CLASSES,)}
    for name, conv, channels in convolutions():
        found[f"{name}.conv.weight"] = (conv.out, channels, conv.height, conv.width)
        found |= norm_shapes(f"{name}.bn", conv.out)
    return found


def _convolve(
    x: Float[Array, "H W C"], kernel: Float[Array, "h w C D"], conv: Conv
) -> Float[Array, "..."]:
    if (conv.height, conv.width) == (1, 1):
        return x @ kernel[0, 0]
    if conv.stride == 2:
        return halve(x[None], kernel, (0, 0))[0]
    h = convolve(x[None], kernel)[0]
    return h[1:-1, 1:-1] if conv.valid else h


def _average(x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
    """The means over 3x3 pixels, at the border over those that there are."""
    total = jax.lax.reduce_window(x, 0.0, jax.lax.add, (3, 3, 1), (1, 1, 1), "SAME")
    rows, columns = (np.convolve(np.ones(n), np.ones(3), "same") for n in x.shape[:2])
    return total / jnp.asarray(np.outer(rows, columns)[:, :, None], x.dtype)


def _maxima(x: Float[Array, "H W C"], stride: int) -> Float[Array, "h w C"]:
    """The largest of 3x3 pixels, without padding."""
    # The gradient of XLA's own windowed maximum is several times slower on CPU.
    for axis in (0, 1):
        last = x.shape[axis] - 3
        parts = [
            jax.lax.slice_in_dim(x, n, last // stride * stride + n + 1, stride, axis)
            for n in range(3)
        ]
        x = functools.reduce(jnp.maximum, parts)
    return x


def _maximum(x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
    padded = jnp.pad(x, ((1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    return _maxima(padded, stride=1)


POOLS: dict[str, Callable[[Array], Array]] = {
    "average": _average,
    "maximum": _maximum,
    "halving": functools.partial(_maxima, stride=2),
}

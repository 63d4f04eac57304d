"""Kernels on features and the squared maximum mean discrepancy (MMD) between two sets."""

import math
from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .types import Scalar


class AbstractKernel(eqx.Module):
    """A positive-definite kernel `k(x, y)` between feature vectors."""

    @abstractmethod
    def __call__(self, x: Float[Array, "N d"], y: Float[Array, "M d"]) -> Float[Array, "N M"]:
        """The Gram matrix."""

    @abstractmethod
    def condense(self, x: Float[Array, "N d"]) -> Float[Array, "n d"]:
        """The fewest points whose mean embedding equals that of `x` (`x` itself in general)."""


class Linear(AbstractKernel):
    """`x . y / d`: compares the mean features only. The default of the DDSS paper."""

    def __call__(self, x: Float[Array, "N d"], y: Float[Array, "M d"]) -> Float[Array, "N M"]:
        return x @ y.T / x.shape[1]

    def condense(self, x: Float[Array, "N d"]) -> Float[Array, "n d"]:
        return jnp.mean(x, axis=0, keepdims=True)


class Polynomial(AbstractKernel):
    """`(x . y / d + offset)^degree`; degree 3 and offset 1 give the standard KID."""

    degree: int = 3
    offset: float = 1.0

    def __check_init__(self):
        if self.degree < 1 or not 0 <= self.offset < math.inf:
            raise ValueError(
                f"degree is {self.degree} and offset {self.offset}; they must be at least 1 and 0."
            )

    def __call__(self, x: Float[Array, "N d"], y: Float[Array, "M d"]) -> Float[Array, "N M"]:
        return (x @ y.T / x.shape[1] + self.offset) ** self.degree

    def condense(self, x: Float[Array, "N d"]) -> Float[Array, "n d"]:
        return x


class RBF(AbstractKernel):
    """The mean of `exp(-|x - y|^2 / (2 d b^2))` over the bandwidths `b`."""

    bandwidths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)

    def __check_init__(self):
        _check_positive("bandwidths", self.bandwidths)

    def __call__(self, x: Float[Array, "N d"], y: Float[Array, "M d"]) -> Float[Array, "N M"]:
        squared = _mean_squares(x, y)
        terms = [jnp.exp(-squared / (2 * b**2)) for b in self.bandwidths]
        return jnp.mean(jnp.stack(terms), axis=0)

    def condense(self, x: Float[Array, "N d"]) -> Float[Array, "n d"]:
        return x


class RationalQuadratic(AbstractKernel):
    """The mean of `(1 + |x - y|^2 / (2 d s))^-s` over the scales `s`."""

    scales: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 5.0)

    def __check_init__(self):
        _check_positive("scales", self.scales)

    def __call__(self, x: Float[Array, "N d"], y: Float[Array, "M d"]) -> Float[Array, "N M"]:
        squared = _mean_squares(x, y)
        terms = [(1 + squared / (2 * s)) ** -s for s in self.scales]
        return jnp.mean(jnp.stack(terms), axis=0)

    def condense(self, x: Float[Array, "N d"]) -> Float[Array, "n d"]:
        return x


def _mean_squares(x: Float[Array, "N d"], y: Float[Array, "M d"]) -> Float[Array, "N M"]:
    """`|x_i - y_j|^2 / d`, zero at the least whatever the rounding."""
    norms = jnp.sum(x**2, axis=1)[:, None] + jnp.sum(y**2, axis=1)[None, :]
    return jnp.maximum(norms - 2 * x @ y.T, 0) / x.shape[1]


def _check_positive(name: str, values: tuple[float, ...]) -> None:
    if not values or not all(0 < value < math.inf for value in values):
        raise ValueError(f"{name} is {values}; at least one number is needed, all positive.")


def mean_gram(
    kernel: AbstractKernel, x: Float[Array, "N d"], y: Float[Array, "M d"], block: int = 1024
) -> Scalar:
    """The mean of `k(x_i, y_j)` over all pairs, the Gram matrix made `block` rows at a time."""
    row = jax.checkpoint(lambda point: jnp.mean(kernel(point[None], y)))
    return jnp.mean(jax.lax.map(row, x, batch_size=block))


def within(kernel: AbstractKernel, x: Float[Array, "N d"], unbiased: bool = True) -> Scalar:
    """The mean of `k(x_i, x_j)` over pairs, without those of a point with itself if unbiased."""
    points = kernel.condense(x)
    mean = mean_gram(kernel, points, points)
    if not unbiased:
        return mean
    n = x.shape[0]
    own = jnp.mean(jax.vmap(lambda point: kernel(point[None], point[None])[0, 0])(x))
    return (n * mean - own) / (n - 1)


def across(kernel: AbstractKernel, x: Float[Array, "N d"], y: Float[Array, "M d"]) -> Scalar:
    """The mean of `k(x_i, y_j)` over all pairs of two sets."""
    return mean_gram(kernel, kernel.condense(x), kernel.condense(y))


def mmd(
    kernel: AbstractKernel,
    x: Float[Array, "N d"],
    y: Float[Array, "M d"],
    unbiased: bool = True,
) -> Scalar:
    """The squared MMD between two sets of at least two points each.

    Unbiased (Gretton et al. 2012, eq. 3) it can be negative; biased (eq. 5) it cannot.
    """
    return within(kernel, x, unbiased) + within(kernel, y, unbiased) - 2 * across(kernel, x, y)

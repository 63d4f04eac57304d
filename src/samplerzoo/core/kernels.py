"""Kernels on features and the squared maximum mean discrepancy (MMD) between two sets."""

import math
from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .types import Scalar


class AbstractKernel(eqx.Module):
    """Compare feature vectors by a positive-definite kernel `k(x, y)`.

    A kernel of your own derives from this class; `samplerzoo.testing.check_kernel` checks it. Its
    options are its constructor's arguments, whose annotations say what they may be.
    """

    @abstractmethod
    def __call__(self, x: Float[Array, "N d"], y: Float[Array, "M d"]) -> Float[Array, "N M"]:
        """Return the Gram matrix of two sets of features.

        Args:
            x: N feature vectors of length d.
            y: M feature vectors of length d.

        Returns:
            `k(x_i, y_j)`, (N, M).
        """

    @abstractmethod
    def condense(self, x: Float[Array, "N d"]) -> Float[Array, "n d"]:
        """Return the fewest points with the same mean embedding as `x`; `x` itself is always right.

        Args:
            x: N feature vectors of length d.

        Returns:
            n of them, or others of the same length, with n <= N.
        """


class Linear(AbstractKernel):
    """Compare mean features only: `k(x, y) = x . y / d`.

    The default of the DDSS paper: fast, with the least noise in its gradient.

    Source:
        Watson et al. 2022 (arXiv 2202.05830), section 3.
    """

    def __call__(self, x: Float[Array, "N d"], y: Float[Array, "M d"]) -> Float[Array, "N M"]:
        return x @ y.T / x.shape[1]

    def condense(self, x: Float[Array, "N d"]) -> Float[Array, "n d"]:
        return jnp.mean(x, axis=0, keepdims=True)


class Polynomial(AbstractKernel):
    """Compare moments up to the degree: `k(x, y) = (x . y / d + offset)^degree`.

    Args:
        degree: The power, at least 1; 3 is the standard KID's.
        offset: What is added, at least 0; 1 is the standard KID's.

    Raises:
        ValueError: The degree is below 1, or the offset negative or not finite.

    Source:
        Binkowski et al. 2018 (arXiv 1801.01401).
    """

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
    """Compare all moments: the mean of `exp(-|x - y|^2 / (2 d b^2))` over bandwidths `b`.

    Args:
        bandwidths: The bandwidths, positive, in the features' units.

    Raises:
        ValueError: There is no bandwidth, or one that is not positive.

    Source:
        Li, Swersky and Zemel 2015 (arXiv 1502.02761), for mixtures of bandwidths.
    """

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
    """Compare all moments, with heavier tails: the mean of `(1 + |x - y|^2 / (2 d s))^-s`.

    Args:
        scales: The scales `s` that the mean is over, positive.

    Raises:
        ValueError: There is no scale, or one that is not positive.

    Source:
        Binkowski et al. 2018 (arXiv 1801.01401).
    """

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
    """Compute the squared maximum mean discrepancy (MMD) between two sets of features.

    Args:
        kernel: The kernel that compares features.
        x: N feature vectors, at least two.
        y: M feature vectors, at least two.
        unbiased: Leave out the pairs of a point with itself. The result may then be negative; the
            biased one is not.

    Returns:
        The squared MMD, a scalar.

    Source:
        Gretton et al. 2012 (JMLR 13), eq. 3 (unbiased) and 5 (biased).
    """
    return within(kernel, x, unbiased) + within(kernel, y, unbiased) - 2 * across(kernel, x, y)

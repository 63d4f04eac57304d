"""Features of many samples, in memory that does not grow with their number."""

import math
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr
from jaxtyping import Array, ArrayLike, Float

from ..core.compiling import jit
from .extractor import Extractor

# Bytes of the largest array on the way of a chunk of samples to their features. A few such are
# alive at a time; a derivative keeps all of a chunk's.
BUDGET = 2**26
MOST = 1000  # samples in a chunk, however small


@runtime_checkable
class Batched(Protocol):
    """Samples that are read a batch at a time, as images on disk are."""

    def __len__(self) -> int: ...

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """Arrays of `size` samples in their order; the last may be shorter."""
        ...


class _Held:
    """An array as samples that are read."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def batches(self, size: int) -> Iterator[np.ndarray]:
        for start in range(0, len(self.array), size):
            yield self.array[start : start + size]


def apply(phi: Extractor, x: Float[Array, "B ..."]) -> Float[Array, "B d"]:
    """Compute the features of a batch, in chunks of bounded memory, inside a JAX program.

    It can be traced and differentiated. A derivative computes each chunk again, so that its memory
    is bounded too.

    Args:
        phi: The extractor: a function from one sample to a vector (d,).
        x: B samples.

    Returns:
        The features, (B, d).
    """
    batch, rest = x.shape[0], x.shape[1:]
    number = -(-batch // chunk_size(phi, x[0]))
    if number == 1:
        return jax.vmap(phi)(x)
    size = -(-batch // number)
    if surplus := number * size - batch:  # one size for all, so that there is one program
        x = jnp.concatenate([x, x[:surplus]])
    # A chunk takes every `number`-th sample: a batch that is split over devices stays so.
    chunks = jnp.swapaxes(x.reshape(size, number, *rest), 0, 1)
    found = jax.lax.map(jax.checkpoint(jax.vmap(phi), prevent_cse=False), chunks)
    return jnp.swapaxes(found, 0, 1).reshape(size * number, -1)[:batch]


def extract(
    phi: Extractor, images: Float[ArrayLike, "M ..."] | Batched, batch: int | None = None
) -> Float[np.ndarray, "M d"]:
    """Compute the features of many images, on the host.

    Args:
        phi: The extractor: a function from one sample to a vector (d,).
        images: M samples as an array, or `Images`.
        batch: The samples at a time; what bounded memory allows by default.

    Returns:
        The features, (M, d).
    """
    return np.concatenate(list(extract_batches(phi, images, batch)))


def extract_batches(
    phi: Extractor, images: Float[ArrayLike, "M ..."] | Batched, batch: int | None = None
) -> Iterator[Float[np.ndarray, "b d"]]:
    """As `extract`, one batch after the other, for more features than memory holds."""
    source = images if isinstance(images, Batched) else _Held(np.asarray(images))
    sample = jnp.asarray(next(source.batches(1))[0])
    size = min(batch or chunk_size(phi, sample), len(source))
    compiled: Any = jit(lambda phi, x: jax.vmap(phi)(x))
    for chunk in source.batches(size):
        filling = np.repeat(chunk[-1:], size - len(chunk), axis=0)
        found = compiled(phi, jnp.asarray(np.concatenate([chunk, filling])))
        yield np.asarray(found)[: len(chunk)]


def chunk_size(phi: Extractor, sample: Float[Array, "..."]) -> int:
    """How many such samples phi takes at a time in bounded memory."""
    jaxpr = jax.make_jaxpr(lambda x: phi(x))(sample)
    return max(1, min(MOST, BUDGET // largest(jaxpr.jaxpr)))


def largest(jaxpr: Jaxpr) -> int:
    """Bytes of the largest array that a program takes or makes, inner programs' included."""
    variables = [*jaxpr.invars, *(var for eqn in jaxpr.eqns for var in eqn.outvars)]
    sizes = [_bytes(var.aval) for var in variables]
    inner = [largest(found) for eqn in jaxpr.eqns for found in _programs(eqn.params)]
    return max(sizes + inner)


def _bytes(aval: Any) -> int:
    return math.prod(aval.shape) * aval.dtype.itemsize


def _programs(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """The programs among an operation's parameters, such as the body of a loop."""
    for found in jax.tree.leaves(params, is_leaf=lambda p: isinstance(p, Jaxpr | ClosedJaxpr)):
        if isinstance(found, Jaxpr | ClosedJaxpr):
            yield found.jaxpr if isinstance(found, ClosedJaxpr) else found

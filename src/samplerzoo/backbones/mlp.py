"""Residual MLP denoisers for small images, with labels or without."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..core.types import Key, Scalar, State
from .layers import Dense, time_embedding


class Block(eqx.Module):
    """`h + W2 silu(W1 normalise(h) + W_t e(t))`."""

    inner: Dense
    time: Dense
    outer: Dense

    def __init__(self, width: int, hidden: int, embedding: int, *, key: Key):
        keys = jax.random.split(key, 3)
        self.inner = Dense(width, hidden, key=keys[0])
        self.time = Dense(embedding, hidden, key=keys[1])
        self.outer = Dense(hidden, width, key=keys[2])

    def __call__(self, h: Array, e: Array) -> Array:
        normal = h * jax.lax.rsqrt(jnp.mean(h**2) + 1e-6)
        return h + self.outer(jax.nn.silu(self.inner(normal) + self.time(e)))


class ResidualMLP(eqx.Module):
    """A network `(x, t) -> x`'s shape on the flattened sample."""

    first: Dense
    blocks: tuple[Block, ...]
    last: Dense
    embedding: int = eqx.field(static=True)

    def __init__(
        self, size: int, width: int, hidden: int, depth: int, embedding: int = 64, *, key: Key
    ):
        keys = jax.random.split(key, depth + 2)
        self.first = Dense(size, width, key=keys[0])
        self.blocks = tuple(Block(width, hidden, embedding, key=k) for k in keys[2:])
        self.last = Dense(width, size, key=keys[1])
        self.embedding = embedding

    def __call__(self, x: State, t: Scalar) -> State:
        return self.told(x, time_embedding(t, self.embedding).astype(x.dtype))

    def told(self, x: State, e: Float[Array, "embedding"]) -> State:
        """Run on a sample, told of its time by a vector."""
        h = self.first(x.reshape(-1))
        for block in self.blocks:
            h = block(h, e)
        normal = h * jax.lax.rsqrt(jnp.mean(h**2) + 1e-6)
        return self.last(normal).reshape(x.shape)


class LabelledMLP(eqx.Module):
    """A network `(x, t, label) -> x`'s shape; the last label stands for none."""

    trunk: ResidualMLP
    labels: Float[Array, "labels embedding"]

    def __init__(
        self,
        size: int,
        width: int,
        hidden: int,
        depth: int,
        classes: int,
        embedding: int = 64,
        *,
        key: Key,
    ):
        keys = jax.random.split(key)
        self.trunk = ResidualMLP(size, width, hidden, depth, 2 * embedding, key=keys[0])
        self.labels = jax.random.normal(keys[1], (classes + 1, embedding))

    def __call__(self, x: State, t: Scalar, label: Int[Array, ""]) -> State:
        time, row = time_embedding(t, self.labels.shape[1]), self.labels[label]
        return self.trunk.told(x, jnp.concatenate([time.astype(x.dtype), row.astype(x.dtype)]))

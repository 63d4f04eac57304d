"""Networks that tests share."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from samplerzoo import DiffusionModel, DiscreteVP
from samplerzoo.backbones import Conv, Dense, GroupNorm, time_embedding


class ConvNet(eqx.Module):
    """A small residual convolutional denoiser of channels-last images."""

    first: Conv
    blocks: tuple
    times: tuple
    norms: tuple
    last: Conv

    def __init__(self, channels: int = 3, width: int = 32, depth: int = 4, *, key):
        keys = iter(jax.random.split(key, 2 * depth + 2))
        self.first = Conv(channels, width, key=next(keys))
        self.blocks = tuple(Conv(width, width, key=next(keys)) for _ in range(depth))
        self.times = tuple(Dense(64, width, key=next(keys)) for _ in range(depth))
        self.norms = tuple(
            GroupNorm(jnp.ones(width), jnp.zeros(width), min(8, width)) for _ in range(depth)
        )
        self.last = Conv(width, channels, key=next(keys))

    def __call__(self, x, t):
        h, e = self.first(x), time_embedding(t, 64)
        for block, time, norm in zip(self.blocks, self.times, self.norms, strict=True):
            h = h + block(jax.nn.silu(norm(h) + time(e)[None, None, :]))
        return self.last(h)


def conv_model(size: int = 32, width: int = 32, depth: int = 4) -> DiffusionModel:
    """An untrained model of `size` x `size` colour images."""
    schedule = DiscreteVP.from_betas(np.linspace(1e-4, 0.02, 1000))
    network = ConvNet(width=width, depth=depth, key=jax.random.key(0))
    return DiffusionModel(network, schedule, (size, size, 3))

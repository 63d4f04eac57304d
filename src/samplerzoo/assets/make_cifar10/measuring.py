"""How fast each candidate network trains on this machine."""

import math
import time
from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ...backbones import PatchUNet
from . import denoiser
from .loop import Data, begin, stepper

LEAST = 5.0  # seconds that a measurement takes


def measure(
    names: list[str], batch: int, chunk: int, data: Data, dtype: DTypeLike
) -> Iterator[dict]:
    """A row for each network: its size, its cost, and how fast it trains in batches."""
    for name in names:
        network = denoiser.construct(name, jax.random.key(0))
        cost = flops(network)
        task = denoiser.task(batch, dtype)
        state, key = begin(task, network), jax.random.key(0)
        start = time.monotonic()
        advance = stepper(task, chunk).lower(state, data, key).compile()
        compiled = time.monotonic() - start
        jax.block_until_ready(state := advance(state, data, key)[0])
        start, dispatches = time.monotonic(), 0
        while (passed := time.monotonic() - start) < LEAST:
            jax.block_until_ready(state := advance(state, data, key)[0])
            dispatches += 1
        rate = dispatches * chunk * batch / passed
        memory = advance.memory_analysis()
        assert memory is not None  # CPUs and GPUs have one
        needed = memory.temp_size_in_bytes + memory.argument_size_in_bytes
        yield {
            "network": name,
            "batch": batch,
            "parameters": sum(a.size for a in jax.tree.leaves(network)),
            "gflop_per_image": round(cost / 1e9, 2),
            "compile_seconds": round(compiled, 1),
            "images_per_second": round(rate, 1),
            "tflops": round(3 * cost * rate / 1e12, 2),
            "gigabytes": round(needed / 1e9, 2),
            "million_images_in_25_minutes": round(rate * 1500 / 1e6, 2),
        }


def flops(network: PatchUNet) -> float:
    """The floating-point operations of one evaluation; a training step costs about three."""
    shapes = eqx.filter_eval_shape(lambda: network)
    x = jax.ShapeDtypeStruct(denoiser.make_model(network).shape, jnp.float32)
    t = jax.ShapeDtypeStruct((), jnp.float32)
    lowered = jax.jit(lambda f, x, t: f(x, t)).lower(shapes, x, t)
    return float((lowered.cost_analysis() or {}).get("flops", math.nan))

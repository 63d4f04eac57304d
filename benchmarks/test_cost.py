"""Time of a search step over its limit: `make bench` (options: see pytest-benchmark).

The limit is K forwards, K recomputations and K input-gradients of the bare network at the same
batch, timed beside it in the same process. Memory is XLA's own analysis. Reported as extra_info.
"""

import sys
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from samplerzoo import (
    GDDIM,
    RDDIM,
    Linear,
    Objective,
    free_parameters,
    sample,
    value_and_slope,
)
from samplerzoo.features import Pixels

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from networks import conv_model

BATCH = 32


def seconds(run, rounds: int = 7) -> float:
    """The shortest of several times."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return min(times)


def bare(model, batch=BATCH):
    """Compiled forward, and forward with input-gradient, of the network on one batch."""
    x, t = jax.random.normal(jax.random.key(0), (batch, *model.shape)), jnp.asarray(500.0)

    def forward(network, x):
        return jax.vmap(network, (0, None))(x, t)

    def pullback(network, x):
        out, pull = jax.vjp(lambda x: forward(network, x), x)
        return pull(out)

    compiled = [eqx.filter_jit(f).lower(model.network, x).compile() for f in (forward, pullback)]
    return [lambda f=f: f(model.network, x) for f in compiled]


def search_step(family, model):
    """The compiled gradient of KID in all parameters, ready to run, and its analysis."""
    objective = Objective(Pixels(), Linear(), jax.random.normal(jax.random.key(1), (8, 3072)))
    free = free_parameters(family, times=True)

    def gradient(family, model, objective):
        arrays, rest = eqx.partition(family, free)

        def loss(arrays):
            table = eqx.combine(arrays, rest).table(model.schedule)
            return objective(sample(table, model, jax.random.key(0), jnp.arange(BATCH)))

        return jax.value_and_grad(loss)(arrays)

    begin = time.perf_counter()
    compiled = eqx.filter_jit(gradient).lower(family, model, objective).compile()
    took = time.perf_counter() - begin
    analysis = compiled.compiled.memory_analysis()
    return lambda: compiled(family, model, objective), analysis.temp_size_in_bytes, took


@pytest.mark.parametrize("steps", [5, 10, 20, 40])
@pytest.mark.parametrize("family", [RDDIM, GDDIM])
@pytest.mark.parametrize("width", [32, 128])
def test_search_step(benchmark, family, steps, width):
    if width > 32 and steps > 5:
        pytest.skip("the wide network is timed at K = 5 alone, to keep the set short")
    model = conv_model(width=width, depth=4)
    forward, pullback = bare(model)
    run, memory, compile_seconds = search_step(family(steps), model)
    jax.block_until_ready(run())
    limit = steps * (seconds(forward) + seconds(pullback))
    benchmark.pedantic(lambda: jax.block_until_ready(run()), rounds=3)
    limit = min(limit, steps * (seconds(forward) + seconds(pullback)))
    benchmark.extra_info.update(
        batch=BATCH, steps=steps, width=width, temporary_megabytes=memory / 1e6,
        compile_seconds=compile_seconds, limit_seconds=limit,
        step_over_limit=benchmark.stats.stats.min / limit,
    )  # fmt: skip
    print(f"\n{family.__name__} K={steps} width={width}: step / limit "
          f"{benchmark.stats.stats.min / limit:.2f}, compiled in {compile_seconds:.1f} s, "
          f"{memory / 1e6:.0f} MB")  # fmt: skip
    assert benchmark.stats.stats.min < 1.15 * limit


@pytest.mark.parametrize("family", [RDDIM, GDDIM])
@pytest.mark.parametrize("width", [32, 128])
def test_microbatched_step(benchmark, family, width):
    """The same gradient by four micro-batches, over the limit at the micro-batch."""
    steps, part = 5, BATCH // 4
    model = conv_model(width=width, depth=4)
    forward, pullback = bare(model, part)
    objective = Objective(Pixels(), Linear(), jax.random.normal(jax.random.key(1), (8, 3072)))
    table = family(steps).table(model.schedule)
    work = eqx.filter_jit(lambda *a: value_and_slope(*a, jax.random.key(0), BATCH, part))
    compiled = work.lower(objective, table, model).compile()

    def run():
        return jax.block_until_ready(compiled(objective, table, model))

    run()
    limit = 4 * steps * (seconds(forward) + seconds(pullback))
    benchmark.pedantic(run, rounds=3)
    limit = min(limit, 4 * steps * (seconds(forward) + seconds(pullback)))
    ratio = benchmark.stats.stats.min / limit
    benchmark.extra_info.update(batch=BATCH, microbatch=part, width=width, step_over_limit=ratio)
    print(f"\n{family.__name__} K=5 width={width}, 4 micro-batches: step / limit {ratio:.2f}")
    assert ratio < 1.15

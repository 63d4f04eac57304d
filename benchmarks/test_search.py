"""A search step and sampling, for every family, number of steps and workload.

On a CPU the networks are those that the workloads table scales down, and all numbers of steps are
timed with the smallest alone; `--full` times them with all. On a GPU everything is at full size.

The limit of a search step is K forwards, K recomputations and K input-gradients of the bare
network at the same (micro-)batch, timed in turns with the step.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest

from measure import bare, compiled, device_peak, in_turns, peak_rss, seconds
from samplerzoo import (
    DDIM,
    DDPM,
    GDDIM,
    KID,
    RDDIM,
    Polynomial,
    free_parameters,
    sample_batch,
)
from samplerzoo.core.optimise import compile_step, start
from samplerzoo.features import Pixels
from workloads import WORKLOADS, model_of, parameters

FAMILIES = {
    "ddpm": lambda steps: DDPM(steps, per_step=True),
    "ddim": lambda steps: DDIM(steps, eta=0.5, per_step=True),
    "rddim": RDDIM,
    "gddim": GDDIM,
}
STEPS = (5, 10, 20, 40)
ROUNDS = 2


@functools.lru_cache(maxsize=1)
def prepared(name: str, on_cpu: bool):
    """A workload's model, batch, micro-batch, and bare network at both, compiled."""
    work = WORKLOADS[name]
    config, *batches = (
        (work.cpu, work.cpu_batch, work.cpu_microbatch)
        if on_cpu
        else (work.full, work.batch, work.microbatch)
    )
    model = model_of(config)
    return model, batches, {n: bare(model, n) for n in batches}


def choose(name: str, family: str, steps: int, on_cpu: bool, full: bool):
    work = WORKLOADS[name]
    if not full and (steps not in work.cpu_steps or family not in work.cpu_families):
        pytest.skip("timed with --full only")
    return prepared(name, on_cpu)


def describe(benchmark, name, family, steps, model, batch, on_cpu, **more):
    benchmark.extra_info.update(
        workload=name,
        family=family,
        steps=steps,
        batch=batch,
        shape=model.shape,
        parameters=parameters(model),
        scale=WORKLOADS[name].scale if on_cpu else "full size",
        device_peak_megabytes=device_peak(),
        **more,
    )


def search_step(family, model, batch, microbatch=None):
    """A step of `samplerzoo.core.optimise`, ready to run, and its analysis."""
    reference = jax.random.normal(jax.random.key(1), (64, *model.shape))
    objective = KID(Pixels(), Polynomial(), reference.reshape(len(reference), -1))
    optimiser = optax.adam(1e-3)
    state = start(family, free_parameters(family), optimiser)
    step = compile_step(family, state, model, objective, optimiser, batch, microbatch)
    key = jax.random.key(2)
    return lambda: jax.block_until_ready(step.advance(state, key)), step.memory


def time_step(benchmark, family, model, steps, batch, part, parts_bare):
    """Time a step in turns with the bare network."""
    begin = []
    took = seconds(lambda: begin.append(search_step(family, model, batch, part)))
    run, memory = begin[0]
    grown = peak_rss(run)
    size = part or batch
    # The bare network's calls are short: twice as many of them, for times as steady.
    took_step, *bares = in_turns(benchmark, run, 2 * parts_bare, ROUNDS)
    forward, pullback = (min(bares[n::2]) for n in range(2))
    limit = batch // size * steps * (forward + pullback)
    return {
        "compile_seconds": took,
        "xla_megabytes": memory / 1e6,
        "peak_rss_megabytes": grown,
        "limit_seconds": limit,
        "step_over_limit": took_step / limit,
    }


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.benchmark(group="search step")
def test_search_step(benchmark, name, family, steps, on_cpu, full):
    model, (batch, part), bares = choose(name, family, steps, on_cpu, full)
    # At full size the undivided step does not fit a device: micro-batches of the table's size.
    part = None if on_cpu else part
    found = time_step(
        benchmark, FAMILIES[family](steps), model, steps, batch, part, bares[part or batch]
    )
    describe(benchmark, name, family, steps, model, batch, on_cpu, microbatch=part, **found)


@pytest.mark.parametrize("steps", [10])
@pytest.mark.parametrize("family", ["rddim", "gddim"])
@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.benchmark(group="micro-batched search step")
def test_microbatched_step(benchmark, name, family, steps, on_cpu, full):
    if name != "cifar10-32" and not full:
        pytest.skip("timed with --full only")
    model, (batch, part), bares = prepared(name, on_cpu)
    found = time_step(benchmark, FAMILIES[family](steps), model, steps, batch, part, bares[part])
    describe(benchmark, name, family, steps, model, batch, on_cpu, microbatch=part, **found)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.benchmark(group="sampling")
def test_sampling(benchmark, name, family, steps, on_cpu, full):
    model, (batch, _), bares = choose(name, family, steps, on_cpu, full)

    def draw(family, model):
        return sample_batch(
            family.table(model.schedule), model, jax.random.key(0), jnp.arange(batch)
        )

    run, memory, took = compiled(draw, FAMILIES[family](steps), model)
    grown = peak_rss(run)
    took_samples, forward = in_turns(benchmark, run, bares[batch][:1], ROUNDS)
    describe(
        benchmark,
        name,
        family,
        steps,
        model,
        batch,
        on_cpu,
        microbatch=None,
        compile_seconds=took,
        xla_megabytes=memory / 1e6,
        peak_rss_megabytes=grown,
        samples_per_second=batch / took_samples,
        sampling_over_forwards=took_samples / steps / forward,
    )


LARGE, DEVICE_GIB = "lsun-bedroom-128", 80


@pytest.mark.parametrize("family", ["rddim", "gddim"])
@pytest.mark.benchmark(group="largest batch")
def test_largest_batch(benchmark, family, full):
    """At 128 x 128 and full size with K = 20, from XLA's analysis: nothing is run."""
    if not full:
        pytest.skip("compiled with --full only")
    model = model_of(WORKLOADS[LARGE].full)
    weights = sum(a.nbytes for a in jax.tree.leaves(eqx.filter(model, eqx.is_array)))
    free = DEVICE_GIB * 2**30 - weights

    def need(batch, part=None):
        return search_step(FAMILIES[family](20), model, batch, part)[1]

    def compile_all():
        return need(2), need(4), need(8, 2)

    two, four, divided = benchmark.pedantic(compile_all, rounds=1)
    each = (four - two) / 2  # bytes a sample, all of the batch at a time
    kept = (divided - two) / 6  # bytes a sample that waits, its states alone
    whole = int((free - two) // each) + 2
    benchmark.extra_info.update(
        workload=LARGE,
        family=family,
        steps=20,
        device_gib=DEVICE_GIB,
        weights_megabytes=weights / 1e6,
        megabytes_a_sample=each / 1e6,
        megabytes_a_waiting_sample=kept / 1e6,
        largest_undivided=whole,
        largest_with_microbatches_of_2=int((free - divided) // kept) + 8,
    )
    assert 0 < kept < each

"""Micro-batches: the gradient of the whole batch, with the memory of a part."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from networks import conv_model
from samplerzoo import (
    DDIM,
    DDPM,
    GDDIM,
    RBF,
    RDDIM,
    CosineVP,
    DiffusionModel,
    Linear,
    Objective,
    Polynomial,
    RationalQuadratic,
    sample,
    value_and_slope,
)
from samplerzoo.features import Pixels

FAMILIES = {
    "ddpm": lambda: DDPM(3, per_step=True),
    "ddim": lambda: DDIM(3, eta=0.5, per_step=True),
    "rddim": lambda: RDDIM(4, eta=0.5),
    "gddim": lambda: GDDIM(5),
    "gddim-2": lambda: GDDIM(5, depth=2),
}
WEIGHTS, DATA = (np.random.default_rng(0).normal(size=shape) for shape in ((3, 3), (20, 6)))


def network(x, t):
    return jnp.tanh(jnp.asarray(WEIGHTS, x.dtype) @ x + jnp.cos(t))


def features(x):
    return jnp.concatenate([jnp.sin(x), x**2])


def worst(family, kernel, unbiased=True, cuts=(4,)):
    """The largest relative difference from `jax.grad` of the undivided batch."""
    model = DiffusionModel(network, CosineVP(), (3,), "v")
    objective = Objective(features, kernel, jnp.asarray(DATA, jnp.zeros(()).dtype), unbiased)
    table, key = family.table(model.schedule), jax.random.key(0)
    value, slope = jax.jit(
        jax.value_and_grad(lambda t: objective(sample(t, model, key, jnp.arange(16))))
    )(table)
    size = jnp.max(jnp.asarray([jnp.max(jnp.abs(a)) for a in jax.tree.leaves(slope)]))
    errors = []
    for parts in cuts:
        found = eqx.filter_jit(value_and_slope)(objective, table, model, key, 16, 16 // parts)
        errors.append(abs(found[0] - value) / abs(value))
        pairs = zip(jax.tree.leaves(found[1]), jax.tree.leaves(slope), strict=True)
        errors += [jnp.max(jnp.abs(a - b)) / size for a, b in pairs]
    return float(max(errors))


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [Linear(), Polynomial(), RationalQuadratic()])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_gradient_is_that_of_the_undivided_batch(name, kernel, x64):
    assert worst(FAMILIES[name](), kernel) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_however_it_is_cut(name, x64):
    assert worst(FAMILIES[name](), RBF(), unbiased=False, cuts=(1, 4, 16)) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_to_the_rounding_of_single_precision(name):
    assert worst(FAMILIES[name](), Polynomial()) < 1e-5


def test_a_microbatch_must_divide_the_batch():
    model = DiffusionModel(network, CosineVP(), (3,), "v")
    objective = Objective(features, Linear(), jnp.asarray(DATA, jnp.float32))
    with pytest.raises(ValueError, match="it must divide the batch, 16"):
        value_and_slope(objective, DDIM(2).table(model.schedule), model, jax.random.key(0), 16, 5)


@pytest.mark.slow
@pytest.mark.parametrize("family", [RDDIM(5), GDDIM(5)], ids=["rddim", "gddim"])
def test_memory_is_that_of_one_part_and_of_the_stored_states(family):
    model = conv_model(width=16, depth=2)
    objective = Objective(Pixels(), Linear(), jnp.zeros((2, 3072)))
    table = family.table(model.schedule)

    def memory(batch):
        work = lambda *a: value_and_slope(*a, jax.random.key(0), batch, 16)  # noqa: E731
        compiled = eqx.filter_jit(work).lower(objective, table, model).compile().compiled
        # K states the network saw, the sample, its features (here pixels) and their derivative
        stored = batch * (family.ddim.times.gaps.size + 3) * 3072 * 4
        return compiled.memory_analysis().temp_size_in_bytes - stored

    small, large = memory(64), memory(1024)
    assert large < 1.3 * small

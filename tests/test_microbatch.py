"""Micro-batches: the gradient of the whole batch, with the memory of a part."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from networks import conv_model
from samplerzoo import (
    DDIM,
    DDPM,
    GDDIM,
    RBF,
    RDDIM,
    AbstractKernel,
    CosineVP,
    DiffusionModel,
    Linear,
    Objective,
    Polynomial,
    RationalQuadratic,
    sample_batch,
    value_and_slope,
)
from samplerzoo.core.devices import cut_batch
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


class Mixture(AbstractKernel):
    """A weighted sum of all kernels, so that one compiled program serves for each of them."""

    weights: Array

    def __call__(self, x, y):
        kernels = (Linear(), Polynomial(), RBF(), RationalQuadratic())
        return sum(w * kernel(x, y) for w, kernel in zip(self.weights, kernels, strict=True))

    def condense(self, x):
        return x


def all_ways(family, parts, unbiased=True):
    """A function of a kernel: its distance and derivative, undivided and by so many parts."""
    dtype = jnp.zeros(()).dtype
    model = DiffusionModel(network, CosineVP(), (3,), "v")
    table, key = family.table(model.schedule), jax.random.key(0)

    @eqx.filter_jit
    def found(kernel):
        objective = Objective(features, kernel, jnp.asarray(DATA, dtype), unbiased)
        whole = jax.value_and_grad(lambda t: objective(sample_batch(t, model, key, jnp.arange(16))))
        split = (value_and_slope(objective, table, model, key, 16, -(-16 // n)) for n in parts)
        return [whole(table), *split]

    return found


def worst(found):
    """The largest difference from the first, relative to the largest number of the derivative."""
    (value, slope), *others = found
    size = max(jnp.max(jnp.abs(a)) for a in jax.tree.leaves(slope))
    errors = [abs(other - value) / abs(value) for other, _ in others]
    for _, other in others:
        pairs = zip(jax.tree.leaves(other), jax.tree.leaves(slope), strict=True)
        errors += [jnp.max(jnp.abs(a - b)) / size for a, b in pairs]
    return float(max(errors))


def check(name, limit):
    # Three parts do not divide the batch: the last one is filled up.
    ways = all_ways(FAMILIES[name](), (1, 3, 4, 16) if name == "gddim" else (4,))
    for weights in jnp.eye(4):
        assert worst(ways(Mixture(weights))) < limit


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_gradient_is_that_of_the_undivided_batch(name, x64):
    check(name, 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_to_the_rounding_of_single_precision(name):
    check(name, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_where_the_first_time_is_not_asked_for(name, x64):
    """All other derivatives are the same, by a way back that is one network evaluation shorter."""
    model = DiffusionModel(network, CosineVP(), (3,), "v")
    objective = Objective(features, Polynomial(), jnp.asarray(DATA))
    table = FAMILIES[name]().table(model.schedule)
    work = eqx.filter_jit(
        lambda still: value_and_slope(objective, table, model, jax.random.key(0), 6, 4, still=still)
    )
    (value, slope), (same, found) = (work(jnp.asarray(still)) for still in (False, True))
    assert value == same
    assert slope.times[0] != 0
    assert found.times[0] == 0
    wanted = eqx.tree_at(lambda t: t.times, slope, slope.times.at[0].set(0))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), wanted, found
    )


@pytest.mark.slow
def test_with_the_biased_distance_and_a_condensed_reference(x64):
    assert worst(all_ways(RDDIM(2), (4,), unbiased=False)(Linear())) < 1e-12


def test_the_parts_are_the_fewest_and_of_one_size():
    assert cut_batch(512, None) == (1, 512)
    assert cut_batch(512, 64) == (8, 64)
    assert cut_batch(512, 200) == (3, 171)
    assert cut_batch(5, 100) == (1, 5)
    with pytest.raises(ValueError, match="microbatch is 0; it must be at least 1"):
        cut_batch(16, 0)


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

    small, large = memory(256), memory(4096)
    assert large < 1.3 * small
    # 240 more parts: had each kept the network's weights, they would be there 240 times more.
    weights = sum(a.nbytes for a in jax.tree.leaves(model.network) if eqx.is_array(a))
    assert large - small < 20 * weights

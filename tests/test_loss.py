"""The search's gradient: exact for every family and kernel, however a batch is cut."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from networks import conv_model
from samplerzoo import (
    GDDIM,
    KID,
    RDDIM,
    AbstractKernel,
    CosineVP,
    DiffusionModel,
    Linear,
    Polynomial,
    batch_loss,
    free_parameters,
    sample_batch,
)
from samplerzoo.core.devices import cut_batch
from samplerzoo.features import Pixels
from samplerzoo.registry import entries, load

STEPS, BATCH = 4, 16
WEIGHTS = np.random.default_rng(0).normal(size=(2, 3, 3))
DATA = np.random.default_rng(1).normal(size=(20, 3))

# Beside each family as it comes, what an option frees. Eta is inside (0, 1), where nothing is cut.
OPTIONS = {
    "ddpm per_step": {"per_step": True},
    "ddpm forward": {"variance": "forward", "per_step": True},
    "ddim per_step": {"eta": 0.5, "per_step": True},
    "rddim eta": {"eta": 0.5},
    "gddim eta": {"eta": 0.5},
    "gddim depth": {"depth": 2},
    "ipndm afs": {"afs": True},  # whose first time and spread are searched
}
MEMBERS = [*entries("families"), *OPTIONS]
QUICK = ("rddim", "gddim eta")


def network(x, t):
    return jnp.tanh(x @ WEIGHTS[0] + t)


def features(x):
    return jnp.tanh(x @ WEIGHTS[1])


class Mixture(AbstractKernel):
    """A weighted sum of all registered kernels: one compiled program serves for each of them."""

    weights: Array

    def __call__(self, x, y):
        kernels = [load("kernels", name)() for name in entries("kernels")]
        return sum(w * kernel(x, y) for w, kernel in zip(self.weights, kernels, strict=True))

    def condense(self, x):
        return x


@eqx.filter_jit
def loss(table, kernel, microbatch):
    """The objective of a batch: one program for all tables of the same shapes."""
    model = DiffusionModel(network, CosineVP(), (3,), prediction="v", clip=None)
    objective = KID(features, kernel, features(DATA))
    return batch_loss(table, model, objective, jax.random.key(3), BATCH, microbatch)


slope = eqx.filter_jit(eqx.filter_value_and_grad(loss))


@eqx.filter_jit
def losses(tables, kernel, microbatch):
    """Those of many tables."""
    return jax.lax.map(lambda table: loss(table, kernel, microbatch), tables)


def searched(name):
    """A function from all free parameters of a family, times included, to its table; a start."""
    family = load("families", name.split()[0])(STEPS, **OPTIONS.get(name, {}))
    free, rest = eqx.partition(family, free_parameters(family, decoupled=True))
    flat, rebuild = ravel_pytree(free)

    @jax.jit
    def table(flat):
        return eqx.combine(rebuild(flat), rest).table(CosineVP())

    return table, flat + 0.05 * np.random.default_rng(2).normal(size=flat.shape)


def gradient(name, kernel, microbatch):
    """The loss at a family's start, and its derivatives in the parameters."""
    table, start = searched(name)
    made, pull = jax.vjp(table, jnp.asarray(start))
    value, slopes = slope(made, kernel, microbatch)
    return value, np.asarray(pull(slopes)[0])


PARTS = 6  # three parts, which do not divide the batch
ROOM = 64  # for the steps to both sides in each parameter, so that one program serves for all


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in MEMBERS]
)
def test_gradient_agrees_with_finite_differences(x64, name):
    """In every free parameter of every family, times and told times included; every kernel."""
    table, start = searched(name)
    ways = 1e-5 * jnp.eye(start.size)
    moved = start[None] + jnp.concatenate([ways, -ways])
    room = jnp.broadcast_to(start, (-len(moved) % ROOM, start.size))
    tables = jax.vmap(table)(jnp.concatenate([moved, room]))
    for kernel in map(Mixture, jnp.eye(len(entries("kernels")))):
        _, exact = gradient(name, kernel, PARTS)
        found = losses(tables, kernel, PARTS)[: len(moved)]
        numeric = np.asarray(found[: start.size] - found[start.size :]) / 2e-5
        scale = np.max(np.abs(exact))
        assert scale > 1e-3
        np.testing.assert_allclose(exact / scale, numeric / scale, rtol=0, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*entries("families"), "gddim depth"])
def test_gradient_is_the_same_however_the_batch_is_cut(x64, name):
    """In 1, 4 and 16 parts."""
    check_cuts(name, (None, 4, 1), 1e-12)


@pytest.mark.slow
def test_to_the_rounding_of_single_precision():
    """In 3 parts, which do not divide the batch."""
    check_cuts("gddim", (None, PARTS), 2e-5)


def check_cuts(name, microbatches, limit):
    found = []
    for microbatch in microbatches:
        value, slopes = gradient(name, Polynomial(), microbatch)
        found.append(np.append(slopes / np.max(np.abs(slopes)), value))
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=limit, atol=limit)


MAKERS = {
    "rddim": partial(RDDIM, 4),
    "rddim of one step": partial(RDDIM, 1),
    "gddim": partial(GDDIM, 5),
    "gddim of two": partial(GDDIM, 5, depth=2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("kernel", [Linear(), Polynomial()], ids=["linear", "polynomial"])
def test_it_is_the_objective_of_the_samples(x64, name, kernel):
    """And so is its gradient, but for the first time, which is held fixed."""
    model = DiffusionModel(network, CosineVP(), (3,), prediction="v")
    objective = KID(features, kernel, features(DATA), unbiased=False)
    key = jax.random.key(0)

    def plain(table):
        return objective(sample_batch(table, model, key, jnp.arange(6)))

    def divided(table):
        return batch_loss(table, model, objective, key, 6, 4)

    table = MAKERS[name]().table(model.schedule)
    (wanted, expected), (value, slope) = (
        jax.jit(jax.value_and_grad(f))(table) for f in (plain, divided)
    )
    np.testing.assert_allclose(value, wanted, rtol=1e-12)
    assert expected.times[0] != 0
    assert slope.times[0] == 0
    expected = eqx.tree_at(lambda t: t.times, expected, expected.times.at[0].set(0))
    for found, other in zip(jax.tree.leaves(slope), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(found, other, rtol=1e-9, atol=1e-12)


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
    objective = KID(Pixels(), Linear(), jnp.zeros((2, 3072)))
    table = family.table(model.schedule)

    def memory(batch):
        def slope(table, model):
            return jax.value_and_grad(batch_loss)(
                table, model, objective, jax.random.key(0), batch, 16
            )

        compiled = eqx.filter_jit(slope).lower(table, model).compile().compiled
        # K states the network saw, the sample, its features (here pixels) and their derivative
        stored = batch * (table.nfe + 3) * 3072 * 4
        return compiled.memory_analysis().temp_size_in_bytes - stored

    small, large = memory(256), memory(4096)
    assert large < 1.3 * small
    # 240 more parts: had each kept the network's weights, they would be there 240 times more.
    weights = sum(a.nbytes for a in jax.tree.leaves(model.network) if eqx.is_array(a))
    assert large - small < 20 * weights


@pytest.mark.parametrize("steps", [2, 20])
@pytest.mark.parametrize("microbatch", [None, 2])
def test_the_network_is_traced_twice(steps, microbatch):
    """For the first row, whose answer has no derivative, and for all others."""
    calls = []

    def counted(x, t):
        calls.append(1)
        return network(x, t)

    model = DiffusionModel(counted, CosineVP(), (3,))
    objective = KID(features, Linear(), features(DATA).astype(np.float32))
    slope = jax.jit(
        jax.value_and_grad(lambda t: batch_loss(t, model, objective, key, BATCH, microbatch))
    )
    key = jax.random.key(0)
    _, found = slope(GDDIM(steps).table(CosineVP()))
    assert len(calls) == 2
    assert np.all(found.clean[:, 0] != 0)


def test_the_network_is_asked_as_often_as_is_needed():
    """K forwards and K - 1 again on the way back; the first answer needs no gradient."""
    seen = []

    def count(t):
        seen.append(t)
        return t

    def counted(x, t):
        t = jax.pure_callback(count, t, jax.lax.stop_gradient(t))
        return jnp.tanh(x + t)

    model = DiffusionModel(counted, CosineVP(), (3,))
    objective = KID(features, Linear(), features(DATA).astype(np.float32))
    slope = jax.jit(jax.grad(lambda t: batch_loss(t, model, objective, jax.random.key(0), 2)))
    jax.block_until_ready(slope(RDDIM(4).table(CosineVP())))
    assert len(seen) == 4 + 3

"""What a gradient costs, as facts: XLA's own analysis of memory and the size of its program."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest

from networks import conv_model
from samplerzoo import GDDIM, KID, RDDIM, Linear, free_parameters, sample_batch, start
from samplerzoo.core.optimise import compile_step
from samplerzoo.features import Pixels

SAMPLES = 16
STATE = SAMPLES * 32 * 32 * 3 * 4  # bytes


def gradient(family, model, objective):
    """The gradient of KID in all of a family's parameters, compiled."""

    def slope(family, model, objective):
        free, rest = eqx.partition(family, free_parameters(family, decoupled=True))

        def loss(free):
            table = eqx.combine(free, rest).table(model.schedule)
            return objective(sample_batch(table, model, jax.random.key(0), jnp.arange(SAMPLES)))

        return jax.value_and_grad(loss)(free)

    return eqx.filter_jit(slope).lower(family, model, objective).compile().compiled


@pytest.fixture(scope="module")
def parts():
    model = conv_model(width=16, depth=2)
    data = jax.random.normal(jax.random.key(1), (8, 32 * 32 * 3))
    return model, KID(Pixels(), Linear(), data)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "states"), [(RDDIM, 1.1), (GDDIM, 3.1)])
def test_memory_grows_by_the_stored_states_alone(family, states, parts):
    """With a light network, whose own activations hide nothing."""
    model, (_, objective) = conv_model(width=8, depth=1), parts
    few, some, many = (
        gradient(family(steps), model, objective).memory_analysis().temp_size_in_bytes
        for steps in (10, 40, 80)
    )
    assert 0.9 <= (some - few) / 30 / STATE <= states
    assert 0.9 <= (many - some) / 40 / STATE <= states


@pytest.mark.slow
@pytest.mark.parametrize(("family", "states"), [(RDDIM, 1.1), (GDDIM, 3.1)])
def test_a_search_grows_by_the_stored_states_alone(family, states, parts):
    model, (_, objective) = conv_model(width=8, depth=1), parts
    optimiser = optax.sgd(1.0)

    def memory(steps):
        member = family(steps)
        state = start(member, free_parameters(member), optimiser)
        return compile_step(member, state, model, objective, optimiser, SAMPLES).memory

    # Over a wide range, since the buffers of a network's layers fill gaps between the states.
    few, some, many = map(memory, (10, 40, 80))
    assert 0.9 <= (many - few) / 70 / STATE <= states
    assert 0.9 <= (many - some) / 40 / STATE <= states


@pytest.mark.slow
@pytest.mark.parametrize("family", [RDDIM, GDDIM])
def test_the_program_does_not_grow_with_the_steps(family, parts):
    few, many = (len(gradient(family(steps), *parts).as_text()) for steps in (5, 40))
    assert many <= 1.1 * few


@pytest.mark.slow
def test_the_loop_holds_no_convolution_off_the_fast_path(parts):
    """All convolutions, those of the backward pass too, are plain NHWC/HWIO ones."""
    program = gradient(RDDIM(4), *parts).as_text()
    layouts = {
        line.split("dim_labels=")[1].split()[0].strip(",")
        for line in program.splitlines()
        if "dim_labels=" in line
    }
    assert layouts == {"b01f_01io->b01f"}

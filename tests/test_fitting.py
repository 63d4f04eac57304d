"""The choice of a micro-batch from what a program needs and what is free."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from networks import conv_model
from samplerzoo import (
    KID,
    RDDIM,
    Linear,
    adam,
    compile_step,
    free_parameters,
    start,
)
from samplerzoo.core.memory import SHARE, TooLargeError, free_memory, largest, memory_of_machine
from samplerzoo.features import Pixels


class Program(NamedTuple):
    """A program of a size, that needs memory."""

    size: int
    memory: int


def making(base: int, each: int, breaks_at: int | None = None):
    """How programs are made that need `base + each * size` bytes, and the sizes made."""
    made = []

    def make(size: int) -> Program:
        made.append(size)
        if breaks_at is not None and size >= breaks_at:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return Program(size, base + each * size)

    return make, made


def test_what_fits_whole_is_taken_whole():
    make, made = making(100, 10)
    assert largest(make, 512, 10_000).size == 512
    assert made == [512]


@pytest.mark.parametrize("free", [400, 1_000, 5_000, 6_300])
@pytest.mark.parametrize("base", [0, 150])
def test_nearly_all_that_is_free_is_used(free, base):
    make, made = making(base, 10)
    found = largest(make, 512, free)
    assert found.memory <= SHARE * free
    assert found.size >= (SHARE * free - base) // 10 - 1
    assert len(made) <= 4


def test_a_program_that_cannot_even_be_compiled_is_too_large():
    make, _ = making(0, 10, breaks_at=300)
    assert 32 <= largest(make, 512, 2_000).size <= 160


def test_other_errors_are_not_taken_for_it():
    def make(size):
        raise jax.errors.JaxRuntimeError("INTERNAL: a bug")

    with pytest.raises(jax.errors.JaxRuntimeError, match="a bug"):
        largest(make, 8, 100)


def test_where_nothing_fits_the_error_says_what_to_do():
    make, _ = making(10**9, 10)
    with pytest.raises(TooLargeError, match=r"needs 1.00 GB .* 0.50 GB are free. Lower the batch"):
        largest(make, 64, 5 * 10**8)


def test_a_container_with_a_limit_has_what_is_left_of_it(tmp_path: Path):
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    assert memory_of_machine(tmp_path, tmp_path / "none") == 8000 * 1024
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_of_machine(tmp_path, tmp_path) == 8000 * 1024
    (tmp_path / "memory.max").write_text("5000\n")
    assert memory_of_machine(tmp_path, tmp_path) == 4000
    assert memory_of_machine(tmp_path / "none", tmp_path) > 0


def test_some_memory_is_free_here():
    assert 10**7 < free_memory() < 10**14


@pytest.mark.slow
def test_a_step_of_a_search_fits_where_the_whole_batch_does_not():
    model = conv_model(size=8, width=32, depth=1)
    objective = KID(Pixels(), Linear(), jnp.zeros((2, 192)))
    family, optimiser = RDDIM(3), adam(10, 0.1)
    state = start(family, free_parameters(family), optimiser)
    made = []

    def make(microbatch):
        made.append(compile_step(family, state, model, objective, optimiser, 256, microbatch))
        return made[-1]

    with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
        whole = make(256)
        assert whole.stored == 256 * 3 * 192 * 4
        found = largest(make, 256, whole.memory // 2)
    assert found.memory <= SHARE * whole.memory / 2
    assert 8 <= found.microbatch < 128
    assert len(made) <= 5

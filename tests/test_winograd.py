"""Convolutions by tiles against XLA's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from samplerzoo.backbones import convolve
from samplerzoo.backbones.winograd import convolve_tiles, is_faster
from samplerzoo.core.compiling import jit

LAYOUT = ("NHWC", "HWIO", "NHWC")


def plain(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT)


def drawn(shape, channels, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0))
    kernel = jax.random.normal(keys[1], (3, 3, shape[-1], channels), dtype)
    return jax.random.normal(keys[0], shape, dtype), kernel * (9 * shape[-1]) ** -0.5


@pytest.mark.slow
@settings(deadline=None, max_examples=6)
@given(
    shape=st.tuples(*[st.integers(1, 3)] * 4),
    channels=st.integers(1, 3),
)
def test_it_is_the_convolution(shape, channels):
    n, rows, columns, own = shape
    with jax.enable_x64(True):
        args = drawn((n, 2 * rows, 2 * columns, own), channels, jnp.float64)
        np.testing.assert_allclose(convolve_tiles(*args), plain(*args), rtol=1e-12, atol=1e-13)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="GPUs' libraries choose for themselves")
def test_many_channels_are_convolved_by_tiles_and_have_the_right_gradient():
    x, kernel = drawn((2, 16, 16, 256), 256)

    def loss(convolve):
        return lambda x: jnp.sum(jnp.sin(jax.vmap(lambda image: convolve(image[None], kernel))(x)))

    text = str(jax.make_jaxpr(loss(convolve))(x))
    assert text.count("dot_general[") == 16
    assert "conv_general_dilated" not in text
    for wanted, found in zip(
        jax.value_and_grad(loss(plain))(x), jax.value_and_grad(loss(convolve))(x), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_it_takes_less_than_half_of_the_multiplications():
    """As XLA counts the operations, those of the transforms among them."""
    args = drawn((2, 16, 16, 256), 256)
    tiles, whole = (jit(f).lower(*args).compile().compiled for f in (convolve_tiles, plain))
    # XLA leaves out products with the padding, 1 - (46 / 48)^2 of them.
    assert tiles.cost_analysis()["flops"] < 0.56 * whole.cost_analysis()["flops"]


@pytest.mark.parametrize(
    ("shape", "size", "channels"),
    [
        ((16, 16, 128), 3, 256),
        ((16, 16, 256), 3, 128),
        ((16, 16, 256), 1, 256),
        ((15, 16, 256), 3, 256),
        ((8, 8, 256), 3, 256),
        ((32, 32, 256), 3, 256),
    ],
)
def test_others_are_left_to_xla(shape, size, channels):
    assert not is_faster(jnp.ones(shape), jnp.ones((size, size, shape[-1], channels)))


def test_double_and_half_precision_are_left_to_xla():
    with jax.enable_x64(True):
        for dtype in (jnp.float64, jnp.bfloat16):
            assert not is_faster(*drawn((16, 16, 256), 256, dtype))

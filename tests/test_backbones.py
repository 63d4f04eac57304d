"""Layers agree with JAX's own, values and gradients."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unets
from samplerzoo.backbones import (
    Conv,
    Dense,
    GroupNorm,
    ResidualMLP,
    Rounded,
    UNet,
    convolve,
    time_embedding,
)
from samplerzoo.backbones.layers import activated, convolve_doubled, double, halve
from samplerzoo.backbones.unet_blocks import Attention, norm
from samplerzoo.backbones.unet_config import UNetConfig
from samplerzoo.core.compiling import jit


@pytest.mark.parametrize("size", [1, 3, 5])
def test_convolution_and_its_gradients(size, x64):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (2, 6, 5, 3))
    kernel = jax.random.normal(keys[1], (size, size, 3, 4))
    weight = jax.random.normal(keys[2], (2, 6, 5, 4))

    def plain(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)

    for wanted, found in zip(
        jax.value_and_grad(lambda *a: jnp.sum(weight * jnp.sin(plain(*a))), (0, 1))(x, kernel),
        jax.value_and_grad(lambda *a: jnp.sum(weight * jnp.sin(convolve(*a))), (0, 1))(x, kernel),
        strict=True,
    ):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), wanted, found)


def test_the_convolution_of_a_doubled_image_and_its_gradients(x64):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (2, 3, 4, 5))
    kernel = jax.random.normal(keys[1], (3, 3, 5, 2))
    weight = jax.random.normal(keys[2], (2, 6, 8, 2))

    def plain(x, kernel):
        return convolve(jax.vmap(double)(x), kernel)

    for wanted, found in zip(
        *(
            jax.value_and_grad(lambda *a: jnp.sum(weight * jnp.sin(made(*a))), (0, 1))(x, kernel)  # noqa: B023
            for made in (plain, convolve_doubled)
        ),
        strict=True,
    ):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), wanted, found)


def test_of_a_norm_and_its_activation_the_input_alone_is_kept():
    """Ten in a row keep ten arrays, as XLA counts them, and not the thirty of plain autodiff."""
    layers = [norm(16, 4, 1e-5)] * 10
    x = jnp.ones((32, 32, 16))

    def bytes_of_gradient(layer):
        def run(x):
            for one in layers:
                x = layer(jax.nn.silu, one, x)
            return jnp.sum(x**2)

        return jit(jax.grad(run)).lower(x).compile().compiled.memory_analysis().temp_size_in_bytes

    plain, spared = bytes_of_gradient(lambda act, one, x: act(one(x))), bytes_of_gradient(activated)
    assert spared <= 12 * x.nbytes
    assert plain >= 1.5 * spared


@pytest.mark.parametrize("width", [2, 8], ids=["four heads", "one head"])
def test_attention_keeps_at_most_one_array_for_all_pairs_of_pixels(width):
    """As XLA on CPU counts it: of plain autodiff's two it keeps one, other backends none."""
    small = unets.SMALL | {"block_out_channels": [8, 8], "attention_head_dim": width}
    layer = Attention(8, UNetConfig.from_dict(small), 2, key=jax.random.key(0))
    x = jnp.ones((16, 16, 8))

    def bytes_of_gradient(depth):
        def run(x):
            for _ in range(depth):
                x = layer(x)
            return jnp.sum(x**2)

        return jit(jax.grad(run)).lower(x).compile().compiled.memory_analysis().temp_size_in_bytes

    pairs = 4 * (8 // width) * 256**2
    assert (bytes_of_gradient(8) - bytes_of_gradient(4)) / 4 < 1.3 * pairs


def test_convolution_under_vmap():
    layer = Conv(3, 4, key=jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (5, 6, 6, 3))
    one_by_one = jnp.stack([layer(image) for image in x])
    np.testing.assert_allclose(jax.vmap(layer)(x), one_by_one, rtol=1e-5, atol=1e-6)


def test_group_norm_has_mean_0_and_variance_1_in_each_group(x64):
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (4, 5, 12))
    y = GroupNorm(jnp.ones(12), jnp.zeros(12), groups=3, eps=0.0)(x).reshape(20, 3, 4)
    np.testing.assert_allclose(jnp.mean(y, (0, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(jnp.var(y, (0, 2)), 1, rtol=1e-12)


def test_group_norm_affine(x64):
    x = jax.random.normal(jax.random.key(0), (4, 5, 12))
    scale, offset = jnp.arange(1.0, 13), jnp.arange(12.0)
    plain = GroupNorm(jnp.ones(12), jnp.zeros(12), groups=2)(x)
    affine = GroupNorm(scale, offset, groups=2)(x)
    np.testing.assert_allclose(affine, plain * scale[None, None] + offset[None, None], rtol=1e-10)


def test_group_norm_of_a_shifted_image(x64):
    x = jax.random.normal(jax.random.key(0), (4, 5, 12))
    shift = 3 * jax.random.normal(jax.random.key(1), (12,))
    norm = GroupNorm(jnp.arange(1.0, 13), jnp.arange(12.0), groups=4)
    shifted = norm(x + shift[None, None])
    np.testing.assert_allclose(norm(x, shift), shifted, rtol=1e-12, atol=1e-12)


def test_time_embedding():
    found = time_embedding(jnp.asarray(7.0), 6)
    angles = 7 * np.exp(-np.log(10_000) * np.arange(3) / 3)
    wanted = np.concatenate([np.sin(angles), np.cos(angles)])
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_dense_and_mlp_keep_shapes():
    x = jax.random.normal(jax.random.key(0), (4, 4, 1))
    assert Dense(1, 7, key=jax.random.key(0))(x).shape == (4, 4, 7)
    network = ResidualMLP(16, 8, 8, 2, key=jax.random.key(0))
    assert network(x, jnp.asarray(3.0)).shape == x.shape
    assert not jnp.allclose(network(x, jnp.asarray(3.0)), network(x, jnp.asarray(300.0)))


@pytest.mark.slow
def test_half_precision_stays_close_and_hears_every_timestep():
    network = UNet.from_config(unets.SMALL, key=jax.random.key(0))
    rounded = Rounded(network, jnp.bfloat16)
    x = jax.random.normal(jax.random.key(1), (8, 8, 1))
    times = jnp.asarray([998.0, 999.0])
    exact, found = (jax.jit(jax.vmap(n, (None, 0)))(x, times) for n in (network, rounded))
    assert found.dtype == x.dtype
    error = jnp.linalg.norm(found - exact) / jnp.linalg.norm(exact)
    assert 1e-5 < error < 0.05
    # In bfloat16 itself 998 and 999 are one number.
    assert jnp.any(found[0] != found[1])
    weights = [a for a in jax.tree.leaves(rounded) if eqx.is_inexact_array(a)]
    assert {a.dtype for a in weights} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize("stride", [1, 2])
def test_a_batch_has_one_kernel_gradient(stride):
    """One convolution over the batch, not one a sample and then a sum; none where it is frozen."""
    x, kernel = jnp.ones((5, 6, 6, 3)), jnp.ones((3, 3, 3, 4))
    layer = {1: convolve, 2: lambda x, k: halve(x, k, (0, 1))}[stride]

    def loss(x, kernel):
        return jnp.sum(jnp.sin(jax.vmap(lambda image: layer(image[None], kernel)[0])(x)))

    for argument, number in ((0, 2), (1, 2), ((0, 1), 3)):
        text = str(jax.make_jaxpr(jax.grad(loss, argument))(x, kernel))
        assert text.count("conv_general_dilated[") == number
        assert "feature_group_count=1\n" in text
        assert not re.search(r"(feature|batch)_group_count=(?!1\b)", text)

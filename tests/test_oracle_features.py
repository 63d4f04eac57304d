"""Feature extractors compute what the standard tools do, with the same random weights."""

import json
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import extractors
from fidelity_oracle import ask
from samplerzoo.features import Inception, ViT
from samplerzoo.features.resizing import LEVELS, resize
from samplerzoo.files import read_tensors

pytestmark = pytest.mark.oracle
REASON = "the oracle extra (torch, transformers) is not installed"
torch = pytest.importorskip("torch", reason=REASON)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers", reason=REASON)

# Samples of several sizes, as 8-bit images.
IMAGES = {
    side: np.random.default_rng(side).integers(0, 256, (4, side, side, 3), np.uint8)
    for side in (32, 256, 400)
}
INCEPTION = """
import io
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import (
    interpolate_bilinear_2d_like_tensorflow1x as interpolate,
)

tensors = {name[1:]: torch.from_numpy(a) for name, a in dict(globals()).items() if name[0] == "@"}
torch.save(tensors, file := io.BytesIO())
file.seek(0)
network = FeatureExtractorInceptionV3(
    "inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=file
)
x = torch.from_numpy(images32).permute(0, 3, 1, 2).contiguous()
features, logits = network(x)
answer = {"features": features.numpy(), "logits": logits.numpy()}
for name in ("images32", "images256", "images400"):
    x = torch.from_numpy(globals()[name]).permute(0, 3, 1, 2).float()
    resized = interpolate(x, (299, 299), align_corners=False)
    answer[name] = resized.permute(0, 2, 3, 1).numpy()
"""


@pytest.fixture(scope="module")
def fidelity():
    """What torch-fidelity makes of the images with random weights, and the weights."""
    tensors = extractors.inception_tensors()
    images = {f"images{side}": images for side, images in IMAGES.items()}
    named = {f"@{name}": tensor for name, tensor in tensors.items()}
    return ask(INCEPTION, **images, **named), tensors


def apply(phi, images: np.ndarray):
    samples = jnp.asarray(images, jnp.float32) / 127.5 - 1
    return np.asarray(eqx.filter_jit(lambda phi, x: jax.vmap(phi)(x))(phi, samples))


def test_inception_is_torch_fidelitys(fidelity):
    """Features and unbiased logits, relative to the largest."""
    theirs, tensors = fidelity
    phi = Inception.from_tensors(tensors, "torch-fidelity").rounded()
    ours = apply(phi, IMAGES[32])
    assert 0.1 < np.std(theirs["features"]) < 10

    def near(a, b):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())

    near(ours, theirs["features"])
    near(np.stack([phi.head(row) for row in jnp.asarray(ours)]), theirs["logits"])
    assert np.ptp(theirs["features"], axis=0).max() > 1e-2  # images are told apart


@pytest.mark.parametrize("side", IMAGES)
def test_resizing_is_the_tools(fidelity, side):
    x = jnp.asarray(IMAGES[side][0], jnp.float32)

    def near(a, b):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * LEVELS)

    near(resize("tensorflow-bilinear", x, 299), fidelity[0][f"images{side}"][0])
    for name, mode in (("torch-bilinear", "bilinear"), ("torch-bicubic", "bicubic")):
        theirs = torch.nn.functional.interpolate(
            torch.from_numpy(IMAGES[side][:1]).permute(0, 3, 1, 2).float(),
            (299, 299),
            mode=mode,
            align_corners=False,
        )
        near(resize(name, x, 299), theirs[0].permute(1, 2, 0).numpy())


SMALL = extractors.CLIP["vision_config"] | {"projection_dim": 8, "image_size": 48}
TEXT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 50,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
NETWORKS = {
    "dinov2-tiny": lambda t: t.Dinov2Model(t.Dinov2Config(**extractors.DINOV2)),
    "dinov2-small": lambda t: t.Dinov2Model(
        t.Dinov2Config(hidden_size=384, num_attention_heads=6, image_size=518)
    ),
    "clip-images": lambda t: t.CLIPVisionModelWithProjection(t.CLIPVisionConfig(**SMALL)),
    "clip-both": lambda t: t.CLIPModel(
        t.CLIPConfig(vision_config=SMALL, text_config=TEXT, projection_dim=12)
    ),
}


def features_of(network, x):
    """DINOv2's class token after the last norm; CLIP's projected embedding, of length 1."""
    if isinstance(network, transformers.Dinov2Model):
        return network(x).last_hidden_state[:, 0]
    if isinstance(network, transformers.CLIPModel):
        found = network.visual_projection(network.vision_model(x).pooler_output)
    else:
        found = network(x).image_embeds
    return torch.nn.functional.normalize(found, dim=-1)


@pytest.mark.parametrize("name", NETWORKS)
def test_vision_transformers_are_transformers(name, tmp_path):
    """As saved by `save_pretrained`, with biases, norms and scales that no initialisation gives."""
    torch.manual_seed(0)
    network = NETWORKS[name](transformers).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    network.save_pretrained(tmp_path)
    tensors, _ = read_tensors(tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    phi = ViT.from_tensors(config, tensors).rounded()
    ours = apply(phi, IMAGES[32])
    samples = jnp.asarray(IMAGES[32], jnp.float32) / 127.5 - 1
    inputs = np.stack([phi.preprocessing(x, rounding=True) for x in samples])
    with torch.no_grad():
        x = torch.from_numpy(np.ascontiguousarray(inputs.transpose(0, 3, 1, 2)))
        theirs = features_of(network, x).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())
    assert np.ptp(theirs, axis=0).max() > 1e-2  # images are told apart

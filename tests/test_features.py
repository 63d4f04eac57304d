"""Feature extractors: preprocessing, networks of published weights, and bounded memory."""

import inspect
import io
import zipfile
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

import extractors
from samplerzoo.core.compiling import jit
from samplerzoo.features import (
    Inception,
    MLPClassifier,
    Pixels,
    ViT,
    apply,
    as_extractor,
    check_extractor,
    extract,
    extract_batches,
    extraction,
    load_cifar_resnet,
)
from samplerzoo.features.inception import POOLS
from samplerzoo.features.resizing import INCEPTION, resampling_matrix, resize, standardised
from samplerzoo.references import fingerprint
from samplerzoo.registry import entries, load
from samplerzoo.testing import check_features

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
PREPROCESSINGS = {**INCEPTION, "224": standardised(16, (0.5, 0.4, 0.3), (0.2, 0.2, 0.3))}


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def as_sample(levels: np.ndarray) -> jax.Array:
    return jnp.asarray(levels, jnp.float32) / 127.5 - 1


# Where the middle of a pixel of the resized image lies in the source, and what it is cut to.
RAMPS = {
    "tensorflow-bilinear": lambda i, scale: i * scale,
    "torch-bilinear": lambda i, scale: (i + 0.5) * scale - 0.5,
}


@pytest.mark.parametrize("name", RAMPS)
@pytest.mark.parametrize("source", [1, 5, 32, 299, 700])
def test_bilinear_resizing_of_a_ramp(name, source):
    """Interpolation between pixels whose levels are their places gives the place read."""
    places = RAMPS[name](np.arange(299), source / 299)
    found = resampling_matrix(name, source, 299) @ np.arange(source)
    np.testing.assert_allclose(found, np.clip(places, 0, source - 1), atol=1e-10)


@pytest.mark.parametrize("shape", [(32, 32), (20, 28), (64, 300), (299, 299), (512, 512)])
def test_bicubic_resizing_is_pillows(shape):
    """On floats to rounding errors; in 8 bits all but a few pixels, which are next to theirs."""
    levels = pixels(*shape)
    theirs = Image.fromarray(levels.astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC)
    image = jnp.asarray(levels, jnp.float32)[:, :, None]
    ours = resize("pillow-bicubic", image, 299)[:, :, 0]
    np.testing.assert_allclose(ours, np.asarray(theirs), atol=1e-4 * 255)
    theirs = Image.fromarray(levels).resize((299, 299), Image.Resampling.BICUBIC)
    ours = resize("pillow-bicubic", image, 299, rounding=True)[:, :, 0]
    difference = np.abs(ours - np.asarray(theirs, np.float32))
    assert difference.max() <= 1
    assert difference.mean() < 2e-3


@pytest.mark.parametrize("name", PREPROCESSINGS)
def test_preprocessing_has_the_gradient_of_finite_differences(x64, name):
    preprocessing = PREPROCESSINGS[name]
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(-0.8, 0.8, (6, 5, 3)))
    towards = jnp.asarray(rng.normal(size=(preprocessing.size, preprocessing.size, 3)))
    value = jax.jit(lambda x: jnp.vdot(towards, preprocessing(x)))
    slope, way = jax.grad(value)(x), jnp.asarray(rng.normal(size=x.shape))
    numeric = (value(x + 1e-6 * way) - value(x - 1e-6 * way)) / 2e-6
    np.testing.assert_allclose(jnp.vdot(slope, way), numeric, rtol=1e-7)


@pytest.mark.parametrize("name", PREPROCESSINGS)
def test_rounding_reads_a_sample_as_an_image_is_read(name):
    """Samples off the levels, and out of the range, are what was written to 8 bits."""
    levels = pixels(8, 8, 1)
    x = as_sample(np.where(levels > 127, 300.0, levels + np.float32(0.4)))
    written = as_sample(np.where(levels > 127, 255, levels))
    found = PREPROCESSINGS[name](x, rounding=True)
    np.testing.assert_array_equal(found, PREPROCESSINGS[name](written, rounding=True))
    assert found.shape[-1] == 3
    assert not np.any(jax.grad(lambda x: jnp.sum(PREPROCESSINGS[name](x, rounding=True)))(x))
    with pytest.raises(ValueError, match=r"\(8, 8, 2\).* 1 or 3 channels"):
        PREPROCESSINGS[name](jnp.zeros((8, 8, 2)))


def test_pools_are_those_of_the_fids_network():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(7, 9, 2)), jnp.float32)
    np.testing.assert_allclose(POOLS["average"](jnp.ones((5, 4, 1))), 1, rtol=1e-6)
    corner = POOLS["average"](x)[0, 0]
    np.testing.assert_allclose(corner, jnp.mean(x[:2, :2], (0, 1)), rtol=1e-5)
    for kind, stride, padding in (("maximum", 1, "SAME"), ("halving", 2, "VALID")):
        wanted = jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, (3, 3, 1), (stride, stride, 1), padding
        )
        np.testing.assert_array_equal(POOLS[kind](x), wanted)


@pytest.fixture(scope="module")
def inception_tensors():
    return extractors.inception_tensors()


@pytest.mark.slow
def test_inception(inception_tensors):
    """The contract, 2048 features, and logits that do not know of the bias."""
    phi = Inception.from_tensors(inception_tensors, "clean-fid")
    compiled = eqx.filter_jit(phi)
    check_features(compiled, (8, 8, 1))
    found = compiled(as_sample(pixels(8, 8, 1)))
    assert found.shape == (2048,)
    fc = inception_tensors["fc.weight"]
    np.testing.assert_allclose(phi.head(found), fc @ np.asarray(found), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("Mixed_6b.branch7x7_2.bn.running_var"), "Mixed_6b.*missing"),
        (lambda t: t.update({"AuxLogits.fc.bias": t["fc.bias"]}), "AuxLogits.*not expected"),
        (lambda t: t.update({"fc.bias": np.zeros(1000, np.float32)}), r"fc.bias.*\(1000,\)"),
        (lambda t: t.update({"fc.bias": np.zeros(1008, np.int64)}), "fc.bias.*int64"),
    ],
)
def test_other_tensors_are_no_inception(inception_tensors, change, words):
    tensors = dict(inception_tensors)
    change(tensors)
    with pytest.raises(ValueError, match=words):
        Inception.from_tensors(tensors)


@pytest.mark.slow
def test_vision_transformers():
    """Both layouts keep the contract; CLIP's features lie on the unit sphere."""
    for config, width in ((extractors.DINOV2, 16), (extractors.CLIP, 8)):
        phi = ViT.from_tensors(config, extractors.vit_tensors(config))
        compiled = eqx.filter_jit(phi)
        check_features(compiled, (8, 8, 3))
        found = compiled(as_sample(pixels(8, 8, 3)))
        assert found.shape == (width,)
    np.testing.assert_allclose(jnp.linalg.norm(found), 1, rtol=1e-6)
    assert phi.preprocessing.size == 32
    assert phi.rounded().rounding


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "vit"}, "model_type is 'vit'; it must be 'dinov2' or"),
        ({"use_swiglu_ffn": True}, "use_swiglu_ffn is true; it must be false"),
        ({"num_attention_heads": 3}, "3 heads do not divide"),
        ({"num_hidden_layers": 3}, "encoder.layer.2.* missing"),
        ({"num_hidden_layers": 1}, "encoder.layer.1.* not expected"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0; it must be a whole number"),
        ({"hidden_size": "16"}, "hidden_size is '16'"),
        ({"patch_size": 15}, "do not divide images"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'; it must be 'gelu' or"),
        ({"layer_norm_eps": None}, "layer_norm_eps is null"),
    ],
)
def test_what_is_no_vision_transformer(changes, words):
    tensors = extractors.vit_tensors(extractors.DINOV2)
    with pytest.raises(ValueError, match=words):
        ViT.from_tensors(extractors.DINOV2 | changes, tensors)


def test_cifar_resnets(tmp_path):
    """As deep as the file; the contract; a head; rounding."""
    for depth in (1, 2):
        safetensors.numpy.save_file(extractors.resnet_tensors(depth), tmp_path / "net.safetensors")
        phi = load_cifar_resnet(tmp_path / "net.safetensors")
        assert len(phi.blocks) == 3 * depth
    check_features(eqx.filter_jit(phi), (8, 8, 3))
    x = as_sample(pixels(8, 8, 3) + np.float32(0.4))
    assert phi.head(phi(x)).shape == (4,)
    rounded = load_cifar_resnet(tmp_path / "net.safetensors").rounded()
    np.testing.assert_allclose(rounded(x), phi(as_sample(pixels(8, 8, 3))), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("drop", "words"),
    [
        ("layer2.1.conv2.weight", "layer2.1.conv2.* missing"),
        ("linear.bias", "linear.bias.*missing"),
        ("layer3.0.conv1.weight", "layer3.* not expected"),
    ],
)
def test_what_is_no_cifar_resnet(tmp_path, drop, words):
    tensors = extractors.resnet_tensors(2)
    tensors.pop(drop)
    path = tmp_path / "net.safetensors"
    safetensors.numpy.save_file(tensors, path)
    with pytest.raises(ValueError, match=rf"{path.name} is not a CIFAR ResNet.*{words}"):
        load_cifar_resnet(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_cifar_resnet(path)
    with pytest.raises(ValueError, match="There is no file"):
        load_cifar_resnet(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the published ResNets and CIFAR-10 are not here")
def test_the_published_resnets_classify():
    """Every twentieth test image; on all of them it is 81.0% and 83.2%."""
    with zipfile.ZipFile(DATA / "cifar10-test.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        classes = sorted({Path(name).parent.name for name in names})
        chosen = names[::20]
        images = [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in chosen]
    labels = np.array([classes.index(Path(name).parent.name) for name in chosen])
    x = np.asarray(as_sample(np.stack(images)))
    for depth, accuracy in ((20, 0.8), (56, 0.83)):
        phi = load_cifar_resnet(DATA / f"resnet{depth}-cifar10.safetensors")
        logits = jax.vmap(phi.head)(jnp.asarray(extract(phi, x)))
        assert np.mean(np.argmax(logits, 1) == labels) == pytest.approx(accuracy, abs=2e-3)


def wide(x):
    """Features through an array 50 times the sample, made in a loop."""

    def body(h, _):
        return jnp.tanh(jnp.sum(jnp.broadcast_to(h[None] / 50, (50, *h.shape)), 0)), None

    return jax.lax.scan(body, x, None, length=2)[0].reshape(-1)[:7]


class OnDisk:
    """Samples that are read a batch at a time, and know how many were."""

    def __init__(self, array):
        self.array, self.most = array, 0

    def __len__(self):
        return len(self.array)

    def batches(self, size):
        self.most = max(self.most, size)
        for start in range(0, len(self.array), size):
            yield self.array[start : start + size]


@pytest.fixture
def small_budget(monkeypatch):
    monkeypatch.setattr(extraction, "BUDGET", 5 * 50 * 12 * 4)  # five samples of `wide`


SAMPLES = np.random.default_rng(0).normal(size=(23, 3, 4)).astype(np.float32)


def test_the_largest_array_is_found_in_inner_programs(small_budget):
    size = extraction.largest(jax.make_jaxpr(wide)(SAMPLES[0]).jaxpr)
    assert size == 50 * 12 * 4
    for phi in (wide, jax.jit(wide), jax.checkpoint(wide), lambda x: jax.lax.map(wide, x[None])[0]):
        assert extraction.chunk_size(phi, jnp.asarray(SAMPLES[0])) == 5
    tiny = extraction.chunk_size(lambda x: x[:1, 0], jnp.zeros((1, 1)))
    assert tiny == extraction.MOST


@pytest.mark.parametrize("n", [1, 5, 6, 23])
def test_chunks_have_the_features_and_the_gradient_of_the_whole(small_budget, n):
    x = jnp.asarray(SAMPLES[:n])
    np.testing.assert_allclose(apply(wide, x), jax.vmap(wide)(x), rtol=1e-6)

    def loss(f):
        return jax.jit(jax.grad(lambda x: jnp.sum(f(x) ** 2)))(x)

    ours, theirs = loss(lambda x: apply(wide, x)), loss(jax.vmap(wide))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_the_memory_of_features_does_not_grow_with_their_number(small_budget):
    """With or without a derivative, beside the samples themselves."""
    sizes = []
    for n in (60, 600):
        x = jnp.zeros((n, *SAMPLES.shape[1:]))
        plain = jit(lambda x: apply(wide, x))
        slope = jit(jax.grad(lambda x: jnp.sum(apply(wide, x) ** 2)))
        programs = [f.lower(x).compile().compiled for f in (plain, slope)]
        sizes.append([p.memory_analysis().temp_size_in_bytes - 4 * n * 12 * 4 for p in programs])
    chunk = 5 * 50 * 12 * 4
    assert sizes[1][0] < sizes[0][0] + chunk
    assert sizes[1][1] < sizes[0][1] + chunk


def test_features_of_images_on_disk(small_budget):
    disk = OnDisk(SAMPLES)
    found = extract(wide, disk)
    np.testing.assert_allclose(found, jax.vmap(wide)(SAMPLES), rtol=1e-6)
    assert disk.most == 5
    parts = [len(part) for part in extract_batches(wide, disk)]
    assert parts == [5, 5, 5, 5, 3]


def test_built_in_extractors_from_the_hub_are_factories():
    names = {
        "inception",
        "inception-pytorch-fid",
        "inception-clean-fid",
        "dinov2-small",
        "dinov2-base",
        "clip",
    }
    assert names <= set(entries("features"))
    for name in names:
        inspect.signature(load("features", name)).bind()


def test_a_function_of_one_sample_is_an_extractor():
    """It has no head, is read as it is, and has the fingerprint that it has by itself."""
    phi = as_extractor(wide)
    x = jnp.asarray(SAMPLES[0])
    np.testing.assert_array_equal(phi(x), wide(x))
    assert phi.classifier() is None
    assert phi.rounded() is phi
    assert as_extractor(phi) is phi
    assert fingerprint(phi, x.shape) == fingerprint(wide, x.shape)
    check_features(phi, x.shape)


def test_extractors_say_their_head_and_how_they_round():
    phi = MLPClassifier(12, 64, 3, 16, key=jax.random.key(0))
    check_features(phi, (3, 4, 1))
    assert phi.classifier()(phi(jnp.asarray(SAMPLES[0][..., None]))).shape == (3,)
    assert phi.rounded() is phi
    assert Pixels().classifier() is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (lambda: wide, r"cannot take a sample of shape \(3, 4\).*MODULE:NAME\(\) stands for"),
        (lambda x: x, r"must map a sample to a vector; it returns shape \(3, 4\)\. A function of"),
        (lambda x: {"a": x}, r"must map .* it returns a dict\. A function of one sample is needed"),
    ],
)
def test_what_is_no_extractor_is_told_how_to_be_one(found, words):
    with pytest.raises(ValueError, match=f"^The features {words}"):
        check_extractor(found, (3, 4), "The features")

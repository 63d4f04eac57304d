"""The training of the CIFAR-10 model and its classifier, on small networks and few images."""

import io
import json
import zipfile
from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from click.testing import CliRunner
from PIL import Image

from samplerzoo import DDIM, sample_batch
from samplerzoo.assets.make_cifar10 import classifier, denoiser
from samplerzoo.assets.make_cifar10.__main__ import main
from samplerzoo.assets.make_cifar10.data import labelled
from samplerzoo.assets.make_cifar10.loop import (
    Data,
    Task,
    begin,
    cast,
    restore,
    save,
    stepper,
    to_range,
    train,
)
from samplerzoo.backbones import Dense, PatchUNet, PatchUNetConfig
from samplerzoo.core.model import DiffusionModel
from samplerzoo.features.plain import PlainClassifier
from samplerzoo.features.resnet import ResNetClassifier
from samplerzoo.features.trained import ClassifierShape, load_classifier, save_classifier
from samplerzoo.formats import load_diffusers
from samplerzoo.formats.saving import save_diffusers
from samplerzoo.formats.weights import torch_state
from samplerzoo.references import Bank
from unets import SCHEDULER, SMALL, random_unet

TINY = PatchUNetConfig(patch=4, widths=(8,), heads=1, groups=2, embedding=8)


@pytest.fixture(autouse=True)
def optax_promotes():
    """optax raises a float to the number of a step."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A zip of 32x32 images, three in each of ten folders, each folder of one colour."""
    path, rng = tmp_path_factory.mktemp("cifar") / "train.zip", np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for n in reversed(range(10)):
            for name in ("b.png", "a.png", "._a.png", "c.png"):
                colour = np.full((32, 32, 3), 20 * n, np.uint8)
                buffer = io.BytesIO()
                Image.fromarray(colour + rng.integers(0, 9, 3, np.uint8)).save(buffer, "PNG")
                archive.writestr(f"class{n}/{name}", buffer.getvalue())
        archive.writestr("class0/about.txt", b"no image")
    return path


def test_images_come_with_the_classes_of_their_folders(folder, tmp_path):
    data = labelled(folder)
    assert data.images.shape == (30, 32, 32, 3)
    assert data.images.dtype == jnp.uint8
    np.testing.assert_array_equal(data.labels, np.repeat(np.arange(10), 3))
    np.testing.assert_array_equal(np.asarray(data.images[:, 0, 0, 0]) // 20, data.labels)
    with zipfile.ZipFile(folder) as archive:
        archive.extractall(tmp_path)
    for wanted, found in zip(data, labelled(tmp_path), strict=True):
        np.testing.assert_array_equal(wanted, found)
    with pytest.raises(ValueError, match="1 folders of images; one for each of 10"):
        labelled(tmp_path / "class3")


def test_pixels_cover_the_range():
    pixels = jnp.arange(256, dtype=jnp.uint8)
    np.testing.assert_allclose(to_range(pixels), np.linspace(-1, 1, 256), atol=1e-6)


def line_task(batch: int = 4) -> tuple[Task, Data]:
    """A least-squares fit of a linear layer."""

    def loss(layer, batch, key):
        x = to_range(batch.images).reshape(len(batch.images), -1)
        noisy = x + 0.01 * jax.random.normal(key, x.shape)
        targets = jnp.where(batch.labels == 0, 1.0, -1.0)[:, None]
        return jnp.mean((layer(noisy) - targets) ** 2)

    images = np.random.default_rng(0).integers(0, 256, (64, 2, 2, 1), np.uint8)
    labels = jnp.asarray(images[:, 0, 0, 0] < 128, jnp.int32)
    return Task(loss, optax.adam(0.05), batch), Data(jnp.asarray(images), labels)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_training_goes_on_where_it_stopped(tmp_path):
    task, data = line_task()
    key, layer = jax.random.key(1), Dense(4, 1, key=jax.random.key(0))
    advance = stepper(task, 3)
    once, _ = advance(advance(begin(task, layer), data, key)[0], data, key)
    half, loss = advance(begin(task, layer), data, key)
    save(tmp_path / "c", half, "as told", 1.5)
    found, seconds = restore(tmp_path / "c", begin(task, layer), "as told")
    assert seconds == 1.5
    assert_same(found, half)
    assert_same(advance(found, data, key)[0], once)
    with pytest.raises(ValueError, match="was made as as told, not as other"):
        restore(tmp_path / "c", begin(task, layer), "other")
    assert restore(tmp_path / "none", half, "other") == (half, 0.0)
    # And the task is learnt.
    for _ in range(60):
        once, last = advance(once, data, key)
    assert last < 0.5 * loss


def test_steps_do_not_depend_on_their_grouping():
    task, data = line_task()
    key, layer = jax.random.key(1), Dense(4, 1, key=jax.random.key(0))
    state, single = begin(task, layer), stepper(task, 1)
    for _ in range(4):
        state, _ = single(state, data, key)
    grouped, _ = stepper(task, 4)(begin(task, layer), data, key)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5), state, grouped)


def test_the_average_is_that_of_a_power_of_the_steps():
    """Weights that are the number of the step have the mean `step (gamma + 1) / (gamma + 2)`."""
    data = line_task()[1]
    task = Task(lambda network, batch, key: -jnp.sum(network), optax.sgd(1.0), 1)
    state = begin(task, jnp.zeros(1))
    state, _ = stepper(task, 1000)(state, data, jax.random.key(0))
    np.testing.assert_allclose(state.network, 1000)
    np.testing.assert_allclose(state.average / 1000, 7.94 / 8.94, rtol=1e-2)


def test_the_learning_rate_rises_stays_and_falls():
    rates = [float(denoiser.rate(step)) for step in (0, 499, 999, 10_000, 40_000)]
    np.testing.assert_allclose(rates, [1e-6, 5e-4, 1e-3, 1e-3, 5e-4], rtol=1e-5)


def test_saved_networks_are_loaded_as_they_were(tmp_path):
    network = random_unet(SMALL)
    save_diffusers(tmp_path, network, SMALL, SCHEDULER, np.float32)
    loaded = load_diffusers(tmp_path).network.network  # inside its timesteps from 0
    assert_same(loaded, network)
    large = jax.tree.map(lambda leaf: leaf * 1e6, network)
    with pytest.raises(ValueError, match="not finite in float16"):
        save_diffusers(tmp_path / "none", large, SMALL, SCHEDULER)
    assert not (tmp_path / "none").exists()


@pytest.mark.oracle
def test_saved_networks_are_diffusers_own(tmp_path):
    pytest.importorskip("torch", reason="the oracle extra (torch) is not installed")
    diffusers = pytest.importorskip(
        "diffusers", reason="the oracle extra (diffusers) is not installed"
    )
    network = random_unet(SMALL)
    wanted = diffusers.UNet2DModel(**SMALL).state_dict()
    found = torch_state(network)
    assert {k: tuple(v.shape) for k, v in wanted.items()} == {k: v.shape for k, v in found.items()}


@pytest.mark.parametrize("name", denoiser.NETWORKS)
def test_candidates_fit_in_twelve_megabytes(name):
    shapes = jax.eval_shape(lambda: PatchUNet(denoiser.NETWORKS[name], key=jax.random.key(0)))
    assert 2e6 < sum(leaf.size for leaf in jax.tree.leaves(shapes)) < 6e6


def test_times_of_training_lie_where_they_should():
    """Some are uniform; of the others ln(sigma / alpha) is normal; all are the network's."""
    levels = np.asarray(denoiser.draw_levels(20_000, jax.random.key(0)))
    assert levels.min() >= 1
    assert levels.max() <= 1000
    noising = denoiser.make_schedule()
    ratios = np.interp(levels, np.arange(1, 1001), -np.asarray(noising.log_snr) / 2)
    evenly = 1 + 999 * np.random.default_rng(0).random(20_000)
    ratios_evenly = np.interp(evenly, np.arange(1, 1001), -np.asarray(noising.log_snr) / 2)
    share, centre, spread = denoiser.UNIFORM, denoiser.CENTRE, denoiser.SPREAD
    for bound in (-3.0, -1.0, 0.0, 1.0, 2.0):
        normal = float(jax.scipy.stats.norm.cdf((bound - centre) / spread))
        wanted = share * np.mean(ratios_evenly < bound) + (1 - share) * normal
        np.testing.assert_allclose(np.mean(ratios < bound), wanted, atol=0.01)


def test_the_loss_is_the_error_of_eps_whatever_is_predicted():
    """Of a network that knows x0 = 0: the eps it sees is x / sigma, so it is off by alpha x0."""
    images = jnp.full((50, 4, 4, 1), 255, jnp.uint8)  # x0 = 1
    data, noising = Data(images, jnp.zeros(50, jnp.int32)), denoiser.make_schedule()
    levels = jnp.arange(1.0, 1001)
    snr = jax.vmap(lambda t: (noising.alpha(t) / noising.sigma(t)) ** 2)(levels)
    for prediction, network in {
        "x0": lambda x, t: 0 * x,
        "v": lambda x, t: noising.alpha(t) * x / noising.sigma(t),
    }.items():
        found = denoiser.measure_loss(
            DiffusionModel(network, noising, (4, 4, 1), prediction), data, 50
        )
        drawn = jax.random.split(jax.random.fold_in(jax.random.key(0), 0))[0]
        shares = (jnp.arange(50) + jax.random.uniform(drawn, (50,))) / 50
        wanted = jnp.mean(snr[jnp.floor(shares * 1000).astype(int)])
        np.testing.assert_allclose(found, wanted, rtol=1e-3)


@pytest.mark.slow
def test_a_new_denoiser_predicts_nothing_and_can_learn(monkeypatch):
    """Its loss is that of a zero prediction, and every weight has a gradient."""
    monkeypatch.setitem(denoiser.NETWORKS, "small", replace(TINY, size=8, patch=2))
    network = denoiser.construct("small", jax.random.key(0))
    images = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), np.uint8)
    data = Data(jnp.asarray(images), jnp.zeros(64, jnp.int32))
    task = denoiser.task(32, jnp.float32)
    advance, state = stepper(task, 1), begin(task, network)
    losses = []
    for _ in range(40):
        state, loss = advance(state, data, jax.random.key(0))
        losses.append(float(loss))
    # v has the variance alpha^2 + sigma^2 / 3 for pixels that are uniform in [-1, 1].
    levels = denoiser.draw_levels(1000, jax.random.key(0))
    noising = denoiser.make_schedule()
    alpha, sigma = (jax.vmap(f)(levels) for f in (noising.alpha, noising.sigma))
    wanted = jnp.mean((alpha**2 + 4 * sigma**2) * (alpha**2 + sigma**2 / 3))
    np.testing.assert_allclose(losses[0], wanted, rtol=0.1)
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), network, state.network)
    assert all(jax.tree.leaves(moved))
    half, full = (
        jax.jit(denoiser.denoising(dtype))(state.network, data, jax.random.key(1))
        for dtype in (jnp.bfloat16, jnp.float32)
    )
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, full, rtol=2e-2)


def test_distortions_shift_and_mirror():
    image = jnp.arange(12 * 12, dtype=jnp.uint8).reshape(12, 12, 1)
    keys = jax.random.split(jax.random.key(0), 200)
    found = np.asarray(jax.vmap(classifier.distort, (None, 0))(image, keys))
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), "reflect")
    allowed = {
        cut.tobytes()
        for row in range(9)
        for column in range(9)
        for cut in [padded[row : row + 12, column : column + 12]]
    }
    allowed |= {
        np.frombuffer(cut, np.uint8).reshape(12, 12, 1)[:, ::-1].tobytes() for cut in allowed
    }
    seen = {cut.tobytes() for cut in found}
    assert seen <= allowed
    assert len(seen) > 100


def test_the_residual_classifier():
    """It has an output for each class, and half the resolution at each stage after the first."""
    network = ResNetClassifier(ClassifierShape(3, (8, 16), (1, 2), 5, 2), key=jax.random.key(0))
    x = jnp.zeros((8, 8, 3))
    assert jax.eval_shape(network, x).shape == (16,)
    assert jax.eval_shape(lambda x: network.head(network(x)), x).shape == (5,)
    assert [block.halving for block in network.blocks] == [False, True, False]
    assert [block.shortcut is None for block in network.blocks] == [True, False, True]


@pytest.mark.parametrize("kind", [ResNetClassifier, PlainClassifier])
def test_classifiers_are_loaded_as_they_were(kind, tmp_path):
    network = kind(ClassifierShape(3, (8, 16), (1, 2), 5, 2), key=jax.random.key(0))
    save_classifier(tmp_path / "c.safetensors", network, network.shape)
    found = load_classifier(tmp_path / "c.safetensors", kind)
    assert found.shape == network.shape
    x = jax.random.normal(jax.random.key(1), (8, 8, 3))
    np.testing.assert_allclose(eqx.filter_jit(found)(x), eqx.filter_jit(network)(x), atol=1e-2)


@pytest.mark.slow
def test_the_command(folder, tmp_path, monkeypatch):
    """Everything is written, in half precision; a second run continues; others are refused."""
    monkeypatch.setitem(denoiser.NETWORKS, "folded", TINY)
    kinds = {
        "cifar10-resnet": (ResNetClassifier, ClassifierShape(3, (8, 16), (1, 1), 10, 2)),
        "cifar10-cnn": (PlainClassifier, ClassifierShape(3, (8,), (1,), 10)),
    }
    for name, (kind, shape) in kinds.items():
        monkeypatch.setitem(classifier.NETWORKS, name, partial(kind, shape))
    monkeypatch.setattr(classifier, "BATCH", 10)

    def run(*words):
        fixed = ["--data", str(folder), "--out", str(tmp_path), "--batch=4"]
        return CliRunner().invoke(main, [*fixed, *words])

    done = run("--epochs=1", "--minutes=0.02", f"--test={folder}")
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    for name, (kind, shape) in kinds.items():
        assert figures[name]["step"] == 3
        assert figures[name]["train_accuracy"] == figures[name]["test_accuracy"]
        network = load_classifier(tmp_path / f"{name}.safetensors", kind)
        found = Bank.at(tmp_path / "reference").reference(name, network)
        assert found.features.shape == (30, shape.widths[-1])
        images = to_range(labelled(folder).images)
        np.testing.assert_allclose(jax.vmap(network)(images), found.features, atol=1e-5)
    assert 0 < figures["denoiser"]["train_loss"] < 2
    model = denoiser.make_model(PatchUNet.load(tmp_path / "cifar10-denoiser.safetensors"))
    image = sample_batch(DDIM(2).table(model.schedule), model, jax.random.key(0), jnp.arange(1))
    assert np.all(np.isfinite(image))
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.size == (8 * 33 - 1, 8 * 33 - 1)
    assert "## The classifiers" in (tmp_path / "MODEL_CARD.md").read_text()

    before = figures["denoiser"]
    assert run("--epochs=1", "--minutes=0.02").exit_code == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["denoiser"]["step"] > before["step"]
    assert figures["denoiser"]["seconds"] > before["seconds"]
    (tmp_path / "denoiser.checkpoint.safetensors").rename(tmp_path / "kept")
    assert run("--only=denoiser", "--minutes=0.001").exit_code == 0
    again = json.loads((tmp_path / "figures.json").read_text())["denoiser"]
    assert again["step"] > figures["denoiser"]["step"]
    np.testing.assert_allclose(again["train_loss"], figures["denoiser"]["train_loss"], rtol=0.05)
    refused = run("--only=denoiser", "--batch=8")
    assert refused.exit_code == 2
    assert "batch 4" in refused.output


def test_a_loss_that_is_not_finite_stops_the_training():
    task, data = line_task()
    bad = Task(lambda *a: jnp.nan * task.loss(*a), task.optimiser, task.batch)
    state = begin(bad, Dense(4, 1, key=jax.random.key(0)))
    paused = []
    with pytest.raises(FloatingPointError, match="The loss is nan near step"):
        train(
            bad,
            state,
            data,
            jax.random.key(0),
            name="bad",
            chunk=1,
            steps=3,
            pause=lambda *a: paused.append(a),
        )
    assert not paused


def test_casting_leaves_whole_numbers():
    tree = cast({"a": jnp.ones(2), "n": jnp.ones(2, jnp.int32)}, jnp.bfloat16)
    assert tree["a"].dtype == jnp.bfloat16
    assert tree["n"].dtype == jnp.int32

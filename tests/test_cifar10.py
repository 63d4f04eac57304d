"""The embedded CIFAR-10 model: it denoises, its banks are its classifiers', no data are needed."""

import json
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest

import samplerzoo as sz
from cli_tools import AS_A_USER, PROGRAM
from samplerzoo import assets
from samplerzoo.assets.make_cifar10 import classifier, denoiser
from samplerzoo.assets.make_cifar10.data import labelled
from samplerzoo.metrics import frechet_distance

CLASSIFIERS = {"cifar10-resnet": assets.cifar10_resnet, "cifar10-cnn": assets.cifar10_cnn}
TEST = Path(__file__).parents[2] / "shared" / "data" / "cifar10-test.zip"


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_bank_is_of_the_classifiers_in_the_package(name):
    network = CLASSIFIERS[name]()
    found = assets.cifar10_features().reference(name, network)
    width = network.head.weight.shape[0]
    assert found.features.shape == (classifier.ROWS, width)
    assert found.moments.covariance.shape == (width, width)


def test_all_of_it_is_small():
    files = [path for path in assets.CIFAR10.rglob("*") if path.is_file()]
    assert (assets.CIFAR10 / "MODEL_CARD.md") in files
    assert sum(path.stat().st_size for path in files if "denoiser" in path.parts) < 12e6
    assert sum(path.stat().st_size for path in files) < 18e6


@pytest.mark.slow
def test_samples_are_nearer_to_the_images_than_noise_is():
    model, phi = assets.cifar10_model(), assets.cifar10_cnn()
    bank = assets.cifar10_features().reference("cifar10-cnn", phi)
    table = sz.DDIM(10).table(model.schedule)
    images = sz.draw_samples(table, model, jax.random.key(0), n=128)
    noise = jax.random.uniform(jax.random.key(1), images.shape, minval=-1)
    found, from_noise = (
        frechet_distance(sz.FeatureSet(sz.extract(phi, np.asarray(x))), bank)
        for x in (images, noise)
    )
    assert found < 0.5 * from_noise


def search(folder, *words):
    """FD by sampler and features, of a search with the embedded model and features."""
    start = ("-F", "start=ddim", "--times=quadratic-searched")
    words = ["--model=cifar10", "--family=gddim", *start, "--batch=16", *words, "--out=run"]
    command = [*PROGRAM, "search", *words]
    done = subprocess.run(command, cwd=folder, env=AS_A_USER, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads((folder / "run" / "result.json").read_text())["rows"]
    assert {row["features"] for row in rows} == set(CLASSIFIERS)
    return {(row["sampler"], row["features"]): row["fd"] for row in rows}


@pytest.mark.slow
def test_a_short_search_without_images_finds_a_better_sampler(tmp_path):
    fd = search(tmp_path, "--steps=5", "--iterations=20", "--n=200")
    for features in CLASSIFIERS:
        assert fd["gddim", features] < 0.8 * fd["ddim-linear", features]


@pytest.mark.slow
def test_a_search_in_half_precision(tmp_path):
    fd = search(tmp_path, "--dtype=bfloat16", "--steps=2", "--iterations=2", "--n=20")
    assert np.isfinite(list(fd.values())).all()


@pytest.mark.slow
@pytest.mark.skipif(not TEST.exists(), reason=f"{TEST} (CIFAR-10's test images) is not there")
def test_the_card_is_right_about_images_that_were_not_trained_on():
    figures = json.loads((assets.CIFAR10 / "figures.json").read_text())
    data = labelled(TEST)
    rows = np.arange(0, len(data.images), 5)
    some = type(data)(data.images[rows], data.labels[rows])
    with jax.numpy_dtype_promotion("standard"):
        for name, load in CLASSIFIERS.items():
            found = classifier.accuracy(load(), some)
            assert abs(found - figures[name]["test_accuracy"]) < 0.03
        found = denoiser.measure_loss(assets.cifar10_model(), some)
    np.testing.assert_allclose(found, figures["denoiser"]["test_loss"], rtol=0.1)

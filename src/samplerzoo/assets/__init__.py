"""What is embedded: denoisers of 8x8 digits, with labels and without, and of CIFAR-10.

Data have two classifiers each.

A MODEL_CARD.md tells where everything comes from and how good it is; the commands
`python -m samplerzoo.assets.make_digits` and `... .make_cifar10` make it all again.
"""

from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..backbones import LabelledMLP, ResidualMLP
from ..core.model import DiffusionModel
from ..core.schedule import DiscreteVP
from ..features import ConvClassifier, MLPClassifier
from ..features.resnet import ResNetClassifier
from ..features.trained import load_classifier
from ..files import from_tensors, read_tensors
from ..formats import load_diffusers
from ..references import Bank
from ..runs.spec import NamedModel

FOLDER = Path(__file__).parent
CIFAR10 = FOLDER / "cifar10"
SHAPE = (8, 8, 1)
CLASSES = 10  # of the digits; the label after the last stands for none

# How each network is constructed: the recipe trains what is loaded here.
NETWORKS = {
    "digits-denoiser": partial(ResidualMLP, size=64, width=256, hidden=256, depth=4),
    "digits-conditional": partial(
        LabelledMLP, size=64, width=256, hidden=256, depth=4, classes=CLASSES
    ),
    "digits-cnn": partial(ConvClassifier, size=8, channels=24, classes=10, features=64),
    "digits-mlp": partial(MLPClassifier, size=64, width=128, classes=10, features=64),
}


def digits_schedule() -> DiscreteVP:
    """DDPM's 1000 linear betas."""
    return DiscreteVP.from_betas(np.linspace(1e-4, 0.02, 1000))


def digits_model() -> DiffusionModel:
    """A residual MLP that predicts the noise in 8x8 handwritten digits."""
    return DiffusionModel(_load("digits-denoiser"), digits_schedule(), SHAPE)


def digits_conditional() -> DiffusionModel:
    """A residual MLP that is told the digit, or with a chance of 15% in training that none is."""
    labels = jnp.arange(CLASSES, dtype=jnp.int32)
    null = jnp.asarray(CLASSES, jnp.int32)
    network = _load("digits-conditional")
    return DiffusionModel(network, digits_schedule(), SHAPE, conditions=labels, null=null)


def digits_cnn() -> ConvClassifier:
    """A convolutional classifier of the digits: its 64 last-but-one activations."""
    return _load("digits-cnn")


def digits_mlp() -> MLPClassifier:
    """A classifier of the digits without convolutions: its 64 last-but-one activations."""
    return _load("digits-mlp")


def digits_images() -> Float[np.ndarray, "1797 8 8 1"]:
    """The 1,797 images of the UCI optdigits test set, in [-1, 1]."""
    return digits_labelled()[0]


def digits_train() -> Float[np.ndarray, "1437 8 8 1"]:
    """Those of the images that the digits' networks were trained on."""
    return digits_images()[split_rows()[0]]


def digits_held_out() -> Float[np.ndarray, "360 8 8 1"]:
    """Those that they were not trained on."""
    return digits_images()[split_rows()[1]]


def split_rows() -> tuple[np.ndarray, np.ndarray]:
    """The rows of the images for training and of those held out, drawn once for all."""
    rows = np.random.default_rng(0).permutation(1797)
    return rows[:1437], rows[1437:]


def digits_labelled() -> tuple[Float[np.ndarray, "1797 8 8 1"], np.ndarray]:
    """The images and their labels 0-9, (1797,)."""
    with np.load(FOLDER / "digits.npz", allow_pickle=False) as file:
        images, labels = file["images"], file["labels"]
    return images.astype(np.float32)[..., None] / 8 - 1, labels.astype(np.int32)


def cifar10_model() -> DiffusionModel:
    """A small UNet that predicts the noise in CIFAR-10's 32x32 images."""
    return load_diffusers(CIFAR10 / "denoiser")


def cifar10_resnet() -> ResNetClassifier:
    """A residual classifier of CIFAR-10: its last-but-one activations."""
    return load_classifier(CIFAR10 / "cifar10-resnet.safetensors", ResNetClassifier)


def cifar10_cnn() -> ResNetClassifier:
    """Another classifier of CIFAR-10, of another shape: its last-but-one activations."""
    return load_classifier(CIFAR10 / "cifar10-cnn.safetensors", ResNetClassifier)


def cifar10_features() -> Bank:
    """Both classifiers' features of 2,500 training images of CIFAR-10."""
    return Bank.at(CIFAR10 / "reference")


DIGITS = NamedModel(digits_model, "digits", "digits-cnn", "digits-mlp")
"""A small residual MLP of UCI's 8x8 handwritten digits, with data and features of its own."""
DIGITS_CONDITIONAL = NamedModel(digits_conditional, "digits", "digits-cnn", "digits-mlp")
"""The same of the digit that each sample is asked to be, with classifier-free guidance."""
CIFAR10_MODEL = NamedModel(cifar10_model, "cifar10", "cifar10-resnet", "cifar10-cnn")
"""A small UNet of CIFAR-10's 32x32 images, with features of its own and those of its data."""


def _load(name: str):
    like = eqx.filter_eval_shape(NETWORKS[name], key=jax.random.key(0))
    tensors, _ = read_tensors(FOLDER / f"{name}.safetensors")
    return from_tensors(like, tensors)

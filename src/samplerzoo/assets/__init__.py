"""The embedded default: 8x8 digits, a denoiser trained on them and two classifiers.

MODEL_CARD.md beside this file tells where everything comes from and how good it is;
`python -m samplerzoo.assets.make_digits` makes it all again.
"""

from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from .._files import from_tensors, read_tensors
from ..backbones import ResidualMLP
from ..features import ConvClassifier, MLPClassifier
from ..model import DiffusionModel
from ..schedule import DiscreteVP

FOLDER = Path(__file__).parent
SHAPE = (8, 8, 1)

# How each network is constructed: the recipe trains what is loaded here.
NETWORKS = {
    "digits-denoiser": partial(ResidualMLP, size=64, width=256, hidden=256, depth=4),
    "digits-cnn": partial(ConvClassifier, size=8, channels=24, classes=10, features=64),
    "digits-mlp": partial(MLPClassifier, size=64, width=128, classes=10, features=64),
}


def digits_schedule() -> DiscreteVP:
    """DDPM's 1000 linear betas."""
    return DiscreteVP.from_betas(np.linspace(1e-4, 0.02, 1000))


def digits_model() -> DiffusionModel:
    """A residual MLP that predicts the noise in 8x8 handwritten digits."""
    return DiffusionModel(_load("digits-denoiser"), digits_schedule(), SHAPE)


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


def _load(name: str):
    like = eqx.filter_eval_shape(NETWORKS[name], key=jax.random.key(0))
    tensors, _ = read_tensors(FOLDER / f"{name}.safetensors")
    return from_tensors(like, tensors)

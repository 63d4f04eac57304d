"""The likelihood of images under a model, as rows of an evaluation."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from ..core.drawing import report_key
from ..core.likelihood import nll
from ..core.model import DiffusionModel
from ..data import AbstractDataset
from .errors import RunError
from .parts import random_images
from .rows import ERROR, Row
from .samplers import ODE

NLL = "nll"  # the metric's name, and its column: bits per dimension
_LEVELS = 256  # of 8 bits
_SAME = 1e-4  # below it a difference of two values is rounding


def likelihood_images(data: AbstractDataset, n: int) -> Float[np.ndarray, "n ..."]:
    """Choose the images whose likelihood is computed: at most `n`, the same ones every time.

    Raises:
        ValueError: The data are not images.
    """
    if (images := random_images(data, n)) is None:
        raise ValueError(f"The metric {NLL!r} needs images, and the data hold features; give them.")
    return images


def likelihood_row(
    space: str,
    images: Float[np.ndarray, "n ..."],
    model: DiffusionModel,
    seed: int,
    advance: Callable[[int], Any],
) -> Row:
    """Compute the bits per dimension of images under the ODE of a model.

    Args:
        space: What the images are called.
        images: The images.
        model: The model.
        seed: Of the noise within the images' levels, and of the trace's directions.
        advance: A function that is told how many images were done, after each batch.

    Returns:
        The row, whose NFE counts the network evaluations of an image; each has derivatives beside.

    Raises:
        RunError: The likelihood is not finite.
    """
    found = nll(model, images, report_key(seed), level_width(images), advance=advance)
    if not np.isfinite([found.bits, found.error]).all():
        raise RunError("The likelihood of the data under this model is not finite.")
    scores = {NLL: found.bits, NLL + ERROR: found.error}
    return Row(ODE, round(found.nfe) * model.passes, space, len(images), seed, scores)


def level_width(images: Float[np.ndarray, "n ..."]) -> float | None:
    """Find the distance of two values that a number of some images can have.

    Returns:
        The distance, such as 2 / 255; None where the values are not those of 8 bits or fewer at
        even distances, so that the numbers are real ones.
    """
    values = np.unique(images.astype(np.float64))
    values = values[np.append(True, np.diff(values) > _SAME)]
    if not 2 <= len(values) <= _LEVELS:
        return None
    width = (values[-1] - values[0]) / round((values[-1] - values[0]) / np.diff(values).min())
    places = (values - values[0]) / width
    return float(width) if np.allclose(places, np.round(places), atol=0.02) else None

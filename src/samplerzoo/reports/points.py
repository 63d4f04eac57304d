"""Samples that are no images, as points in a plane."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from .facts import Drawn
from .html import Markup
from .svg import dot, linear, panel, x_of, y_of

Values = Float[np.ndarray, "N ..."]
Limits = Float[np.ndarray, "2 2"]  # the least and the greatest of both numbers


def points_chart(drawn: Drawn, data: Values | None, limits: Limits) -> Markup:
    """A sampler's samples over the data."""
    x, y = (linear(float(limits[0, n]), float(limits[1, n])) for n in range(2))
    marks = []
    for values, look in ((data, "data"), (drawn.samples, "drawn")):
        points = [] if values is None else plane(values)
        inside = [p.tolist() for p in points if np.all((p >= limits[0]) & (p <= limits[1]))]
        marks += [dot(x_of(x, a), y_of(y, b), look, look, 2) for a, b in inside]
    alt = f"{len(drawn.samples)} samples of {drawn.sampler} at NFE {drawn.nfe} over the data."
    return panel(alt, x, y, "first number of a sample", marks)


def plane(values: Values) -> Float[np.ndarray, "N 2"]:
    """The first and last number of each sample; of single numbers, each and its rank."""
    flat = values.reshape(len(values), -1)
    if flat.shape[1] == 1:
        return np.stack([np.sort(flat[:, 0]), (np.arange(len(flat)) + 0.5) / len(flat)], 1)
    return flat[:, [0, -1]]


def limits_of(drawn: Sequence[Drawn], data: Values | None) -> Limits:
    """Where points are shown: the data, or else most of what was drawn, with room around."""
    points = np.concatenate([plane(v) for v in ([d.samples for d in drawn] if data is None
                                                else [data])])  # fmt: skip
    points = points[np.isfinite(points).all(1)]
    if not len(points):
        return np.array([[-1.0, -1.0], [1.0, 1.0]])
    low, high = np.quantile(points, [0.01, 0.99], axis=0)
    room = 0.25 * np.where(high > low, high - low, 1.0)
    return np.stack([low - room, high + room])

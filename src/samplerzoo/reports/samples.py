"""Samples side by side: a strip of pictures a sampler, or points where samples are no images."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, UInt8

from ..metrics import decimals
from .comparison import Comparison, text
from .facts import Drawn, Facts
from .figures import is_image
from .html import Markup, heading, picture, scroll, tag
from .points import limits_of, points_chart
from .svg import figure

_WIDE, _SMALL, _LARGE = 900, 40, 128  # pixels: of a strip, about; of an image, at least, at most
_POINTS = 200


def columns(shape: tuple[int, ...]) -> int:
    """How many samples a sampler is shown by."""
    if not is_image(shape):
        return _POINTS
    width = -(-shape[1] // _reduction(shape)) + 1
    return max(4, min(24, _WIDE // (width * _enlargement(shape))))


def samples_section(facts: Facts, scores: Comparison) -> Markup:
    """Every sampler's samples at each NFE, the best first, below the data."""
    parts = [heading(2, "Samples side by side", "samples"), _intro(facts, scores)]
    space = scores.spaces.all[0]
    for nfe in facts.steps:
        found = {d.sampler: d for d in facts.drawn if d.nfe == nfe}
        order = [(s, score) for s, score in scores.ranked(nfe, space) if s in found]
        digits = decimals(score.value for _, score in order)
        words = {s: f"{scores.metric.upper()} {text(score, digits)}" for s, score in order}
        words |= {s: "not scored" for s in found if s not in words}
        parts += [heading(3, f"{nfe} evaluations"), _block(facts, found, words)]
    return tag("section", *parts)


def _intro(facts: Facts, scores: Comparison) -> Markup:
    shape = facts.drawn[0].samples.shape[1:]
    image = is_image(shape)
    words = [
        "Each column starts from the same noise." if image else
        "The same noise in every panel. Points show the first and last number of each sample (of "
        "single numbers, each and its rank), in grey those of the data.",
        "Drawn again for this page and not selected; with the sampler of the first search where "
        "there are several. "
        f"The best {scores.metric.upper()} in {scores.spaces.all[0]} comes first.",
    ]  # fmt: skip
    if image and _reduction(shape) > 1:
        words.append(f"Shown at 1/{_reduction(shape)} of their size.")
    if facts.data is None:
        words.append(f"Without the data, which could not be read here: {facts.no_data}")
    return tag("p", " ".join(words))


def _block(facts: Facts, found: Mapping[str, Drawn], words: Mapping[str, str]) -> Markup:
    drawn = [found[name] for name in words]
    if not is_image(drawn[0].samples.shape[1:]):
        limits = limits_of(drawn, facts.data)
        charts = [
            figure(f"{d.sampler}: {words[d.sampler]}", points_chart(d, facts.data, limits))
            for d in drawn
        ]
        return tag("div", *charts, class_="panels")
    rows = [] if facts.data is None else [_strip("data", "", facts.data, None)]
    rows += [_strip(d.sampler, words[d.sampler], d.samples, facts.looks[d.sampler]) for d in drawn]
    return scroll(f"Samples at {drawn[0].nfe} evaluations", tag("div", *rows, class_="strips"))


def _strip(name: str, words: str, images: Float[np.ndarray, "N H W C"], look: str | None) -> Markup:
    alt = f"{len(images)} samples of {name}, {words}" if words else f"{len(images)} of the data"
    label = tag("div", tag("b", name, class_=look), tag("span", words) if words else None,
                class_="label")  # fmt: skip
    shown = picture(strip(images), _enlargement(images.shape[1:]), alt)
    return tag("div", label, shown, class_="strip")


def strip(images: Float[np.ndarray, "N H W C"]) -> UInt8[np.ndarray, "h w 4"]:
    """Images in [-1, 1] beside one another in red, green, blue and opacity.

    A clear pixel lies between them; large ones are reduced, what is not finite is grey.
    """
    images = np.clip(np.nan_to_num(images, nan=0.0, posinf=0.0, neginf=0.0), -1, 1)
    by = _reduction(images.shape[1:])
    height, width = (size // by for size in images.shape[1:3])
    n, channels = len(images), images.shape[-1]
    images = images[:, : height * by, : width * by]
    images = images.reshape(n, height, by, width, by, channels).mean((2, 4))
    found = np.zeros((n, height, width + 1, 4), np.uint8)
    found[:, :, :-1, :3] = np.round((images + 1) * 127.5)
    found[:, :, :-1, 3] = 255
    return found.swapaxes(0, 1).reshape(height, -1, 4)[:, :-1]


def _reduction(shape: tuple[int, ...]) -> int:
    return -(-max(shape[:2]) // _LARGE)


def _enlargement(shape: tuple[int, ...]) -> int:
    return max(1, -(-_SMALL // max(shape[:2])))

"""Samples side by side: a strip of pictures a sampler, or points where samples are not images."""

import base64
import io
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from markupsafe import Markup
from PIL import Image

from ..metrics import decimals
from ..runs.pictures import is_image
from .charts import limits_of, points_chart
from .comparison import Comparison, text
from .facts import Facts
from .looks import Look

_WIDE, _SMALL, _LARGE = 900, 40, 128  # pixels: of a strip, about; of an image, at least, at most
_POINTS = 200


class Shown(NamedTuple):
    """A sampler's samples, or the data, as they are shown.

    Attributes:
        name: What they are of.
        look: How the sampler looks; None of the data.
        score: Its score in words; empty of the data.
        picture: A strip of images or a chart.
    """

    name: str
    look: Look | None
    score: str
    picture: "Strip | Markup"


class Strip(NamedTuple):
    """An image inside the page, every pixel of which is a square of some pixels.

    Attributes:
        source: Its content as an address.
        alt: What it shows, for those who do not see it.
        width: Pixels across.
        height: Pixels down.
    """

    source: str
    alt: str
    width: int
    height: int


def columns(shape: tuple[int, ...]) -> int:
    """Choose how many samples a sampler is shown by."""
    if not is_image(shape):
        return _POINTS
    width = -(-shape[1] // _reduction(shape)) + 1
    return max(4, min(24, _WIDE // (width * _enlargement(shape))))


def samples(facts: Facts, scores: Comparison) -> Mapping[str, Any]:
    """Show every sampler's samples at each NFE, the best first, below the data."""
    return {
        "image": is_image(facts.drawn[0].samples.shape[1:]),
        "reduction": _reduction(facts.drawn[0].samples.shape[1:]),
        "where": scores.spaces.all[0],
        "blocks": {nfe: list(_block(facts, scores, nfe)) for nfe in facts.steps},
    }


def _block(facts: Facts, scores: Comparison, nfe: int) -> Iterator[Shown]:
    found = {d.sampler: d for d in facts.drawn if d.nfe == nfe}
    ranked = scores.ranked(nfe, scores.spaces.all[0])
    order = [(sampler, score) for sampler, score in ranked if sampler in found]
    digits = decimals(score.value for _, score in order)
    words = {s: f"{scores.metric.upper()} {text(score, digits)}" for s, score in order}
    words |= {sampler: "not scored" for sampler in found if sampler not in words}
    limits = limits_of([found[sampler] for sampler in words], facts.data)
    image = is_image(facts.drawn[0].samples.shape[1:])
    if image and facts.data is not None:
        yield Shown("data", None, "", picture(facts.data, f"{len(facts.data)} of the data"))
    for n, (sampler, said) in enumerate(words.items()):
        drawn = found[sampler]
        if image:
            shown = picture(drawn.samples, f"{len(drawn.samples)} samples of {sampler}, {said}")
        else:
            shown = points_chart(drawn, facts.data, limits, f"points-{nfe}-{n}")
        yield Shown(sampler, facts.looks[sampler], said, shown)


def picture(images: Float[np.ndarray, "N H W C"], alt: str) -> Strip:
    """Make the strip of some images."""
    pixels, scale = strip(images), _enlargement(images.shape[1:])
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    height, width = (scale * size for size in pixels.shape[:2])
    return Strip(source, alt, width, height)


def strip(images: Float[np.ndarray, "N H W C"]) -> UInt8[np.ndarray, "h w 4"]:
    """Lay images in [-1, 1] beside one another in red, green, blue and opacity.

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

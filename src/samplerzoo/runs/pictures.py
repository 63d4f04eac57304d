"""Pictures of a run as PNG: samples side by side, and the search's curve."""

import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from warnings import catch_warnings, filterwarnings

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from .curves import Curves

SHORT = 20  # steps of a search up to which each is a point of its curve


def tile(images: Float[np.ndarray, "N H W C"], columns: int) -> np.ndarray:
    """Arrange images in a grid with one grey pixel between them.

    Args:
        images: Samples in [-1, 1]; a number that is not finite is grey too.
        columns: Images in a row.

    Returns:
        The grid (height, width, C) as uint8.
    """
    images = np.where(np.isfinite(images), images, 0)
    pixels = np.round((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)
    n, height, width, channels = pixels.shape
    rows = -(-n // columns)
    grid = np.full((rows * columns, height + 1, width + 1, channels), 128, np.uint8)
    grid[:n, :height, :width] = pixels
    grid = grid.reshape(rows, columns, height + 1, width + 1, channels)
    return grid.swapaxes(1, 2).reshape(rows * (height + 1), -1, channels)[:-1, :-1]


def is_image(shape: tuple[int, ...]) -> bool:
    """Tell whether samples of a shape can be shown as pictures."""
    return len(shape) == 3 and shape[-1] in (1, 3)


def draw_grid(
    images: Float[np.ndarray, "N H W C"], about: Mapping[str, str] | None = None
) -> bytes:
    """Draw many samples as one picture, about as wide as high, small images enlarged.

    Args:
        images: Samples in [-1, 1], of one channel or three.
        about: What they are of, by name: it stands below the samples, a line for each, and in the
            file's own text.

    Returns:
        A PNG file.
    """
    grid = tile(images, columns=int(np.ceil(np.sqrt(len(images)))))
    scale = max(1, 32 // images.shape[1])
    grid = grid.repeat(scale, 0).repeat(scale, 1)
    said = PngInfo()
    for key, text in (about or {}).items():
        said.add_itxt(key, text)
    buffer = io.BytesIO()
    shown = Image.fromarray(grid[..., 0] if grid.shape[-1] == 1 else grid)
    if about:
        shown = _above_text(shown, "\n".join(f"{key}: {text}" for key, text in about.items()))
    shown.save(buffer, "PNG", pnginfo=said)
    return buffer.getvalue()


def _above_text(picture: Image.Image, text: str) -> Image.Image:
    """A picture with lines of text below it."""
    font, gap = ImageFont.load_default(12), 6
    box = ImageDraw.Draw(picture).multiline_textbbox((gap, picture.height + gap), text, font)
    size = (max(picture.width, int(box[2]) + gap), int(box[3]) + gap)
    made = Image.new(picture.mode, size, "white")
    made.paste(picture)
    ImageDraw.Draw(made).multiline_text((gap, picture.height + gap), text, "black", font)
    return made


def draw_strips(
    samples: Mapping[str, Float[np.ndarray, "N ..."]],
    title: str = "",
    captions: Mapping[str, str] | None = None,
) -> bytes:
    """Draw a strip of samples for each sampler, below one another.

    Args:
        samples: Samples by the sampler's name, the same noise in each column. What is not an image
            is drawn as points of its first and its last number.
        title: What all of them are of, such as the model, K, n and the seed.
        captions: What stands behind a sampler's name, such as its score.

    Returns:
        A PNG file.
    """
    with _plain_text():
        figure = Figure(figsize=(11, 0.2 + 0.3 * bool(title) + 1.35 * len(samples)))
        figure.set_layout_engine("constrained")
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        axes = figure.subplots(len(samples), squeeze=False)[:, 0]
        for axis, (name, values) in zip(axes, samples.items(), strict=True):
            caption = (captions or {}).get(name)
            axis.set_title(f"{name}: {caption}" if caption else name, loc="left", fontsize=10)
            if is_image(values.shape[1:]):
                axis.imshow(tile(values, max(1, len(values) // 2)), cmap="gray", vmin=0, vmax=255)
                axis.set_axis_off()
            else:
                flat = values.reshape(len(values), -1)
                axis.plot(flat[:, 0], flat[:, -1], ".")
        return _png(figure, title)


def draw_curve(
    values: Sequence[float], title: str = "", what: str = "KID in the searched features"
) -> bytes:
    """Draw what every step's batch was worth with its running mean; skipped steps are gaps.

    Of a short search each step is a point, and there is no mean.

    Args:
        values: What the search minimised, at each step; NaN of a skipped one.
        title: What was searched.
        what: What the search minimised, in words.

    Returns:
        A PNG file.
    """
    with _plain_text():
        figure = Figure(figsize=(7, 4), layout="constrained")
        axis = figure.subplots()
        axis.set_title(title, loc="left", fontsize=10)
        steps = np.arange(1, len(values) + 1)
        if len(values) > SHORT:
            window = len(values) // 20
            axis.plot(steps, values, color="0.8", label="batch")
            mean = np.convolve(values, np.ones(window) / window, "valid")
            axis.plot(steps[window - 1 :], mean, color="C0", label=f"mean of {window}")
            axis.set_yscale("symlog", linthresh=_bend(values, window))
            _say_numbers(axis.yaxis)
        else:
            axis.plot(steps, values, color="C0", marker="o", label="batch")
            axis.set_xlim(0.5, max(1, len(values)) + 0.5)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.axhline(0, color="0.5", linewidth=0.8)
        axis.set_xlabel("step")
        axis.set_ylabel(what)
        axis.legend()
        return _png(figure, title)


def draw_scores(lines: Curves, title: str = "", kind: str = "png") -> bytes:
    """Draw FD against NFE: a line for each sampler, with intervals where there are any.

    Args:
        lines: The scores, see `curves_of`.
        title: What was searched.
        kind: `png` or `svg`.

    Returns:
        A file of that kind, the same for the same scores.
    """
    with _plain_text():
        figure = Figure(figsize=(7, 4), layout="constrained")
        axis = figure.subplots()
        axis.set_title(title, loc="left", fontsize=9)
        counts = sorted({nfe for line in lines.values() for nfe in line})
        for (name, line), mark in zip(lines.items(), itertools.cycle("os^Dv")):
            scores = [point.score for point in line.values()]
            places = [counts.index(nfe) for nfe in line]
            halves = [score.half or 0.0 for score in scores]
            values = [score.value for score in scores]
            axis.errorbar(places, values, halves, label=name, marker=mark, capsize=3)
        axis.set_xticks(range(len(counts)), [str(nfe) for nfe in counts])
        if all(point.score.low > 0 for line in lines.values() for point in line.values()):
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_minor_formatter(NullFormatter())
            _say_numbers(axis.yaxis)
        axis.set_xlabel("network evaluations a sample")
        axis.set_ylabel("FD")
        axis.legend()
        return _png(figure, title) if kind == "png" else _svg(figure, title)


def _say_numbers(axis: Axis) -> None:
    """Label an axis with plain numbers, as formulas are not drawn."""
    axis.set_major_formatter(FormatStrFormatter("%g"))


def _bend(values: Sequence[float], window: int) -> float:
    """Where the axis bends: beyond the noise of a search's last steps."""
    last = np.asarray(values, np.float64)[-window * 4 :]
    finite = last[np.isfinite(last)]
    return max(1e-12, 3 * float(np.std(finite))) if len(finite) else 1e-12


@contextmanager
def _plain_text() -> Iterator[None]:
    """Names are text, not formulas, and characters without a glyph are boxes."""
    with matplotlib.rc_context({"text.parse_math": False}), catch_warnings():
        filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        yield


def _png(figure: Figure, title: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Title": title} if title else None)
    return buffer.getvalue()


def _svg(figure: Figure, title: str) -> bytes:
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "samplerzoo"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Title": title})
    return buffer.getvalue()

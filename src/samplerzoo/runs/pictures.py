"""Pictures of a run as PNG: samples side by side, and the search's curve."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from PIL import Image


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


def draw_grid(images: Float[np.ndarray, "N H W C"]) -> bytes:
    """Draw many samples as one picture, about as wide as high, small images enlarged.

    Args:
        images: Samples in [-1, 1], of one channel or three.

    Returns:
        A PNG file.
    """
    grid = tile(images, columns=int(np.ceil(np.sqrt(len(images)))))
    scale = max(1, 32 // images.shape[1])
    grid = grid.repeat(scale, 0).repeat(scale, 1)
    buffer = io.BytesIO()
    Image.fromarray(grid[..., 0] if grid.shape[-1] == 1 else grid).save(buffer, "PNG")
    return buffer.getvalue()


def draw_strips(samples: Mapping[str, Float[np.ndarray, "N ..."]]) -> bytes:
    """Draw a strip of samples for each sampler, below one another.

    Args:
        samples: Samples by the sampler's name, the same noise in each column. What is not an image
            is drawn as points of its first and its last number.

    Returns:
        A PNG file.
    """
    figure = Figure(figsize=(11, 0.2 + 1.35 * len(samples)), layout="constrained")
    axes = figure.subplots(len(samples), squeeze=False)[:, 0]
    for axis, (name, values) in zip(axes, samples.items(), strict=True):
        axis.set_title(name, loc="left", fontsize=10)
        if is_image(values.shape[1:]):
            axis.imshow(tile(values, max(1, len(values) // 2)), cmap="gray", vmin=0, vmax=255)
            axis.set_axis_off()
        else:
            flat = values.reshape(len(values), -1)
            axis.plot(flat[:, 0], flat[:, -1], ".")
    return _png(figure)


def draw_curve(kids: Sequence[float]) -> bytes:
    """Draw the KID of every step's batch with its running mean; skipped steps are gaps.

    Args:
        kids: The KID of each step, NaN of a skipped one.

    Returns:
        A PNG file.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    steps = np.arange(1, len(kids) + 1)
    window = max(1, len(kids) // 20)
    last = np.asarray(kids, np.float64)[-window * 4 :]
    spread = np.std(last[np.isfinite(last)]) if np.any(np.isfinite(last)) else 0
    axis.plot(steps, kids, color="0.8", label="batch")
    if len(kids):
        mean = np.convolve(kids, np.ones(window) / window, "valid")
        axis.plot(steps[window - 1 :], mean, color="C0", label=f"mean of {window}")
    axis.set_yscale("symlog", linthresh=max(1e-12, 3 * spread))
    axis.axhline(0, color="0.5", linewidth=0.8)
    axis.set_xlabel("step")
    axis.set_ylabel("KID in the searched features")
    axis.legend()
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()

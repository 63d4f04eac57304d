"""The model card of what was trained, from its figures."""

import json
from pathlib import Path

from ...files import write
from . import classifier, denoiser

_TEXT = """# A small CIFAR-10 model and two classifiers

Trained by `python -m samplerzoo.assets.make_cifar10` on the 50,000 training images of CIFAR-10
(A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009), scaled to [-1, 1].
{test}

{rows}

## The denoiser

`cifar10-denoiser.safetensors` is a `PatchUNet`, whose sizes are in the file: the average of the
weights in half precision. It predicts v at a real time of DDPM's 1000 linear betas (1e-4 to 0.02).

- Objective: the squared error of v, weighted by alpha^2 + (sigma / {deviation:g})^2, as Karras et
  al. (2022) weight that of x0; ln(sigma / alpha) is normal with mean {centre:g} and deviation
  {spread:g}, a share of {uniform:g} of the times uniform; random flips, no dropout; residual
  branches and the output start at zero.
- Adam, betas 0.9 and 0.99, gradients clipped to norm 1; learning rate {peak:g} after {warm} steps,
  falling with the root of the steps from step {hold}.
- The average of the weights is a power function of the steps, a tenth of the training wide (Karras
  et al. 2024).
- Its losses below are DDPM's: the squared error of eps over all timesteps alike.

## The classifiers

`cifar10-resnet.safetensors`, whose last-but-one activations searches compare, is a pre-activation
residual network; `cifar10-cnn.safetensors`, for reports, has no shortcuts. Both have group norms
and are in half precision. AdamW (weight decay {decay:g}) in one cycle with peak {rate:g}, batch
{batch}, labels smoothed by {smoothing:g}, shifts by up to {margin} pixels and flips. `reference/`
holds their features of {kept:,} training images, as many of each class.

The weights are licensed Apache-2.0, as the code. `figures.json` is written by the training.
"""


def write_card(folder: Path) -> None:
    """Write MODEL_CARD.md for the figures.json in a folder."""
    figures = json.loads((folder / "figures.json").read_text())
    rows = ["| | " + " | ".join(figures) + " |", "|---" * (len(figures) + 1) + "|"]
    for name in dict.fromkeys(name for part in figures.values() for name in part):
        cells = [_shown(part.get(name)) for part in figures.values()]
        rows.append(f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |")
    tested = any("test_loss" in part or "test_accuracy" in part for part in figures.values())
    text = _TEXT.format(
        rows="\n".join(rows),
        test="Test images were used for the figures below alone." if tested else "",
        deviation=denoiser.DEVIATION,
        centre=denoiser.CENTRE,
        spread=denoiser.SPREAD,
        uniform=denoiser.UNIFORM,
        peak=denoiser.PEAK,
        warm=denoiser.WARM,
        hold=denoiser.HOLD,
        decay=classifier.DECAY,
        rate=classifier.PEAK,
        kept=classifier.ROWS,
        batch=classifier.BATCH,
        smoothing=classifier.SMOOTHING,
        margin=classifier.MARGIN,
    )
    write(folder / "MODEL_CARD.md", text.encode())


def _shown(value: float | int | str | None) -> str:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else f"{value}"

"""The model card of what was trained, from its figures."""

import json
from pathlib import Path

from ...files import write
from . import classifier, denoiser

_TEXT = """# A small CIFAR-10 model and two classifiers

Trained by `python -m samplerzoo.assets.make_cifar10` on the 50,000 training images of CIFAR-10
(A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009), scaled to [-1, 1].
{test}{trial}

{rows}

## The denoiser

`denoiser/` is in diffusers' layout: a `UNet2DModel` that predicts eps on DDPM's 1000 linear betas
(1e-4 to 0.02), the average of the weights in half precision.

- Objective: the squared error of eps at a random timestep (Ho et al. 2020), random flips, no
  dropout; residual branches and the output start at zero.
- Adam, betas 0.9 and 0.99, gradients clipped to norm 1; learning rate {peak:g} after {warm} steps,
  falling with the root of the steps from step {hold}.
- The average of the weights is a power function of the steps, a tenth of the training wide (Karras
  et al. 2024).

## The classifiers

`cifar10-resnet.safetensors`, whose last-but-one activations searches compare, and
`cifar10-cnn.safetensors`, of another shape, for reports: pre-activation residual networks with
group norms, in half precision. AdamW (weight decay {decay:g}) in one cycle with peak {rate:g},
batch {batch}, labels smoothed by {smoothing:g}, shifts by up to {margin} pixels and flips.
`reference/` holds their features of {kept:,} training images, as many of each class.

The weights are licensed Apache-2.0, as the code. `figures.json` is written by the training.
"""


_TRIAL = """

**These are the networks for trying things out on a CPU, trained for {passes:.1f} passes over the
images. Samples are patches of colour more than objects: good for seeing all commands at work, not
for measuring samplers.** `--network even` on a GPU makes the real ones."""


def write_card(folder: Path) -> None:
    """Write MODEL_CARD.md for the figures.json in a folder."""
    figures = json.loads((folder / "figures.json").read_text())
    rows = ["| | " + " | ".join(figures) + " |", "|---" * (len(figures) + 1) + "|"]
    for name in dict.fromkeys(name for part in figures.values() for name in part):
        cells = [_shown(part.get(name)) for part in figures.values()]
        rows.append(f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |")
    tested = any("test_loss" in part or "test_accuracy" in part for part in figures.values())
    trial = figures.get("denoiser", {}).get("network") == "trial"
    text = _TEXT.format(
        trial=_TRIAL.format(passes=figures["denoiser"]["images"] / 50_000) if trial else "",
        rows="\n".join(rows),
        test="Test images were used for the figures below alone." if tested else "",
        peak=denoiser.PEAK, warm=denoiser.WARM, hold=denoiser.HOLD,
        decay=classifier.DECAY, rate=classifier.PEAK, kept=classifier.ROWS,
        batch=classifier.BATCH, smoothing=classifier.SMOOTHING, margin=classifier.MARGIN,
    )  # fmt: skip
    write(folder / "MODEL_CARD.md", text.encode())


def _shown(value: float | int | str | None) -> str:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else f"{value}"

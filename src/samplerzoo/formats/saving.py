"""A UNet and its schedule as diffusers saves them: the inverse of `load_diffusers`."""

from pathlib import Path
from typing import Any

import numpy as np
from jax.typing import DTypeLike

from ..backbones import UNet
from ..files import in_half, write_json, write_tensors
from .diffusers import WEIGHTS
from .weights import torch_state


def save_diffusers(
    folder: Path,
    network: UNet,
    config: dict[str, Any],
    scheduler: dict[str, Any],
    dtype: DTypeLike = np.float16,
) -> None:
    """Write a network made by `UNet.from_config(config)` and its scheduler into a folder.

    Weights are rounded to `dtype`; raises ValueError, and writes nothing, where one is not finite
    in it.
    """
    state = in_half(torch_state(network), dtype)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / f"{WEIGHTS}.safetensors", state, {"format": "pt"})
    for name, content in (
        ("config.json", {"_class_name": "UNet2DModel", **config}),
        ("scheduler_config.json", scheduler),
    ):
        write_json(folder / name, content)

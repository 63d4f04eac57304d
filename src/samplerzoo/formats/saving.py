"""A UNet and its schedule as diffusers saves them: the inverse of `load_diffusers`."""

import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.typing import DTypeLike

from ..backbones import UNet
from ..files import write, write_tensors
from .diffusers import WEIGHTS

# Each array of a layer: what PyTorch calls it, and the layer's layout as PyTorch's.
_LAYOUTS = {
    "kernel": ("weight", lambda a: a.transpose(3, 2, 0, 1)),
    "weight": ("weight", lambda a: a.T),
    "scale": ("weight", lambda a: a),
    "offset": ("bias", lambda a: a),
    "bias": ("bias", lambda a: a),
    "table": ("weight", lambda a: a),
    "frequencies": ("weight", lambda a: a),
}


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
    with np.errstate(over="ignore"):
        state = {name: array.astype(dtype) for name, array in torch_state(network).items()}
    if odd := [name for name, array in state.items() if not np.all(np.isfinite(array))]:
        raise ValueError(f"{odd[0]} holds numbers that are not finite in {np.dtype(dtype)}.")
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / f"{WEIGHTS}.safetensors", state, {"format": "pt"})
    for name, content in (
        ("config.json", {"_class_name": "UNet2DModel", **config}),
        ("scheduler_config.json", scheduler),
    ):
        write(folder / name, (json.dumps(content, indent=2) + "\n").encode())


def torch_state(network: UNet) -> dict[str, np.ndarray]:
    """A network's weights by the names and in the layouts of diffusers' `UNet2DModel`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(eqx.filter(network, eqx.is_array))
    return dict(
        _convert(jax.tree_util.keystr(path, simple=True, separator="."), np.asarray(leaf))
        for path, leaf in leaves
    )


def _convert(path: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    layer, _, leaf = path.rpartition(".")
    name, turn = _LAYOUTS[leaf]
    array = turn(array)
    if layer.endswith(".conv_shortcut") and leaf == "weight":
        array = array[:, :, None, None]  # stored as a convolution of size 1
    layer += ".0" if layer.endswith(".to_out") else ""
    return f"{layer}.{name}", array

"""Small UNets that tests share, and checkpoints of them on disk."""

import json
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from samplerzoo.backbones import UNet, UNetConfig

SMALL = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": [4, 8],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "attention_head_dim": 4,
}
SCHEDULER = {"_class_name": "DDPMScheduler", "num_train_timesteps": 1000}


def random_unet(config: dict, seed: int = 0) -> UNet:
    """A UNet with random weights that no initialisation gives: none is zero or one."""
    shapes = eqx.filter_eval_shape(UNet, UNetConfig.from_dict(config), key=jax.random.key(0))
    rng = np.random.default_rng(seed)

    def draw(a):
        return jnp.asarray(0.3 * rng.normal(size=a.shape) + 0.1, a.dtype)

    return jax.tree.map(lambda a: draw(a) if isinstance(a, jax.ShapeDtypeStruct) else a, shapes)


# PyTorch's name and layout of each kind of array.
TORCH = {
    "kernel": ("weight", lambda a: a.transpose(3, 2, 0, 1)),
    "weight": ("weight", lambda a: a.T),
    "scale": ("weight", lambda a: a),
    "offset": ("bias", lambda a: a),
    "bias": ("bias", lambda a: a),
    "table": ("weight", lambda a: a),
}


def torch_state(network: UNet) -> dict[str, np.ndarray]:
    """A UNet's weights by the names and in the layouts of diffusers'."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(eqx.filter(network, eqx.is_array))
    state = {}
    for path, array in leaves:
        layer, _, kind = jax.tree_util.keystr(path, simple=True, separator=".").rpartition(".")
        name, turn = TORCH[kind]
        layer = f"{layer}.0" if layer.endswith("to_out") else layer
        state[f"{layer}.{name}"] = np.ascontiguousarray(turn(np.asarray(array)))
        if layer.endswith("conv_shortcut") and kind == "weight":
            state[f"{layer}.{name}"] = state[f"{layer}.{name}"][:, :, None, None]
    return state


def save_model(
    folder: Path, network: UNet, config: dict, scheduler: dict | None = SCHEDULER
) -> dict[str, np.ndarray]:
    """A model in diffusers' layout, all files at the root; returns its tensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel", **config}))
    if scheduler is not None:
        (folder / "scheduler_config.json").write_text(json.dumps(scheduler))
    state = torch_state(network)
    safetensors.numpy.save_file(state, folder / "diffusion_pytorch_model.safetensors")
    return state

"""What is timed: networks of published sizes with random weights, and how they shrink on a CPU."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from samplerzoo import DiffusionModel, DiscreteVP
from samplerzoo.backbones import Retimed, UNet

_UNET: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
    "attention_head_dim": None,
}


def unet(size: int, widths: list[int], attention: list[int], layers: int = 2, **more: Any) -> dict:
    """The config.json of a `UNet2DModel` with attention at the levels listed."""
    levels = range(len(widths))
    return (
        _UNET
        | {
            "sample_size": size,
            "block_out_channels": widths,
            "layers_per_block": layers,
            "norm_num_groups": min(32, min(widths) // 4),
            "down_block_types": ["Attn" * (n in attention) + "DownBlock2D" for n in levels],
            "up_block_types": ["Attn" * (n in attention) + "UpBlock2D" for n in reversed(levels)],
        }
        | more
    )


IMPROVED = {"resnet_time_scale_shift": "scale_shift", "out_channels": 6, "downsample_padding": 1}


@dataclass(frozen=True)
class Workload:
    """A network in full and on a CPU, with batch and micro-batch, and what of it is timed there.

    `scale` says by how much the CPU's is smaller.
    """

    full: dict[str, Any]
    batch: int
    microbatch: int
    cpu: dict[str, Any]
    cpu_batch: int
    cpu_microbatch: int
    scale: str
    cpu_steps: tuple[int, ...] = (5,)
    cpu_families: tuple[str, ...] = ("rddim", "gddim")


# CIFAR-10: the network of DDPM. ImageNet: that of improved DDPM. LSUN at 128 x 128: DDPM's LSUN
# network without its first level, and improved DDPM's network with multiples 1, 1, 2, 3, 4.
WORKLOADS = {
    "cifar10-32": Workload(
        unet(32, [128, 256, 256, 256], [1], downsample_padding=0),
        512,
        64,
        unet(32, [32, 64], [1], 1, downsample_padding=0),
        8,
        4,
        "channels / 4, levels / 2, residual blocks / 2, batch / 64",
        (5, 10, 20, 40),
        ("ddpm", "ddim", "rddim", "gddim"),
    ),
    "imagenet-64": Workload(
        unet(64, [128, 256, 384, 512], [2, 3], 3, attention_heads=4, **IMPROVED),
        256,
        32,
        unet(32, [32, 64, 96, 128], [2, 3], 1, attention_heads=4, **IMPROVED),
        4,
        2,
        "channels / 4, side / 2, residual blocks / 3, batch / 64",
    ),
    "lsun-bedroom-128": Workload(
        unet(128, [128, 128, 256, 256, 512], [3], downsample_padding=0),
        128,
        16,
        unet(64, [32, 32, 64, 64, 128], [3], 1, downsample_padding=0),
        2,
        1,
        "channels / 4, side / 2, residual blocks / 2, batch / 64",
    ),
    "lsun-church-128": Workload(
        unet(128, [128, 128, 256, 384, 512], [3, 4], attention_heads=4, **IMPROVED),
        128,
        16,
        unet(64, [32, 32, 64, 96, 128], [3, 4], 1, attention_heads=4, **IMPROVED),
        2,
        1,
        "channels / 4, side / 2, residual blocks / 2, batch / 64",
    ),
}


def model_of(config: dict[str, Any], network: UNet | None = None) -> DiffusionModel:
    """A DDPM with 1000 linear steps around a network, by default one with random weights."""
    network = network or UNet.from_config(config, key=jax.random.key(0))
    schedule = DiscreteVP.from_betas(np.linspace(1e-4, 0.02, 1000))
    size = config["sample_size"]
    return DiffusionModel(Retimed(network), schedule, (size, size, config["in_channels"]))


def parameters(model: DiffusionModel) -> int:
    """How many numbers the network has learned."""
    return sum(a.size for a in jax.tree.leaves(model.network) if hasattr(a, "size"))

"""OpenAI's checkpoints of improved-diffusion and guided-diffusion, rearranged into a `UNet`.

Both build one architecture (Nichol and Dhariwal 2021; Dhariwal and Nichol 2021).
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ..backbones import UNet
from ..core.model import DiffusionModel
from ..files import Tensors
from .diffusers import assemble
from .format import (
    Checkpoint,
    Condition,
    Format,
    Parts,
    Summary,
    check_condition,
    find_parts,
)
from .openai_flags import Flags, read_flags
from .reading import read_weights
from .weights import fill


def load_openai(
    path: Path,
    flags: str | Mapping[str, Any],
    label: int | None = None,
    guidance: float | None = None,
) -> DiffusionModel:
    """Load a model from a `.pt` file. Level `t` of the schedule is the network's timestep `t - 1`.

    Args:
        path: The file.
        flags: The name of one of `PRESETS`, or the flags it was trained with.
        label: The class to sample; a class-conditional network needs it, see `Condition`.
        guidance: The weight of classifier-free guidance, if any.

    Raises:
        ValueError: Flags are not known, or do not fit the file.
    """
    return _read(path, read_flags(flags), Condition(label, guidance))


def _find(checkpoint: Checkpoint) -> Parts | None:
    read_flags(checkpoint.argument)
    names = tuple(checkpoint.sizes)
    weights = names if len(names) == 1 else tuple(n for n in names if n.endswith(".pt"))
    return Parts((), weights) if len(weights) == 1 else None


def _summarise(checkpoint: Checkpoint) -> Summary:
    flags = read_flags(checkpoint.argument)
    unet, noise = flags.unet(), flags.noise()
    arrays = jax.tree.leaves(eqx.filter_eval_shape(UNet, unet, key=jax.random.key(0)))
    return Summary(
        architecture="UNet of guided-diffusion",
        parameters=sum(math.prod(array.shape) for array in arrays),
        shape=(*unet.size(), unet.in_channels),
        classes=unet.num_class_embeds,
        schedule=flags.noise_schedule,
        steps=flags.diffusion_steps,
        prediction=noise.prediction,
        clip=noise.clip,
    )


def _read(path: Path, flags: Flags, condition: Condition) -> DiffusionModel:
    config = flags.unet()
    check_condition(config.num_class_embeds, condition)
    state = read_weights(path)
    try:
        shapes = eqx.filter_eval_shape(UNet, config, key=jax.random.key(0))
        network = fill(shapes, rearrange(state, flags))
    except ValueError as error:
        raise ValueError(f"{path} does not fit the flags. {error}") from error
    scale = 1000 / flags.diffusion_steps if flags.rescale_timesteps else 1.0
    return assemble(network, flags.noise(), condition, scale)


def _read_preset(checkpoint: Checkpoint, condition: Condition) -> DiffusionModel:
    (weights,) = find_parts(OPENAI, checkpoint).weights
    return _read(checkpoint.path(weights), read_flags(checkpoint.argument), condition)


OPENAI = Format(
    layout="a .pt file of OpenAI's improved-diffusion or guided-diffusion",
    argument="PRESET",
    find=_find,
    summarise=_summarise,
    read=_read_preset,
)


def rearrange(state: Tensors, flags: Flags) -> Tensors:
    """OpenAI's tensors by the names and in the layout of a `UNet2DModel`'s."""
    names = {"time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2"}
    names |= {"label_emb": "class_embedding", "input_blocks.0.0": "conv_in"}
    names |= {"out.0": "conv_norm_out", "out.2": "conv_out"}
    for theirs, ours in _blocks(flags):
        names |= {f"{theirs}.{old}": f"{ours}.{new}" for old, new in _LAYERS.items()}
    found: Tensors = {}
    for name, tensor in state.items():
        layer, _, kind = name.rpartition(".")
        ours = names.get(layer, layer)
        if ours.endswith(".qkv"):
            found |= _split(ours.removesuffix("qkv"), kind, tensor, flags)
        else:
            found[f"{ours}.{kind}"] = tensor
    return found


# The layers of residual blocks, attentions and changes of resolution.
_LAYERS = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
    "norm": "group_norm",
    "qkv": "qkv",
    "proj_out": "to_out.0",
    "op": "conv",
    "conv": "conv",
}


def _blocks(flags: Flags) -> Iterator[tuple[str, str]]:
    """Every block's name in OpenAI's numbering and in diffusers'."""
    attends, layers, number = flags.attends(), flags.num_res_blocks, 1
    last = len(attends) - 1
    for level, attention in enumerate(attends):
        for n in range(layers):
            yield f"input_blocks.{number}.0", f"down_blocks.{level}.resnets.{n}"
            if attention:
                yield f"input_blocks.{number}.1", f"down_blocks.{level}.attentions.{n}"
            number += 1
        if level != last:
            yield f"input_blocks.{number}.0", f"down_blocks.{level}.downsamplers.0"
            number += 1
    for n, part in enumerate(("resnets.0", "attentions.0", "resnets.1")):
        yield f"middle_block.{n}", f"mid_block.{part}"
    for level, attention in enumerate(attends[::-1]):
        for n in range(layers + 1):
            number = level * (layers + 1) + n
            yield f"output_blocks.{number}.0", f"up_blocks.{level}.resnets.{n}"
            if attention:
                yield f"output_blocks.{number}.1", f"up_blocks.{level}.attentions.{n}"
            if n == layers and level != last:
                yield f"output_blocks.{number}.{1 + attention}", f"up_blocks.{level}.upsamplers.0"


def _split(layer: str, kind: str, tensor: np.ndarray, flags: Flags) -> Tensors:
    """Queries, keys and values: heads go before the three, or (the new order) after."""
    width = tensor.shape[0] // 3
    heads = width // flags.num_head_channels if flags.num_head_channels > 0 else flags.num_heads
    if tensor.shape[0] % (3 * max(heads, 1)):
        raise ValueError(f"{layer}qkv has {tensor.shape[0]} rows, which are not 3 x {heads} heads.")
    if flags.use_new_attention_order:
        parts = tensor.reshape(3, width, *tensor.shape[1:])
    else:
        parts = tensor.reshape(heads, 3, -1, *tensor.shape[1:]).swapaxes(0, 1)
    parts = parts.reshape(3, width, *tensor.shape[1:])
    names = ("to_q", "to_k", "to_v")
    return {f"{layer}{name}.{kind}": part for name, part in zip(names, parts, strict=True)}

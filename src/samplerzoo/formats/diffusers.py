"""Models in diffusers' layout: a `UNet2DModel` and its scheduler in a folder."""

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ..backbones import Guided, Labelled, Retimed, UNet, UNetConfig
from ..core.model import DiffusionModel
from ..files import Tensors
from ..schema import NAMES, TEXT, mapping, read_json, record, text
from .format import (
    Checkpoint,
    Condition,
    Format,
    Parts,
    Summary,
    check_condition,
    find_parts,
    load_checkpoint,
    open_local,
)
from .reading import read_weights
from .scheduling import Noise, read_scheduler
from .weights import fill

WEIGHTS = "diffusion_pytorch_model"
PIPELINE = "model_index.json"
SCHEDULERS = ("scheduler/scheduler_config.json", "scheduler_config.json")
_INDEX = record({"weight_map": mapping(text(200, r"[\w-][\w.-]*"))})
_CLASS = record({}, {"_class_name": TEXT})
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def find_weights(checkpoint: Checkpoint, folder: str = "") -> Parts | None:
    """Find a network as diffusers saves one: its configuration and its weights.

    Args:
        checkpoint: The files.
        folder: The folder that the network lies in, with a `/` at its end, or "".

    Returns:
        config.json, with the shards' index if there is one, and the weights: safetensors, their
        shards, or PyTorch's `.bin`. None where these are not there.

    Raises:
        ValueError: The shards' index is not one, or lists what is not there.
    """
    names, config = checkpoint.sizes, f"{folder}config.json"
    single, index, old = (
        f"{folder}{WEIGHTS}.{kind}" for kind in ("safetensors", "safetensors.index.json", "bin")
    )
    if config not in names:
        return None
    if single in names:
        return Parts((config,), (single,))
    if index in names:
        listed = read_json(checkpoint.path(index), _INDEX)["weight_map"].values()
        shards = tuple(sorted({f"{folder}{shard}" for shard in listed}))
        if missing := [shard for shard in shards if shard not in names]:
            raise ValueError(f"{index} lists {missing[0]}, which is not there.")
        return Parts((config, index), shards)
    return Parts((config,), (old,)) if old in names else None


def class_name(checkpoint: Checkpoint, config: str) -> str:
    """Tell which class of diffusers a configuration says it is of, "" where it does not say."""
    return read_json(checkpoint.path(config), _CLASS).get("_class_name", "")


def find_unet(checkpoint: Checkpoint) -> Parts | None:
    """Find a `UNet2DModel` at the root or in `unet/`, and its scheduler."""
    if "sampler.safetensors" in checkpoint.sizes:
        raise ValueError("It is a sampler, not a model; `samplerzoo sample` takes it.")
    network = find_weights(checkpoint) or find_weights(checkpoint, "unet/")
    if network is None:
        return None
    if PIPELINE in checkpoint.sizes:
        _check_pipeline(checkpoint)
    if (name := class_name(checkpoint, network.small[0])) not in ("", "UNet2DModel"):
        raise ValueError(f"The network is a {name[:80]}; supported is UNet2DModel.")
    scheduler = next((name for name in SCHEDULERS if name in checkpoint.sizes), None)
    if scheduler is None:
        raise ValueError("There is no scheduler_config.json, so its noise is not known.")
    return Parts((network.small[0], scheduler, *network.small[1:]), network.weights)


def summarise_unet(checkpoint: Checkpoint) -> Summary:
    """Describe a `UNet2DModel` by its configurations."""
    config, scheduler, *_ = find_parts(UNET2D, checkpoint).small
    return inspect_config(
        read_json(checkpoint.path(config), NAMES), read_json(checkpoint.path(scheduler), NAMES)
    )


def read_unet(checkpoint: Checkpoint, condition: Condition) -> DiffusionModel:
    """Make the model of a `UNet2DModel` and its scheduler."""
    small, weights = find_parts(UNET2D, checkpoint)
    config = _read_config(read_json(checkpoint.path(small[0]), NAMES))
    noise = read_scheduler(read_json(checkpoint.path(small[1]), NAMES))
    check_condition(config.num_class_embeds, condition)
    state = {_new_name(name): a for name, a in read_shards(checkpoint, weights).items()}
    try:
        network = fill(_shapes(config), state)
    except ValueError as error:
        raise ValueError(
            f"The weights of {checkpoint.name} do not fit its config.json. {error}"
        ) from error
    return assemble(network, noise, condition)


def read_shards(checkpoint: Checkpoint, names: tuple[str, ...]) -> Tensors:
    """Read all tensors of one or several files.

    Raises:
        ValueError: A file cannot be read, or two have a tensor of one name.
    """
    found: Tensors = {}
    for name in names:
        shard = read_weights(checkpoint.path(name))
        if twice := sorted(found.keys() & shard.keys()):
            raise ValueError(f"Two files of {checkpoint.name} have a tensor {twice[0][:80]!r}.")
        found |= shard
    return found


def load_diffusers(
    folder: Path, label: int | None = None, guidance: float | None = None
) -> DiffusionModel:
    """Load the model in a folder as diffusers saves it, with its weights in float32.

    The network is at the root or in `unet/`, the scheduler at the root or in `scheduler/`. Level
    `t` of the schedule is the network's timestep `t - 1`.

    Args:
        folder: The folder's path.
        label: The class to sample; a class-conditional network needs it, see `Condition`.
        guidance: The weight of classifier-free guidance, if any.

    Raises:
        ValueError: The model is not whole or not supported.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder.")
    return load_checkpoint(UNET2D, open_local(folder), Condition(label, guidance))


def inspect_config(config: Mapping[str, Any], scheduler: Mapping[str, Any]) -> Summary:
    """Describe a model by the contents of config.json and scheduler_config.json.

    Raises:
        ValueError: It is not supported.
    """
    unet, noise = _read_config(config), read_scheduler(scheduler)
    arrays = jax.tree.leaves(_shapes(unet))
    how = "trained_betas" if scheduler.get("trained_betas") else scheduler.get("beta_schedule")
    return Summary(
        "UNet2DModel",
        sum(math.prod(array.shape) for array in arrays),
        (*unet.size(), unet.in_channels),
        unet.num_class_embeds,
        how or "linear",
        noise.schedule.log_snr.shape[0],
        noise.prediction,
        noise.clip,
    )


def assemble(
    network: UNet, noise: Noise, condition: Condition, time_scale: float = 1.0
) -> DiffusionModel:
    """A UNet and its noise as a model; the network is told `time_scale` times the timestep."""
    classes, passes, conditioned = network.config.num_class_embeds, 1, network
    if classes is not None and condition.label is not None:
        label, null = (jnp.asarray(n, jnp.int32) for n in (condition.label, classes - 1))
        conditioned = Labelled(network, label)
        if condition.guidance is not None:
            conditioned, passes = Guided(network, label, null, condition.guidance), 2
    shape = (*network.config.size(), network.config.in_channels)
    retimed = Retimed(conditioned, time_scale)
    model = DiffusionModel(retimed, noise.schedule, shape, *noise[1:], passes=passes)
    if classes is None or not condition.labels:
        return model
    labels = jnp.arange(classes, dtype=jnp.int32)
    return dataclasses.replace(model, conditions=labels, null=labels[-1])


def _read_config(config: Mapping[str, Any]) -> UNetConfig:
    unet = UNetConfig.from_dict(config)
    if unet.class_embed_type is not None:
        raise ValueError(f"class_embed_type is {unet.class_embed_type!r}; supported is null.")
    if unet.out_channels not in (unet.in_channels, 2 * unet.in_channels):
        raise ValueError(
            f"out_channels is {unet.out_channels}; with in_channels {unet.in_channels} it must be "
            "the same, or twice that with learned variances."
        )
    return unet


def _shapes(config: UNetConfig) -> UNet:
    return eqx.filter_eval_shape(UNet, config, key=jax.random.key(0))


def _check_pipeline(checkpoint: Checkpoint) -> None:
    """Raise ValueError for a pipeline with parts beside a network and a scheduler."""
    index = read_json(checkpoint.path(PIPELINE), NAMES)
    named = {name for name, value in index.items() if isinstance(value, list) and any(value)}
    folders = {name.split("/")[0] for name in checkpoint.sizes if re.search("/.*config", name)}
    if others := sorted((named | folders) - {"unet", "scheduler"}):
        raise ValueError(
            f"It is a pipeline with a part {others[0][:80]!r}; supported are pipelines of a unet "
            "on pixels and a scheduler."
        )


def _new_name(name: str) -> str:
    """A tensor's name in today's checkpoints: the layers of attentions were once called others."""
    parts = name.split(".")
    if "attentions" in parts and len(parts) > 1:
        parts[-2] = _OLD_ATTENTION.get(parts[-2], parts[-2])
    return ".".join(parts)


UNET2D = Format(
    layout=(
        "a folder of diffusers' with a UNet2DModel: config.json and scheduler_config.json, with "
        f"{WEIGHTS}.safetensors or .bin"
    ),
    find=find_unet,
    summarise=summarise_unet,
    read=read_unet,
)

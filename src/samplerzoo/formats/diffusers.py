"""Models in diffusers' layout: a `UNet2DModel` and its scheduler in a folder."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ..backbones import Guided, Labelled, Retimed, UNet, UNetConfig
from ..core.model import DiffusionModel
from .reading import Tensors, read_weights
from .scheduling import Noise, read_scheduler
from .weights import fill

MAX_JSON = 2**24
WEIGHTS = "diffusion_pytorch_model"
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


class Summary(NamedTuple):
    """What a model is, from its configuration: `classes` is None for one without labels."""

    architecture: str
    parameters: int
    shape: tuple[int, ...]
    classes: int | None
    schedule: str
    steps: int
    prediction: str
    clip: tuple[float, float] | None


def inspect_config(config: Any, scheduler: Any) -> Summary:
    """A model by the contents of config.json and scheduler_config.json, without its weights.

    Raises ValueError for what is not supported.
    """
    unet, noise = _read_unet(config), read_scheduler(_mapping(scheduler, "scheduler_config.json"))
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


class Condition(NamedTuple):
    """What a class-conditional model is asked for: a class, and how strongly.

    With guidance `w` the estimate is `null + w * (labelled - null)`, at twice the network
    evaluations; the last label of the network stands for no class.
    """

    label: int | None = None
    guidance: float | None = None


def load_diffusers(
    folder: Path, label: int | None = None, guidance: float | None = None
) -> DiffusionModel:
    """The model in a folder as diffusers saves it, with its weights in float32.

    The network is at the root or in `unet/`, the scheduler at the root or in `scheduler/`. A
    class-conditional network needs a label, see `Condition`. Level `t` of the schedule is the
    network's timestep `t - 1`. Raises ValueError for a model that is not whole or not supported.
    """
    _check_pipeline(folder)
    root = _first(folder, ("config.json", "unet/config.json")).parent
    scheduler = _first(folder, ("scheduler/scheduler_config.json", "scheduler_config.json"))
    config = _read_unet(read_json(root / "config.json"))
    noise = read_scheduler(_mapping(read_json(scheduler), scheduler.name))
    condition = Condition(label, guidance)
    check_condition(config.num_class_embeds, condition)
    state = {_new_name(name): tensor for name, tensor in _read_state(root).items()}
    try:
        network = fill(_shapes(config), state)
    except ValueError as error:
        raise ValueError(f"The weights in {root} do not fit its config.json. {error}") from error
    return assemble(network, noise, condition)


def check_condition(classes: int | None, condition: Condition) -> None:
    """Raise ValueError where a label is missing, is not asked for, or is none of the classes."""
    label, guidance = condition
    if classes is None:
        if condition != Condition():
            raise ValueError(
                f"The label is {label}, the guidance {guidance}; this model has no classes."
            )
        return
    most = classes - 1 if guidance is None else classes - 2  # the last one stands for no class
    if label is None or not 0 <= label <= most:
        raise ValueError(
            f"The label is {label}; this class-conditional model needs one from 0 to {most}."
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
    return DiffusionModel(retimed, noise.schedule, shape, *noise[1:], passes=passes)


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises ValueError, naming the file, where it is none."""
    try:
        if path.stat().st_size > MAX_JSON:
            raise ValueError(f"it is larger than {MAX_JSON} bytes")
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {str(error).rstrip('.')}.") from error


def _mapping(content: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        raise ValueError(f"{name} must hold names with values, not a {type(content).__name__}.")
    return content


def _read_unet(content: Any) -> UNetConfig:
    config = _mapping(content, "config.json")
    if (name := config.get("_class_name", "UNet2DModel")) != "UNet2DModel":
        raise ValueError(f"The network is a {str(name)[:80]}; supported is UNet2DModel.")
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


def _check_pipeline(folder: Path) -> None:
    """Raise ValueError for a pipeline with parts beside a network and a scheduler."""
    if not (path := folder / "model_index.json").is_file():
        return
    parts = _mapping(read_json(path), path.name).items()
    named = {name for name, value in parts if isinstance(value, list) and any(value)}
    if others := sorted(named - {"unet", "scheduler"}):
        raise ValueError(
            f"{folder} is a pipeline with a part {others[0][:80]!r}; supported are pipelines of a "
            "unet on pixels and a scheduler."
        )


def _first(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ValueError(
        f"{folder} is not a model in diffusers' layout: it has no {' or '.join(names)}."
    )


def _read_state(root: Path) -> Tensors:
    """All tensors of a folder: of one file, or of the shards that an index lists."""
    if (path := root / f"{WEIGHTS}.safetensors").is_file():
        return read_weights(path)
    if (index := root / f"{WEIGHTS}.safetensors.index.json").is_file():
        return _read_shards(root, _mapping(read_json(index), index.name).get("weight_map"))
    if (path := root / f"{WEIGHTS}.bin").is_file():
        return read_weights(path)
    raise ValueError(f"{root} has no {WEIGHTS}.safetensors or .bin.")


def _read_shards(root: Path, where: Any) -> Tensors:
    where = _mapping(where, "weight_map")
    files = set(map(str, where.values()))
    if odd := sorted(name for name in files if not re.fullmatch(r"[\w-][\w.-]*", name)):
        raise ValueError(f"The index of {root} lists {odd[0][:80]!r}, which is no file beside it.")
    shards = {name: read_weights(root / name) for name in sorted(files)}
    if {t: n for n, shard in shards.items() for t in shard} != where:
        raise ValueError(f"The index of {root} is not that of its shards.")
    return {name: tensor for shard in shards.values() for name, tensor in shard.items()}


def _new_name(name: str) -> str:
    """A tensor's name in today's checkpoints: the layers of attentions were once called others."""
    parts = name.split(".")
    if "attentions" in parts and len(parts) > 1:
        parts[-2] = _OLD_ATTENTION.get(parts[-2], parts[-2])
    return ".".join(parts)

"""What vision transformers are called in transformers' checkpoints, as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..schema import NAMES, check, choice, number_above, record, whole
from .resizing import CLIP as CLIP_COLOURS, IMAGENET


class Layout(NamedTuple):
    """Where a kind of checkpoint keeps what a vision transformer is made of.

    `defaults` are what its config.json may leave out and `fixed` what it must not say otherwise;
    `inside` is the part of it about the images' tower, where there are two towers. `once` and
    `block`, for block number {}, name the layers; tensors that begin with one of `ignored` have no
    part in the features. With `leading`, tokens are kept as a batch of one. `size` is the side that
    images are brought to, if not that of the training; `colours` are a mean and a deviation.
    """

    inside: str | None
    defaults: Mapping[str, Any]
    fixed: Mapping[str, Any]
    once: Mapping[str, str]
    block: Mapping[str, str]
    ignored: tuple[str, ...]
    leading: bool
    size: int | None
    colours: tuple[tuple[float, float, float], tuple[float, float, float]]


DINOV2 = Layout(
    inside=None,
    defaults={
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "mlp_ratio": 4,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
        "image_size": 224,
        "patch_size": 14,
    },
    fixed={"model_type": "dinov2", "num_channels": 3, "qkv_bias": True, "use_swiglu_ffn": False},
    once={
        "class": "embeddings.cls_token",
        "positions": "embeddings.position_embeddings",
        "kernel": "embeddings.patch_embeddings.projection.weight",
        "bias": "embeddings.patch_embeddings.projection.bias",
        "after": "layernorm",
    },
    block={
        "norm1": "encoder.layer.{}.norm1",
        "query": "encoder.layer.{}.attention.attention.query",
        "key": "encoder.layer.{}.attention.attention.key",
        "value": "encoder.layer.{}.attention.attention.value",
        "out": "encoder.layer.{}.attention.output.dense",
        "scale1": "encoder.layer.{}.layer_scale1.lambda1",
        "norm2": "encoder.layer.{}.norm2",
        "fc1": "encoder.layer.{}.mlp.fc1",
        "fc2": "encoder.layer.{}.mlp.fc2",
        "scale2": "encoder.layer.{}.layer_scale2.lambda1",
    },
    ignored=("embeddings.mask_token",),
    leading=True,
    size=224,
    colours=IMAGENET,
)
CLIP = Layout(
    inside="vision_config",
    defaults={
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "projection_dim": 512,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
        "image_size": 224,
        "patch_size": 32,
    },
    fixed={"num_channels": 3},
    once={
        "class": "vision_model.embeddings.class_embedding",
        "positions": "vision_model.embeddings.position_embedding.weight",
        "kernel": "vision_model.embeddings.patch_embedding.weight",
        "before": "vision_model.pre_layrnorm",
        "after": "vision_model.post_layernorm",
        "projection": "visual_projection.weight",
    },
    block={
        "norm1": "vision_model.encoder.layers.{}.layer_norm1",
        "query": "vision_model.encoder.layers.{}.self_attn.q_proj",
        "key": "vision_model.encoder.layers.{}.self_attn.k_proj",
        "value": "vision_model.encoder.layers.{}.self_attn.v_proj",
        "out": "vision_model.encoder.layers.{}.self_attn.out_proj",
        "norm2": "vision_model.encoder.layers.{}.layer_norm2",
        "fc1": "vision_model.encoder.layers.{}.mlp.fc1",
        "fc2": "vision_model.encoder.layers.{}.mlp.fc2",
    },
    ignored=(
        "text_model.",
        "text_projection.",
        "logit_scale",
        "vision_model.embeddings.position_ids",
    ),
    leading=False,
    size=None,
    colours=CLIP_COLOURS,
)
LAYOUTS = {"dinov2": DINOV2, "clip": CLIP, "clip_vision_model": CLIP}
ACTIVATIONS = ("gelu", "quick_gelu")
MOST = 2**16
_NAME = "The configuration"
_KIND = record({"model_type": choice(*LAYOUTS)})
# What a value must be, by the type of its default.
_RULES = {int: whole(1, MOST), float: number_above(0.0, 1.0), str: choice(*ACTIVATIONS)}


@dataclass(frozen=True)
class ViTConfig:
    """The sizes of a vision transformer.

    `hidden` is the width inside its perceptrons, `out` that of the projection, if there is one;
    `trained` is the side of the images of its training, and `size` of those it is given here.
    """

    width: int
    depth: int
    heads: int
    hidden: int
    out: int | None
    activation: str
    eps: float
    patch: int
    trained: int
    size: int

    def __post_init__(self):
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}.")
        if self.size % self.patch or self.trained % self.patch:
            raise ValueError(
                f"Patches of {self.patch} pixels do not divide images of {self.trained} and "
                f"{self.size}."
            )


def read_config(config: Mapping[str, Any]) -> tuple[Layout, ViTConfig]:
    """The layout and the sizes that the content of a config.json stands for.

    Raises ValueError for what is not supported.
    """
    check(config, _KIND, _NAME)
    layout = LAYOUTS[config["model_type"]]
    inner = {}
    if layout.inside:
        check(config, record({}, {layout.inside: NAMES}), _NAME)
        inner = config.get(layout.inside, {})
    values = {**layout.fixed, **layout.defaults, **inner, **config}
    fixed = {name: choice(wanted) for name, wanted in layout.fixed.items()}
    kinds = {name: _RULES[type(default)] for name, default in layout.defaults.items()}
    check(values, record(fixed | kinds), _NAME)
    width, trained = values["hidden_size"], values["image_size"]
    return layout, ViTConfig(
        width=width,
        depth=values["num_hidden_layers"],
        heads=values["num_attention_heads"],
        hidden=values.get("intermediate_size") or width * values["mlp_ratio"],
        out=values.get("projection_dim") if "projection" in layout.once else None,
        activation=values["hidden_act"],
        eps=float(values["layer_norm_eps"]),
        patch=values["patch_size"],
        trained=trained,
        size=layout.size or trained,
    )


def shapes(layout: Layout, config: ViTConfig) -> dict[str, tuple[int, ...]]:
    """Of every tensor that the features are made of, by its name in the checkpoint."""
    width, hidden, tokens = config.width, config.hidden, (config.trained // config.patch) ** 2 + 1
    ones = (1,) * layout.leading
    row, norm = {"": (width,)}, {".weight": (width,), ".bias": (width,)}
    square = {".weight": (width, width), ".bias": (width,)}
    whole = {
        "class": {"": (*ones, *ones, width)},
        "positions": {"": (*ones, tokens, width)},
        "kernel": {"": (width, 3, config.patch, config.patch)},
        "bias": row,
        "before": norm,
        "after": norm,
        "projection": {"": (config.out, width)},
    }
    block = {
        **dict.fromkeys(("norm1", "norm2"), norm),
        **dict.fromkeys(("query", "key", "value", "out"), square),
        "scale1": row,
        "scale2": row,
        "fc1": {".weight": (hidden, width), ".bias": (hidden,)},
        "fc2": {".weight": (width, hidden), ".bias": (width,)},
    }
    names = [(name, whole[part]) for part, name in layout.once.items()]
    for number in range(config.depth):
        names += [(name.format(number), block[part]) for part, name in layout.block.items()]
    return {name + kind: shape for name, kinds in names for kind, shape in kinds.items()}

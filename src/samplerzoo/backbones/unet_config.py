"""What a `UNet2DModel`'s config.json may say, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..schema import (
    ANYTHING,
    FLAG,
    Rule,
    check,
    choice,
    either,
    list_of,
    number,
    or_null,
    record,
    whole,
)

_SIDE = whole(1, 2**14)
_CHANNELS = whole(1, 2**14)

# Each type of block: whether it has attention, and how it changes the resolution where it does
# ("conv", "resnet", or None for what `downsample_type` and `upsample_type` say).
DOWN_BLOCKS = {
    "DownBlock2D": (False, "conv"),
    "AttnDownBlock2D": (True, None),
    "ResnetDownsampleBlock2D": (False, "resnet"),
}
UP_BLOCKS = {
    "UpBlock2D": (False, "conv"),
    "AttnUpBlock2D": (True, None),
    "ResnetUpsampleBlock2D": (False, "resnet"),
}
# What a configuration may say.
_RULES: dict[str, Rule] = {
    "sample_size": or_null(either(_SIDE, list_of(_SIDE, 2, 2))),
    "in_channels": _CHANNELS,
    "out_channels": _CHANNELS,
    "center_input_sample": FLAG,
    "time_embedding_type": choice("positional", "fourier"),
    "time_embedding_dim": or_null(_CHANNELS),
    "freq_shift": number(0.0, 100.0),
    "flip_sin_to_cos": FLAG,
    "down_block_types": list_of(choice(*DOWN_BLOCKS), 1, 12),
    "mid_block_type": choice("UNetMidBlock2D", None),
    "up_block_types": list_of(choice(*UP_BLOCKS), 1, 12),
    "block_out_channels": list_of(_CHANNELS, 1, 12),
    "layers_per_block": whole(1, 32),
    "mid_block_scale_factor": number(1e-6, 1e6),
    "downsample_padding": whole(0, 1),
    "downsample_type": choice("conv", "resnet"),
    "upsample_type": choice("conv", "resnet"),
    "dropout": ANYTHING,
    "act_fn": choice("silu", "swish", "mish", "gelu", "relu"),
    "attention_head_dim": or_null(_CHANNELS),
    "norm_num_groups": _CHANNELS,
    "attn_norm_num_groups": or_null(_CHANNELS),
    "norm_eps": number(0.0, 1.0),
    "resnet_time_scale_shift": choice("default", "scale_shift"),
    "add_attention": FLAG,
    "class_embed_type": choice(None, "timestep", "identity"),
    "num_class_embeds": or_null(whole(1, 2**24)),
    "num_train_timesteps": ANYTHING,
    "attention_heads": or_null(whole(1, 2**10)),
}
_CONFIG = record({}, _RULES)
_NAME = "The UNet's configuration"


@dataclass(frozen=True)
class UNetConfig:
    """The architecture of a `UNet2DModel`, by the names and with the defaults of its config.json.

    `attention_heads` is the one addition: a number of heads for all attentions, in place of
    `attention_head_dim`. `dropout` and `num_train_timesteps` change nothing here. Raises
    ValueError for what is not supported.
    """

    sample_size: int | tuple[int, int] | None = None
    in_channels: int = 3
    out_channels: int = 3
    center_input_sample: bool = False
    time_embedding_type: str = "positional"
    time_embedding_dim: int | None = None
    freq_shift: int | float = 0
    flip_sin_to_cos: bool = True
    down_block_types: tuple[str, ...] = ("DownBlock2D", *["AttnDownBlock2D"] * 3)
    mid_block_type: str | None = "UNetMidBlock2D"
    up_block_types: tuple[str, ...] = (*["AttnUpBlock2D"] * 3, "UpBlock2D")
    block_out_channels: tuple[int, ...] = (224, 448, 672, 896)
    layers_per_block: int = 2
    mid_block_scale_factor: int | float = 1
    downsample_padding: int = 1
    downsample_type: str = "conv"
    upsample_type: str = "conv"
    dropout: Any = 0.0
    act_fn: str = "silu"
    attention_head_dim: int | None = 8
    norm_num_groups: int = 32
    attn_norm_num_groups: int | None = None
    norm_eps: int | float = 1e-5
    resnet_time_scale_shift: str = "default"
    add_attention: bool = True
    class_embed_type: str | None = None
    num_class_embeds: int | None = None
    num_train_timesteps: Any = None
    attention_heads: int | None = None

    def __post_init__(self):
        check(vars(self), _CONFIG, _NAME)
        levels = len(self.block_out_channels)
        if not levels == len(self.down_block_types) == len(self.up_block_types):
            raise ValueError(
                "block_out_channels, down_block_types and up_block_types have lengths "
                f"{levels}, {len(self.down_block_types)} and {len(self.up_block_types)}; "
                "they must be the same."
            )
        for channels in self.block_out_channels:
            self._check_channels(channels)
        if self.block_out_channels[0] // 2 <= self.freq_shift:
            raise ValueError("freq_shift must be below half of the first of block_out_channels.")
        if self.sample_size is not None:
            self.check_size(*self.size())

    def _check_channels(self, channels: int) -> None:
        groups = {self.norm_num_groups, self.attn_norm_num_groups or self.norm_num_groups}
        if any(channels % n for n in groups):
            raise ValueError(
                f"block_out_channels has {channels}, which is not a multiple of norm_num_groups "
                "and attn_norm_num_groups."
            )
        if min(self.heads(channels)) < 1:
            raise ValueError(
                f"block_out_channels has {channels}, too few for the attention's heads."
            )

    def check_size(self, height: int, width: int) -> None:
        """Raise ValueError for images that cannot be halved at every level and doubled back."""
        step = 2 ** (len(self.block_out_channels) - 1)
        if height % step or width % step:
            raise ValueError(
                f"The images are {height} x {width}; with {len(self.block_out_channels)} levels "
                f"their sides must be multiples of {step}."
            )

    def size(self) -> tuple[int, int]:
        """Height and width. Raises ValueError where the configuration leaves them open."""
        if self.sample_size is None:
            raise ValueError("sample_size is null in the UNet's configuration; it must be given.")
        if isinstance(self.sample_size, int):
            return self.sample_size, self.sample_size
        return self.sample_size

    def heads(self, channels: int) -> tuple[int, int]:
        """The number of an attention's heads and the width of each."""
        if self.attention_heads is not None:
            return self.attention_heads, channels // self.attention_heads
        width = channels if self.attention_head_dim is None else self.attention_head_dim
        return channels // width, width

    @property
    def embedding(self) -> int:
        """The width of the embedded time."""
        return self.time_embedding_dim or 4 * self.block_out_channels[0]

    @property
    def conditional(self) -> bool:
        """Whether the network takes a label beside the time."""
        return self.class_embed_type is not None or self.num_class_embeds is not None

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "UNetConfig":
        """From the content of a config.json; names with a leading `_` are left out."""
        known = {field.name for field in fields(cls)}
        named = {name: value for name, value in config.items() if not name.startswith("_")}
        if unknown := sorted(set(named) - known):
            raise ValueError(
                f"The UNet's configuration says {unknown[0]!r}, which is not known here: it may "
                "change what the network computes."
            )
        check(named, _CONFIG, _NAME)
        values: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in named.items()}
        return cls(**values)

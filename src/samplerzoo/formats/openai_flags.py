"""The flags that improved-diffusion and guided-diffusion build their networks from.

Those of the published checkpoints, by names of our own, are as the READMEs of both repositories
give them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..backbones import UNetConfig
from ..core.schedule import DiscreteVP
from .scheduling import Noise, cosine_betas, linear_betas

CLASSES = 1000
_IMPROVED: dict[str, Any] = {
    "num_res_blocks": 3,
    "learn_sigma": True,
    "diffusion_steps": 4000,
    "noise_schedule": "cosine",
    "rescale_timesteps": True,
}
_LSUN_IMPROVED: dict[str, Any] = {
    "image_size": 256,
    "num_heads": 1,
    "learn_sigma": True,
    "use_scale_shift_norm": False,
    "attention_resolutions": "16",
}
_ADM: dict[str, Any] = {
    "attention_resolutions": "32,16,8",
    "learn_sigma": True,
    "num_channels": 256,
    "num_head_channels": 64,
    "resblock_updown": True,
}
PRESETS: dict[str, dict[str, Any]] = {
    "cifar10-uncond-50m": _IMPROVED | {"image_size": 32},
    "imagenet64-uncond-100m": _IMPROVED | {"image_size": 64},
    "imagenet64-cond-270m": _IMPROVED
    | {"image_size": 64, "num_channels": 192, "class_cond": True, "rescale_timesteps": False},
    "lsun-uncond-100m": _LSUN_IMPROVED,
    "adm-imagenet64": _ADM
    | {
        "image_size": 64,
        "num_channels": 192,
        "num_res_blocks": 3,
        "noise_schedule": "cosine",
        "class_cond": True,
        "use_new_attention_order": True,
    },
    "adm-imagenet128": _ADM
    | {"image_size": 128, "num_head_channels": -1, "num_heads": 4, "class_cond": True},
    "adm-imagenet256": _ADM | {"image_size": 256, "class_cond": True},
    "adm-imagenet256-uncond": _ADM | {"image_size": 256},
    "adm-lsun-bedroom": _ADM | {"image_size": 256},
}
# The channels of each level, as multiples of the first's, by the side of the images.
_MULTIPLES = {
    32: (1, 2, 2, 2),
    64: (1, 2, 3, 4),
    128: (1, 1, 2, 3, 4),
    256: (1, 1, 2, 2, 4, 4),
}
# Flags of training and sampling, which say nothing of the network.
_OTHER = {
    "dropout",
    "use_fp16",
    "use_checkpoint",
    "use_kl",
    "rescale_learned_sigmas",
    "sigma_small",
    "timestep_respacing",
}


@dataclass(frozen=True)
class Flags:
    """The flags of a checkpoint, with guided-diffusion's defaults.

    improved-diffusion has `rescale_timesteps` on by default, which counts where `diffusion_steps`
    is not 1000; so it must be said there.
    """

    image_size: int = 64
    num_channels: int = 128
    num_res_blocks: int = 2
    num_heads: int = 4
    num_heads_upsample: int = -1
    num_head_channels: int = -1
    attention_resolutions: str = "16,8"
    channel_mult: str = ""
    class_cond: bool = False
    use_scale_shift_norm: bool = True
    resblock_updown: bool = False
    use_new_attention_order: bool = False
    learn_sigma: bool = False
    diffusion_steps: int = 1000
    noise_schedule: str = "linear"
    predict_xstart: bool = False
    rescale_timesteps: bool | None = None

    def __post_init__(self):
        if self.num_heads_upsample not in (-1, self.num_heads):
            raise ValueError("num_heads_upsample differs from num_heads, which is not supported.")
        if self.noise_schedule not in ("linear", "cosine"):
            raise ValueError(
                f"noise_schedule is {self.noise_schedule!r}; it must be linear or cosine."
            )
        if not 1 <= self.diffusion_steps <= 100_000:
            raise ValueError(f"diffusion_steps is {self.diffusion_steps}; give 1 to 100000.")
        if self.rescale_timesteps is None and self.diffusion_steps != 1000:
            raise ValueError(
                f"With diffusion_steps {self.diffusion_steps} give rescale_timesteps too: True is "
                "the default of improved-diffusion, False of guided-diffusion."
            )

    def multiples(self) -> tuple[int, ...]:
        """The channels of each level as multiples of the first's."""
        if self.channel_mult:
            return _whole_numbers("channel_mult", self.channel_mult)
        if self.image_size not in _MULTIPLES:
            raise ValueError(
                f"image_size is {self.image_size}; without channel_mult it must be one of "
                f"{', '.join(map(str, _MULTIPLES))}."
            )
        return _MULTIPLES[self.image_size]

    def attends(self) -> tuple[bool, ...]:
        """Whether each level, from the largest images to the smallest, has attention."""
        sides = _whole_numbers("attention_resolutions", self.attention_resolutions)
        steps = {self.image_size // side for side in sides}
        return tuple(2**level in steps for level in range(len(self.multiples())))

    def unet(self) -> UNetConfig:
        """The same architecture as a `UNet2DModel`'s."""
        change = "resnet" if self.resblock_updown else "conv"
        plain = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D")
        plain = plain if self.resblock_updown else ("DownBlock2D", "UpBlock2D")
        attends = self.attends()
        return UNetConfig(
            sample_size=self.image_size,
            out_channels=6 if self.learn_sigma else 3,
            block_out_channels=tuple(self.num_channels * n for n in self.multiples()),
            layers_per_block=self.num_res_blocks,
            down_block_types=tuple("AttnDownBlock2D" if a else plain[0] for a in attends),
            up_block_types=tuple("AttnUpBlock2D" if a else plain[1] for a in attends[::-1]),
            downsample_type=change,
            upsample_type=change,
            attention_heads=None if self.num_head_channels > 0 else self.num_heads,
            attention_head_dim=self.num_head_channels if self.num_head_channels > 0 else None,
            attn_norm_num_groups=32,
            resnet_time_scale_shift="scale_shift" if self.use_scale_shift_norm else "default",
            num_class_embeds=CLASSES if self.class_cond else None,
        )

    def noise(self) -> Noise:
        """The schedule, the prediction type and the range of x0."""
        steps = self.diffusion_steps
        linear = linear_betas(0.1 / steps, 20 / steps, steps)
        betas = linear if self.noise_schedule == "linear" else cosine_betas(steps)
        prediction = "x0" if self.predict_xstart else "eps"
        return Noise(DiscreteVP.from_betas(betas), prediction, (-1.0, 1.0))


def read_flags(flags: str | Mapping[str, Any]) -> Flags:
    """Flags by the name of a preset or as given. Raises ValueError for any not known."""
    if isinstance(flags, str):
        if flags not in PRESETS:
            raise ValueError(f"There is no preset {flags!r}; there are {', '.join(PRESETS)}.")
        flags = PRESETS[flags]
    said = {name: value for name, value in flags.items() if name not in _OTHER}
    defaults = {field.name: field.default for field in fields(Flags)}
    for name, value in said.items():
        if name not in defaults:
            raise ValueError(f"There is no flag {name!r}; there are {', '.join(defaults)}.")
        kind = bool if defaults[name] is None else type(defaults[name])
        if type(value) is not kind:
            raise ValueError(f"The flag {name} is {value!r}; it must be of type {kind.__name__}.")
    return Flags(**said)


def _whole_numbers(name: str, text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and 1 <= int(part) <= 4096 for part in parts):
        raise ValueError(f"{name} is {text!r}; it must be whole numbers with commas between.")
    return tuple(map(int, parts))

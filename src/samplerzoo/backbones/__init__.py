"""Networks."""

from .layers import (
    Conv as Conv,
    Dense as Dense,
    GroupNorm as GroupNorm,
    HalvingConv as HalvingConv,
    convolve as convolve,
    time_embedding as time_embedding,
)
from .mlp import LabelledMLP as LabelledMLP, ResidualMLP as ResidualMLP
from .patch_unet import PatchUNet as PatchUNet, PatchUNetConfig as PatchUNetConfig
from .unet import UNet as UNet
from .unet_config import UNetConfig as UNetConfig
from .wrappers import (
    Guided as Guided,
    Labelled as Labelled,
    Retimed as Retimed,
    Rounded as Rounded,
)

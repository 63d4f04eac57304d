"""A UNet made for CPUs: its widths and its joints keep the work in large matrix products.

At full resolution a small UNet's convolutions are narrow, and narrow convolutions are slow. So
blocks of pixels are folded into channels before the first convolution, the resolution is halved
and doubled by folding too, and the two ways are joined by a matrix product; what is left are 3x3
convolutions of 64 channels and more (Shi et al. 2016, arXiv:1609.05158, for the folding).
"""

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core.types import Key, Scalar
from ..files import from_tensors, in_half, read_tensors, to_tensors, write_tensors
from ..schema import choice, list_of, parse_json, record, whole
from .layers import Conv, Dense, GroupNorm, activated, endless, fold_pixels, unfold_pixels
from .unet import Perceptron, Positional
from .unet_blocks import Attention, MidBlock, ResnetBlock, norm
from .unet_config import UNetConfig

KIND = "PatchUNet"
_SIZE = whole(1, 2**20)
# What a file says of its network.
SAVED = record(
    {"kind": choice(KIND), "widths": list_of(_SIZE, 1, 20)},
    dict.fromkeys(("size", "channels", "patch", "heads", "groups", "embedding"), _SIZE),
    closed=True,
)
_EPS = 1e-6


@dataclass(frozen=True)
class PatchUNetConfig:
    """The architecture of a `PatchUNet`.

    Attributes:
        size: The images' height and width in pixels.
        channels: The images' channels, e.g. 3.
        patch: The side of the blocks of pixels that are folded into channels.
        widths: The channels at each resolution, from the finest; multiples of `heads` and `groups`.
        heads: The heads of each attention.
        groups: The groups of each group norm.
        embedding: The width of the embedded time.
    """

    size: int = 32
    channels: int = 3
    patch: int = 2
    widths: tuple[int, ...] = (64, 128, 192)
    heads: int = 2
    groups: int = 16
    embedding: int = 256

    def __post_init__(self):
        step = self.patch * 2 ** (len(self.widths) - 1)
        if self.size % step:
            raise ValueError(
                f"The images' side is {self.size}; with patches of {self.patch} and "
                f"{len(self.widths)} widths it must be a multiple of {step}."
            )

    def of_blocks(self) -> UNetConfig:
        """What the blocks are told, which are those of a `UNet2DModel`."""
        levels = len(self.widths)
        return UNetConfig(
            block_out_channels=self.widths,
            down_block_types=("DownBlock2D",) * levels,
            up_block_types=("UpBlock2D",) * levels,
            time_embedding_dim=self.embedding,
            attention_heads=self.heads,
            attn_norm_num_groups=self.groups,
            norm_num_groups=self.groups,
            norm_eps=_EPS,
            resnet_time_scale_shift="scale_shift",
        )


class PatchUNet(eqx.Module):
    """A network `(x, t) -> output` of an image's shape (H, W, C) and a scalar time.

    At every resolution but the lowest there is one residual block on the way down, and one on the
    way up, there with attention at all but the finest; between them two blocks with attention.
    """

    conv_in: Conv
    time_proj: Positional
    time_embedding: Perceptron
    before: tuple[ResnetBlock, ...]
    down: tuple[Dense, ...]
    middle: MidBlock
    up: tuple[Dense, ...]
    join: tuple[Dense, ...]
    after: tuple[ResnetBlock, ...]
    attentions: tuple[Attention, ...]
    conv_norm_out: GroupNorm
    conv_out: Conv
    config: PatchUNetConfig = eqx.field(static=True)

    def __init__(self, config: PatchUNetConfig, *, key: Key):
        """Make the network with random weights.

        Args:
            config: The architecture.
            key: What the weights are drawn from.
        """
        keys, blocks = endless(key), config.of_blocks()
        widths, folded = config.widths, config.channels * config.patch**2
        pairs = list(pairwise(widths))
        self.config = config
        self.conv_in = Conv(folded, widths[0], key=next(keys))
        self.time_proj = Positional(config.embedding // 2, 1.0, False)
        self.time_embedding = Perceptron(config.embedding // 2, config.embedding, keys=keys)
        self.before = tuple(ResnetBlock(c, c, blocks, key=next(keys)) for c in widths[:-1])
        self.down = tuple(Dense(4 * a, b, key=next(keys)) for a, b in pairs)
        self.middle = MidBlock(widths[-1], blocks, keys=keys)
        self.up = tuple(Dense(b, 4 * a, key=next(keys)) for a, b in pairs)
        self.join = tuple(Dense(2 * c, c, key=next(keys)) for c in widths[:-1])
        self.after = tuple(ResnetBlock(c, c, blocks, key=next(keys)) for c in widths[:-1])
        self.attentions = tuple(
            Attention(c, blocks, config.groups, key=next(keys)) for c in widths[1:-1]
        )
        self.conv_norm_out = norm(widths[0], config.groups, _EPS)
        self.conv_out = Conv(widths[0], folded, key=next(keys))

    def __call__(self, x: Float[Array, "H W C"], t: Scalar) -> Float[Array, "H W C"]:
        e = self.time_embedding(self.time_proj(t)).astype(x.dtype)
        h, skips = self.conv_in(fold_pixels(x, self.config.patch)), []
        for block, dense in zip(self.before, self.down, strict=True):
            skips.append(block(h, e))
            h = dense(fold_pixels(skips[-1], 2))
        h = self.middle(h, e)
        for level in reversed(range(len(skips))):
            h = unfold_pixels(self.up[level](h), 2)
            h = self.join[level](jnp.concatenate([h, skips[level]], axis=-1))
            h = self.after[level](h, e)
            h = self.attentions[level - 1](h) if level else h
        h = self.conv_out(activated(jax.nn.silu, self.conv_norm_out, h))
        return unfold_pixels(h, self.config.patch)

    def save(self, path: Path) -> None:
        """Write a safetensors file in half precision, which `load` reads.

        Args:
            path: The file, which is written whole or not at all.

        Raises:
            ValueError: A weight is not finite in half precision; nothing is written.
        """
        about = {"network": json.dumps({"kind": KIND, **asdict(self.config)})}
        write_tensors(path, in_half(to_tensors(self)), about)

    @staticmethod
    def load(path: Path) -> "PatchUNet":
        """Read the network in a file that `save` wrote, in single precision.

        Args:
            path: The file.

        Raises:
            ValueError: The file is not one of a `PatchUNet`, or its weights do not fit.
        """
        tensors, about = read_tensors(path)
        try:
            values = parse_json(about["network"].encode(), SAVED, "the network")
            del values["kind"]
            config = PatchUNetConfig(**{**values, "widths": tuple(values["widths"])})
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path} does not say that it holds a {KIND}.") from error
        like = eqx.filter_eval_shape(PatchUNet, config, key=jax.random.key(0))
        return from_tensors(like, tensors)

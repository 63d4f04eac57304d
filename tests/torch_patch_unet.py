"""`PatchUNet` once more, in PyTorch, from its tensors by their names."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from samplerzoo.backbones import PatchUNetConfig

Tensors = Mapping[str, torch.Tensor]


def forward(p: Tensors, config: PatchUNetConfig, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The output for images (N, C, H, W) and times (N,)."""
    half, levels = config.embedding // 4, len(config.widths) - 1
    angles = t[:, None] * 10_000 ** (-torch.arange(half, dtype=t.dtype) / (half - 1))
    e = torch.cat([angles.sin(), angles.cos()], 1)
    e = dense(p, "time_embedding.linear_2", F.silu(dense(p, "time_embedding.linear_1", e)))
    h, skips = conv(p, "conv_in", fold(x, config.patch)), []
    for level in range(levels):
        skips.append(resnet(p, f"before.{level}", config, h, e))
        h = pointwise(p, f"down.{level}", fold(skips[-1], 2))
    h = resnet(p, "middle.resnets.0", config, h, e)
    h = attention(p, "middle.attentions.0", config, h)
    h = resnet(p, "middle.resnets.1", config, h, e)
    for level in reversed(range(levels)):
        h = unfold(pointwise(p, f"up.{level}", h), 2)
        h = pointwise(p, f"join.{level}", torch.cat([h, skips[level]], 1))
        h = resnet(p, f"after.{level}", config, h, e)
        if level:
            h = attention(p, f"attentions.{level - 1}", config, h)
    return unfold(conv(p, "conv_out", F.silu(norm(p, "conv_norm_out", config, h))), config.patch)


def dense(p: Tensors, name: str, x: torch.Tensor) -> torch.Tensor:
    return x @ p[f"{name}.weight"] + p[f"{name}.bias"]


def pointwise(p: Tensors, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.conv2d(x, p[f"{name}.weight"].T[:, :, None, None], p[f"{name}.bias"])


def conv(p: Tensors, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.conv2d(x, p[f"{name}.kernel"].permute(3, 2, 0, 1), p[f"{name}.bias"], padding=1)


def norm(p: Tensors, name: str, config: PatchUNetConfig, x: torch.Tensor) -> torch.Tensor:
    return F.group_norm(x, config.groups, p[f"{name}.scale"], p[f"{name}.offset"], 1e-6)


def resnet(
    p: Tensors, name: str, config: PatchUNetConfig, x: torch.Tensor, e: torch.Tensor
) -> torch.Tensor:
    h = conv(p, f"{name}.conv1", F.silu(norm(p, f"{name}.norm1", config, x)))
    scale, shift = dense(p, f"{name}.time_emb_proj", F.silu(e))[:, :, None, None].chunk(2, 1)
    h = norm(p, f"{name}.norm2", config, h) * (1 + scale) + shift
    return x + conv(p, f"{name}.conv2", F.silu(h))


def attention(p: Tensors, name: str, config: PatchUNetConfig, x: torch.Tensor) -> torch.Tensor:
    n, channels, height, width = x.shape
    h = norm(p, f"{name}.group_norm", config, x).flatten(2).transpose(1, 2)
    q, k, v = (
        dense(p, f"{name}.{part}", h).unflatten(2, (config.heads, -1)).transpose(1, 2)
        for part in ("to_q", "to_k", "to_v")
    )
    h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    h = dense(p, f"{name}.to_out", h)
    return x + h.transpose(1, 2).reshape(n, channels, height, width)


def fold(x: torch.Tensor, size: int) -> torch.Tensor:
    """`pixel_unshuffle`, with the place in a block before the channel."""
    n, channels, height, width = x.shape
    folded = F.pixel_unshuffle(x, size).unflatten(1, (channels, size**2)).transpose(1, 2)
    return folded.reshape(n, -1, height // size, width // size)


def unfold(x: torch.Tensor, size: int) -> torch.Tensor:
    return F.pixel_shuffle(x.unflatten(1, (size**2, -1)).transpose(1, 2).flatten(1, 2), size)

"""OpenAI's checkpoints load to what their own architecture computes, written here in PyTorch."""

import math
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplerzoo.backbones import UNet
from samplerzoo.formats import PRESETS, load_openai
from samplerzoo.formats.openai_flags import read_flags

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch", reason="the oracle extra (torch) is not installed")
nn = torch.nn

pytestmark = pytest.mark.oracle


class Resample(nn.Module):
    def __init__(self, channels, kind, conv):
        super().__init__()
        self.kind = kind
        if conv and kind == "down":
            self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        elif conv:
            self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x, e=None):
        if self.kind == "down":
            return self.op(x) if hasattr(self, "op") else nn.functional.avg_pool2d(x, 2)
        x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        return self.conv(x) if hasattr(self, "conv") else x


class Residual(nn.Module):
    def __init__(self, channels, out, embedding, scale_shift, kind=None):
        super().__init__()
        self.scale_shift = scale_shift
        self.change = Resample(channels, kind, conv=False) if kind else nn.Identity()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, out, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(
            nn.SiLU(), nn.Linear(embedding, 2 * out if scale_shift else out)
        )
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, out), nn.SiLU(), nn.Dropout(0.1), nn.Conv2d(out, out, 3, padding=1)
        )
        same = channels == out
        self.skip_connection = nn.Identity() if same else nn.Conv2d(channels, out, 1)

    def forward(self, x, e):
        h = self.in_layers[2](self.change(self.in_layers[:2](x)))
        e = self.emb_layers(e)[:, :, None, None]
        if self.scale_shift:
            scale, shift = e.chunk(2, dim=1)
            h = self.out_layers[0](h) * (1 + scale) + shift
            h = self.out_layers[1:](h)
        else:
            h = self.out_layers(h + e)
        return self.skip_connection(self.change(x)) + h


class Attention(nn.Module):
    def __init__(self, channels, heads, new_order):
        super().__init__()
        self.heads, self.new_order = heads, new_order
        self.norm = nn.GroupNorm(32, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x, e):
        batch, channels, *sides = x.shape
        x = x.reshape(batch, channels, -1)
        qkv, width = self.qkv(self.norm(x)), channels // self.heads
        if self.new_order:
            q, k, v = (a.reshape(batch * self.heads, width, -1) for a in qkv.chunk(3, dim=1))
        else:
            q, k, v = qkv.reshape(batch * self.heads, 3 * width, -1).split(width, dim=1)
        weights = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / math.sqrt(width), dim=-1)
        h = torch.einsum("bts,bcs->bct", weights, v).reshape(batch, channels, -1)
        return (x + self.proj_out(h)).reshape(batch, channels, *sides)


class Row(nn.Sequential):
    def forward(self, x, e):
        for layer in self:
            x = layer(x) if isinstance(layer, nn.Conv2d) else layer(x, e)
        return x


class OpenAIUNet(nn.Module):
    def __init__(self, flags):
        super().__init__()
        width, new = flags.num_channels, flags.use_new_attention_order
        self.width, embedding = width, 4 * width

        def residual(before, after, kind=None):
            return Residual(before, after, embedding, flags.use_scale_shift_norm, kind)

        def attention(channels):
            each = flags.num_head_channels
            return Attention(channels, flags.num_heads if each == -1 else channels // each, new)

        def change(channels, kind):
            if flags.resblock_updown:
                return residual(channels, channels, kind)
            return Resample(channels, kind, conv=True)

        sides = [int(side) for side in flags.attention_resolutions.split(",")]
        self.time_embed = nn.Sequential(
            nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        if flags.class_cond:
            self.label_emb = nn.Embedding(1000, embedding)
        blocks, now, widths = [Row(nn.Conv2d(3, width, 3, padding=1))], width, [width]
        multiples, side = flags.multiples(), flags.image_size
        for level, multiple in enumerate(multiples):
            for _ in range(flags.num_res_blocks):
                row = [residual(now, multiple * width)]
                now = multiple * width
                row += [attention(now)] if side in sides else []
                blocks.append(Row(*row))
                widths.append(now)
            if level < len(multiples) - 1:
                blocks.append(Row(change(now, "down")))
                widths.append(now)
                side //= 2
        self.input_blocks = nn.ModuleList(blocks)
        self.middle_block = Row(residual(now, now), attention(now), residual(now, now))
        blocks = []
        for level, multiple in [*enumerate(multiples)][::-1]:
            for n in range(flags.num_res_blocks + 1):
                row = [residual(now + widths.pop(), multiple * width)]
                now = multiple * width
                row += [attention(now)] if side in sides else []
                if level and n == flags.num_res_blocks:
                    row.append(change(now, "up"))
                    side *= 2
                blocks.append(Row(*row))
        self.output_blocks = nn.ModuleList(blocks)
        self.out = nn.Sequential(
            nn.GroupNorm(32, now),
            nn.SiLU(),
            nn.Conv2d(now, 6 if flags.learn_sigma else 3, 3, padding=1),
        )

    def forward(self, x, timesteps, labels=None):
        half = self.width // 2
        rates = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
        angles = timesteps[:, None].float() * rates[None]
        e = self.time_embed(torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1))
        e = e if labels is None else e + self.label_emb(labels)
        states = []
        for block in self.input_blocks:
            x = block(x, e)
            states.append(x)
        x = self.middle_block(x, e)
        for block in self.output_blocks:
            x = block(torch.cat([x, states.pop()], dim=1), e)
        return self.out(x)


SMALL = {
    "image_size": 16,
    "num_channels": 32,
    "num_res_blocks": 1,
    "channel_mult": "1,2",
    "attention_resolutions": "8",
    "learn_sigma": True,
}
CASES = {
    "improved": {"diffusion_steps": 4000, "noise_schedule": "cosine", "rescale_timesteps": True},
    "lsun": {"num_heads": 1, "use_scale_shift_norm": False, "learn_sigma": False},
    "adm": {
        "num_head_channels": 16,
        "resblock_updown": True,
        "class_cond": True,
        "attention_resolutions": "16,8",
        "use_new_attention_order": True,
    },
    "adm-old-order": {"num_head_channels": 16, "resblock_updown": True},
}


@pytest.mark.parametrize("case", CASES)
def test_outputs(case, tmp_path):
    flags = SMALL | CASES[case]
    torch.manual_seed(0)
    network = OpenAIUNet(read_flags(flags)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    label = 7 if flags.get("class_cond") else None
    model = load_openai(tmp_path / "model.pt", flags, label)
    steps, out = flags.get("diffusion_steps", 1000), 6 if flags["learn_sigma"] else 3
    assert model.schedule.steps == steps
    x = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype(np.float32)
    times = torch.tensor([0.0, 421.0, steps - 1.0])
    with torch.no_grad():
        wanted = network(
            torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))),
            times * (1000 / steps if flags.get("rescale_timesteps") else 1),
            None if label is None else torch.full((3,), label),
        ).numpy()
    call = eqx.filter_jit(lambda network, x, t: jax.vmap(network)(x, t))
    found = call(model.network, x, jnp.asarray(times.numpy()) + 1)
    assert found.shape == (3, 16, 16, out)
    assert np.max(np.abs(found - wanted.transpose(0, 2, 3, 1))) <= 5e-6
    assert np.std(wanted) > 0.1


@pytest.mark.parametrize("name", PRESETS)
def test_the_published_sizes(name):
    """Every preset has as many numbers as the architecture that its flags stand for."""
    flags = read_flags(name)
    with torch.device("meta"):
        wanted = sum(p.numel() for p in OpenAIUNet(flags).parameters())
    shapes = eqx.filter_eval_shape(UNet, flags.unet(), key=jax.random.key(0))
    found = sum(a.size for a in jax.tree.leaves(shapes) if hasattr(a, "size"))
    assert found == wanted
    published = {"adm-imagenet64": 296, "adm-lsun-bedroom": 553}  # millions, in the papers
    assert round(found / 1e6) == published.get(name, round(wanted / 1e6))

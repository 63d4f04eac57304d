"""The denoiser: candidates, DDPM's objective, and what is written of it."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from ...backbones import Retimed, UNet
from ...core.compiling import jit
from ...core.engine import sample_batch
from ...core.families import DDIM
from ...core.model import DiffusionModel
from ...core.schedule import DiscreteVP
from ...core.types import Key, Scalar
from ...formats import load_diffusers
from ...formats.saving import save_diffusers
from ...formats.scheduling import read_scheduler
from .loop import Data, Loss, Task, cast, to_range

SCHEDULER = {
    "_class_name": "DDPMScheduler",
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "clip_sample": True,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "variance_type": "fixed_large",
}
PEAK, WARM, HOLD = 1e-3, 1000, 5000  # the learning rate, its steps of warm-up and at the peak


def config(widths: list[int], layers: int) -> dict[str, Any]:
    """A `UNet2DModel` of google/ddpm-cifar10-32's kind, with attention at half the resolution."""
    attends = [level == 1 for level in range(len(widths))]
    return {
        "sample_size": 32,
        "time_embedding_dim": 256,
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": widths,
        "down_block_types": ["AttnDownBlock2D" if a else "DownBlock2D" for a in attends],
        "up_block_types": ["AttnUpBlock2D" if a else "UpBlock2D" for a in attends[::-1]],
        "layers_per_block": layers,
        "attention_head_dim": None,
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "norm_eps": 1e-6,
        "norm_num_groups": 32,
    }


# At most 5.7 M parameters, 11.3 MB in half precision; "trial" is for trying things out on a CPU.
NETWORKS = {
    "even": config([96, 96, 96], 2),
    "wide": config([128, 128, 128], 1),
    "narrow": config([64, 96, 128], 2),
    "trial": config([32, 32], 1),
}


def schedule() -> DiscreteVP:
    """DDPM's 1000 linear betas."""
    return read_scheduler(SCHEDULER).schedule


def construct(name: str, key: Key) -> UNet:
    """A network whose residual branches and output start at zero (as in Ho et al. 2020)."""
    network = UNet.from_config(NETWORKS[name], key=key)

    def start(path, leaf):
        names = jax.tree_util.keystr(path, simple=True, separator=".").split(".")
        quiet = {"conv2", "to_out", "conv_out"} & set(names)
        return jnp.zeros_like(leaf) if quiet else leaf

    return jax.tree_util.tree_map_with_path(start, network)


def rate(step: ArrayLike) -> Array:
    """The learning rate: a warm-up, a plateau, then a fall with the root of the steps."""
    step = jnp.asarray(step, jnp.float32)
    return PEAK * jnp.minimum(1, (step + 1) / WARM) / jnp.sqrt(jnp.maximum(1, step / HOLD))


def task(batch: int, dtype: DTypeLike) -> Task:
    """How the denoiser is trained, computing in `dtype`."""
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b2=0.99))
    return Task(denoising(dtype), optimiser, batch)


def denoising(dtype: DTypeLike, flips: bool = True) -> Loss:
    """DDPM's simple loss: the squared error of the predicted noise at a random timestep."""

    def loss(network: UNet, batch: Data, key: Key) -> Scalar:
        noising, keys, n = schedule(), jax.random.split(key, 3), len(batch.images)
        # One timestep in each of n equal intervals: the same mean with less variance.
        spread = (jnp.arange(n) + jax.random.uniform(keys[0], (n,))) / n
        levels = jnp.minimum(1 + jnp.floor(spread * noising.t_max), noising.t_max)
        noise = jax.random.normal(keys[1], batch.images.shape)
        mirrored = flips & jax.random.bernoulli(keys[2], shape=(n,))
        rounded = Retimed(cast(network, dtype))

        def one(x, level, eps, mirror):
            x = jnp.where(mirror, x[:, ::-1], x)
            noisy = noising.alpha(level) * x + noising.sigma(level) * eps
            out = rounded(noisy.astype(dtype), level).astype(jnp.float32)
            return jnp.mean((out - eps) ** 2)

        return jnp.mean(jax.vmap(one)(to_range(batch.images), levels, noise, mirrored))

    return loss


def model(network: UNet) -> DiffusionModel:
    """A network with its schedule, as samplers see it."""
    return DiffusionModel(Retimed(network), schedule(), (*network.config.size(), 3))


@jit
def draw(network: UNet, number: int, steps: int = 50) -> Float[Array, "N H W C"]:
    """The first samples of DDIM with so many steps."""
    table = DDIM(steps).table(schedule())
    return sample_batch(table, model(network), jax.random.key(0), jnp.arange(number))


@jit
def _mean_loss(network: UNet, data: Data, key: Key, batches: int, size: int) -> Scalar:
    def one(n):
        rows = (n * size + jnp.arange(size)) % len(data.images)
        batch = Data(data.images[rows], data.labels[rows])
        return denoising(jnp.float32, flips=False)(network, batch, jax.random.fold_in(key, n))

    return jnp.mean(jax.lax.map(one, jnp.arange(batches)))


def measure_loss(network: UNet, data: Data, size: int = 500) -> float:
    """The loss on up to 10,000 images, with the same noise and timesteps every time."""
    size = min(size, len(data.images))
    batches = min(len(data.images), 10_000) // size
    return float(_mean_loss(network, data, jax.random.key(0), batches, size))


def export(folder: Path, name: str, network: UNet) -> None:
    """Write a network in diffusers' layout, in half precision."""
    save_diffusers(folder, network, NETWORKS[name], SCHEDULER, np.float16)


def load(folder: Path) -> UNet:
    """The network that was written into a folder."""
    timed = load_diffusers(folder).network
    assert isinstance(timed, Retimed)
    assert isinstance(timed.network, UNet)
    return timed.network

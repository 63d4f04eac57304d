"""The denoiser: candidates, the objective, and how good it is."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.special import ndtri
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from ...backbones import PatchUNet, PatchUNetConfig, Retimed
from ...core.compiling import jit
from ...core.engine import sample_batch
from ...core.families import DDIM
from ...core.model import DiffusionModel
from ...core.schedule import DiscreteVP
from ...core.types import Key, Scalar
from .loop import Data, Loss, Task, cast, to_range

PEAK, WARM, HOLD = 1e-3, 1000, 10_000  # the learning rate, its steps of warm-up and at the peak
DEVIATION = 0.5  # of the images' pixels, about
# The logarithm of sigma / alpha in training: a normal one's mean and deviation, and the share of
# times that are uniform instead, so that no level is unknown to the network.
CENTRE, SPREAD, UNIFORM = -1.0, 1.3, 0.15

# At most 5.9 M parameters, 11.8 MB in half precision.
NETWORKS = {
    "folded": PatchUNetConfig(),  # for CPUs
    "wide": PatchUNetConfig(widths=(96, 192, 256)),
    "full": PatchUNetConfig(patch=1, widths=(96, 128, 128, 192)),
}


def make_schedule() -> DiscreteVP:
    """DDPM's 1000 linear betas."""
    return DiscreteVP.from_betas(np.linspace(1e-4, 0.02, 1000))


def construct(name: str, key: Key) -> PatchUNet:
    """A network whose residual branches and output start at zero (as in Ho et al. 2020)."""
    network = PatchUNet(NETWORKS[name], key=key)

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


def draw_levels(n: int, key: Key) -> Float[Array, "n"]:
    """Times of training, real numbers from 1: each in one of n equally likely intervals.

    That gives the same mean with less variance.
    """
    noising, keys = make_schedule(), jax.random.split(key)
    shares = (jnp.arange(n) + jax.random.uniform(keys[0], (n,))) / n
    ratios = CENTRE + SPREAD * ndtri(jnp.clip(shares, 1e-5, 1 - 1e-5))
    levels = jnp.arange(1, noising.t_max + 1)
    chosen = jnp.interp(2 * ratios, -noising.log_snr, levels)
    evenly = 1 + (noising.t_max - 1) * shares
    return jnp.where(jax.random.bernoulli(keys[1], UNIFORM, (n,)), evenly, chosen)


def denoising(dtype: DTypeLike) -> Loss:
    """The squared error of v, weighted as Karras et al. (2022, table 1) weight that of x0."""

    def loss(network: PatchUNet, batch: Data, key: Key) -> Scalar:
        noising, keys, n = make_schedule(), jax.random.split(key, 3), len(batch.images)
        levels = draw_levels(n, keys[0])
        noise = jax.random.normal(keys[1], batch.images.shape)
        mirrored = jax.random.bernoulli(keys[2], shape=(n,))
        rounded = Retimed(cast(network, dtype))

        def one(x, level, eps, mirror):
            x = jnp.where(mirror, x[:, ::-1], x)
            alpha, sigma = noising.alpha(level), noising.sigma(level)
            noisy = (alpha * x + sigma * eps).astype(dtype)
            error = rounded(noisy, level).astype(jnp.float32) - (alpha * eps - sigma * x)
            return (alpha**2 + (sigma / DEVIATION) ** 2) * jnp.mean(error**2)

        return jnp.mean(jax.vmap(one)(to_range(batch.images), levels, noise, mirrored))

    return loss


def make_model(network: PatchUNet) -> DiffusionModel:
    """A network with its schedule, as samplers see it."""
    shape = (network.config.size, network.config.size, network.config.channels)
    return DiffusionModel(Retimed(network), make_schedule(), shape, "v")


@jit
def draw(network: PatchUNet, number: int, steps: int = 50) -> Float[Array, "N H W C"]:
    """The first samples of DDIM with so many steps."""
    table = DDIM(steps).table(make_schedule())
    return sample_batch(table, make_model(network), jax.random.key(0), jnp.arange(number))


@jit
def _mean_loss(model: DiffusionModel, data: Data, key: Key, batches: int, size: int) -> Scalar:
    last = model.schedule.t_max

    def one(x, level, eps):
        noisy = model.schedule.alpha(level) * x + model.schedule.sigma(level) * eps
        return jnp.mean((model(noisy, level).eps - eps) ** 2)

    def some(n):
        images = to_range(data.images[(n * size + jnp.arange(size)) % len(data.images)])
        keys = jax.random.split(jax.random.fold_in(key, n))
        shares = (jnp.arange(size) + jax.random.uniform(keys[0], (size,))) / size
        levels = jnp.minimum(1 + jnp.floor(shares * last), last)
        noise = jax.random.normal(keys[1], images.shape)
        return jnp.mean(jax.vmap(one)(images, levels, noise))

    return jnp.mean(jax.lax.map(some, jnp.arange(batches)))


def measure_loss(model: DiffusionModel, data: Data, size: int = 500) -> float:
    """The squared error of eps, over all timesteps alike, of up to 10,000 images.

    The loss of Ho et al. (2020), with the same noise and timesteps every time.
    """
    size = min(size, len(data.images))
    batches = min(len(data.images), 10_000) // size
    unclipped = replace(model, clip=None)
    return float(_mean_loss(unclipped, data, jax.random.key(0), batches, size))

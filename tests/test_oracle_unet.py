"""The UNet computes what diffusers' `UNet2DModel` does, and loads what diffusers saves."""

import json
import random
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplerzoo.backbones import UNet
from samplerzoo.formats import inspect_config, load_diffusers, read_weights
from samplerzoo.formats.scheduling import read_scheduler
from samplerzoo.formats.weights import fill
from unets import SCHEDULER

torch = pytest.importorskip("torch", reason="the oracle extra (torch, diffusers) is not installed")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    diffusers = pytest.importorskip(
        "diffusers", reason="the oracle extra (torch, diffusers) is not installed"
    )

pytestmark = pytest.mark.oracle

DOWN, ATTN_DOWN = "DownBlock2D", "AttnDownBlock2D"
UP, ATTN_UP = "UpBlock2D", "AttnUpBlock2D"
# As in google/ddpm-cifar10-32.
CIFAR = {
    "act_fn": "silu",
    "attention_head_dim": None,
    "block_out_channels": [128, 256, 256, 256],
    "center_input_sample": False,
    "down_block_types": [DOWN, ATTN_DOWN, DOWN, DOWN],
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "in_channels": 3,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-06,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 32,
    "time_embedding_type": "positional",
    "up_block_types": [UP, UP, ATTN_UP, UP],
}
# As in google/ddpm-church-256 and its like, at another size of the images.
CHURCH = CIFAR | {
    "block_out_channels": [128, 128, 256, 256, 512, 512],
    "down_block_types": [DOWN, DOWN, DOWN, DOWN, ATTN_DOWN, DOWN],
    "up_block_types": [UP, ATTN_UP, UP, UP, UP, UP],
    "sample_size": 64,
}
TINY = CIFAR | {
    "block_out_channels": [16, 32],
    "down_block_types": [DOWN, ATTN_DOWN],
    "up_block_types": [ATTN_UP, UP],
    "norm_num_groups": 8,
    "layers_per_block": 1,
    "sample_size": 8,
}
TIMES = (0.0, 1.0, 500.0, 999.0)


def oracle(config: dict, seed: int = 0):
    """diffusers' network with norms and biases that no initialisation gives."""
    torch.manual_seed(seed)
    network = diffusers.UNet2DModel(**config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    return network


@eqx.filter_jit
def apply(network, x, times, labels=None):
    return jax.vmap(network)(x, times, *([] if labels is None else [labels]))


def images(config: dict, number: int) -> np.ndarray:
    shape = (number, config["sample_size"], config["sample_size"], config["in_channels"])
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def theirs(network, x, times, labels=None) -> np.ndarray:
    with torch.no_grad():
        out = network(
            torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))),
            torch.tensor(times),
            class_labels=None if labels is None else torch.tensor(labels),
        ).sample
    return out.numpy().transpose(0, 2, 3, 1)


def compare(config: dict, times=TIMES, labels=None, seed=0) -> float:
    """The largest difference between both networks' outputs, which are of the order of 1."""
    network = oracle(config, seed)
    shapes = eqx.filter_eval_shape(UNet.from_config, config, key=jax.random.key(0))
    ours = fill(shapes, {name: a.numpy() for name, a in network.state_dict().items()})
    x = images(config, len(times))
    wanted = theirs(network, x, times, labels)
    found = apply(ours, x, jnp.asarray(times), None if labels is None else jnp.asarray(labels))
    assert 0.1 < np.std(wanted) < 3
    return float(np.max(np.abs(found - wanted)))


@pytest.mark.parametrize("config", [CIFAR, CHURCH], ids=["cifar", "church"])
def test_the_published_architectures(config):
    difference = compare(config, TIMES if config is CIFAR else (500.0,))
    assert difference <= 5e-6
    assert (
        inspect_config(config, SCHEDULER).parameters
        == {
            32: 35_746_307,
            64: 113_673_219,
        }[config["sample_size"]]
    )


def draw_config(rng: random.Random) -> dict:
    """One of the architectures that a configuration can ask for."""
    levels, groups = rng.choice([1, 2, 2, 3]), rng.choice([1, 4, 8])
    resnets = rng.choice([[], ["Resnet"]])
    down = [DOWN, ATTN_DOWN, *(f"{name}DownsampleBlock2D" for name in resnets)]
    up = [UP, ATTN_UP, *(f"{name}UpsampleBlock2D" for name in resnets)]
    channels = rng.choice([1, 3])
    conditional = rng.random() < 0.4
    return {
        "sample_size": 8,
        "in_channels": channels,
        "out_channels": channels * rng.choice([1, 2]),
        "center_input_sample": rng.random() < 0.3,
        "flip_sin_to_cos": rng.random() < 0.5,
        "freq_shift": rng.choice([0, 1]),
        "block_out_channels": [groups * rng.choice([2, 3, 4]) * 4 for _ in range(levels)],
        "down_block_types": rng.choices(down, k=levels),
        "up_block_types": rng.choices(up, k=levels),
        "mid_block_type": rng.choice(["UNetMidBlock2D"] * 3 + [None]),
        "layers_per_block": rng.choice([1, 2]),
        "mid_block_scale_factor": rng.choice([1, 1.5]),
        "downsample_padding": rng.choice([0, 1]),
        "downsample_type": rng.choice(["conv", "resnet"]),
        "upsample_type": rng.choice(["conv", "resnet"]),
        "act_fn": rng.choice(["silu", "mish", "gelu", "relu", "swish"]),
        "attention_head_dim": rng.choice([None, 3, 8]),
        "norm_num_groups": groups,
        "attn_norm_num_groups": rng.choice([None, groups]),
        "norm_eps": rng.choice([1e-6, 1e-5]),
        "resnet_time_scale_shift": rng.choice(["default", "scale_shift"]),
        "time_embedding_dim": rng.choice([None, 24]),
        "add_attention": rng.random() < 0.8,
        "num_class_embeds": 5 if conditional else None,
    }


@pytest.mark.parametrize("seed", range(10))
def test_architectures_drawn_at_random(seed):
    config = draw_config(random.Random(seed))
    labels = [0, 3, 4, 1] if config["num_class_embeds"] else None
    assert compare(config, labels=labels, seed=seed) <= 5e-6


@pytest.mark.parametrize("padding", [0, 1])
def test_gradients_of_the_input(padding):
    config = TINY | {"downsample_padding": padding}
    network = oracle(config)
    shapes = eqx.filter_eval_shape(UNet.from_config, config, key=jax.random.key(0))
    ours = fill(shapes, {name: a.numpy() for name, a in network.state_dict().items()})
    x, times = images(config, 2), (7.0, 900.0)

    start = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))).requires_grad_()
    torch.sin(network(start, torch.tensor(times)).sample).sum().backward()
    slope = eqx.filter_jit(jax.grad(lambda x, f, t: jnp.sum(jnp.sin(apply(f, x, t)))))
    found = slope(jnp.asarray(x), ours, jnp.asarray(times))
    wanted = start.grad.numpy().transpose(0, 2, 3, 1)
    assert np.std(wanted) > 0.1
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        ({"class_embed_type": "timestep"}, [3.0, 7.5]),
        ({"time_embedding_type": "fourier"}, None),
    ],
    ids=["timestep", "fourier"],
)
def test_other_embeddings(config, labels):
    network = oracle(TINY | config)
    shapes = eqx.filter_eval_shape(UNet.from_config, TINY | config, key=jax.random.key(0))
    ours = fill(shapes, {name: a.numpy() for name, a in network.state_dict().items()})
    x, times = images(TINY, 2), (1.5, 20.0)
    found = apply(ours, x, jnp.asarray(times), None if labels is None else jnp.asarray(labels))
    np.testing.assert_allclose(found, theirs(network, x, times, labels), atol=1e-5)


def rename_attentions(state: dict) -> dict:
    """The names of attentions' layers in checkpoints before 2023."""
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for new, name in old.items():
        state = {key.replace(f".{new}.", f".{name}."): value for key, value in state.items()}
    assert any("proj_attn" in key for key in state)
    return state


def save_pipeline(network, folder, **options):
    scheduler = diffusers.DDPMScheduler()
    diffusers.DDPMPipeline(network, scheduler).save_pretrained(folder, **options)


def save_at_root(network, folder, **options):
    network.save_pretrained(folder, **options)
    diffusers.DDIMScheduler().save_pretrained(folder)


def save_old(network, folder, **options):
    """As in 2022: all files at the root, weights in a .bin with the old names."""
    save_at_root(network, folder)
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    state = rename_attentions(network.state_dict())
    torch.save(state, folder / "diffusion_pytorch_model.bin", **options)


SAVERS = {
    "pipeline": (save_pipeline, {}),
    "pipeline-bin": (save_pipeline, {"safe_serialization": False}),
    "root": (save_at_root, {}),
    "shards": (save_at_root, {"max_shard_size": "40KB"}),
    "old-zip": (save_old, {}),
    "old-legacy": (save_old, {"_use_new_zipfile_serialization": False}),
}


@pytest.mark.parametrize("how", SAVERS)
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_diffusers_saves_is_loaded(how, tmp_path):
    network = oracle(TINY)
    save, options = SAVERS[how]
    save(network, tmp_path, **options)
    model = load_diffusers(tmp_path)
    assert (model.shape, model.prediction, model.clip) == ((8, 8, 3), "eps", (-1.0, 1.0))
    x = images(TINY, len(TIMES))
    found = apply(model.network, x, jnp.asarray(TIMES) + 1)
    np.testing.assert_allclose(found, theirs(network, x, TIMES), rtol=0, atol=5e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_read_in_full(dtype, tmp_path):
    network = oracle(TINY).to(getattr(torch, dtype))
    save_at_root(network, tmp_path)
    found = jax.tree.leaves(eqx.filter(load_diffusers(tmp_path).network, eqx.is_array))
    assert {str(a.dtype) for a in found} == {"float32"}
    torch.save(network.state_dict(), tmp_path / "weights.bin")
    for name in ("diffusion_pytorch_model.safetensors", "weights.bin"):
        for key, tensor in read_weights(tmp_path / name).items():
            wanted = network.state_dict()[key].float().numpy()
            np.testing.assert_array_equal(tensor.astype(np.float32), wanted)


def test_a_class_conditional_model(tmp_path):
    network = oracle(TINY | {"num_class_embeds": 4, "sample_size": 8})
    save_at_root(network, tmp_path)
    with pytest.raises(ValueError, match="from 0 to 3"):
        load_diffusers(tmp_path)
    x = images(TINY, 2)
    found = apply(load_diffusers(tmp_path, label=3).network, x, jnp.asarray([4.0, 700.0]))
    wanted = theirs(network, x, (3.0, 699.0), [3, 3])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=5e-6)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"},
        {"beta_schedule": "sigmoid", "num_train_timesteps": 200, "prediction_type": "sample"},
        {"trained_betas": [0.1, 0.2, 0.05, 0.3], "clip_sample_range": 2.0},
        {"clip_sample": False},
    ],
    ids=lambda options: next(iter(options.values()), "linear") if options else "default",
)
def test_schedules(options, tmp_path, x64):
    scheduler = diffusers.DDPMScheduler(**options)
    scheduler.save_pretrained(tmp_path)
    noise = read_scheduler(json.loads((tmp_path / "scheduler_config.json").read_text()))
    signal = scheduler.alphas_cumprod.numpy()
    levels = jnp.arange(1.0, len(signal) + 1)
    # diffusers multiplies up to 1000 factors in float32.
    found = jax.vmap(noise.schedule.alpha)(levels) ** 2
    np.testing.assert_allclose(found, signal, rtol=3e-4 * len(signal) / 1000 + 1e-6)
    assert noise.schedule.steps == len(signal)
    kinds = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
    assert noise.prediction == kinds[scheduler.config.prediction_type]
    bound = scheduler.config.clip_sample_range
    assert noise.clip == ((-bound, bound) if scheduler.config.clip_sample else None)

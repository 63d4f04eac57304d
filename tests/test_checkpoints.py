"""Models in diffusers' layout and OpenAI's: what is loaded, and what is refused by name."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import torch_files
from samplerzoo import DDIM, sample_batch
from samplerzoo.formats import inspect_config, load_diffusers, load_openai
from samplerzoo.formats.scheduling import read_scheduler
from unets import SCHEDULER, SMALL, random_unet, save_model, torch_state

WEIGHTS = "diffusion_pytorch_model"
OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


@pytest.fixture(scope="module")
def network():
    return random_unet(SMALL)


@pytest.fixture
def folder(tmp_path, network):
    save_model(tmp_path, network, SMALL)
    return tmp_path


def weights(tree) -> list:
    return jax.tree.leaves(eqx.filter(tree, eqx.is_array))


def assert_same(model, network):
    for found, wanted in zip(weights(model.network), weights(network), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_folder_becomes_a_model(folder, network):
    model = load_diffusers(folder)
    assert_same(model, network)
    assert (model.shape, model.prediction, model.clip) == ((8, 8, 1), "eps", (-1.0, 1.0))
    assert model.schedule.steps == 1000
    x = jax.random.normal(jax.random.key(0), model.shape)
    call = eqx.filter_jit(lambda f, x, t: f(x, t))
    np.testing.assert_array_equal(
        call(model.network, x, jnp.asarray(8.0)), call(network, x, jnp.asarray(7.0))
    )
    out = eqx.filter_jit(sample_batch)(
        DDIM(3).table(model.schedule), model, jax.random.key(1), np.arange(2)
    )
    assert out.shape == (2, 8, 8, 1)
    assert np.all(np.isfinite(out))


def test_layout_of_a_pipeline(folder, network):
    parts = {"unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "DDPMScheduler"]}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "DDPMPipeline", **parts}))
    for part, names in {
        "unet": ["config.json", f"{WEIGHTS}.safetensors"],
        "scheduler": ["scheduler_config.json"],
    }.items():
        (folder / part).mkdir()
        for name in names:
            (folder / name).rename(folder / part / name)
    assert_same(load_diffusers(folder), network)


def test_shards(folder, network):
    state = torch_state(network)
    (folder / f"{WEIGHTS}.safetensors").unlink()
    where = {name: f"{WEIGHTS}-{n % 2}.safetensors" for n, name in enumerate(state)}
    for file in set(where.values()):
        part = {name: a for name, a in state.items() if where[name] == file}
        safetensors.numpy.save_file(part, folder / file)
    index = folder / f"{WEIGHTS}.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    assert_same(load_diffusers(folder), network)
    for wrong in ("../../secret.safetensors", "/etc/passwd", ".."):
        index.write_text(json.dumps({"weight_map": where | {"conv_in.bias": wrong}}))
        with pytest.raises(ValueError, match=r"conv_in.bias.* it must be a text of at most 200"):
            load_diffusers(folder)
    index.write_text(json.dumps({"weight_map": where | {"another": "another.safetensors"}}))
    with pytest.raises(ValueError, match=r"lists another.safetensors, which is not there"):
        load_diffusers(folder)
    index.write_text(json.dumps({"weight_map": where | {"another": "another.safetensors"}}))
    (folder / "another.safetensors").write_bytes((folder / where["conv_in.bias"]).read_bytes())
    with pytest.raises(ValueError, match=r"Two files of .* have a tensor"):
        load_diffusers(folder)


@pytest.mark.parametrize("make", [torch_files.zip_file, torch_files.legacy_file])
@pytest.mark.parametrize("old", [True, False])
def test_pytorch_files_and_old_names(make, old, folder, network):
    state = torch_state(network)
    if old:
        for new, name in OLD_NAMES.items():
            state = {key.replace(f".{new}.", f".{name}."): a for key, a in state.items()}
    (folder / f"{WEIGHTS}.safetensors").unlink()
    content = make(torch_files.state(state), torch_files.numbers(state))
    (folder / f"{WEIGHTS}.bin").write_bytes(content)
    assert_same(load_diffusers(folder), network)


def rewrite(folder, change):
    """The model's tensors, changed in place."""
    path = folder / f"{WEIGHTS}.safetensors"
    state = safetensors.numpy.load_file(path)
    change(state)
    safetensors.numpy.save_file(state, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("conv_in.bias"), "'conv_in.bias' is missing"),
        (lambda s: s.update(ema=np.zeros(3)), "'ema' is not expected"),
        (lambda s: s.update({"conv_in.bias": np.zeros(5)}), r"'conv_in.bias' has shape \(5,\)"),
        (lambda s: s.update({"conv_in.bias": np.zeros(4, int)}), "'conv_in.bias' holds int64"),
        (lambda s: s.update({"conv_out.weight": np.zeros((4, 1, 3, 3))}), "'conv_out.weight' has"),
        (lambda s: s.update({"conv_out.weight": np.zeros(36)}), "'conv_out.weight' has shape"),
        (
            lambda s: s.update({"time_embedding.linear_1.weight": np.zeros((16, 4, 3))}),
            "'time_embedding.linear_1.weight' has shape",
        ),
    ],
    ids=["missing", "extra", "size", "integers", "turned", "flat", "matrix"],
)
def test_every_tensor_must_fit(change, message, folder):
    rewrite(folder, change)
    with pytest.raises(ValueError, match=message):
        load_diffusers(folder)


def test_half_precision_is_read_in_full(folder, network):
    rewrite(folder, lambda s: s.update({name: a.astype(np.float16) for name, a in s.items()}))
    model = load_diffusers(folder)
    for found, wanted in zip(weights(model.network), weights(network), strict=True):
        assert found.dtype == jnp.float32
        np.testing.assert_array_equal(found, np.asarray(wanted, np.float16).astype(np.float32))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", '{"_class_name": "UNet2DConditionModel"}', "UNet2DConditionModel.*UNet2D"),
        ("config.json", "[1]", "config.json is .1.; it must be names"),
        ("config.json", "{", "config.json cannot be read as JSON"),
        ("config.json", "[" * 100_000, "config.json cannot be read as JSON"),
        ("config.json", b"\xff\xfe", "config.json cannot be read as JSON"),
        ("config.json", json.dumps(SMALL | {"sample_size": None}), "sample_size is null"),
        ("config.json", json.dumps(SMALL | {"out_channels": 3}), "out_channels is 3"),
        ("config.json", json.dumps(SMALL | {"class_embed_type": "identity"}), "class_embed_type"),
        ("config.json", None, "is not supported. It is not a folder of diffusers"),
        ("scheduler_config.json", None, "There is no scheduler_config.json"),
        ("scheduler_config.json", "{}", "_class_name is missing; it must be 'DDPMScheduler' or"),
        (
            f"{WEIGHTS}.safetensors",
            None,
            "It is not a folder of .* with diffusion_pyt",
        ),
        (f"{WEIGHTS}.safetensors", b"\0" * 99, "is not a file of tensors"),
        ("model_index.json", '{"vqvae": ["diffusers", "VQModel"]}', "a part 'vqvae'"),
    ],
)
def test_what_is_wrong_in_a_folder_is_named(name, content, message, folder):
    (folder / name).unlink(missing_ok=True)
    if content is not None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        load_diffusers(folder)


def test_labels(tmp_path, network, folder):
    with pytest.raises(ValueError, match="no classes"):
        load_diffusers(folder, label=1)
    config = SMALL | {"num_class_embeds": 3}
    save_model(tmp_path / "classes", random_unet(config), config)
    for label in (None, 3, -1):
        with pytest.raises(ValueError, match=f"label is {label}.*from 0 to 2"):
            load_diffusers(tmp_path / "classes", label=label)
    model = load_diffusers(tmp_path / "classes", label=2)
    out = eqx.filter_eval_shape(model, jnp.zeros(model.shape), jnp.asarray(3.0))
    assert out.x0.shape == model.shape


def test_guidance(tmp_path):
    config = SMALL | {"num_class_embeds": 3}
    save_model(tmp_path, random_unet(config), config)
    with pytest.raises(ValueError, match=r"label is 2.*from 0 to 1"):  # 2 stands for no class
        load_diffusers(tmp_path, label=2, guidance=3.0)
    with pytest.raises(ValueError, match="label is None"):
        load_diffusers(tmp_path, guidance=3.0)
    plain, none, guided = (
        load_diffusers(tmp_path, label=label, guidance=weight)
        for label, weight in ((1, None), (2, None), (1, 3.0))
    )
    assert (plain.passes, guided.passes) == (1, 2)
    x, t = jax.random.normal(jax.random.key(0), plain.shape), jnp.asarray(500.0)
    outs = [eqx.filter_jit(m.network)(x, t) for m in (plain, none, guided)]
    assert jnp.max(jnp.abs(outs[0] - outs[1])) > 1e-3
    assert jnp.allclose(outs[2], outs[1] + 3 * (outs[0] - outs[1]), atol=1e-5)


def test_a_model_by_its_configuration():
    found = inspect_config(SMALL | {"num_class_embeds": 3}, SCHEDULER | {"clip_sample": False})
    size = sum(a.size for a in weights(random_unet(SMALL | {"num_class_embeds": 3})))
    assert found._asdict() == {
        "architecture": "UNet2DModel",
        "parameters": size,
        "shape": (8, 8, 1),
        "classes": 3,
        "schedule": "linear",
        "steps": 1000,
        "prediction": "eps",
        "clip": None,
    }
    # Gigabytes are counted, not allocated.
    huge = SMALL | {"block_out_channels": [2**14, 2**14]}
    assert inspect_config(huge, SCHEDULER).parameters > 10**10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"_class_name": "ScoreSdeVeScheduler"},
            "is 'ScoreSdeVe.*it must be 'DDPMScheduler' or",
        ),
        ({"_class_name": ["DDPMScheduler"]}, r"_class_name is \['DDPMScheduler'\]"),
        ({"prediction_type": "flow_prediction"}, "'flow_prediction'; it must be 'epsilon' or"),
        ({"beta_schedule": "laplace"}, "'laplace'; it must be 'linear' or"),
        ({"beta_schedule": ["linear"]}, r"beta_schedule is \['linear'\]"),
        ({"thresholding": True}, "thresholding, which is not supported"),
        ({"rescale_betas_zero_snr": True}, "no signal"),
        ({"num_train_timesteps": 10**12}, "from 1 to 100000"),
        ({"num_train_timesteps": "1000"}, "whole number"),
        ({"beta_end": float("nan")}, "beta_end is nan"),
        ({"beta_start": 1.5}, "beta_start is 1.5"),
        ({"trained_betas": [0.1, "0.2"]}, r"trained_betas\[1\] is '0.2'; it must be a number"),
        ({"trained_betas": []}, r"trained_betas is \[\]; it must be a list of 1"),
        ({"clip_sample_range": -1}, "clip_sample_range is -1"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_schedulers_that_are_not_supported(change, message):
    with pytest.raises(ValueError, match=message):
        read_scheduler(SCHEDULER | change)


def test_schedules_in_closed_form(x64):
    noise = read_scheduler(
        SCHEDULER | {"num_train_timesteps": 3, "beta_end": 0.3, "beta_start": 0.1}
    )
    signal = np.cumprod([0.9, 0.8, 0.7])
    levels = jnp.arange(1.0, 4.0)
    np.testing.assert_allclose(jax.vmap(noise.schedule.alpha)(levels) ** 2, signal, rtol=1e-12)
    cosine = read_scheduler(SCHEDULER | {"beta_schedule": "squaredcos_cap_v2"}).schedule

    def angle(t):
        return np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2

    found = cosine.alpha(jnp.asarray(500.0)) ** 2
    np.testing.assert_allclose(found, angle(0.5) / angle(0), rtol=1e-10)
    euler = {"_class_name": "EulerDiscreteScheduler", "prediction_type": "v_prediction"}
    assert read_scheduler(euler)[1:] == ("v", None)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("cifar100", "no preset 'cifar100'; there are cifar10-uncond-50m"),
        ({"image_sise": 32}, "no flag 'image_sise'; there are image_size"),
        ({"image_size": "32"}, "image_size is '32'; it must be of type int"),
        ({"diffusion_steps": 4000}, "give rescale_timesteps"),
        ({"noise_schedule": "sqrt"}, "must be linear or cosine"),
        ({"image_size": 512}, "image_size is 512"),
        ({"channel_mult": "0.5,1"}, "channel_mult is '0.5,1'"),
        ({"attention_resolutions": "8,"}, "attention_resolutions is '8,'"),
        ({"num_heads_upsample": 2}, "num_heads_upsample"),
        ({"num_channels": 48}, "multiple of norm_num_groups"),
        ({"class_cond": True}, "from 0 to 999"),
        ({"num_channels": 32, "image_size": 32}, "does not fit the flags.*is missing"),
    ],
    ids=str,
)
def test_flags_that_do_not_fit(flags, message, tmp_path):
    safetensors.numpy.save_file({"out.0.bias": np.zeros(32, np.float32)}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=message):
        load_openai(tmp_path / "model.pt", flags)

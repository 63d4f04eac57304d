"""DDIM and DDPM agree with diffusers' schedulers, the same noise replayed, in float64.

Level `t` here is diffusers' timestep `t - 1`; level 0 is data. Both drive the same network. Starts
are given to both: diffusers starts at N(0, I), `sample_batch` at N(0, sigma(t_max)^2 I).
"""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplerzoo import DDIM, DDPM, DiffusionModel, DiscreteVP, Times, run_table
from samplerzoo.core.engine import draw

torch = pytest.importorskip("torch", reason="the oracle extra (torch, diffusers) is not installed")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("diffusers", reason="the oracle extra (torch, diffusers) is not installed")
    from diffusers.schedulers import scheduling_ddim, scheduling_ddpm

pytestmark = pytest.mark.oracle

LEVELS, SIZE, SAMPLES = 1000, 4, 3
SIGNAL = np.cumprod(1 - np.linspace(1e-4, 0.02, LEVELS))
PREDICTIONS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
SPACINGS = ("leading", "linspace", "trailing")

_rng = np.random.default_rng(0)
ENTRY, EXIT = _rng.normal(size=(SIZE, 16)) / 2, _rng.normal(size=(16, SIZE)) / 2
PHASE, RATE = _rng.normal(size=16), _rng.normal(size=16)


def jax_network(x, t):
    hidden = jnp.tanh(x @ ENTRY + PHASE + RATE * jnp.sin(5 * (t - 1) / LEVELS))
    return 1.5 * jnp.tanh(hidden @ EXIT)


def torch_network(x, timestep):
    entry, leave, phase, rate = map(torch.from_numpy, (ENTRY, EXIT, PHASE, RATE))
    hidden = torch.tanh(x @ entry + phase + rate * np.sin(5 * int(timestep) / LEVELS))
    return 1.5 * torch.tanh(hidden @ leave)


def make_oracle(module, name, steps, spacing, prediction, clip, **options):
    scheduler = getattr(module, name)(
        num_train_timesteps=LEVELS,
        timestep_spacing=spacing,
        prediction_type=PREDICTIONS[prediction],
        clip_sample=clip,
        **options,
    )
    # diffusers makes these in float32, whatever the type of the betas.
    scheduler.alphas_cumprod = torch.from_numpy(SIGNAL)
    scheduler.final_alpha_cumprod = scheduler.one = torch.tensor(1.0, dtype=torch.float64)
    scheduler.set_timesteps(steps)
    return scheduler


@eqx.filter_jit
def sample_ours(table, model, x, keys):
    return jax.vmap(lambda x, key: run_table(table, model, x, key))(x, keys)


def ours(family, prediction, clip, x, keys):
    schedule = DiscreteVP.from_alphas_cumprod(SIGNAL)
    bounds = (-1.0, 1.0) if clip else None
    model = DiffusionModel(jax_network, schedule, (SIZE,), prediction, bounds)
    return np.asarray(sample_ours(family.table(schedule), model, jnp.asarray(x), keys))


def starts(steps):
    """States to start at, keys, and the noise (steps, samples, size) that the keys stand for."""
    x = np.random.default_rng(1).normal(size=(SAMPLES, SIZE))
    keys = jax.random.split(jax.random.key(3), SAMPLES)
    noise = jax.vmap(lambda n: jax.vmap(lambda key: draw(key, n, (SIZE,)))(keys))
    return x, keys, torch.from_numpy(np.array(noise(jnp.arange(1, steps + 1))))


def ddim_levels(oracle, steps):
    """The levels DDIM tells the network, and those of the states it steps to."""
    timesteps = oracle.timesteps.numpy()
    stepped = timesteps - LEVELS // steps
    assert stepped[-1] < 0, "the last step must end at data"
    return timesteps + 1, np.array([timesteps[0] + 1, *(stepped[:-1] + 1), 0])


def run_ddim(oracle, x, noise, eta):
    x = torch.from_numpy(x)
    for timestep, z in zip(oracle.timesteps, noise, strict=True):
        out = torch_network(x, timestep)
        x = oracle.step(
            out, int(timestep), x, eta=eta, variance_noise=z, use_clipped_model_output=True
        ).prev_sample
    return x.numpy()


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-10)


# With linspace DDIM steps a tenth of a per cent short of the next time told, so that the told
# times leave the grid; at 50 steps they stay within what Times allows.
@pytest.mark.parametrize(
    ("spacing", "steps"), [("leading", 10), ("leading", 7), ("linspace", 50), ("trailing", 10)]
)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("clip", [True, False])
def test_ddim(x64, spacing, steps, eta, prediction, clip):
    oracle = make_oracle(
        scheduling_ddim, "DDIMScheduler", steps, spacing, prediction, clip, set_alpha_to_one=True
    )
    x, keys, noise = starts(steps)
    told, grid = ddim_levels(oracle, steps)
    assert np.any(told != grid[:-1]) == (spacing == "linspace")
    family = DDIM(steps, Times.fit(grid, told, t_max=float(LEVELS)), eta=eta)
    close(ours(family, prediction, clip, x, keys), run_ddim(oracle, x, noise, eta))


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim_linspace_with_few_steps(x64, eta):
    """At 10 steps the last told time, 1, is far from its state's level, 12: no Times reaches it,
    so plain numbers stand in for one."""
    oracle = make_oracle(scheduling_ddim, "DDIMScheduler", 10, "linspace", "eps", True)
    x, keys, noise = starts(10)
    told, grid = (jnp.asarray(a, jnp.float64) for a in ddim_levels(oracle, 10))
    assert (told[-1], grid[-2]) == (1, 12)
    family = eqx.tree_at(lambda f: f.times, DDIM(10, eta=eta), lambda schedule: (told, grid))
    close(ours(family, "eps", True, x, keys), run_ddim(oracle, x, noise, eta))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("variance", ["posterior", "forward"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("clip", [True, False])
def test_ddpm(x64, monkeypatch, spacing, variance, prediction, clip):
    steps = 10
    oracle = make_oracle(
        scheduling_ddpm,
        "DDPMScheduler",
        steps,
        spacing,
        prediction,
        clip,
        variance_type={"posterior": "fixed_small", "forward": "fixed_large"}[variance],
    )
    x, keys, noise = starts(steps)
    # DDPM steps to the next time in its list, whatever the spacing: the times are not decoupled.
    grid = np.array([*(oracle.timesteps.numpy() + 1), 0])
    family = DDPM(steps, Times.fit(grid, t_max=float(LEVELS)), variance)
    found = ours(family, prediction, clip, x, keys)

    # The step to data has no noise here. diffusers leaves it out at timestep 0 only; at trailing's
    # last timestep it adds noise of deviation 1e-10 (fixed_small, clamped) or of the forward
    # variance (fixed_large): zeros are replayed there.
    queue = iter([*noise[:-1], torch.zeros_like(noise[-1])])
    monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, **__: next(queue))
    state = torch.from_numpy(x)
    for timestep in oracle.timesteps:
        state = oracle.step(torch_network(state, timestep), timestep, state).prev_sample
    close(found, state.numpy())


def test_clipping_and_noise_matter(x64):
    """The cases above differ from one another: the network clips, and eta is felt."""
    x, keys, _ = starts(10)
    results = [
        ours(DDIM(10, eta=float(e)), "eps", c, x, keys)
        for e, c in [(0, True), (1, True), (0, False)]
    ]
    for other in results[1:]:
        assert np.max(np.abs(results[0] - other)) > 0.01

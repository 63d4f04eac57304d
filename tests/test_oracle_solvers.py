"""Every solver agrees with diffusers' scheduler of that name, on the same network and grid.

All in float64. diffusers makes its levels and computes its steps in float32: here its modules see
`torch.float32` and `np.float32` as float64, and are otherwise as they come. Level `t` is diffusers'
timestep `t - 1`; level 0 is data.
"""

import types
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samplerzoo import AbstractSchedule, DiffusionModel, DiscreteVP, Times, run_table
from samplerzoo.core.drawing import make_table
from samplerzoo.core.engine import draw
from samplerzoo.core.families import (
    dpmpp_multistep,
    dpmpp_singlestep,
    exponential,
    heun,
    ipndm,
    unipc,
)

torch = pytest.importorskip("torch", reason="the oracle extra (torch, diffusers) is not installed")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("diffusers", reason="the oracle extra (torch, diffusers) is not installed")
    from diffusers.schedulers import (
        scheduling_deis_multistep,
        scheduling_dpmsolver_multistep,
        scheduling_dpmsolver_singlestep,
        scheduling_heun_discrete,
        scheduling_ipndm,
        scheduling_unipc_multistep,
    )

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),  # NumPy, of torch's tensors
]

LEVELS, SIZE, SAMPLES = 1000, 4, 3
BETAS = np.linspace(1e-4, 0.02, LEVELS)
SIGNAL = np.cumprod(1 - BETAS)

_rng = np.random.default_rng(0)
ENTRY, EXIT = _rng.normal(size=(SIZE, 16)) / 2, _rng.normal(size=(16, SIZE)) / 2
PHASE, RATE = _rng.normal(size=16), _rng.normal(size=16)


def jax_network(x, t):
    hidden = jnp.tanh(x @ ENTRY + PHASE + RATE * jnp.sin(5 * (t - 1) / LEVELS))
    return 1.5 * jnp.tanh(hidden @ EXIT)


def torch_network(x, timestep):
    entry, leave, phase, rate = map(torch.from_numpy, (ENTRY, EXIT, PHASE, RATE))
    hidden = torch.tanh(x @ entry + phase + rate * np.sin(5 * float(timestep) / LEVELS))
    return 1.5 * torch.tanh(hidden @ leave)


class Doubled(types.ModuleType):
    """A module whose float32 is float64."""

    def __init__(self, module):
        super().__init__(module.__name__)
        self.float32 = module.float64
        self._module = module

    def __getattr__(self, name):
        return getattr(self._module, name)


@pytest.fixture
def scheduler(monkeypatch):
    """Makes a scheduler of a module in float64."""

    def make(module, name, *given, **options):
        monkeypatch.setattr(module, "torch", Doubled(torch))
        if hasattr(module, "np"):
            monkeypatch.setattr(module, "np", Doubled(np))
        made = getattr(module, name)(trained_betas=BETAS.tolist(), **options)
        made.set_timesteps(*given)
        assert made.sigmas.dtype == torch.float64
        return made

    return make


@eqx.filter_jit
def sample_ours(table, model, x, keys):
    return jax.vmap(lambda x, key: run_table(table, model, x, key))(x, keys)


def ours(family, schedule, x, network=jax_network, prediction="eps"):
    """Samples from the states x, and the noise that its keys stand for, (K, samples, size)."""
    model = DiffusionModel(network, schedule, (SIZE,), prediction, clip=None)
    keys = jax.random.split(jax.random.key(3), SAMPLES)
    table = make_table(family, schedule)
    noise = jax.vmap(lambda n: jax.vmap(lambda key: draw(key, n, (SIZE,)))(keys))
    found = sample_ours(table, model, jnp.asarray(x), keys)
    return np.asarray(found), torch.from_numpy(np.array(noise(jnp.arange(1, table.nfe + 1))))


def starts(seed=1):
    return np.random.default_rng(seed).normal(size=(SAMPLES, SIZE))


def run_theirs(made, x, **options):
    """Through a scheduler's steps, options being lists with an entry a step."""
    state = torch.from_numpy(x)
    for n, timestep in enumerate(made.timesteps):
        now = {name: values[n] for name, values in options.items()}
        out = torch_network(made.scale_model_input(state, timestep), timestep)
        state = made.step(out, timestep, state, **now).prev_sample
    return state.numpy()


def close(found, expected):
    assert np.std(expected) > 0.05
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


def grid_of(made, end):
    return Times.fit(np.array([*(made.timesteps.numpy() + 1.0), end]), t_max=float(LEVELS))


ENDS = pytest.mark.parametrize(("final", "end"), [("zero", 0), ("sigma_min", 1)])
LOWER = pytest.mark.parametrize("lower", [True, False])


@ENDS
@LOWER
@pytest.mark.parametrize("steps", [2, 7, 16])
@pytest.mark.parametrize(
    ("order", "sde", "solver_type"),
    [
        (2, False, "midpoint"),
        (2, False, "heun"),
        (3, False, "midpoint"),  # its heun type's steps of order 2 are exact, those of 3 are not
        (2, True, "midpoint"),
        (2, True, "heun"),
    ],
)
def test_dpm_solver_multistep(x64, scheduler, order, sde, solver_type, steps, lower, final, end):
    made = scheduler(
        scheduling_dpmsolver_multistep,
        "DPMSolverMultistepScheduler",
        steps,
        solver_order=order,
        algorithm_type="sde-dpmsolver++" if sde else "dpmsolver++",
        solver_type=solver_type,
        lower_order_final=lower,
        final_sigmas_type=final,
    )
    family = dpmpp_multistep(
        steps, grid_of(made, end), order, float(sde), solver_type == "heun", lower
    )
    x = starts()
    found, noise = ours(family, DiscreteVP.from_betas(BETAS), x)
    close(found, run_theirs(made, x, **({"variance_noise": noise} if sde else {})))


@ENDS
@pytest.mark.parametrize("steps", [2, 3, 6, 7, 8])
@pytest.mark.parametrize("solver_type", ["midpoint", "heun"])
@pytest.mark.parametrize("order", [2, 3])
def test_dpm_solver_singlestep(x64, scheduler, order, solver_type, steps, final, end):
    made = scheduler(
        scheduling_dpmsolver_singlestep,
        "DPMSolverSinglestepScheduler",
        steps,
        solver_order=order,
        solver_type=solver_type,
        lower_order_final=True,
        final_sigmas_type=final,
    )
    family = dpmpp_singlestep(steps, grid_of(made, end), order, solver_type == "heun")
    x = starts()
    close(ours(family, DiscreteVP.from_betas(BETAS), x)[0], run_theirs(made, x))


@pytest.mark.parametrize(("order", "steps"), [(2, 6), (3, 6)])
def test_dpm_solver_singlestep_of_full_order_to_the_end(x64, scheduler, order, steps):
    made = scheduler(
        scheduling_dpmsolver_singlestep,
        "DPMSolverSinglestepScheduler",
        steps,
        solver_order=order,
        lower_order_final=False,
        final_sigmas_type="sigma_min",
    )
    family = dpmpp_singlestep(steps, grid_of(made, 1), order, lower_order_final=False)
    x = starts()
    close(ours(family, DiscreteVP.from_betas(BETAS), x)[0], run_theirs(made, x))


@pytest.mark.parametrize("steps", [2, 7])
@pytest.mark.parametrize(
    ("b", "final", "end"),
    [(1, "sigma_min", 1), (2, "sigma_min", 1), (2, "zero", 0)],  # diffusers' 1 is NaN at zero
)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc(x64, scheduler, order, b, steps, final, end):
    made = scheduler(
        scheduling_unipc_multistep,
        "UniPCMultistepScheduler",
        steps,
        solver_order=order,
        solver_type=f"bh{b}",
        final_sigmas_type=final,
    )
    x = starts()
    family = unipc(steps, grid_of(made, end), order, b)
    close(ours(family, DiscreteVP.from_betas(BETAS), x)[0], run_theirs(made, x))


def test_unipc_of_full_order_to_the_end(x64, scheduler):
    made = scheduler(
        scheduling_unipc_multistep,
        "UniPCMultistepScheduler",
        8,
        solver_order=3,
        final_sigmas_type="sigma_min",
        lower_order_final=False,
    )
    x = starts()
    family = unipc(8, grid_of(made, 1), 3, lower_order_final=False)
    close(ours(family, DiscreteVP.from_betas(BETAS), x)[0], run_theirs(made, x))


def test_unip_without_its_corrector(x64, scheduler):
    made = scheduler(
        scheduling_unipc_multistep,
        "UniPCMultistepScheduler",
        8,
        solver_order=3,
        final_sigmas_type="zero",
        disable_corrector=list(range(8)),
    )
    x = starts()
    family = unipc(8, grid_of(made, 0), 3, corrector=False)
    close(ours(family, DiscreteVP.from_betas(BETAS), x)[0], run_theirs(made, x))


@LOWER
@pytest.mark.parametrize("steps", [7, 16])
@pytest.mark.parametrize("order", [2, 3])
def test_deis_over_the_log_snr(x64, scheduler, order, steps, lower):
    """diffusers' DEIS ends at the least trained level."""
    made = scheduler(
        scheduling_deis_multistep,
        "DEISMultistepScheduler",
        steps,
        solver_order=order,
        lower_order_final=lower,
    )
    x = starts()
    family = exponential(steps, grid_of(made, 1), order, "eps", lower_order_final=lower)
    close(ours(family, DiscreteVP.from_betas(BETAS), x)[0], run_theirs(made, x))


@pytest.mark.parametrize("levels", [1, 5, 8])
def test_heun(x64, scheduler, levels):
    """diffusers' works on states divided by alpha. So many levels are twice as many evaluations,
    less one."""
    made = scheduler(scheduling_heun_discrete, "HeunDiscreteScheduler", levels)
    made.set_timesteps(timesteps=np.linspace(999, 30, levels).round().astype(int).tolist())
    x = starts()
    theirs = run_theirs(made, x * float(made.init_noise_sigma**2 + 1) ** 0.5)
    grid = np.unique([*(made.timesteps.numpy() + 1.0), 0])[::-1]
    family = heun(2 * levels - 1, Times.fit(grid, t_max=float(LEVELS)))
    close(ours(family, DiscreteVP.from_betas(BETAS), x)[0], theirs)


class Round(AbstractSchedule):
    """`alpha = cos(pi t / 2)`, `sigma = sin(pi t / 2)`: iPNDM's levels, of its own betas."""

    t_max: float = 0.99
    steps: int | None = None

    def alpha(self, t):
        return jnp.cos(jnp.pi * t / 2)

    def sigma(self, t):
        return jnp.sin(jnp.pi * t / 2)


@pytest.mark.parametrize("steps", [1, 3, 9])
def test_ipndm(x64, monkeypatch, steps):
    """diffusers' takes v, at its own times, and its betas are sigma."""
    monkeypatch.setattr(scheduling_ipndm, "torch", Doubled(torch))
    betas = np.sin(np.pi / 2 * np.append(np.linspace(0.99, 0.1, steps), 0))
    made = scheduling_ipndm.IPNDMScheduler(trained_betas=betas.tolist())
    made.set_timesteps(steps)
    made.betas = torch.from_numpy(betas)
    x = starts()
    grid = np.append(made.timesteps.numpy(), 0)
    grid[0] = 0.99
    family = ipndm(steps, Times.fit(grid, t_max=0.99))
    found, _ = ours(family, Round(), x, lambda x, t: jax_network(x, t + 1), "v")
    close(found, run_theirs(made, x))

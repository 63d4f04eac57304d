"""A sampler as plain numbers, which any tool can run without samplerzoo."""

import dataclasses
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..core.engine import first_spread
from ..core.marginal_levels import departure
from ..core.model import DiffusionModel
from ..core.schedule import AbstractSchedule
from ..core.table import StepTable
from ..formats.scheduler_tables import Flow
from ..formats.scheduling import Noise

CLOSE = 1e-3  # of the marginals: a sampler that departs less keeps them
# How diffusers calls the prediction types.
PREDICTIONS = {
    "eps": "epsilon",
    "x0": "sample",
    "v": "v_prediction",
    "flow": "flow_prediction",
}


@dataclasses.dataclass(frozen=True)
class PlainSampler:
    """Hold a sampler's table, and all of its model that a tool needs to run it.

    Args:
        name: What the sampler is called, in file names too.
        times: The times told to the network as levels of its schedule, (K,).
        timesteps: The same as a diffusers network is told them, (K,).
        alphas: The factor of the data in the state at each step, (K,).
        sigmas: The standard deviation of the noise in the state at each step, (K,).
        clean: What x0 contributes to the next states, (K, depth).
        noise: What eps contributes to the next states, (K, depth).
        fresh: What fresh noise contributes to the next state, (K,).
        init_sigma: The standard deviation of the first state.
        prediction: What the network answers, by diffusers' name.
        clip: The range that x0 is clipped to, or None.
        space: How states relate to data: `vp`, `ve` or `flow`.
        train_timesteps: The number of timesteps the network was trained with.
        keeps_marginals: Whether every state has the distribution of the diffusion process, so
            that sampling may begin in the middle.
        about: What else is known: the run's configuration, its scores.
        guidance: The weights of classifier-free guidance, (K,); None without.
    """

    name: str
    times: list[float]
    timesteps: list[float]
    alphas: list[float]
    sigmas: list[float]
    clean: list[list[float]]
    noise: list[list[float]]
    fresh: list[float]
    init_sigma: float
    prediction: str
    clip: tuple[float, float] | None
    space: Literal["vp", "ve", "flow"]
    train_timesteps: int
    keeps_marginals: bool
    about: dict[str, Any]
    guidance: list[float] | None = None

    @property
    def steps(self) -> int:
        """The number of steps, K."""
        return len(self.times)

    @property
    def nfe(self) -> int:
        """The number of network evaluations: one a step, two where it is guided."""
        return self.steps + sum(weight != 1 for weight in self.guidance or ())

    @property
    def depth(self) -> int:
        """How many following states a step contributes to."""
        return len(self.clean[0])


def plain_sampler(
    name: str,
    table: StepTable,
    model: DiffusionModel | Noise | Flow,
    about: dict[str, Any] | None = None,
) -> PlainSampler:
    """Read off a table and its model the numbers that another tool needs.

    Args:
        name: What to call the sampler.
        table: The sampler.
        model: The model that it was searched for, or all of it beside its network.
        about: What else to keep.

    Returns:
        The numbers, in double precision.
    """
    with jax.enable_x64(True):
        table, schedule = double(table), double(model.schedule)
        alphas = jax.vmap(schedule.alpha)(table.times)
        sigmas = jax.vmap(schedule.sigma)(table.times)
        drift, spread = departure(table, schedule)
        markov = table.depth == 1
        keeps = bool(
            markov and jnp.max(jnp.abs(drift)) < CLOSE and jnp.max(jnp.abs(spread)) < CLOSE
        )
        return PlainSampler(
            name=name,
            times=table.times.tolist(),
            timesteps=_timesteps(schedule, np.asarray(table.times), alphas, sigmas),
            alphas=alphas.tolist(),
            sigmas=sigmas.tolist(),
            clean=table.clean.tolist(),
            noise=table.noise.tolist(),
            fresh=table.fresh.tolist(),
            init_sigma=float(first_spread(table, schedule)),
            prediction=PREDICTIONS[model.prediction],
            clip=model.clip,
            space=_space(np.asarray(alphas), np.asarray(sigmas)),
            train_timesteps=schedule.steps or 1000,
            keeps_marginals=keeps,
            about=about or {},
            guidance=None if table.guidance is None else table.guidance.tolist(),
        )


def refuse_guidance(sampler: PlainSampler, tool: str) -> None:
    """Refuse a sampler with weights of guidance for a tool that guides the network itself.

    Raises:
        ValueError: It has guidance.
    """
    if sampler.guidance is not None:
        raise ValueError(
            f"This sampler has a weight of guidance for each step, for which {tool} has no place; "
            "export it as json, which holds the weights."
        )


def double(tree: Any) -> Any:
    """Cast the arrays of a module to double precision, where it is enabled."""
    return jax.tree.map(
        lambda leaf: (
            jnp.asarray(np.asarray(leaf, np.float64)) if eqx.is_inexact_array(leaf) else leaf
        ),
        tree,
    )


def space_of(schedule: AbstractSchedule) -> Literal["vp", "ve", "flow"]:
    """Tell how a schedule's states relate to data."""
    times = np.linspace(0.1, 0.9, 9) * schedule.t_max
    at = jnp.asarray(times, float)
    levels = (np.asarray(jax.vmap(level)(at)) for level in (schedule.alpha, schedule.sigma))
    return _space(*levels)


def _space(alphas: np.ndarray, sigmas: np.ndarray) -> Literal["vp", "ve", "flow"]:
    """Tell the kind of states from the levels themselves."""
    if np.allclose(alphas, 1):
        return "ve"
    return "flow" if np.allclose(alphas + sigmas, 1) else "vp"


def _timesteps(schedule: AbstractSchedule, times: np.ndarray, alphas, sigmas) -> list[float]:
    """Give the times as networks in diffusers' pipelines are told them.

    Level `t` of a discrete schedule is the training timestep `t - 1`; flow models are told a
    thousand times the noise level; others their own time.
    """
    if schedule.steps is not None:
        return (times - 1).tolist()
    flow = _space(np.asarray(alphas), np.asarray(sigmas)) == "flow"
    return (1000 * times if flow else times).tolist()

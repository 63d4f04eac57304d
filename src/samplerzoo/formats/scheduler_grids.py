"""Where diffusers' schedulers evaluate a network: their timesteps and levels, as their code has it.

Timestep `t` is level `t + 1` of the model's schedule. Arithmetic follows diffusers' to the last
digit where it rounds, for a rounded timestep is another one.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.stats import beta

from ..core.schedule import AbstractSchedule

Options: TypeAlias = Mapping[str, Any]
LISTED = "listed"  # among the options: the list that `set_timesteps` is given
_RHO = 7.0  # of Karras et al. 2022
_CLOSE = 1e-9  # of a level, by which it may lie outside those that a model was trained on


class Places(NamedTuple):
    """Where a scheduler's states lie.

    Attributes:
        told: The times told to the network, (K,), in the schedule's units.
        grid: The times of the states' levels, (K + 1,); they differ where told times are rounded.
    """

    told: Float[np.ndarray, "K"]
    grid: Float[np.ndarray, "K+1"]


def whole_timesteps(options: Options, steps: int, trained: int) -> Float[np.ndarray, "K"]:
    """Space timesteps as DDIM, DDPM and PNDM do.

    Args:
        options: Those of the scheduler, `timestep_spacing` and `steps_offset` among them.
        steps: How many.
        trained: The number of timesteps that the model was trained on.

    Returns:
        Whole numbers that fall.

    Raises:
        ValueError: There are not so many, or one is not among those of the model.
    """
    spacing, offset = options["timestep_spacing"], options["steps_offset"]
    if steps > trained:
        raise ValueError(f"steps is {steps}; the model was trained on {trained} timesteps.")
    if spacing == "linspace":
        found = np.linspace(0, trained - 1, steps).round()[::-1]
    elif spacing == "leading":
        found = (np.arange(steps) * (trained // steps))[::-1] + float(offset)
    else:
        found = np.round(np.arange(trained, 0, -trained / steps)) - 1
    return _checked(found, trained)


def fractional_timesteps(options: Options, steps: int, trained: int) -> Float[np.ndarray, "K"]:
    """Space timesteps as Euler's and Heun's schedulers do: not rounded where they lie evenly."""
    if options["timestep_spacing"] != "linspace":
        return whole_timesteps(options, steps, trained)
    return _checked(np.linspace(0, trained - 1, steps)[::-1], trained)


def multistep_timesteps(
    options: Options, steps: int, trained: int, last: int
) -> Float[np.ndarray, "K"]:
    """Space timesteps as DPM-Solver, UniPC and DEIS do: the last of a longer list is left out.

    Args:
        options: Those of the scheduler.
        steps: How many.
        trained: The number of timesteps that the model was trained on.
        last: The number of those that are used.

    Returns:
        Whole numbers that fall.

    Raises:
        ValueError: One is not among those of the model.
    """
    spacing, offset = options.get("timestep_spacing", "linspace"), options.get("steps_offset", 0)
    if spacing == "linspace":
        found = np.linspace(0, last - 1, steps + 1).round()[::-1][:-1]
    elif spacing == "leading":
        found = (np.arange(steps + 1) * (last // (steps + 1)))[::-1][:-1] + float(offset)
    else:
        found = np.arange(last, 0, -trained / steps).round() - 1
    return _checked(found, trained)


def ratios_of(schedule: AbstractSchedule) -> Float[np.ndarray, "T"]:
    """Compute `sigma / alpha` of all timesteps, which rises."""
    times = jnp.arange(1.0, (schedule.steps or 0) + 1)
    return np.asarray(jax.vmap(schedule.sigma)(times) / jax.vmap(schedule.alpha)(times))


def place_multistep(
    options: Options, steps: int, schedule: AbstractSchedule, rounded: bool, at_last: bool
) -> Places:
    """Place the states of DPM-Solver, UniPC and DEIS, which tell whole timesteps.

    Args:
        options: Those of the scheduler.
        steps: K.
        schedule: The model's.
        rounded: Whether timesteps of Karras' levels are rounded before they are truncated.
        at_last: Whether levels that are not the timesteps' own end where they are, rather than at
            the first trained level, if they do not end at data.

    Returns:
        The places.

    Raises:
        ValueError: The levels are not among those of the model.
    """
    ratios = ratios_of(schedule)
    log_ratios = np.log(ratios)
    if (listed := options.get(LISTED)) is not None:
        levels = timesteps = _checked(np.trunc(np.asarray(listed, float)), len(ratios))
        to = 0.0
    elif (make := _spacing(options)) is None:
        clipped = int(np.sum(-log_ratios < options.get("lambda_min_clipped", -np.inf)))
        timesteps = multistep_timesteps(options, steps, len(ratios), len(ratios) - clipped)
        levels = timesteps
        to = 0.0
    else:
        wanted = make(ratios[-1], ratios[0], steps)
        levels = timesteps_of(wanted, log_ratios)
        evens = options.get("use_karras_sigmas") or options.get("use_lu_lambdas")
        timesteps = np.trunc(levels.round() if evens and rounded else levels)
        to = levels[-1] if at_last else 0.0
    to_data = options.get("final_sigmas_type", "sigma_min") == "zero"
    return Places(timesteps + 1, np.append(levels + 1, 0 if to_data else to + 1))


def place_euler(options: Options, steps: int, schedule: AbstractSchedule) -> Places:
    """Place the states of Euler's and Heun's schedulers, which tell timesteps as they are.

    Raises:
        ValueError: The levels are not among those of the model.
    """
    ratios = ratios_of(schedule)
    log_ratios = np.log(ratios)
    if (listed := options.get(LISTED)) is not None:
        timesteps = _checked(np.asarray(listed, float), len(ratios))
    else:
        timesteps = fractional_timesteps(options, steps, len(ratios))
    wanted = np.interp(timesteps, np.arange(len(ratios)), ratios)
    levels = timesteps_of(wanted, log_ratios)
    if (make := _spacing(options)) is not None:
        high, low = options.get("sigma_max"), options.get("sigma_min")
        levels = timesteps_of(make(high or wanted[0], low or wanted[-1], steps), log_ratios)
        timesteps = levels
    to_data = options.get("final_sigmas_type", "zero") == "zero"
    return Places(timesteps + 1, np.append(levels + 1, 0 if to_data else 1))


def place_flow(options: Options, steps: int, trained: int, unipc: bool, to_data: bool) -> Places:
    """Place the states of DPM-Solver, UniPC and DEIS on the straight lines of a flow.

    Args:
        options: Those of the scheduler.
        steps: K.
        trained: The number of timesteps that the model was trained on.
        unipc: Whether the levels are spaced as UniPC does.
        to_data: Whether the last step ends at data, rather than where it begins.

    Returns:
        The places, on `RectifiedFlow`.
    """
    if unipc:
        evenly = np.linspace(1, 1 / trained, steps + 1)[:-1]
        levels = shifted(_listed_or(evenly, options), options["flow_shift"])
        levels[0] -= 1e-6 if abs(levels[0] - 1) < 1e-6 else 0.0
    else:
        wanted = 1.0 - np.linspace(1, 1 / trained, steps + 1)
        levels = shifted(wanted, options["flow_shift"])[::-1][:-1]
    told = np.trunc(levels * trained) / trained
    return Places(told, np.append(levels, 0 if to_data else levels[-1]))


def place_flow_euler(options: Options, steps: int, trained: int) -> Places:
    """Place the states of FlowMatchEulerDiscreteScheduler, which shifts its levels twice."""
    shift = options["shift"]
    ends = shifted(np.array([1.0, 1 / trained]), shift)
    levels = shifted(_listed_or(np.linspace(ends[0], ends[1], steps), options), shift)
    if options["shift_terminal"]:
        left = 1 - levels
        levels = 1 - left / (left[-1] / (1 - options["shift_terminal"]))
    if (make := _spacing(options)) is not None:
        levels = make(levels[0], levels[-1], steps)
    return Places(levels, np.append(levels, 0))


def _listed_or(evenly: Float[np.ndarray, "n"], options: Options) -> Float[np.ndarray, "n"]:
    """The levels that a scheduler is given, or its own."""
    listed = options.get(LISTED)
    return evenly if listed is None else np.asarray(listed, float)


def shifted(levels: Float[np.ndarray, "n"], shift: float) -> Float[np.ndarray, "n"]:
    """Move a flow's levels towards noise, as models of large images want it."""
    return shift * levels / (1 + (shift - 1) * levels)


def timesteps_of(
    wanted: Float[np.ndarray, "n"], log_ratios: Float[np.ndarray, "T"]
) -> Float[np.ndarray, "n"]:
    """Find the timesteps, not rounded, at which `sigma / alpha` has some values.

    Raises:
        ValueError: A value is not between those of the first and the last timestep.
    """
    logs = np.log(wanted)
    if np.any(logs < log_ratios[0] - _CLOSE) or np.any(logs > log_ratios[-1] + _CLOSE):
        least, most = np.exp(log_ratios[[0, -1]])
        raise ValueError(
            f"The scheduler's sigmas leave those of the model, {least:.4g} to {most:.4g}."
        )
    above = logs >= log_ratios[:, None]
    low = np.cumsum(above, axis=0).argmax(axis=0).clip(max=len(log_ratios) - 2)
    share = (log_ratios[low] - logs) / (log_ratios[low] - log_ratios[low + 1])
    share = np.clip(share, 0, 1)
    return (1 - share) * low + share * (low + 1)


def _karras(high: float, low: float, steps: int) -> Float[np.ndarray, "K"]:
    first, last = high ** (1 / _RHO), low ** (1 / _RHO)
    return (first + np.linspace(0, 1, steps) * (last - first)) ** _RHO


def _exponential(high: float, low: float, steps: int) -> Float[np.ndarray, "K"]:
    return np.exp(np.linspace(np.log(high), np.log(low), steps))


def _lu(high: float, low: float, steps: int) -> Float[np.ndarray, "K"]:
    first, last = np.log(high), np.log(low)
    return np.exp(first + np.linspace(0, 1, steps) * (last - first))


def _beta(high: float, low: float, steps: int) -> Float[np.ndarray, "K"]:
    return low + beta.ppf(1 - np.linspace(0, 1, steps), 0.6, 0.6) * (high - low)


_SPACINGS = {
    "use_karras_sigmas": _karras,
    "use_lu_lambdas": _lu,
    "use_exponential_sigmas": _exponential,
    "use_beta_sigmas": _beta,
}


def _spacing(options: Options) -> Callable[[float, float, int], np.ndarray] | None:
    """How levels are spaced where they are not those of evenly spaced timesteps."""
    return next((make for name, make in _SPACINGS.items() if options.get(name)), None)


def _checked(timesteps: Float[np.ndarray, "K"], trained: int) -> Float[np.ndarray, "K"]:
    """Refuse timesteps that the model does not have."""
    if timesteps[0] > trained - 1 or timesteps[-1] < 0 or np.any(np.diff(timesteps) >= 0):
        raise ValueError(
            f"The scheduler asks for the timesteps {timesteps[0]:g} to {timesteps[-1]:g}, which "
            f"must fall strictly, from {trained - 1} at most to 0 at least; give another number of "
            "steps."
        )
    return timesteps

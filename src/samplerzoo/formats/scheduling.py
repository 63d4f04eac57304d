"""What a diffusers scheduler's configuration says of the model: levels, prediction, range."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..core.schedule import DiscreteVP

MAX_STEPS = 100_000
PREDICTIONS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
# Schedulers of models trained on discrete levels, and whether they clip x0 if nothing is said.
SCHEDULERS = {
    "DDPMScheduler": True,
    "DDPMParallelScheduler": True,
    "DDIMScheduler": True,
    "DDIMParallelScheduler": True,
    "PNDMScheduler": False,
    "DPMSolverMultistepScheduler": False,
    "DPMSolverSinglestepScheduler": False,
    "DEISMultistepScheduler": False,
    "UniPCMultistepScheduler": False,
    "EulerDiscreteScheduler": False,
    "EulerAncestralDiscreteScheduler": False,
    "LMSDiscreteScheduler": False,
}
# What cannot be had here, and why.
_REFUSED = {
    "thresholding": "x0 is clipped to a fixed range here, not to quantiles of each image",
    "rescale_betas_zero_snr": "the last level would hold no signal",
    "use_flow_sigmas": "the levels would not be those of betas",
}


class Noise(NamedTuple):
    """The part of a diffusion model beside its network."""

    schedule: DiscreteVP
    prediction: str
    clip: tuple[float, float] | None


def linear_betas(start: float, end: float, steps: int) -> np.ndarray:
    """Betas evenly spaced (Ho et al. 2020)."""
    return np.linspace(start, end, steps)


def scaled_linear_betas(start: float, end: float, steps: int) -> np.ndarray:
    """Betas whose square roots are evenly spaced."""
    return np.linspace(start**0.5, end**0.5, steps) ** 2


def sigmoid_betas(start: float, end: float, steps: int) -> np.ndarray:
    """Betas along a sigmoid from -6 to 6."""
    return start + (end - start) / (1 + np.exp(-np.linspace(-6, 6, steps)))


def cosine_betas(steps: int) -> np.ndarray:
    """Betas of the cosine schedule, at most 0.999 (Nichol and Dhariwal 2021, eq. 17)."""
    signal = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1 - signal[1:] / signal[:-1], 0.999)


_BETAS = {
    "linear": linear_betas,
    "scaled_linear": scaled_linear_betas,
    "sigmoid": sigmoid_betas,
    "squaredcos_cap_v2": lambda start, end, steps: cosine_betas(steps),
}


def read_scheduler(config: Mapping[str, Any]) -> Noise:
    """Schedule, prediction type and range of x0 from the content of a scheduler_config.json.

    Level `t` of the schedule is the timestep `t - 1`. Raises ValueError for what is not supported.
    """
    name = config.get("_class_name")
    if not isinstance(name, str) or name not in SCHEDULERS:
        raise ValueError(f"The scheduler is {_short(name)}; supported are {', '.join(SCHEDULERS)}.")
    for key, why in _REFUSED.items():
        if config.get(key):
            raise ValueError(f"The scheduler says {key}, which is not supported: {why}.")
    prediction = _choose(config, "prediction_type", "epsilon", PREDICTIONS)
    clip = None
    if config.get("clip_sample", SCHEDULERS[name]):
        bound = _number(config, "clip_sample_range", 1.0, 1e6)
        clip = (-bound, bound)
    return Noise(DiscreteVP.from_betas(_betas(config)), prediction, clip)


def _betas(config: Mapping[str, Any]) -> np.ndarray:
    if (trained := config.get("trained_betas")) is not None:
        numbers = isinstance(trained, list) and 1 <= len(trained) <= MAX_STEPS
        if not numbers or not all(type(b) in (int, float) and 0 < b < 1 for b in trained):
            raise ValueError("trained_betas must be a list of numbers between 0 and 1.")
        return np.asarray(trained, np.float64)
    steps = config.get("num_train_timesteps", 1000)
    if type(steps) is not int or not 1 <= steps <= MAX_STEPS:
        raise ValueError(
            f"num_train_timesteps is {_short(steps)}; it must be a whole number from 1 to "
            f"{MAX_STEPS}."
        )
    make = _choose(config, "beta_schedule", "linear", _BETAS)
    ends = (_number(config, "beta_start", 1e-4, 0.9999), _number(config, "beta_end", 0.02, 0.9999))
    return make(*ends, steps)


def _choose(config: Mapping[str, Any], name: str, default: str, choices: Mapping[str, Any]) -> Any:
    value = config.get(name, default)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} is {_short(value)}; supported are {', '.join(choices)}.")
    return choices[value]


def _number(config: Mapping[str, Any], name: str, default: float, high: float) -> float:
    value = config.get(name, default)
    if type(value) not in (int, float) or not 0 < value <= high:
        raise ValueError(f"{name} is {_short(value)}; it must be above 0 and at most {high:g}.")
    return float(value)


def _short(value: object) -> str:
    return repr(value) if isinstance(value, str | int | float | None) else type(value).__name__

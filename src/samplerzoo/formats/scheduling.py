"""What a diffusers scheduler's configuration says of the model: levels, prediction, range."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..core.schedule import DiscreteVP
from ..schema import check, choice, list_of, number_above, or_null, record, whole

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
    "HeunDiscreteScheduler": False,
    "LMSDiscreteScheduler": False,
}
# The first and the last beta of those that are made for other models than DDPM's.
_OWN_BETAS = {"HeunDiscreteScheduler": (0.00085, 0.012)}
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


_BOUND = number_above(0.0, 0.9999)
_CONFIG = record(
    {"_class_name": choice(*SCHEDULERS)},
    {
        "prediction_type": choice(*PREDICTIONS),
        "clip_sample_range": number_above(0.0, 1e6),
        "trained_betas": or_null(list_of(_BOUND, 1, MAX_STEPS)),
        "num_train_timesteps": whole(1, MAX_STEPS),
        "beta_schedule": choice(*_BETAS),
        "beta_start": _BOUND,
        "beta_end": _BOUND,
    },
)


def read_scheduler(config: Mapping[str, Any]) -> Noise:
    """Read schedule, prediction type and range of x0 in the content of a scheduler_config.json.

    Level `t` of the schedule is the timestep `t - 1`.

    Raises:
        ValueError: Something in it is not supported.
    """
    check(config, _CONFIG, "The scheduler's configuration")
    for key, why in _REFUSED.items():
        if config.get(key):
            raise ValueError(f"The scheduler says {key}, which is not supported: {why}.")
    clip = None
    if config.get("clip_sample", SCHEDULERS[config["_class_name"]]):
        bound = float(config.get("clip_sample_range", 1.0))
        clip = (-bound, bound)
    prediction = PREDICTIONS[config.get("prediction_type", "epsilon")]
    return Noise(DiscreteVP.from_betas(_betas(config)), prediction, clip)


def _betas(config: Mapping[str, Any]) -> np.ndarray:
    if (trained := config.get("trained_betas")) is not None:
        return np.asarray(trained, np.float64)
    make = _BETAS[config.get("beta_schedule", "linear")]
    own = _OWN_BETAS.get(config["_class_name"], (1e-4, 0.02))
    start, end = config.get("beta_start", own[0]), config.get("beta_end", own[1])
    return make(float(start), float(end), config.get("num_train_timesteps", 1000))

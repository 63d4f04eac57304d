"""A searched few-step sampler as a scheduler of diffusers.

The sampler is a table of numbers, kept in `scheduler_config.json`. Row n takes the network's answer
at the state `x_n`, read as an estimate `(x0, eps)`, and contributes to the next states:

    x_{n+1+d} += clean[n][d] * x0 + noise[n][d] * eps
    x_{n+1}   += fresh[n] * z,    z ~ N(0, I)

This file needs torch and diffusers alone. It was written by samplerzoo.
"""

from typing import ClassVar

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin, SchedulerOutput
from diffusers.utils.torch_utils import randn_tensor

# What the network answers is p * x0 + q * eps; each type is its (p, q) at (alpha, sigma).
PREDICTIONS = {
    "epsilon": lambda alpha, sigma: (0.0, 1.0),
    "sample": lambda alpha, sigma: (1.0, 0.0),
    "v_prediction": lambda alpha, sigma: (-sigma, alpha),
    "flow_prediction": lambda alpha, sigma: (-1.0, 1.0),
}


class SamplerzooScheduler(SchedulerMixin, ConfigMixin):
    """Run a searched sampler of K network evaluations in a diffusers pipeline.

    Args:
        times: What the network is told at each of the K steps, falling; fractions are meant.
        alphas: The factor of the data in the state at each step, (K,).
        sigmas: The standard deviation of the noise in the state at each step, (K,).
        clean: What x0 contributes to the next states, (K, depth).
        noise: What eps contributes to the next states, (K, depth).
        fresh: What fresh noise contributes to the next state, (K,).
        init_sigma: The standard deviation of the state at the first step.
        prediction_type: What the network answers: epsilon, sample, v_prediction or flow_prediction.
        clip_range: The range (low, high) that x0 is clipped to, or None.
        keeps_marginals: Whether a run may begin at a later step, as image-to-image does.
        num_train_timesteps: How many timesteps the network was trained with.
        steps_offset: 1, which Stable Diffusion's pipelines ask for; not used.
        clip_sample: False, which Stable Diffusion's pipelines ask for; `clip_range` counts.
    """

    order = 1
    _compatibles: ClassVar[list] = []

    @register_to_config
    def __init__(
        self,
        times: list[float] | None = None,
        alphas: list[float] | None = None,
        sigmas: list[float] | None = None,
        clean: list[list[float]] | None = None,
        noise: list[list[float]] | None = None,
        fresh: list[float] | None = None,
        init_sigma: float = 1.0,
        prediction_type: str = "epsilon",
        clip_range: list[float] | None = None,
        keeps_marginals: bool = False,
        num_train_timesteps: int = 1000,
        steps_offset: int = 1,
        clip_sample: bool = False,
    ):
        columns = {"times": times, "alphas": alphas, "sigmas": sigmas, "fresh": fresh}
        for name, given in {**columns, "clean": clean, "noise": noise}.items():
            if given is None:
                raise ValueError(
                    f"{name} is missing; give the scheduler_config.json that was exported with "
                    "this class."
                )
        _check_columns(columns)
        _check_matrices({"clean": clean, "noise": noise}, len(times))
        if not all(sigma > 0 for sigma in sigmas):
            raise ValueError("sigmas must be positive; export the sampler again.")
        if not isinstance(prediction_type, str) or prediction_type not in PREDICTIONS:
            raise ValueError(
                f"prediction_type is {prediction_type!r}; it must be one of "
                f"{', '.join(PREDICTIONS)}."
            )
        if clip_range is not None:
            _check_columns({"clip_range": clip_range})
            if len(clip_range) != 2 or clip_range[0] >= clip_range[1]:
                raise ValueError(f"clip_range is {clip_range}; it must be [low, high], or null.")
        if not _is_number(init_sigma) or init_sigma <= 0:
            raise ValueError(f"init_sigma is {init_sigma!r}; it must be a positive number.")
        if keeps_marginals is not True and keeps_marginals is not False:
            raise ValueError(f"keeps_marginals is {keeps_marginals!r}; it must be true or false.")
        if not isinstance(num_train_timesteps, int) or num_train_timesteps < 1:
            raise ValueError(
                f"num_train_timesteps is {num_train_timesteps!r}; it must be a whole number from 1."
            )
        self.init_noise_sigma = init_sigma
        self.num_inference_steps = None
        self.timesteps = torch.tensor(times, dtype=torch.float32)
        self._begin_index = None
        self._step_index = None
        self._sums = []

    def __len__(self):
        return self.config.num_train_timesteps

    @property
    def step_index(self):
        """The number of steps made, or None before the first."""
        return self._step_index

    @property
    def begin_index(self):
        """The step that a run begins at, or None for the first."""
        return self._begin_index

    def set_begin_index(self, begin_index=0):
        """Begin a run at a later step, as image-to-image pipelines ask for."""
        if begin_index and not self.config.keeps_marginals:
            raise ValueError(
                f"This sampler cannot begin at step {begin_index}: its states are not those of the "
                "diffusion process, so it makes whole images only. Use a DDIM-like sampler for "
                "image-to-image."
            )
        self._begin_index = begin_index

    def set_timesteps(
        self,
        num_inference_steps=None,
        device=None,
        sigmas=None,
        mu=None,
        **unused,
    ):
        """Begin a new run. `sigmas` and `mu`, which flow pipelines give, are not used."""
        steps = len(self.config.times)
        if num_inference_steps not in (None, steps):
            raise ValueError(
                f"num_inference_steps is {num_inference_steps}, but this sampler was searched for "
                f"{steps} steps; give num_inference_steps={steps}."
            )
        if sigmas is not None and num_inference_steps is None and len(sigmas) != steps:
            raise ValueError(
                f"{len(sigmas)} sigmas were given, but this sampler was searched for {steps} "
                f"steps; give num_inference_steps={steps}."
            )
        self.num_inference_steps = steps
        self.timesteps = torch.tensor(self.config.times, dtype=torch.float32, device=device)
        self._begin_index = None
        self._step_index = None
        self._sums = []

    def scale_model_input(self, sample, timestep=None):
        """Return the sample as it is: the network takes the state itself."""
        return sample

    def step(self, model_output, timestep, sample, generator=None, return_dict=True):
        """Make the next state from the network's answer.

        Steps are counted, never looked up by `timestep`.
        """
        if self._step_index is None:
            self._step_index = self._begin_index or 0
        n = self._step_index
        if n >= len(self.config.times):
            raise ValueError(
                f"All {len(self.config.times)} steps are made; call set_timesteps to begin again."
            )
        dtype = torch.promote_types(sample.dtype, torch.float32)
        x = sample.to(dtype)
        out = model_output[:, : sample.shape[1]].to(dtype)  # beyond it are learned variances
        x0, eps = self._estimate(n, x, out)
        self._push(n, x0, eps)
        following = self._sums.pop(0)
        if self.config.fresh[n]:
            z = randn_tensor(sample.shape, generator=generator, device=sample.device, dtype=dtype)
            following = following + self.config.fresh[n] * z
        self._step_index = n + 1
        following = following.to(sample.dtype)
        if not return_dict:
            return (following,)
        return SchedulerOutput(prev_sample=following)

    def _estimate(self, n, x, out):
        """Read the data and the noise off a state and the network's answer."""
        alpha, sigma = self.config.alphas[n], self.config.sigmas[n]
        p, q = PREDICTIONS[self.config.prediction_type](alpha, sigma)
        det = alpha * q - sigma * p
        x0 = (q * x - sigma * out) / det
        eps = (alpha * out - p * x) / det
        if self.config.clip_range is not None:
            low, high = self.config.clip_range
            x0 = x0.clamp(low, high)
            eps = (x - alpha * x0) / sigma
        return x0, eps

    def _push(self, n, x0, eps):
        """Add what a step contributes to the states that follow, kept as sums in progress."""
        steps = len(self.config.times)
        rows = list(zip(self.config.clean[n], self.config.noise[n], strict=True))
        for d, (clean, noise) in enumerate(rows[: steps - n]):
            part = clean * x0 + noise * eps
            if d < len(self._sums):
                self._sums[d] = self._sums[d].to(part.device) + part
            else:
                self._sums.append(part)

    def add_noise(self, original_samples, noise, timesteps):
        """Make the states at some of this sampler's own timesteps from data and noise."""
        own = [float(t) for t in torch.tensor(self.config.times, dtype=torch.float32)]
        index = [_nearest(own, float(t)) for t in timesteps.reshape(-1)]
        shape = (-1, *[1] * (original_samples.ndim - 1))
        like = {"device": original_samples.device, "dtype": original_samples.dtype}
        alpha = torch.tensor([self.config.alphas[n] for n in index], **like).reshape(shape)
        sigma = torch.tensor([self.config.sigmas[n] for n in index], **like).reshape(shape)
        return alpha * original_samples + sigma * noise


def _nearest(times, t):
    """Find the step that is told a time, and refuse any that is none of the sampler's own."""
    n = min(range(len(times)), key=lambda m: abs(times[m] - t))
    if abs(times[n] - t) > 0.5:
        raise ValueError(f"The time {t:g} is none of this sampler's: {times}.")
    return n


def _is_number(value):
    """Tell whether a value is a number that single precision holds; NaN is not below anything."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 3e38


def _check_columns(columns):
    """Refuse columns that are not lists of finite numbers, or of other lengths than the first."""
    for name, column in columns.items():
        if not isinstance(column, (list, tuple)) or not column or not all(map(_is_number, column)):
            raise ValueError(
                f"{name} in scheduler_config.json must be a list of finite numbers; "
                "export the sampler again."
            )
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"The columns in scheduler_config.json have different lengths, {lengths}; "
            "export the sampler again."
        )


def _check_matrices(matrices, steps):
    """Refuse matrices that do not have `steps` rows of one length."""
    for name, rows in matrices.items():
        if not isinstance(rows, (list, tuple)) or len(rows) != steps:
            raise ValueError(
                f"{name} in scheduler_config.json must have {steps} rows; export the sampler again."
            )
        for row in rows:
            _check_columns({name: row})
    widths = {len(row) for rows in matrices.values() for row in rows}
    if len(widths) != 1 or not 1 <= next(iter(widths)) <= steps:
        raise ValueError(
            f"clean and noise in scheduler_config.json must have rows of one length, from 1 to "
            f"{steps}; export the sampler again."
        )

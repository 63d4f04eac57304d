"""What a diffusers scheduler's configuration says of the sampler: the table that its class runs."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..core.families import (
    DDIM,
    AbstractFamily,
    ExponentialIntegrator,
    PlacedTimes,
    dpmpp_multistep,
    dpmpp_singlestep,
    exponential,
    heun,
    unipc,
)
from ..core.families.corrections import Stage, exact, half
from ..core.families.ddim import forward
from ..core.model import PREDICTIONS
from ..core.schedule import AbstractSchedule, RectifiedFlow
from ..core.table import StepTable
from ..schema import FLAG, Rule, choice, list_of, number, number_above, or_null, whole
from ..wording import shown
from .scheduler_grids import (
    LISTED,
    Options,
    Places,
    place_euler,
    place_flow,
    place_flow_euler,
    place_multistep,
    whole_timesteps,
)
from .scheduling import MAX_STEPS, Noise, read_scheduler


class Flow(NamedTuple):
    """The part of a flow model beside its network: states on the straight lines to noise."""

    schedule: RectifiedFlow
    prediction: str
    clip: tuple[float, float] | None = None


Make: TypeAlias = Callable[[Options, int, Noise | Flow], StepTable]
_FLOW_PREDICTIONS = {"flow_prediction": "flow", "epsilon": "eps", "sample": "x0"}
_SPACED = choice("linspace", "leading", "trailing")
_OFFSET = whole(0, MAX_STEPS)
_LEVEL = or_null(number_above(0.0, 1e6))


class SchedulerSampler(NamedTuple):
    """A sampler that a configuration says.

    Attributes:
        kind: The scheduler's class.
        table: The sampler, in double precision.
        noise: Its levels, what the network predicts, and the range of x0.
        notes: What must be known of it, a sentence each.
    """

    kind: str
    table: StepTable
    noise: Noise | Flow
    notes: list[str]


def read_sampler(
    config: Mapping[str, Any],
    steps: int,
    listed: Sequence[float] | None = None,
    noise: Noise | Flow | None = None,
) -> SchedulerSampler:
    """Read the sampler in the content of a scheduler_config.json.

    Args:
        config: The content.
        steps: `num_inference_steps`, as pipelines are told it. Heun's and PNDM's have more network
            evaluations.
        listed: What `set_timesteps` is given in the place of a number of steps, where the class
            takes a list: DPM-Solver's and Euler's `timesteps`, UniPC's and FlowMatch's `sigmas`.
        noise: The model's levels and prediction, in the place of the configuration's.

    Returns:
        The table that the scheduler's class runs, in double precision.

    Raises:
        ValueError: The class or an option is not supported, or the class cannot run so many steps.
    """
    kind = config.get("_class_name")
    if not isinstance(kind, str) or kind not in _CLASSES:
        raise ValueError(
            f"The scheduler's _class_name is {shown(kind)}; supported are {', '.join(_CLASSES)}."
        )
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1.")
    known, make = _CLASSES[kind]
    options = _read_options(config, known)
    if listed is not None:
        options[LISTED] = listed
    with jax.enable_x64(True):
        noise = noise or _noise(config, options)
        table = make(options, steps, noise)
        if not all(np.all(np.isfinite(column)) for column in jax.tree.leaves(table)):
            raise ValueError(
                f"{kind} makes numbers that are not finite in {steps} steps with these options; "
                "give another number of steps."
            )
        table = jax.tree.map(np.asarray, table)
    return SchedulerSampler(kind, table, noise, _notes(config, kind, known, noise))


class _Option(NamedTuple):
    """An option of a class: what it is where nothing is said, what it may be, and what is refused.

    `refused` says why any other value than the default cannot be had.
    """

    default: Any
    rule: Rule
    refused: str = ""


def _read_options(config: Mapping[str, Any], known: Mapping[str, _Option]) -> dict[str, Any]:
    """The options of a class, checked."""
    found = {}
    for name, option in known.items():
        value = config.get(name, option.default)
        if fault := option.rule.fault(value):
            raise ValueError(f"The scheduler's {name}{fault.place} {fault.words}")
        if option.refused and value != option.default and value:
            raise ValueError(f"The scheduler says {name} = {value!r}: {option.refused}.")
        found[name] = value
    return found


def _noise(config: Mapping[str, Any], options: Options) -> Noise | Flow:
    """Levels, prediction and range: a flow's where the scheduler is one's."""
    if not (options.get("use_flow_sigmas") or "shift" in options):
        return read_scheduler(config)
    given = config.get("prediction_type", "flow_prediction" if "shift" in options else "epsilon")
    if given not in _FLOW_PREDICTIONS:
        raise ValueError(
            f"The scheduler's prediction_type is {shown(given)}; with a flow's sigmas it must be "
            f"{' or '.join(_FLOW_PREDICTIONS)}."
        )
    if config.get("thresholding"):
        raise ValueError("The scheduler says thresholding, which is not supported.")
    return Flow(RectifiedFlow(), _FLOW_PREDICTIONS[given])


def _trained(options: Options, noise: Noise | Flow) -> int:
    return noise.schedule.steps or options["num_train_timesteps"]


_BESIDE = {
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "num_train_timesteps",
    "thresholding",
    "dynamic_thresholding_ratio",
    "sample_max_value",
    "rescale_betas_zero_snr",
    "clip_sample",
    "clip_sample_range",
}


def _notes(
    config: Mapping[str, Any], kind: str, known: Mapping[str, _Option], noise: Noise | Flow
) -> list[str]:
    notes = []
    ignored = sorted(
        str(name)
        for name in config
        if name not in known and name not in _BESIDE and not str(name).startswith("_")
    )
    if ignored:
        names = ", ".join(map(shown, ignored[:8]))
        notes.append(f"{kind} has no option {names}: ignored, as in diffusers.")
    if kind.startswith("DDIM") and noise.clip:
        notes.append(
            "Where x0 is clipped, eps follows it, as with use_clipped_model_output=True; a "
            "pipeline that does not say so keeps the network's eps."
        )
    return notes


def _on(family: AbstractFamily, places: Places, schedule: AbstractSchedule) -> StepTable:
    """The table of a family whose times are these, as if the network were told the levels'."""
    times = PlacedTimes(jnp.asarray(places.grid[:-1]), jnp.asarray(places.grid))
    placed = eqx.tree_at(lambda f: f.times, family, times)
    return _started(placed.table(schedule), 1.0)


def _started(table: StepTable, spread: float | jax.Array) -> StepTable:
    """Start from noise of this standard deviation, as pipelines do."""
    return dataclasses.replace(table, spread=jnp.asarray(spread, float))


def _retold(table: StepTable, told: Float[np.ndarray, "K"], noise: Noise | Flow) -> StepTable:
    """Tell the network other times than those of the states' levels.

    A scheduler reads `(x0, eps)` off the network's answer at the state's level; here a model does
    at the time that it is told. Both are linear in the state and the answer.
    """
    level = jax.vmap(noise.schedule.alpha), jax.vmap(noise.schedule.sigma)
    there = jnp.asarray(told)
    a, s = (f(table.times) for f in level)
    a_told, s_told = (f(there) for f in level)
    p, q = PREDICTIONS[noise.prediction](a, s)
    p_told, q_told = PREDICTIONS[noise.prediction](a_told, s_told)
    det = a * q - s * p
    x0 = (q * a_told - s * p_told) / det, (q * s_told - s * q_told) / det
    eps = (a * p_told - p * a_told) / det, (a * q_told - p * s_told) / det
    clean = table.clean * x0[0][:, None] + table.noise * eps[0][:, None]
    noises = table.clean * x0[1][:, None] + table.noise * eps[1][:, None]
    return dataclasses.replace(table, times=there, clean=clean, noise=noises)


def _ddim(options: Options, steps: int, noise: Noise | Flow, eta: float = 0.0) -> StepTable:
    """Each step leads as far as `timesteps / steps` from its own, not to where the next is told."""
    trained = _trained(options, noise)
    timesteps = whole_timesteps(options, steps, trained)
    grid = np.append(timesteps[0] + 1, _reached(timesteps - trained // steps, options))
    times = PlacedTimes(jnp.asarray(timesteps + 1), jnp.asarray(grid))
    family = eqx.tree_at(lambda f: f.times, DDIM(steps, eta=eta), times)
    return _started(family.table(noise.schedule), 1.0)


def _reached(timesteps: np.ndarray, options: Options) -> np.ndarray:
    """The times of timesteps; of those below 0, data or the first level."""
    return np.where(timesteps >= 0, timesteps + 1, 0.0 if options["set_alpha_to_one"] else 1.0)


def _ddpm(options: Options, steps: int, noise: Noise | Flow) -> StepTable:
    timesteps = whole_timesteps(options, steps, _trained(options, noise))
    grid = np.append(timesteps + 1, 0)
    places = Places(grid[:-1], grid)
    table = _on(DDIM(steps, eta=1.0), places, noise.schedule)
    if options["variance_type"] == "fixed_large":
        large = forward(noise.schedule, table.times, jnp.asarray(grid))
        table = dataclasses.replace(table, fresh=jnp.where(timesteps > 0, large, 0))
    return table


def _dpm_multistep(options: Options, steps: int, noise: Noise | Flow) -> StepTable:
    places = _solver_places(options, steps, noise)
    order, by_heun = options["solver_order"], options["solver_type"] == "heun"
    sde = options["algorithm_type"] == "sde-dpmsolver++"
    if order == 3 and sde:
        raise ValueError("The scheduler's solver_order is 3 with noise; it must be 1 or 2.")
    family = dpmpp_multistep(
        steps,
        order=order,
        eta=float(sde),
        exact_moments=by_heun,
        lower_order_final=options["lower_order_final"],
        end=_end(places),
    )
    plan = family.plan
    stages = [
        stage._replace(moments=(exact, half)) if len(stage.nodes) == 2 else stage
        for stage in plan.stages
    ]
    if options["euler_at_final"]:
        stages[-1] = Stage(steps - 1)
    family = dataclasses.replace(family, plan=plan._replace(stages=tuple(stages)))
    return _solved(family, places, noise)


def _dpm_singlestep(options: Options, steps: int, noise: Noise | Flow) -> StepTable:
    places = _solver_places(options, steps, noise)
    order = options["solver_order"]
    lower = options["lower_order_final"] or steps % order > 0 or not places.grid[-1]
    by_heun = options["solver_type"] == "heun"
    family = dpmpp_singlestep(
        steps,
        order=order,
        exact_moments=by_heun,
        lower_order_final=lower,
        end=_end(places),
    )
    return _solved(family, places, noise)


def _unipc(options: Options, steps: int, noise: Noise | Flow) -> StepTable:
    places = _solver_places(options, steps, noise, unipc=True)
    b = 1 if options["solver_type"] == "bh1" else 2
    order, lower = options["solver_order"], options["lower_order_final"]
    if not places.grid[-1] and (b == 1 or (order > 1 and steps > 1 and not lower)):
        raise ValueError(
            "UniPC's numbers are not finite at data with solver_type = 'bh1', nor without "
            "lower_order_final; they are with final_sigmas_type = 'sigma_min'."
        )
    family = unipc(
        steps,
        order=order,
        b=b,
        lower_order_final=lower,
        end=_end(places),
    )
    plan = family.plan
    correctors = tuple(
        plan.stages[n] if n in options["disable_corrector"] else stage
        for n, stage in enumerate(plan.correctors)
    )
    family = dataclasses.replace(family, plan=plan._replace(correctors=correctors))
    return _solved(family, places, noise)


def _deis(options: Options, steps: int, noise: Noise | Flow) -> StepTable:
    places = _solver_places(options, steps, noise, at_last=True)
    family = exponential(
        steps,
        order=options["solver_order"],
        answer="eps",
        lower_order_final=options["lower_order_final"],
        end=_end(places),
    )
    return _solved(family, places, noise)


def _solver_places(
    options: Options, steps: int, noise: Noise | Flow, unipc: bool = False, at_last: bool = False
) -> Places:
    """Where DPM-Solver, UniPC and DEIS evaluate the network."""
    to_data = options.get("final_sigmas_type") == "zero"
    if not options["use_flow_sigmas"]:
        rounded = unipc or at_last or options.get("beta_schedule") != "squaredcos_cap_v2"
        return place_multistep(options, steps, noise.schedule, rounded, unipc or at_last)
    if any(options[name] for name in _OTHER_SIGMAS):
        raise ValueError("The scheduler asks for two spacings of its sigmas; it must be one.")
    if not (unipc or at_last or to_data):
        raise ValueError(
            "The scheduler's final_sigmas_type is 'sigma_min', a level of betas, beside a flow's "
            "sigmas; it must be 'zero'."
        )
    return place_flow(options, steps, options["num_train_timesteps"], unipc, to_data)


def _end(places: Places) -> float:
    """The end that a solver is told, before its times are set: data, or any other."""
    return float(places.grid[-1] > 0)


def _solved(family: ExponentialIntegrator, places: Places, noise: Noise | Flow) -> StepTable:
    return _retold(_on(family, places, noise.schedule), places.told, noise)


def _euler(options: Options, steps: int, noise: Noise | Flow) -> StepTable:
    return _as_begun(DDIM(steps), options, place_euler(options, steps, noise.schedule), noise)


def _heun(options: Options, steps: int, noise: Noise | Flow) -> StepTable:
    """Heun's method asks twice at every level but the first."""
    places = place_euler(options, steps, noise.schedule)
    told = np.append(places.told[:1], np.repeat(places.told[1:], 2))
    return _as_begun(heun(2 * steps - 1), options, Places(told, places.grid), noise)


def _as_begun(
    family: AbstractFamily, options: Options, places: Places, noise: Noise | Flow
) -> StepTable:
    """A table of states divided by alpha, as which the sample is left, and the first is drawn."""
    table = _retold(_on(family, places, noise.schedule), places.told, noise)
    last = noise.schedule.alpha(jnp.asarray(places.grid[-1]))
    ending = np.arange(table.nfe)[:, None] + np.arange(table.depth) == table.nfe - 1
    clean, noises = (jnp.where(ending, a / last, a) for a in (table.clean, table.noise))
    table = dataclasses.replace(table, clean=clean, noise=noises)
    if options["timestep_spacing"] == "leading":
        return table
    return _started(table, noise.schedule.sigma(jnp.asarray(places.grid[0])))


def _flow_euler(options: Options, steps: int, noise: Noise | Flow) -> StepTable:
    places = place_flow_euler(options, steps, options["num_train_timesteps"])
    return _on(DDIM(steps), places, noise.schedule)


class _Transfer(NamedTuple):
    """A step of PNDM: DDIM's from one timestep to another, of a state and of several answers.

    Attributes:
        base: The row whose state is taken.
        start: The timestep that it is taken to be at.
        end: The timestep that it is led to.
        weights: Those of the answers, by row.
    """

    base: int
    start: int
    end: int
    weights: dict[int, float]


_ADAMS = ((1.0,), (1.5, -0.5), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


def _pndm(options: Options, steps: int, noise: Noise | Flow) -> StepTable:
    trained = _trained(options, noise)
    timesteps = whole_timesteps(options, steps, trained).astype(int)
    gap = trained // steps
    if options["skip_prk_steps"]:
        told = np.concatenate([timesteps[:1], timesteps[1:2], timesteps[1:]])
        transfers = _linear_steps(told, gap, [], range(len(told)))
    elif steps < 4:
        raise ValueError(f"steps is {steps}; PNDMScheduler needs 4 without skip_prk_steps.")
    else:
        first = timesteps[:4]
        told = np.concatenate([_runge_kutta_times(first, gap // 2), timesteps[3:]])
        transfers = _runge_kutta_steps(told[:12], gap // 2)
        transfers += _linear_steps(told, gap, [0, 4, 8], range(12, len(told)))
    if max(transfer.start for transfer in transfers) >= trained:
        raise ValueError(f"PNDMScheduler cannot run {steps} steps: it begins beyond {trained}.")
    return _led(told, transfers, options, noise)


def _runge_kutta_times(first: np.ndarray, middle: int) -> np.ndarray:
    """Four evaluations for each of three steps: at its start, twice in its middle, at its end."""
    ends = first[1:]
    return np.stack([first[:-1], ends + middle, ends + middle, ends], axis=1).reshape(-1)


def _runge_kutta_steps(told: np.ndarray, middle: int) -> list[_Transfer]:
    """Runge and Kutta's steps of four evaluations, all from the state of the first."""
    transfers = []
    for row, timestep in enumerate(map(int, told)):
        base, place = row // 4 * 4, row % 4
        end = timestep - middle if place in (0, 2) else timestep
        weights = {row: 1.0}
        if place == 3:
            weights = {base: 1 / 6, base + 1: 1 / 3, base + 2: 1 / 3, row: 1 / 6}
        transfers.append(_Transfer(base, int(told[base]), end, weights))
    return transfers


def _linear_steps(told: np.ndarray, gap: int, known: list[int], rows: range) -> list[_Transfer]:
    """Adams and Bashforth's steps; the second is the first again, with the answer at its end."""
    transfers, answers = [], list(known)
    for row in rows:
        timestep = int(told[row])
        if row == 1:
            transfers.append(_Transfer(0, timestep + gap, timestep, {0: 0.5, 1: 0.5}))
            continue
        answers = [*answers[-3:], row]
        weights = _ADAMS[len(answers) - 1]
        used = dict(zip(reversed(answers), weights, strict=True))
        transfers.append(_Transfer(row, timestep, timestep - gap, used))
    return transfers


def _led(
    told: np.ndarray, transfers: list[_Transfer], options: Options, noise: Noise | Flow
) -> StepTable:
    """Lay PNDM's steps out as a table.

    A step to alpha, sigma is `(alpha / a) x + (sigma - alpha s / a) m` of the state x and the
    answers' sum m, which is eps; of v it is made at the step's start: `eps = a m + s x`.
    """
    if noise.prediction not in ("eps", "v"):
        raise ValueError("PNDMScheduler takes a prediction_type of epsilon or v_prediction alone.")
    times = np.array(told, float) + 1
    starts = np.array([transfer.start for transfer in transfers]) + 1.0
    ends = _reached(np.array([transfer.end for transfer in transfers]), options)
    alpha, sigma = _levels(noise.schedule, times)
    a, s = _levels(noise.schedule, starts)
    alpha_end, sigma_end = _levels(noise.schedule, ends)
    of_state, of_answer = alpha_end / a, sigma_end - alpha_end * s / a
    by_v = noise.prediction == "v"
    if by_v:
        of_state, of_answer = of_state + of_answer * s, of_answer * a
    depth = max(n + 1 - min(t.base, *t.weights) for n, t in enumerate(transfers))
    clean, noises = np.zeros((2, len(told), min(depth, len(told))))
    for n, (base, _, _, weights) in enumerate(transfers):
        clean[base, n - base] += of_state[n] * alpha[base]
        noises[base, n - base] += of_state[n] * sigma[base]
        for row, weight in weights.items():
            clean[row, n - row] -= of_answer[n] * weight * sigma[row] * by_v
            noises[row, n - row] += of_answer[n] * weight * (alpha[row] if by_v else 1)
    columns = times, clean, noises, np.zeros(len(told))
    return _started(StepTable(*map(jnp.asarray, columns)), 1.0)


def _levels(schedule: AbstractSchedule, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`(alpha, sigma)` at some times, of which some may be data."""
    at = jnp.asarray(times)
    return np.asarray(jax.vmap(schedule.alpha)(at)), np.asarray(jax.vmap(schedule.sigma)(at))


_OTHER_SIGMAS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
_FLAG_OFF, _FLAG_ON = _Option(False, FLAG), _Option(True, FLAG)
_BY_IMAGE = "the shift would depend on the size of the image"
_SPACING = {"timestep_spacing": _Option("linspace", _SPACED), "steps_offset": _Option(0, _OFFSET)}
_LEADING = _SPACING | {"timestep_spacing": _Option("leading", _SPACED)}
_SIGMAS = dict.fromkeys(_OTHER_SIGMAS, _Option(False, or_null(FLAG)))
_FINAL = {"final_sigmas_type": _Option("zero", choice("zero", "sigma_min"))}
_TRAINED = {"num_train_timesteps": _Option(1000, whole(1, MAX_STEPS))}
_AS_FLOW = _TRAINED | {
    "use_flow_sigmas": _FLAG_OFF,
    "flow_shift": _Option(1.0, number_above(0.0, 1e6)),
    "use_dynamic_shifting": _Option(False, FLAG, _BY_IMAGE),
    "time_shift_type": _Option("exponential", choice("exponential", "linear")),
    "beta_schedule": _Option("linear", Rule("a text", lambda value: None)),
}
_SOLVER = (
    _SIGMAS
    | _AS_FLOW
    | {
        "solver_order": _Option(2, whole(1, 3)),
        "lower_order_final": _FLAG_ON,
    }
)
_DPM = (
    _SOLVER
    | _FINAL
    | {
        "algorithm_type": _Option("dpmsolver++", choice("dpmsolver++", "sde-dpmsolver++", "deis")),
        "solver_type": _Option("midpoint", choice("midpoint", "heun", "logrho", "bh1", "bh2")),
        "lambda_min_clipped": _Option(-np.inf, Rule("a number", lambda value: None)),
        "variance_type": _Option(None, choice(None, "learned", "learned_range")),
    }
)
_CLASSES: dict[str, tuple[dict[str, _Option], Make]] = {
    "DDIMScheduler": (_LEADING | {"set_alpha_to_one": _FLAG_ON}, _ddim),
    "DDPMScheduler": (
        _LEADING
        | {
            "variance_type": _Option(
                "fixed_small", choice("fixed_small", "fixed_small_log", "fixed_large")
            )
        },
        _ddpm,
    ),
    "PNDMScheduler": (
        _LEADING | {"set_alpha_to_one": _FLAG_OFF, "skip_prk_steps": _FLAG_OFF},
        _pndm,
    ),
    "DPMSolverMultistepScheduler": (
        _DPM | _SPACING | {"euler_at_final": _FLAG_OFF, "use_lu_lambdas": _FLAG_OFF},
        _dpm_multistep,
    ),
    "DPMSolverSinglestepScheduler": (
        _DPM
        | {
            "lower_order_final": _FLAG_OFF,
            "algorithm_type": _Option("dpmsolver++", choice("dpmsolver++", "deis")),
        },
        _dpm_singlestep,
    ),
    "UniPCMultistepScheduler": (
        _SOLVER
        | _SPACING
        | _FINAL
        | {
            "predict_x0": _Option(True, choice(True)),
            "solver_type": _Option("bh2", choice("bh1", "bh2", "midpoint", "heun", "logrho")),
            "disable_corrector": _Option([], list_of(whole(0, MAX_STEPS))),
            "solver_p": _Option(None, choice(None)),
            "shift_terminal": _Option(None, choice(None)),
            "sigma_min": _Option(None, choice(None)),
            "sigma_max": _Option(None, choice(None)),
        },
        _unipc,
    ),
    "DEISMultistepScheduler": (
        _SOLVER
        | _SPACING
        | {
            "algorithm_type": _Option("deis", choice("deis", "dpmsolver", "dpmsolver++")),
            "solver_type": _Option("logrho", choice("logrho", "midpoint", "heun", "bh1", "bh2")),
        },
        _deis,
    ),
    "EulerDiscreteScheduler": (
        _SIGMAS
        | _SPACING
        | _FINAL
        | {
            "interpolation_type": _Option("linear", choice("linear")),
            "timestep_type": _Option("discrete", choice("discrete")),
            "sigma_min": _Option(None, _LEVEL),
            "sigma_max": _Option(None, _LEVEL),
        },
        _euler,
    ),
    "HeunDiscreteScheduler": (_SIGMAS | _SPACING, _heun),
    "FlowMatchEulerDiscreteScheduler": (
        _SIGMAS
        | _TRAINED
        | {
            "shift": _Option(1.0, number_above(0.0, 1e6)),
            "shift_terminal": _Option(None, or_null(number(0.0, 0.9999))),
            "use_dynamic_shifting": _Option(False, FLAG, _BY_IMAGE),
            "base_shift": _Option(0.5, or_null(number())),
            "max_shift": _Option(1.15, or_null(number())),
            "base_image_seq_len": _Option(256, or_null(whole(1, 2**30))),
            "max_image_seq_len": _Option(4096, or_null(whole(1, 2**30))),
            "time_shift_type": _Option("exponential", choice("exponential", "linear")),
            "invert_sigmas": _Option(False, FLAG, "the model would be told times from data on"),
            "stochastic_sampling": _Option(False, FLAG, "its noise would not be the table's"),
        },
        _flow_euler,
    ),
}

"""From the names in a configuration to the objects they stand for."""

import dataclasses
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..backbones import Rounded
from ..core.families import AbstractFamily, free_parameters
from ..core.kernels import AbstractKernel
from ..core.model import DiffusionModel
from ..core.objectives import Objective
from ..features import load_cifar_resnet
from ..hub import PREFIX, parse
from ..metrics import FeatureSet
from ..registry import entries, load, resolve
from ..runs.store import Config
from ._common import call, construct, sentence
from ._data import first_images, hashes, load_data, load_references

SHOWN = 48  # images in a run's picture
RESNET = "resnet:"  # before the path of a CIFAR ResNet's safetensors file
OPENAI = "openai:"  # before the name of a preset, a colon and the path of a .pt file


class Setup(NamedTuple):
    """All the parts of a search.

    `features` are those of the report; the objective has its own, without rounding. `shown` are the
    first images of the data, if it has images.
    """

    family: AbstractFamily
    free: PyTree[bool]
    model: DiffusionModel
    objective: Objective
    features: dict[str, Callable[[Array], Array]]
    references: dict[str, FeatureSet]
    shown: np.ndarray | None
    hashes: dict[str, str]


def load_setup(config: Config, quiet: bool = True) -> Setup:
    """Everything a configuration names, checked against one another.

    Every image of the data has been read once, now or when their features were kept.
    """
    model = load_model(config.model, config.dtype, config.label, config.guidance)
    family = load_family(config.family, config.steps, config.times, model, config.family_options)
    stride, _, mode = config.times.partition("-")
    free = free_parameters(family, mode == "searched", mode == "decoupled")
    if not jax.tree.leaves(eqx.filter(family, free)):
        raise ValueError(
            f"The family {config.family!r} has nothing to search with fixed times; give --times "
            f"{stride}-searched, or its per-step parameters (-F per_step=true)."
        )
    kernel_class = load("kernels", config.kernel, AbstractKernel)
    kernel = construct(kernel_class, f"The kernel {config.kernel!r}", {}, config.kernel_options)
    data = load_data(config.data, model, config.split, config.crop)
    names = dict.fromkeys((config.features, config.report_features))
    features = {name: load_features(name, model.shape, rounding=True) for name in names}
    references = load_references(features, data, quiet=quiet)
    searched = load_features(config.features, model.shape)
    objective = Objective(searched, kernel, references[config.features].features)
    return Setup(
        family, free, model, objective, features, references,
        first_images(data, SHOWN), hashes(model, data, features),
    )  # fmt: skip


def load_run(name: str, *code: str) -> tuple[Path, Config]:
    """The folder and the configuration of a run, or of one published as `hf:owner/name`.

    Raises ValueError where one of the parts `code` of a published run is a `python:` reference.
    """
    if not name.startswith(PREFIX):
        return Path(name), Config.load(Path(name))
    from ..runs.published import fetch_run, load_config, refuse_code

    folder = fetch_run(parse(name))
    config = load_config(folder)
    refuse_code(config, *code)
    return folder, config


def load_model(
    name: str, dtype: str = "float32", label: int | None = None, guidance: float | None = None
) -> DiffusionModel:
    """The model of a name, whose network computes in the dtype given and fits its shape.

    A name is a registered one, `python:module:attribute`, `hf:owner/name`, a folder, or
    `openai:preset:path`; label and guidance are for class-conditional checkpoints.
    """
    if name.startswith(OPENAI):
        from ..formats import load_openai

        preset, path = _openai(name)
        model = load_openai(path, preset, label, guidance)
    elif name.startswith(PREFIX) or _is_folder(name):
        from ..hub.models import load_model as load_checkpoint

        model = load_checkpoint(name, label, guidance)
    else:
        if label is not None or guidance is not None:
            raise ValueError(
                f"The model {name!r} takes no label and no guidance; checkpoints do (hf:, openai: "
                "or a folder), and functions behind python: can set their own."
            )
        model = resolve("models", name)
    if not isinstance(model, DiffusionModel):
        model = call(model, f"The model {name!r}")
    if not isinstance(model, DiffusionModel):
        raise ValueError(f"The model {name!r} is a {type(model).__name__}, not a DiffusionModel.")
    if dtype != "float32":
        model = dataclasses.replace(model, network=Rounded(model.network, jnp.dtype(dtype)))
    _check_network(name, model)
    return model


def _check_network(name: str, model: DiffusionModel) -> None:
    """Raise ValueError where a network does not fit its model's shape or first time."""
    x, t = jnp.zeros(model.shape), jnp.asarray(model.schedule.t_max)
    try:
        out = eqx.filter_eval_shape(model.network, x, t)
    except Exception as error:
        raise ValueError(
            f"The network of the model {name!r} cannot take a sample of shape {model.shape} and a "
            f"scalar time: {sentence(error)}"
        ) from error
    wide = (*model.shape[:-1], 2 * model.shape[-1])
    if getattr(out, "shape", None) not in (model.shape, wide):
        raise ValueError(
            f"The network of the model {name!r} returns shape {getattr(out, 'shape', None)} for "
            f"samples of shape {model.shape}; it must be {model.shape} (or {wide}, with learned "
            "variance)."
        )
    if not all(np.all(np.isfinite(part)) for part in eqx.filter_jit(model)(x, t)):
        raise ValueError(
            f"The model {name!r} estimates numbers that are not finite at its first time, "
            f"t_max = {model.schedule.t_max:g}; an eps prediction needs alpha(t_max) > 0 there."
        )


def pinned(name: str) -> str:
    """A model's name as a run keeps it: at a commit of the Hub, or as an absolute path."""
    if name.startswith(PREFIX):
        from ..hub.models import pin_model

        return str(pin_model(parse(name)))
    if name.startswith(OPENAI):
        preset, path = _openai(name)
        return f"{OPENAI}{preset}:{path.absolute()}"
    return str(Path(name).absolute()) if _is_folder(name) else name


def _openai(name: str) -> tuple[str, Path]:
    """The preset and the file of `openai:preset:path`."""
    from ..formats import PRESETS

    preset, colon, path = name.removeprefix(OPENAI).partition(":")
    if not colon or preset not in PRESETS:
        raise ValueError(
            f"The model {name!r} must look like {OPENAI}PRESET:PATH, where PRESET is one of "
            f"{', '.join(PRESETS)}."
        )
    return preset, Path(path)


def _is_folder(name: str) -> bool:
    """Whether a model's name is a folder's. Raises ValueError for a path that leads to none."""
    if name in entries("models") or name.startswith("python:"):
        return False
    if "/" in name and not Path(name).is_dir():
        raise ValueError(
            f"There is no folder {name!r}; a model on the Hub is written {PREFIX}owner/name."
        )
    return Path(name).is_dir()


def load_family(
    name: str, steps: int, times: str, model: DiffusionModel, options: dict[str, Any]
) -> AbstractFamily:
    """A family with a number of steps that the model's schedule has."""
    cls = load("families", name, AbstractFamily)
    most = model.schedule.steps
    if steps < 1 or (most is not None and steps > most):
        bound = f" and at most the schedule's {most}" if most is not None else ""
        raise ValueError(f"steps is {steps}; it must be at least 1{bound}.")
    fixed = {"steps": steps, "times": times.partition("-")[0]}
    return construct(cls, f"The family {name!r}", fixed, options)


def load_features(
    name: str, shape: tuple[int, ...], rounding: bool = False
) -> Callable[[Array], Array]:
    """A feature extractor that maps a sample of the model's shape to a vector.

    A registered one, what `python:` leads to, or `resnet:path` for a CIFAR ResNet's file. With
    `rounding`, as reports want it, samples are rounded to 8 bits first where the extractor says so.
    """
    what = f"The feature extractor {name!r}"
    if name.startswith(RESNET):
        features = load_cifar_resnet(Path(name.removeprefix(RESNET)), rounding)
    else:
        features = resolve("features", name)
        if not name.startswith("python:") or not _takes_sample(features):
            rounds = callable(features) and "rounding" in inspect.signature(features).parameters
            features = call(partial(features, rounding=rounding) if rounds else features, what)
    try:
        out = eqx.filter_eval_shape(features, jnp.zeros(shape))
    except Exception as error:
        raise ValueError(
            f"{what} cannot take a sample of shape {shape}: {sentence(error)}"
        ) from error
    if len(getattr(out, "shape", ())) != 1:
        raise ValueError(
            f"{what} must map a sample to a vector; it returns "
            f"{getattr(out, 'shape', type(out).__name__)}."
        )
    return features


def _takes_sample(found: Any) -> bool:
    """Whether something has a parameter without default: then it is the extractor itself."""
    if inspect.isclass(found):
        return False
    parameters = inspect.signature(found).parameters.values()
    return any(p.default is p.empty and p.kind is not p.VAR_KEYWORD for p in parameters)

"""From the names in a configuration to the objects they stand for."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PyTree

from ..core.families import AbstractFamily, free_parameters
from ..core.model import DiffusionModel
from ..core.objectives import Objective
from ..hub import PREFIX, parse
from ..metrics import FeatureSet
from ..runs.parts import (
    first_images,
    hashes,
    load_data,
    load_family,
    load_features,
    load_kernel,
    load_model,
    load_references,
)
from ..runs.spec import Config
from ..runs.store import load_config

SHOWN = 48  # images in a run's picture


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
    trust = {"allow_code": config.allow_code}
    model = load_model(config.model, config.dtype, config.label, config.guidance, **trust)
    family = load_family(
        config.family, config.steps, config.stride, model, config.family_options, **trust
    )
    free = free_parameters(family, config.searches_times, config.decouples_times)
    if not jax.tree.leaves(eqx.filter(family, free)):
        raise ValueError(
            f"The family {config.family!r} has nothing to search with fixed times; give --times "
            f"{config.stride}-searched, or its per-step parameters (-F per_step=true)."
        )
    kernel = load_kernel(config.kernel, config.kernel_options, **trust)
    data = load_data(config.data, model.shape, model.clip, config.split, config.crop, **trust)
    names = dict.fromkeys((config.features, config.report_features))
    features = {name: load_features(name, model.shape, rounding=True, **trust) for name in names}
    references = load_references(features, data, progress=not quiet)
    searched = load_features(config.features, model.shape, **trust)
    objective = Objective(searched, kernel, references[config.features].features)
    return Setup(
        family, free, model, objective, features, references,
        first_images(data, SHOWN), hashes(model, data, features, config.model),
    )  # fmt: skip


def load_run(name: str) -> tuple[Path, Config]:
    """The folder and the configuration of a run, or of one published as `hf:owner/name`."""
    if not name.startswith(PREFIX):
        return Path(name), load_config(Path(name))
    from ..runs.published import fetch_config, fetch_run

    folder = fetch_run(parse(name))
    return folder, fetch_config(folder)

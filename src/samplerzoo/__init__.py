"""Gradient search for fast samplers of frozen diffusion models.

Public names are loaded when they are first used, so that `import samplerzoo` costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .artifact import load_sampler as load_sampler, save_sampler as save_sampler
    from .data import Images as Images, read as read
    from .engine import run as run, sample as sample
    from .evaluate import baselines as baselines, draw_samples as draw_samples, score as score
    from .families import (
        DDIM as DDIM,
        DDPM as DDPM,
        GDDIM as GDDIM,
        RDDIM as RDDIM,
        AbstractFamily as AbstractFamily,
        Times as Times,
        free_parameters as free_parameters,
    )
    from .features import apply as apply, extract as extract
    from .hub.models import load_model as load_model
    from .kernels import (
        RBF as RBF,
        AbstractKernel as AbstractKernel,
        Linear as Linear,
        Polynomial as Polynomial,
        RationalQuadratic as RationalQuadratic,
        mmd as mmd,
    )
    from .metrics import (
        FeatureSet as FeatureSet,
        Metric as Metric,
        Moments as Moments,
        bootstrap as bootstrap,
        cmmd as cmmd,
        density_coverage as density_coverage,
        frechet_distance as frechet_distance,
        inception_score as inception_score,
        kernel_distance as kernel_distance,
        kid_subsets as kid_subsets,
        memorisation as memorisation,
        precision_recall as precision_recall,
    )
    from .microbatch import value_and_slope as value_and_slope
    from .model import DiffusionModel as DiffusionModel, Estimate as Estimate
    from .objective import Objective as Objective
    from .ode import solve_ode as solve_ode
    from .process import departure as departure, marginals as marginals
    from .references import Bank as Bank, Statistics as Statistics, reference as reference
    from .schedule import (
        EDM as EDM,
        AbstractSchedule as AbstractSchedule,
        CosineVP as CosineVP,
        DiscreteVP as DiscreteVP,
        LinearVP as LinearVP,
        RectifiedFlow as RectifiedFlow,
    )
    from .search import (
        Diverged as Diverged,
        SearchState as SearchState,
        adam as adam,
        compile_step as compile_step,
        descend as descend,
        finish as finish,
        start as start,
    )
    from .table import StepTable as StepTable

# Each public name and the module it lives in; the block above says the same to type checkers.
_HOMES = {
    "artifact": "load_sampler save_sampler",
    "data": "Images read",
    "engine": "run sample",
    "evaluate": "baselines draw_samples score",
    "families": "AbstractFamily DDIM DDPM GDDIM RDDIM Times free_parameters",
    "features": "apply extract",
    "hub.models": "load_model",
    "kernels": "AbstractKernel Linear Polynomial RBF RationalQuadratic mmd",
    "process": "departure marginals",
    "microbatch": "value_and_slope",
    "metrics": "FeatureSet Metric Moments bootstrap cmmd density_coverage frechet_distance "
    "inception_score kernel_distance kid_subsets memorisation precision_recall",
    "model": "DiffusionModel Estimate",
    "objective": "Objective",
    "ode": "solve_ode",
    "references": "Bank Statistics reference",
    "schedule": "AbstractSchedule CosineVP DiscreteVP EDM LinearVP RectifiedFlow",
    "search": "Diverged SearchState adam compile_step descend finish start",
    "table": "StepTable",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*globals(), *_HOME]

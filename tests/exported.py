"""What tests of exported samplers share: samplers to export, and networks of both frameworks."""

import importlib.util
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from samplerzoo import DDIM, DDPM, GDDIM, RDDIM, DiffusionModel, DiscreteVP
from samplerzoo.core.engine import draw, run_table

BETAS = np.linspace(1e-4, 0.02, 1000)
STEPS = 5


def moved(family, scale: float = 0.05):
    """A family as a search could leave it: all its arrays differ from the start."""
    arrays, rest = eqx.partition(family, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(arrays)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    leaves = [
        leaf + scale * jax.random.normal(key, leaf.shape, leaf.dtype)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return eqx.combine(jax.tree.unflatten(structure, leaves), rest)


FAMILIES = {
    "ddim": lambda: DDIM(STEPS),
    "ddpm": lambda: DDPM(STEPS, "quadratic"),
    "rddim": lambda: moved(RDDIM(STEPS, "quadratic")),
    "gddim": lambda: moved(GDDIM(STEPS)),
    "gddim-2": lambda: moved(GDDIM(STEPS, "quadratic", depth=2)),
}


def double(tree):
    """The tree with its floating-point arrays in float64."""
    return jax.tree.map(
        lambda leaf: (
            jnp.asarray(np.asarray(leaf, np.float64)) if eqx.is_inexact_array(leaf) else leaf
        ),
        tree,
    )


def called_back(network, shape, schedule=None, clip=(-1.0, 1.0), prediction="eps", told=None):
    """A model whose network is a NumPy function `(x, timestep)` of a channels-first batch."""
    told = told or (lambda t: t - 1)

    def one(x, t):
        answer = network(np.asarray(x)[None], np.asarray(told(t)))[0]
        return answer.astype(x.dtype)

    def call(x, t):
        first = jnp.moveaxis(x, -1, 0)
        like = jax.ShapeDtypeStruct(first.shape, x.dtype)
        answer = jax.pure_callback(one, like, first, t, vmap_method="sequential")
        return jnp.moveaxis(answer, 0, -1)

    schedule = schedule or DiscreteVP.from_betas(BETAS)
    return DiffusionModel(call, schedule, shape, prediction=prediction, clip=clip)


def engine_samples(table, model, starts, keys):
    """The engine's samples from channels-first starts, channels first again."""
    states = jnp.moveaxis(jnp.asarray(starts), 1, -1)
    one = eqx.filter_jit(run_table)
    found = [one(table, model, x, key) for x, key in zip(states, keys, strict=True)]
    return np.moveaxis(np.stack([np.asarray(x) for x in found]), -1, 1)


def fresh_noises(keys, steps, shape, dtype):
    """The noise that the engine draws for each sample before each step's end, channels first."""
    return [
        np.stack([np.moveaxis(np.asarray(draw(k, n + 1, shape, dtype)), -1, 0) for k in keys])
        for n in range(steps)
    ]


def load_module(path: Path, name: str | None = None):
    """Import an exported file as a program of its user would."""
    name = name or path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module

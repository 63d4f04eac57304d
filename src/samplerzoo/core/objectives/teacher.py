"""The distance to what a sampler of many steps makes of the same noise."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, ArrayLike, Float, Int

from ..compiling import jit
from ..devices import device_put, replicate, shard
from ..drawing import each, stream
from ..model import DiffusionModel
from ..ode import follow_ode_batch
from ..table import StepTable
from ..types import Scalar, State
from .objective import AbstractObjective, Pool


class Teacher(AbstractObjective):
    """Compare each sample with what a teacher makes of the same noise, in features.

    The mean of `|phi(x') - target|^power` over features and samples.

    Args:
        phi: Maps one sample to its features (d,); the sample itself, flat, for states.
        targets: The features of the teacher's samples, (size, d), in the order of the noises.
        noises: What the teacher started from.
        power: 2 for squared differences, 1 for absolute ones.

    Raises:
        ValueError: The targets are not as many as the pool's samples, or the power is neither.
    """

    phi: Callable[[Array], Array]
    targets: Float[Array, "size d"]
    noises: Pool
    power: int = eqx.field(static=True)

    def __init__(
        self,
        phi: Callable[[Array], Array],
        targets: Float[ArrayLike, "size d"],
        noises: Pool,
        power: int = 2,
    ):
        self.phi = phi
        self.targets = jnp.asarray(targets)
        self.noises = noises
        self.power = power
        if len(self.targets) != noises.size:
            raise ValueError(
                f"There are {len(self.targets)} targets for {noises.size} noises; one each is "
                "needed."
            )
        if power not in (1, 2):
            raise ValueError(f"power is {power}; it must be 1 or 2.")

    def pool(self) -> Pool:
        """Say which samples it is defined on.

        Returns:
            The noises that the teacher started from.
        """
        return self.noises

    def features(self, sample: State, index: Int[Array, ""]) -> Scalar:
        difference = self.phi(sample) - self.targets[index]
        return jnp.mean(jnp.abs(difference) ** self.power)

    def distance(self, features: Float[Array, "N"]) -> Scalar:
        return jnp.mean(features)


def table_targets(
    phi: Callable[[Array], Array],
    table: StepTable,
    model: DiffusionModel,
    pool: Pool,
    batch: int | None = None,
    mesh: Mesh | None = None,
    apply: Callable[[Callable, Array], Array] = each,
) -> Float[np.ndarray, "size d"]:
    """Compute a teacher's targets, where the teacher is a table of many steps without fresh noise.

    Args:
        phi: Maps one sample to its features (d,).
        table: The teacher.
        model: The model.
        pool: The noises to start from.
        batch: Samples at a time over all devices; by default 1000 a device, fewer of large ones.
        mesh: The devices over which a batch is sharded.
        apply: How a function of one sample is computed for a batch, see `stream`.

    Returns:
        The features of the teacher's samples, on the host.
    """
    found = stream(table, model, pool.key, pool.size, {"": phi}, batch, mesh, apply)
    return np.concatenate([features[""] for _, features in found])


def ode_targets(
    phi: Callable[[Array], Array],
    model: DiffusionModel,
    pool: Pool,
    t_end: float | None = None,
    tolerance: float = 1e-4,
    batch: int = 64,
    mesh: Mesh | None = None,
) -> Float[np.ndarray, "size d"]:
    """Compute a teacher's targets, where the teacher solves the probability-flow ODE.

    Args:
        phi: Maps one sample to its features (d,).
        model: The model.
        pool: The noises to start from.
        t_end: The time to end at, see `follow_ode`.
        tolerance: The relative and absolute tolerance of a step.
        batch: Samples at a time over all devices, which take as many steps as the slowest.
        mesh: The devices over which a batch is sharded.

    Returns:
        The features of the solutions, on the host.
    """
    devices = mesh.size if mesh else 1
    size = -(-min(batch, pool.size) // devices) * devices

    def compute(phi, model, key, first):
        indices = shard(first + jnp.arange(size), mesh)
        solved = follow_ode_batch(model, key, indices, t_end, tolerance, tolerance)
        return replicate(jax.vmap(phi)(solved.sample), mesh)

    solve = jit(compute)
    fixed = device_put((phi, model, pool.key), mesh)
    firsts = (jnp.asarray(first) for first in range(0, pool.size, size))
    return np.concatenate([np.asarray(solve(*fixed, first)) for first in firsts])[: pool.size]

"""Devices and processes: what of a batch lies where, and what all processes agree on."""

from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

T = TypeVar("T")


def all_devices() -> Mesh | None:
    """Every device of every process, along which a batch is split; None where there is one."""
    devices = jax.devices()
    return Mesh(np.asarray(devices), ("batch",)) if len(devices) > 1 else None


def shard(array: Array, mesh: Mesh | None, axis: int = 0) -> Array:
    """Under jit: an array with an axis split over the devices of a mesh; as it is without one."""
    if mesh is None:
        return array
    spec = PartitionSpec(*(None,) * axis, mesh.axis_names)
    return jax.lax.with_sharding_constraint(array, NamedSharding(mesh, spec))


def replicate(tree: T, mesh: Mesh | None) -> T:
    """Under jit: arrays that every device of a mesh has whole."""
    if mesh is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, PartitionSpec()))


def device_put(tree: T, mesh: Mesh | None) -> T:
    """The arrays of a tree, the same in all processes, on every device of a mesh."""
    if mesh is None:
        return tree
    everywhere = NamedSharding(mesh, PartitionSpec())

    def put(leaf):
        if not eqx.is_array(leaf) or leaf.sharding == everywhere:
            return leaf
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(
                put(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf)
            )
        return jax.make_array_from_callback(leaf.shape, everywhere, np.asarray(leaf).__getitem__)

    return jax.tree.map(put, tree)


def cut_batch(batch: int, microbatch: int | None, mesh: Mesh | None = None) -> tuple[int, int]:
    """How many parts a batch is taken in, and the size of each, a multiple of the devices.

    The parts are the fewest of at most `microbatch` samples a device, all of one size.
    """
    devices = mesh.size if mesh else 1
    share = -(-batch // devices)
    if microbatch is not None and microbatch < 1:
        raise ValueError(f"microbatch is {microbatch}; it must be at least 1.")
    parts = -(-share // min(microbatch or share, share))
    return parts, -(-share // parts) * devices

"""What tells one feature extractor from another: its weights and the program it is."""

import hashlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..features import Extractor

CALLBACK = "callback"


def weights_digest(phi: Extractor) -> str:
    """The SHA-256 of an extractor's arrays in their order, cut to 32 digits."""
    total = hashlib.sha256()
    for leaf in jax.tree.leaves(eqx.filter(phi, eqx.is_array)):
        array = np.asarray(leaf)
        total.update(f"{array.dtype} {array.shape} ".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:32]


def fingerprint(phi: Extractor, shape: tuple[int, ...]) -> str:
    """`WEIGHTS.PROGRAM@VERSION`: the hash of the arrays, that of the program which JAX makes of the
    extractor for a sample of a shape, and JAX's version, which the program depends on.

    The program has all numbers that a function closes over; one that calls back to Python has
    `callback` in the place of a hash. Nothing is computed, so that rounding has no say.
    """
    arrays, rest = eqx.partition(phi, eqx.is_array)

    def run(arrays, x):
        return eqx.combine(arrays, rest)(x)

    lowered = jax.jit(run).lower(arrays, jax.ShapeDtypeStruct(shape, jnp.float32)).as_text()
    program = hashlib.sha256(lowered.encode()).hexdigest()[:32]
    return f"{weights_digest(phi)}.{CALLBACK if CALLBACK in lowered else program}@{jax.__version__}"


def same(then: str, now: str) -> bool:
    """Whether two hashes agree; fingerprints by different versions of JAX, in their weights."""
    if then.partition("@")[2] != now.partition("@")[2]:
        return then.partition(".")[0] == now.partition(".")[0]
    return then == now

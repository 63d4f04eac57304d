"""Options with which programs are compiled."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

# On CPU, XLA 0.10 leaves 3x3 convolutions to a library that is up to 1.7 times slower with few
# channels than XLA's own; to that library are left matrix products and reductions.
_CPU = {
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE"
}


def jit(function: Callable) -> Any:
    """`eqx.filter_jit`, with the options that are best for networks on this backend."""
    jitted: Any = eqx.filter_jit  # its types leave out the options of `jax.jit`
    return jitted(function, compiler_options=options())


@functools.cache
def options() -> dict[str, str] | None:
    """`compiler_options` of `jax.jit` for this backend; None where there are no better ones."""
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(lambda: 0, compiler_options=_CPU).lower().compile()
    except jax.errors.JaxRuntimeError:  # another version of XLA, without this option
        return None
    return _CPU

"""Options with which programs are compiled."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

# On CPU, XLA 0.10 leaves 3x3 convolutions to a library that is up to 1.7 times slower with few
# channels than XLA's own; to that library are left matrix products and reductions. And it makes
# what depends on weights alone (convolutions' turned kernels) long before it is needed, unless it
# is told to spare memory: a network's gradient then takes up to half as much, and less time.
_CPU = {
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE",
    "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
}


_ONCE = {"xla_backend_optimization_level": 0}


def jit(function: Callable) -> Any:
    """`eqx.filter_jit`, with the options that are best for networks on this backend."""
    jitted: Any = eqx.filter_jit  # its types leave out the options of `jax.jit`
    return jitted(function, compiler_options=options())


def jit_once(function: Callable) -> Any:
    """`eqx.filter_jit` for what runs once: it is compiled in less time, and is slower."""
    jitted: Any = eqx.filter_jit
    return jitted(function, compiler_options=_ONCE)


@functools.cache
def options() -> dict[str, str] | None:
    """`compiler_options` of `jax.jit` for this backend; None where there are no better ones."""
    if jax.default_backend() != "cpu":
        return None
    return {name: value for name, value in _CPU.items() if _known(name, value)} or None


def _known(name: str, value: str) -> bool:
    """Whether this version of XLA has the option."""
    try:
        jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True

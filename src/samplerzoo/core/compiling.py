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


# Of what runs once: without optimisation, and by XLA's older emitters, a program is compiled in
# half the time.
_ONCE = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


def jit(function: Callable) -> Any:
    """`eqx.filter_jit`, with the options that are best for networks on this backend."""
    return _jit(function, options())


def jit_once(function: Callable) -> Any:
    """`eqx.filter_jit` for what runs once: it is compiled in less time, and is slower.

    What XLA knows is asked at the first call: importing a module must not begin any work of JAX.
    """

    @functools.cache
    def jitted() -> Any:
        return _jit(function, _known(_ONCE))

    @functools.wraps(function)
    def called(*arguments: Any) -> Any:
        return jitted()(*arguments)

    return called


def _jit(function: Callable, given: dict[str, Any] | None) -> Any:
    jitted: Any = eqx.filter_jit  # its types leave out the options of `jax.jit`
    return jitted(function, compiler_options=given)


@functools.cache
def options() -> dict[str, str] | None:
    """`compiler_options` of `jax.jit` for this backend; None where there are no better ones."""
    return _known(_CPU) if jax.default_backend() == "cpu" else None


def _known(wanted: dict[str, Any]) -> dict[str, Any] | None:
    """The options that this version of XLA has."""
    return {name: value for name, value in wanted.items() if _is_known(name, value)} or None


@functools.cache
def _is_known(name: str, value: Any) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True

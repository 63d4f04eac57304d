"""Named tensors of published networks, checked before a network is made of them."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ..files import Tensors, check_names, check_tensor
from ..layouts import read_kernel

Shapes = Mapping[str, tuple[int, ...]]


def check(tensors: Tensors, wanted: Shapes) -> None:
    """Raise ValueError, naming a tensor, where the tensors are not those of an architecture."""
    check_names(tensors, wanted)
    for name, shape in wanted.items():
        check_tensor(name, tensors[name], shape, floating=True)


def without_counts(tensors: Tensors) -> dict[str, np.ndarray]:
    """All but how many batches each norm has seen, which PyTorch keeps beside its statistics."""
    return {n: a for n, a in tensors.items() if not n.endswith(".num_batches_tracked")}


def norm_shapes(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    """What a batch norm's checkpoint holds."""
    return dict.fromkeys(
        (f"{name}.{kind}" for kind in ("weight", "bias", "running_mean", "running_var")),
        (channels,),
    )


def fold(
    tensors: Tensors, conv: str, norm: str, eps: float, dtype: DTypeLike = np.float32
) -> tuple[Float[Array, "h w C D"], Float[Array, "D"]]:
    """The kernel and the bias that do a convolution and the batch norm behind it in one.

    Computed in float64.
    """
    kernel, scale, offset, mean, variance = (
        tensors[name].astype(np.float64) for name in (f"{conv}.weight", *norm_shapes(norm, 0))
    )
    gain = scale / np.sqrt(variance + eps)
    kernel = read_kernel(kernel) * gain
    bias = offset - mean * gain
    return jnp.asarray(kernel, dtype), jnp.asarray(bias, dtype)


def single(array: np.ndarray) -> Float[jax.Array, "..."]:
    """An array of JAX in float32."""
    return jnp.asarray(np.ascontiguousarray(array, np.float32))

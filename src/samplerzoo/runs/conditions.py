"""The conditions of a model's samples: chosen among its labels, or read from a file."""

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..core.model import DiffusionModel
from ..files import read_tensors
from ..wording import printable, shown
from .errors import UntrustedNameError
from .spec import read_labels

NULL = "null"  # a tensor of this name, or NAME.null, is what stands for no condition


def with_conditions(
    what: str,
    model: DiffusionModel,
    labels: str | None,
    conditions: str | Path | None,
    *,
    allow_code: bool = True,
) -> DiffusionModel:
    """Give a model the conditions that are asked for.

    Args:
        what: What messages call the model.
        model: The model, with conditions of its own or without.
        labels: Which of its classes are sampled, see `read_labels`.
        conditions: A safetensors file of conditions, which take the place of the model's own.
        allow_code: Whether a path may lead to files of this machine.

    Returns:
        The model, unchanged where nothing is asked for.

    Raises:
        ValueError: Both are given, the model has no such classes, or the file cannot be read.
    """
    if labels is not None and conditions is not None:
        raise ValueError("Both labels and conditions are given; the one stands for the other.")
    if labels is not None:
        return dataclasses.replace(model, conditions=_chosen(what, model.conditions, labels))
    if conditions is None:
        return model
    if not allow_code:
        raise UntrustedNameError(
            f"The conditions are in {shown(str(conditions))}, a path, and a run of others names no "
            "files of this machine; give yours."
        )
    rows, null = read_conditions(Path(conditions))
    null = model.null if null is None else null
    try:
        return dataclasses.replace(model, conditions=rows, null=null)
    except ValueError as error:
        raise ValueError(f"The conditions in {conditions} cannot be used. {error}") from error


def read_conditions(path: Path) -> tuple[PyTree[Array], PyTree[Array] | None]:
    """Read conditions, such as the embeddings of texts, from a safetensors file.

    Args:
        path: The file. One tensor (N, ...) is the conditions; of several with names, each is one
            of the arrays of a dict, as the network takes it. A tensor `null`, or `NAME.null` for
            each name, is a row that stands for no condition.

    Returns:
        The conditions, and what stands for none, or None.

    Raises:
        ValueError: There is no such file, it is damaged, or holds other tensors.
    """
    if not path.is_file():
        raise ValueError(f"There is no file of conditions {path}; give a safetensors file.")
    tensors, _ = read_tensors(path)
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
            raise ValueError(f"{path} holds numbers that are not finite, in {printable(name)!r}.")
    rows = {name: a for name, a in tensors.items() if name.split(".")[-1] != NULL}
    nulls = {name: a for name, a in tensors.items() if name not in rows}
    if len(rows) == 1 and set(nulls) <= {NULL}:
        (only,) = rows.values()
        return jnp.asarray(only), jnp.asarray(nulls[NULL]) if nulls else None
    if not rows or (nulls and set(nulls) != {f"{name}.{NULL}" for name in rows}):
        raise ValueError(
            f"{path} holds {', '.join(map(printable, sorted(tensors)[:8])) or 'nothing'}; give one "
            f"tensor (N, ...) and if wanted one called {NULL}, or several with names, each with "
            f"NAME.{NULL} or none of them."
        )
    found = {name: jnp.asarray(array) for name, array in rows.items()}
    none = {name: jnp.asarray(nulls[f"{name}.{NULL}"]) for name in rows} if nulls else None
    return found, none


def _chosen(what: str, own: Any, labels: str) -> Array:
    """The labels of a model's own that are asked for."""
    is_labels = isinstance(own, jnp.ndarray) and own.ndim == 1 and own.dtype.kind in "iu"
    if not is_labels:
        raise ValueError(
            f"{what} has no classes as conditions, so there are no labels {labels} of it."
        )
    wanted, known = read_labels(labels), np.asarray(own)
    if wanted is None:
        return own
    if lacking := sorted(set(wanted) - set(known.tolist())):
        raise ValueError(
            f"{what} has no label {lacking[0]}; it has {len(known)}, from {known.min()} to "
            f"{known.max()}."
        )
    return jnp.asarray(wanted, own.dtype)

"""A frozen network with its schedule, seen by samplers only as `(x, t) -> (x0, eps)`."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from .schedule import AbstractSchedule
from .types import Key, Scalar, State

# What a sample's key is folded with for its condition: no state of a sampler has this number.
_CONDITION = 2**32 - 1

# A network's output is p * x0 + q * eps; each prediction type is its (p, q) at (alpha, sigma).
PREDICTIONS: dict[str, Callable] = {
    "eps": lambda alpha, sigma: (0.0, 1.0),
    "x0": lambda alpha, sigma: (1.0, 0.0),
    "v": lambda alpha, sigma: (-sigma, alpha),
    "flow": lambda alpha, sigma: (-1.0, 1.0),
}


class Estimate(NamedTuple):
    """Hold the data and the noise that a model sees in a state: `x = alpha x0 + sigma eps`, always.

    Args:
        x0: The estimate of the data, of the state's shape.
        eps: The estimate of the noise, of the state's shape.
    """

    x0: State
    eps: State


class Conditioned(eqx.Module):
    """A network `(x, t, condition)` with its condition fixed, and with what stands for none."""

    network: Callable[..., Array]
    condition: PyTree[Array]
    null: PyTree[Array] | None

    def __call__(self, x: State, t: Scalar, guidance: Scalar | None = None) -> Array:
        if guidance is None:
            return self.network(x, t, self.condition)

        def conditioned(x: State) -> Array:
            return self.network(x, t, self.condition)

        def guided(x: State) -> Array:
            pair = jax.tree.map(_both, self.null, self.condition)
            without, told = jax.vmap(self.network, (None, None, 0))(x, t, pair)
            return without + guidance * (told - without)

        # The weight is one for all samples of a batch, so that one branch alone is computed.
        return jax.lax.cond(guidance == 1, conditioned, guided, x)


def _both(null: Array, own: Array) -> Array:
    return jnp.stack([jnp.asarray(null, own.dtype), own])


class DiffusionModel(eqx.Module):
    """Join a frozen network with its schedule, as samplers see both: `model(x, t)`.

    With `conditions`, each sample has one of them, drawn from the sample's own key with the same
    probability for each row: sample number i of a key's series has the same condition wherever it
    is drawn, in a search, a score or a picture.

    Args:
        network: A function `network(x, t)` of one sample of shape `shape` (channels last) and a
            scalar time of the schedule, such as an Equinox module; with conditions,
            `network(x, t, condition)`. Of an output with learned variance (twice the channels) the
            first half is used.
        schedule: The levels `alpha(t)` and `sigma(t)` that the network was trained on.
        shape: The shape of one sample, (H, W, C) for images.
        prediction: What the network's output is: `eps`, `x0`, `v` or `flow`.
        clip: The range (low, high) of the data, to which x0 is clipped; None to leave it.
        passes: The network evaluations of one call: 2 with classifier-free guidance.
        conditions: A PyTree of arrays with one leading axis, such as labels (N,) or embeddings
            (N, d), whose rows are what samples are conditioned on; None of a network without.
        null: The condition that stands for none, as one row of `conditions`; None where the
            network knows no such.

    Raises:
        ValueError: The shape is empty or not positive, the range is not (low, high), the
            prediction type is unknown, or the conditions have no common leading axis.

    Source:
        Salimans and Ho 2022 (arXiv 2202.00512), section 4, for the prediction types.
    """

    network: Callable[..., Array]
    schedule: AbstractSchedule
    shape: tuple[int, ...] = eqx.field(static=True)
    prediction: str = eqx.field(static=True, default="eps")
    clip: tuple[float, float] | None = eqx.field(static=True, default=(-1.0, 1.0))
    passes: int = eqx.field(static=True, default=1)
    conditions: PyTree[Array] | None = None
    null: PyTree[Array] | None = None

    def __check_init__(self):
        if not self.shape or min(self.shape) < 1:
            raise ValueError(f"The shape is {self.shape}; one or more positive sizes are needed.")
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise ValueError(f"clip is {self.clip}; it must be (low, high) with low below high.")
        if self.prediction not in PREDICTIONS:
            raise ValueError(
                f"The prediction type is {self.prediction!r}; it must be one of "
                f"{', '.join(PREDICTIONS)}."
            )
        if self.conditions is not None:
            _check_conditions(self.conditions, self.null)

    def condition_of(self, key: Key) -> Int[Array, ""]:
        """Draw the row of `conditions` that the sample with a key has.

        Args:
            key: The sample's own key: `fold_in(key, i)` for sample number i of a key's series.

        Returns:
            The number of the row, all rows being equally probable.
        """
        rows = len(jax.tree.leaves(self.conditions)[0])
        return jax.random.randint(jax.random.fold_in(key, _CONDITION), (), 0, rows)

    def for_sample(self, key: Key) -> "DiffusionModel":
        """Return the model of one sample: with the condition that its key draws, if there are any.

        Args:
            key: The sample's own key: `fold_in(key, i)` for sample number i of a key's series.

        Returns:
            A model without conditions.
        """
        if self.conditions is None:
            return self
        row = self.condition_of(key)
        condition = jax.tree.map(lambda rows: rows[row], self.conditions)
        network = Conditioned(self.network, condition, self.null)
        return dataclasses.replace(self, network=network, conditions=None)

    def __call__(self, x: State, t: Scalar, guidance: Scalar | None = None) -> Estimate:
        """Estimate the data and the noise in one state.

        Args:
            x: The state, of shape `shape`.
            t: Its time, `0 < t <= t_max`.
            guidance: The weight of classifier-free guidance, of the model of one sample.

        Returns:
            The estimates `(x0, eps)`, with x0 clipped and `x = alpha x0 + sigma eps`.

        Raises:
            ValueError: The model has conditions, of which none is chosen, or is to be guided and
                has no condition that stands for none.
        """
        if guidance is not None and self.null is None:
            raise ValueError(
                "The sampler has guidance, and the model has no condition that stands for none."
            )
        if self.conditions is not None:
            raise ValueError(
                "The model has conditions, one a sample; `for_sample(key)` is the model of the "
                "sample with this key."
            )
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        weight = () if guidance is None else (guidance,)
        out = self.network(x, t, *weight)[..., : self.shape[-1]]
        p, q = PREDICTIONS[self.prediction](alpha, sigma)
        det = alpha * q - sigma * p
        x0, eps = (q * x - sigma * out) / det, (alpha * out - p * x) / det
        if self.clip is not None:
            x0 = jnp.clip(x0, *self.clip)
            eps = (x - alpha * x0) / sigma
        return Estimate(x0, eps)


def _check_conditions(conditions: PyTree[Array], null: PyTree[Array] | None) -> None:
    """Raise ValueError where conditions are not rows, or what stands for none is not one."""
    leaves = jax.tree.leaves(conditions)
    lengths = {jnp.shape(leaf)[:1] for leaf in leaves}
    if len(lengths) != 1 or lengths & {(), (0,)}:
        shapes = ", ".join(str(jnp.shape(leaf)) for leaf in leaves)
        raise ValueError(
            f"The conditions have shapes {shapes or 'of nothing'}; arrays with one leading axis, "
            "of at least one row, are needed."
        )
    rows = jax.tree.map(lambda leaf: jnp.shape(leaf)[1:], conditions)
    if null is not None and jax.tree.map(jnp.shape, null) != rows:
        raise ValueError("The condition that stands for none must be like a row of the conditions.")

"""A training loop that keeps the device busy: many steps a dispatch, all data on the device."""

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.stages import Wrapped
from jax.typing import DTypeLike
from jaxtyping import Array, Int, UInt8
from tqdm import tqdm

from ...core.compiling import options
from ...core.types import Key, Scalar
from ...files import from_tensors, read_tensors, to_tensors, write_tensors

T = TypeVar("T")
GAMMA = 6.94  # the average's width is a tenth of the training so far (Karras et al. 2024, eq. 124)
PAUSE = 240.0  # seconds between checkpoints


class Data(NamedTuple):
    """Images with their classes, on the device."""

    images: UInt8[Array, "N H W C"]
    labels: Int[Array, "N"]


Loss: TypeAlias = Callable[[Any, Data, Key], Scalar]


class Task(NamedTuple):
    """What is minimised, and how: `loss` is the mean over a batch."""

    loss: Loss
    optimiser: optax.GradientTransformation
    batch: int


class State(NamedTuple):
    """All that a training consists of between two steps; its key is folded from the step."""

    network: Any
    average: Any
    moments: Any
    step: Int[Array, ""]


class Progress(NamedTuple):
    """How far a training is: `seconds` since the first start, `loss` the mean since it was told."""

    step: int
    images: int
    seconds: float
    loss: float


def begin(task: Task, network: Any) -> State:
    """A training's first state."""
    # The state is donated: it shares nothing with the network given, nor inside.
    own, average = (jax.tree.map(jnp.copy, network) for _ in range(2))
    return State(own, average, task.optimiser.init(network), jnp.zeros((), jnp.int32))


def stepper(task: Task, steps: int) -> Wrapped:
    """`advance(state, data, key)`: so many steps, and their mean loss. The old state is given up.

    A step depends on its number and the key alone, not on how steps are grouped.
    """

    def one(state: State, data: Data, key: Key) -> tuple[State, Scalar]:
        to_rows, to_loss = jax.random.split(jax.random.fold_in(key, state.step))
        rows = jax.random.randint(to_rows, (task.batch,), 0, len(data.images))
        batch = Data(data.images[rows], data.labels[rows])
        loss, gradient = jax.value_and_grad(task.loss)(state.network, batch, to_loss)
        updates, moments = task.optimiser.update(gradient, state.moments, state.network)
        network = optax.apply_updates(state.network, updates)
        step = state.step + 1
        kept = (1 - 1 / step.astype(jnp.float32)) ** (GAMMA + 1)
        average = jax.tree.map(lambda a, b: b + kept * (a - b), state.average, network)
        return State(network, average, moments, step), loss

    @partial(jax.jit, donate_argnums=0, compiler_options=options())
    def advance(state: State, data: Data, key: Key) -> tuple[State, Scalar]:
        if steps == 1:  # XLA on CPU is slow at the gradients of convolutions inside loops
            return one(state, data, key)
        state, losses = jax.lax.scan(lambda s, _: one(s, data, key), state, length=steps)
        return state, jnp.mean(losses)

    return advance


def train(
    task: Task,
    state: State,
    data: Data,
    key: Key,
    *,
    name: str,
    chunk: int,
    pause: Callable[[State, Progress, bool], None],
    spent: float = 0.0,
    seconds: float | int = math.inf,
    steps: float | int = math.inf,
) -> State:
    """Train until step number `steps`, or for `seconds` more.

    `pause` is called on the way, and told whether it is the last time.

    `chunk` steps make one dispatch; `spent` are the seconds of earlier runs. The host reads a loss
    only when the next dispatch is under way. Raises FloatingPointError where the loss is not
    finite; what the last pause wrote still stands.
    """
    advance, step = stepper(task, chunk), int(state.step)
    begun = paused = time.monotonic()
    loss, losses = None, []
    with tqdm(desc=name, unit="img", unit_scale=True, initial=step * task.batch) as bar:
        while step < steps and time.monotonic() - begun < seconds:
            before, (state, loss) = loss, advance(state, data, key)
            step += chunk
            losses.append(loss)
            if before is not None:
                bar.set_postfix(loss=f"{_finite(before, step):.4f}", step=step, refresh=False)
            bar.update(chunk * task.batch)
            done = step >= steps or time.monotonic() - begun >= seconds
            if done or time.monotonic() - paused > PAUSE:
                value = _finite(jnp.mean(jnp.stack(losses)), step)
                passed = spent + time.monotonic() - begun
                pause(state, Progress(step, step * task.batch, passed, value), done)
                paused, losses = time.monotonic(), []
    return state


def _finite(loss: Array, step: int) -> float:
    if not math.isfinite(value := float(loss)):
        raise FloatingPointError(f"The loss is {value} near step {step}.")
    return value


def save(path: Path, state: State, recipe: str, seconds: float) -> None:
    """Write a checkpoint, atomically."""
    write_tensors(path, to_tensors(state), {"recipe": recipe, "seconds": repr(seconds)})


def restore(path: Path, like: State, recipe: str) -> tuple[State, float]:
    """A checkpoint's state and the seconds it took; those of a start where there is none.

    Raises ValueError for one of another recipe.
    """
    if not path.exists():
        return like, 0.0
    tensors, metadata = read_tensors(path)
    if metadata.get("recipe") != recipe:
        raise ValueError(
            f"{path} was made as {metadata.get('recipe')}, not as {recipe}; continue it as it was "
            "made, or give another --out."
        )
    return from_tensors(like, tensors), float(metadata["seconds"])


def cast(tree: T, dtype: DTypeLike) -> T:
    """The tree with its floating-point arrays in another precision."""
    return jax.tree.map(lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a, tree)


def to_range(images: UInt8[Array, "..."]) -> Array:
    """Pixels 0..255 as floats in [-1, 1]."""
    return images.astype(jnp.float32) / 127.5 - 1

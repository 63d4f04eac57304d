"""Train the embedded networks again: `python -m samplerzoo.assets.make_digits [--out FOLDER]`.

Takes some minutes on 2 CPU cores. Every network is trained on the same 80% of the images; the
other 20% decide when to stop: the weights kept are those with the lowest validation loss. The
denoisers are trained on the standard DDPM objective with an average of their weights kept beside;
the conditional one is told a part of the images without their labels, so that it can be guided.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array
from tqdm import tqdm

from ..files import in_half, to_tensors, write_json, write_tensors
from . import CLASSES, FOLDER, NETWORKS, digits_labelled, digits_schedule, split_rows


class Recipe(NamedTuple):
    """How one network is trained."""

    seed: int
    iterations: int
    learning_rate: float
    batch: int = 512
    decay: float = 0.0  # weight decay
    average: float = 0.0  # of the weights; 0 keeps none
    check: int = 250  # iterations between validations


RECIPES = {
    "digits-denoiser": Recipe(0, 12_000, 2e-3, average=0.999, decay=1e-2),
    "digits-conditional": Recipe(3, 6_000, 2e-3, batch=256, average=0.999, decay=1e-2),
    "digits-cnn": Recipe(1, 1_500, 2e-3, batch=128, decay=1e-2, check=50),
    "digits-mlp": Recipe(2, 1_500, 2e-3, batch=128, decay=1e-2, check=50),
}

UNLABELLED = 0.15  # the share of the images whose label the conditional denoiser is not told


def split() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Images and labels for training (1,437) and for validation (360)."""
    images, labels = digits_labelled()
    train, held_out = split_rows()
    return (
        (jnp.asarray(images[train]), jnp.asarray(labels[train])),
        (jnp.asarray(images[held_out]), jnp.asarray(labels[held_out])),
    )


def denoising_loss(network: Any, images: Array, labels: Array, key: Array) -> Array:
    """DDPM's simple loss: the squared error of the predicted noise at a random time."""
    return squared_error(network, images, key)


def conditional_loss(network: Any, images: Array, labels: Array, key: Array) -> Array:
    """The same of a network that is told the labels, but for a part that is chosen at random."""
    absent = jax.random.bernoulli(jax.random.fold_in(key, 2), UNLABELLED, labels.shape)
    return squared_error(network, images, key, jnp.where(absent, CLASSES, labels))


def squared_error(network: Any, images: Array, key: Array, *conditions: Array) -> Array:
    """The mean squared error of the predicted noise; conditions are told after the time."""
    schedule = digits_schedule()
    keys = jax.random.split(key)
    n = len(images)
    # One time in each of n equal intervals: the same mean with less variance.
    spread = (jnp.arange(n) + jax.random.uniform(keys[0], (n,))) / n
    times = 1 + jnp.floor(spread * schedule.t_max)
    noise = jax.random.normal(keys[1], images.shape)

    def one(x, t, eps, *condition):
        noisy = schedule.alpha(t) * x + schedule.sigma(t) * eps
        return jnp.mean((network(noisy, t, *condition) - eps) ** 2)

    return jnp.mean(jax.vmap(one)(images, times, noise, *conditions))


def classifying_loss(network: Any, images: Array, labels: Array, key: Array) -> Array:
    """Cross-entropy with smoothed labels, on images with a little noise (none without a key)."""
    smooth = optax.smooth_labels(jax.nn.one_hot(labels, 10), 0.05)
    noisy = images + 0.1 * jax.random.normal(key, images.shape)
    return jnp.mean(optax.softmax_cross_entropy(jax.vmap(network.logits)(noisy), smooth))


LOSSES = {"digits-denoiser": denoising_loss, "digits-conditional": conditional_loss}


def train(name: str, loss: Callable, recipe: Recipe) -> tuple[eqx.Module, dict]:
    """The weights with the lowest validation loss, and the figures of the training."""
    training, validation = split()
    keys = jax.random.split(jax.random.key(recipe.seed), 2)
    network = NETWORKS[name](key=keys[0])
    schedule = optax.cosine_decay_schedule(recipe.learning_rate, recipe.iterations)
    optimiser = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=recipe.decay)
    )

    def mix(before, now):
        return recipe.average * before + (1 - recipe.average) * now

    @eqx.filter_jit
    def advance(network, average, state, key):
        rows = jax.random.randint(key, (recipe.batch,), 0, len(training[0]))
        value, gradient = eqx.filter_value_and_grad(loss)(
            network, training[0][rows], training[1][rows], jax.random.fold_in(key, 1)
        )
        updates, state = optimiser.update(gradient, state, eqx.filter(network, eqx.is_array))
        network = eqx.apply_updates(network, updates)
        return network, jax.tree.map(mix, average, network), state, value

    @eqx.filter_jit
    def measure(network, images, labels):
        keys = jax.random.split(jax.random.key(12345), 40)
        return jnp.mean(jax.lax.map(lambda key: loss(network, images, labels, key), keys))

    average, state = network, optimiser.init(eqx.filter(network, eqx.is_array))
    best, best_loss, best_step = average, np.inf, 0
    bar = tqdm(range(1, recipe.iterations + 1), desc=name)
    for step in bar:
        key = jax.random.fold_in(keys[1], step)
        network, average, state, _ = advance(network, average, state, key)
        if step % recipe.check == 0:
            value = float(measure(average, *validation))
            if value < best_loss:
                best, best_loss, best_step = average, value, step
            bar.set_postfix(validation=f"{value:.4f}", best=f"{best_loss:.4f}")
    figures = {
        "train_loss": float(measure(best, *training)),
        "validation_loss": best_loss,
        "step": best_step,
        "parameters": sum(a.size for a in jax.tree.leaves(eqx.filter(best, eqx.is_array))),
    }
    if hasattr(best, "logits"):
        for part, (images, labels) in (("train", training), ("validation", validation)):
            right = jnp.argmax(jax.vmap(best.logits)(images), axis=1) == labels
            figures[f"{part}_accuracy"] = float(jnp.mean(right))
    return best, figures


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER, show_default=True)
@click.option("--only", type=click.Choice(list(RECIPES)), help="Train this one alone.")
def main(out: Path, only: str | None):
    """Train the digits' denoisers and classifiers, and write weights and figures to --out."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "figures.json"
    figures = json.loads(path.read_text()) if path.exists() else {}
    for name, recipe in RECIPES.items():
        if only in (None, name):
            network, figures[name] = train(name, LOSSES.get(name, classifying_loss), recipe)
            half = in_half(to_tensors(network))
            write_tensors(out / f"{name}.safetensors", half, {"made_by": __spec__.name})
            write_json(path, figures)
            click.echo(f"{name}: {figures[name]}")


if __name__ == "__main__":
    main()

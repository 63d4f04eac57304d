"""The command; the package's docstring says what it makes."""

import json
from pathlib import Path

import click
import jax
import jax.numpy as jnp
import numpy as np

from ...backbones import PatchUNet
from ...files import write
from ...runs.pictures import draw_grid
from . import classifier, denoiser
from .card import write_card
from .data import labelled
from .loop import Data, Progress, State, Task, begin, restore, save, train
from .measuring import measure

SEED = 0
GRID = 64  # samples in a picture
BETWEEN = 200_000  # images between two measurements of the denoiser


class Place:
    """The folder that a training writes to, and what the machine is good at."""

    def __init__(self, out: Path):
        self.out = out
        self.on_cpu = jax.default_backend() == "cpu"
        self.chunk = 1 if self.on_cpu else 50
        self.dtype = jnp.float32 if self.on_cpu else jnp.bfloat16
        out.mkdir(parents=True, exist_ok=True)

    @property
    def denoiser(self) -> Path:
        return self.out / "cifar10-denoiser.safetensors"

    def checkpoint(self, name: str) -> Path:
        return self.out / f"{name}.checkpoint.safetensors"

    def figures(self) -> dict:
        """What is known of each network that was written."""
        path = self.out / "figures.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def note(self, name: str, figures: dict) -> None:
        """Put the figures of one network with those of the other."""
        text = json.dumps(self.figures() | {name: figures}, indent=2)
        write(self.out / "figures.json", f"{text}\n".encode())
        write_card(self.out)

    def log(self, name: str, progress: Progress) -> None:
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps({"network": name, **progress._asdict()}) + "\n")


def _size(network) -> int:
    return sum(a.size for a in jax.tree.leaves(network))


def train_classifier(place: Place, data: Data, test: Data | None, name: str, epochs: float) -> None:
    """Train a classifier, or what is left of it, and write it with its features of the data."""
    steps = classifier.total_steps(epochs, len(data.images), place.chunk)
    keys = jax.random.split(jax.random.key(SEED))
    recipe = f"classifier {name}, {steps} steps, seed {SEED}"
    task = classifier.task(steps, place.dtype)
    path = place.checkpoint(name)
    network = classifier.NETWORKS[name](key=keys[0])
    state, spent = restore(path, begin(task, network), recipe)

    def pause(state: State, progress: Progress, last: bool) -> None:
        save(path, state, recipe, progress.seconds)
        place.log(name, progress)
        if not last:
            return
        classifier.export(place.out, name, state.average, data)
        figures = {**progress._asdict(), "parameters": _size(state.average)}
        for part, some in {"train": data, "test": test}.items():
            if some is not None:
                figures[f"{part}_accuracy"] = classifier.accuracy(state.average, some)
        place.note(name, figures)

    train(
        task,
        state,
        data,
        keys[1],
        name=name,
        chunk=place.chunk,
        pause=pause,
        spent=spent,
        steps=steps,
    )


def _recover(place: Place, task: Task, name: str, known: dict) -> State:
    """Where only what was written is left: its weights, with a new warm-up."""
    if known["network"] != name:
        raise ValueError(f"{place.out} holds the network {known['network']!r}, not {name!r}.")
    network = PatchUNet.load(place.denoiser)
    return begin(task, network)._replace(step=jnp.asarray(known["step"], jnp.int32))


def train_denoiser(
    place: Place, data: Data, test: Data | None, name: str, batch: int, seconds: float
) -> None:
    """Train the denoiser for a while, continuing from a checkpoint, and write it now and then."""
    keys = jax.random.split(jax.random.key(SEED + 1))
    recipe = f"denoiser, network {name}, batch {batch}, seed {SEED + 1}"
    task = denoiser.task(batch, place.dtype)
    path = place.checkpoint("denoiser")
    state, spent = restore(path, begin(task, denoiser.construct(name, keys[0])), recipe)
    if not path.exists() and (known := place.figures().get("denoiser")):
        state, spent = _recover(place, task, name, known), known["seconds"]

    def pause(state: State, progress: Progress, last: bool) -> None:
        save(path, state, recipe, progress.seconds)
        place.log("denoiser", progress)
        measured = place.figures().get("denoiser", {"images": 0})["images"]
        if not last and progress.images < measured + BETWEEN:
            return
        state.average.save(place.denoiser)
        write(place.out / "samples.png", draw_grid(np.asarray(denoiser.draw(state.average, GRID))))
        figures = {**progress._asdict(), "network": name, "batch": batch}
        model = denoiser.make_model(state.average)
        figures["parameters"] = _size(state.average)
        for part, some in {"train": data, "test": test}.items():
            if some is not None:
                figures[f"{part}_loss"] = denoiser.measure_loss(model, some)
        place.note("denoiser", figures)

    train(
        task,
        state,
        data,
        keys[1],
        name="denoiser",
        chunk=place.chunk,
        pause=pause,
        spent=spent,
        seconds=seconds,
    )


_PATH = click.Path(path_type=Path, exists=True)


@click.command()
@click.option("--data", type=_PATH, required=True, help="Training images, one folder a class.")
@click.option("--test", type=_PATH, help="Test images, for figures only.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where all is written.")
@click.option(
    "--minutes",
    type=click.FloatRange(0),
    default=25,
    show_default=True,
    help="How long the denoiser is trained, compilation included.",
)
@click.option(
    "--epochs",
    type=click.FloatRange(0, min_open=True),
    default=16,
    show_default=True,
    help="How long each classifier is trained.",
)
@click.option(
    "--network",
    type=click.Choice(list(denoiser.NETWORKS)),
    default="folded",
    show_default=True,
    help="The denoiser's size.",
)
@click.option(
    "--batch", type=click.IntRange(1), default=64, show_default=True, help="The denoiser's batch."
)
@click.option("--only", type=click.Choice(["classifiers", "denoiser"]), help="Train these alone.")
@click.option("--measure", "measuring", is_flag=True, help="Time all sizes; train nothing.")
def main(
    data: Path,
    test: Path | None,
    out: Path,
    minutes: float,
    epochs: float,
    network: str,
    batch: int,
    only: str | None,
    measuring: bool,
):
    """Train CIFAR-10's classifiers and denoiser, or continue them."""
    try:
        images = labelled(data)
        place = Place(out)
        if measuring:
            for row in measure(list(denoiser.NETWORKS), batch, place.chunk, images, place.dtype):
                click.echo(json.dumps(row))
            return
        held_out = labelled(test) if test else None
        if only != "denoiser":
            for name in classifier.NETWORKS:
                train_classifier(place, images, held_out, name, epochs)
        if only != "classifiers":
            train_denoiser(place, images, held_out, network, batch, 60 * minutes)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except FloatingPointError as error:
        raise click.ClickException(f"{error} The last checkpoint stands.") from error


if __name__ == "__main__":
    main()

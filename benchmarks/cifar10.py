"""The page docs/results/cifar10.md: `python benchmarks/cifar10.py --help`.

The table of the DDSS paper on CIFAR-10: DDPM, DDIM, RDDIM and GDDIM at K = 5, 10, 20 and DDPM at
K = 1000; then kernels, and times fixed, searched and decoupled. Searched in the features of our own
classifier, scored in those of others. What is done is kept under runs/ and not done again.
"""

import argparse
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import safetensors.numpy

import samplerzoo as sz
from experiment import (
    BASELINES,
    RESULTS,
    ROOT,
    Results,
    interval,
    markdown,
    scored,
    searched,
)
from samplerzoo.metrics import Moments, distance_of_moments
from samplerzoo.runs.keeping import keep_references
from samplerzoo.runs.parts import load_model
from samplerzoo.runs.pictures import draw_grid

STEPS, FAMILIES = (5, 10, 20), ("rddim", "gddim")
PAPER = {5: 0.46, 10: 0.51, 20: 0.45}  # DDSS over DDIM, FID (Watson et al. 2022, table 1)
KERNELS, TIMES = (
    ("linear", "polynomial", "rbf"),
    ("quadratic", "quadratic-searched", "quadratic-decoupled"),
)


class Scale(NamedTuple):
    """How large the experiment is."""

    seeds: tuple[int, ...]
    batch: int
    iterations: int
    rate: float
    n: int  # samples a score
    thousand: int  # samples of DDPM at K = 1000


SCALES = {
    "full": Scale((0, 1, 2), 1024, 500, 0.03, 50_000, 10_000),
    "middle": Scale((0, 1, 2), 512, 300, 0.03, 10_000, 2_000),
    "small": Scale((0,), 32, 30, 0.03, 500, 64),  # half an hour on two CPU cores
    "trial": Scale((0, 1), 16, 10, 0.03, 300, 50),  # to see that all runs
}


class Experiment:
    """Where things are, and what every command of it has in common."""

    def __init__(self, given: argparse.Namespace):
        self.scale, self.root = SCALES[given.scale], Path("runs") / f"cifar10-{given.scale}"
        self.report = [f"resnet:{path.absolute()}" for path in given.foreign]
        self.train, self.test = given.train.absolute(), given.test.absolute()
        self.data = {"model": given.model, "data": self.train}
        self.spaces = [given.features, *self.report]

    def search(self, family: str, steps: int, seed: int, **options: Any) -> tuple[str, dict]:
        """A run's folder and result."""
        name = "-".join(map(str, [family, steps, seed, *options.values()]))
        wanted = {
            **self.data,
            "family": family,
            "steps": steps,
            "seed": seed,
            "features": self.spaces[0],
            "report_features": self.report[0],
            "batch": self.scale.batch,
            "iterations": self.scale.iterations,
            "learning_rate": self.scale.rate,
            "n": 100,
            **options,
        }
        return str(self.root / name), searched(self.root / name, wanted)

    def scores(self, folder: str, n: int, samplers: list[str], steps: int | Sequence[int]) -> list:
        """Rows of samplers in all feature spaces, with the foreign ones' diversity."""
        wanted = {
            **self.data,
            "features": self.spaces,
            "metrics": ("fd", "kid", "precision-recall", "density-coverage"),
            "n": n,
            "seeds": self.scale.seeds,
            "steps": steps,
        }
        return scored(self.root / folder, samplers, wanted)

    def draw_thousand(self, name: str) -> Path:
        """A picture of 64 samples of DDPM at K = 1000."""
        path = ROOT / self.root / "thousand.png"
        if not path.exists():
            model = load_model(name)
            table = sz.DDPM(1000).table(model.schedule)
            path.write_bytes(draw_grid(sz.draw_samples(table, model, jax.random.key(0), 64)))
        return path

    def between(self, space: str) -> float:
        """FD of the test images from the training images."""
        rows = keep_references(self.train, space, (32, 32, 3), held_out=self.test)
        found = [safetensors.numpy.load_file(row["path"]) for row in rows]
        return distance_of_moments(*(Moments(f["mean"], f["covariance"]) for f in found))


def main() -> None:
    """Run what is missing and write the page."""
    given = parse()
    experiment = Experiment(given)
    os.chdir(ROOT)
    scale = experiment.scale
    names: dict[tuple[str, int], list[str]] = {}
    minutes: dict[tuple[str, int], list[float]] = {}
    for family in FAMILIES:
        for steps in STEPS:
            found = [experiment.search(family, steps, seed) for seed in scale.seeds]
            names[family, steps] = [name for name, _ in found]
            minutes[family, steps] = [result["search_seconds"] / 60 for _, result in found]
    for kernel in KERNELS[1:]:
        names[f"gddim, {kernel} kernel", 10] = [
            experiment.search("gddim", 10, seed, kernel=kernel)[0] for seed in scale.seeds
        ]
    for times in ("quadratic", "quadratic-decoupled"):
        names[f"gddim, {times} times", 10] = [
            experiment.search("gddim", 10, seed, times=times)[0] for seed in scale.seeds
        ]
    targets = [name for found in names.values() for name in found]
    rows = experiment.scores("scores", scale.n, [*targets, "ddpm", "ddim"], STEPS)
    samplers = [*names["gddim", 20], "ddpm-linear"]
    last = Results(experiment.scores("thousand", scale.thousand, samplers, 1000), names)
    rows += [row for row in last.rows if row["nfe"] == 1000]
    run = ROOT / names["gddim", 10][0]
    pictures = (run / "samples.png", run / "curve.png", experiment.draw_thousand(given.model))
    for picture in pictures:
        shutil.copy(picture, RESULTS / f"cifar10-{picture.name}")
    text = page(given, experiment, Results(rows, names), last, minutes)
    (RESULTS / "cifar10.md").write_text(text)
    print(text)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument("--model", default="cifar10")
    parser.add_argument("--features", default="cifar10-resnet", help="searched")
    parser.add_argument("--train", type=Path, required=True, help="images, a folder or zip")
    parser.add_argument("--test", type=Path, required=True, help="held-out images")
    foreign = "safetensors of CIFAR ResNets; figures are read in the first"
    parser.add_argument("--foreign", type=Path, nargs="+", required=True, help=foreign)
    parser.add_argument("--note", default="", help="a sentence for the page on this run of it")
    return parser.parse_args()


def page(
    given: argparse.Namespace,
    experiment: Experiment,
    scores: Results,
    last: Results,
    minutes: dict[tuple[str, int], list[float]],
) -> str:
    """The page, its sentences made of the numbers."""
    scale, (own, *foreign) = experiment.scale, experiment.spaces
    names = (*BASELINES, *FAMILIES)
    rival = markdown(
        ["FD over the better DDIM's", *(f"K = {k}" for k in STEPS)],
        [
            ["the paper (FID)", *(f"{PAPER[k]:.2f}" for k in STEPS)],
            *(
                [f"{family}, in {label(space)}", *(scores.share(family, k, space) for k in STEPS)]
                for family in FAMILIES
                for space in (*foreign, own)
            ),
        ],
    )
    kinds = [kind for kind, steps in scores.searches if steps == 10 and kind != "rddim"]
    variants = markdown(
        ["GDDIM at K = 10", *(f"FD over DDIM's in {label(s)}" for s in (*foreign, own))],
        [[kind, *(scores.share(kind, 10, s) for s in (*foreign, own))] for kind in kinds],
    )
    fidelity = {"precision": 3, "recall": 3, "density": 3, "coverage": 3}
    cost = markdown(
        ["minutes a search", *(f"K = {k}" for k in STEPS)],
        [[f, *(f"{np.mean(minutes[f, k]):.1f}" for k in STEPS)] for f in FAMILIES],
    )
    tables = "\n\n".join(scores.distances(names, STEPS, s) for s in (*foreign, own))
    missed = [
        words
        for family in FAMILIES
        for k in STEPS
        if (words := scores.missed(family, k, foreign[0], PAPER[k]))
    ]
    ends = markdown(
        ["FD", *map(label, (*foreign, own))],
        [
            ["test images", *(f"{experiment.between(s):.2f}" for s in (*foreign, own))],
            *(
                [words, *(interval(last.of(name, k, s, "fd")) for s in (*foreign, own))]
                for words, name, k in (
                    (f"ddpm-linear, K = 1000, n = {scale.thousand:,}", "ddpm-linear", 1000),
                    (f"gddim, K = 20, n = {scale.thousand:,}", "gddim", 20),
                )
            ),
        ],
    )
    seeds = len(scale.seeds)
    spread = (
        "one seed, so no intervals."
        if seeds == 1
        else f"{seeds} seeds. ± is half of a 95% interval (Student's t): over searches, for "
        "baselines over seeds."
    )
    return f"""# CIFAR-10: the table of the paper

Written by `python benchmarks/cifar10.py --scale {given.scale}`. {given.note}
Searched in {label(own)} with batches of {scale.batch} and {scale.iterations} iterations; scored in
{" and ".join(map(label, foreign))}, which the search never saw, and in {label(own)}.
n = {scale.n:,} ({scale.thousand:,} for K = 1000, where distances of so few samples are larger),
{spread}

![Samples from the same noise in each column](cifar10-samples.png)

## Against DDIM

{rival}

Above the paper's ratio, in {label(foreign[0])}: {", ".join(missed) or "none"}.

## How far is far

Distances from the training images; a distance of few samples is larger than that of many.

{ends}

Samples of DDPM at K = 1000:

![Samples of DDPM at K = 1000](cifar10-thousand.png)

## All distances

{tables}

## Diversity

{scores.columns(fidelity, ("ddim-quadratic", *FAMILIES), STEPS, foreign[0])}

## Kernels, and times fixed, searched and decoupled

{variants}

## Cost

{cost}

A search's distance in its own features, GDDIM at K = 10:

![Distance against iterations](cifar10-curve.png)
"""


def label(space: str) -> str:
    """A feature space's name without the folder that its file lies in."""
    return f"`{Path(space).stem}`" if ":" in space else f"`{space}`"


if __name__ == "__main__":
    main()

"""The page docs/results/tuning.md: `python benchmarks/tuning.py --help`.

What a search's options do to what it finds: one is changed at a time, GDDIM at K = 10. Beside each,
the average of the parameters over the last quarter of the same search. What is done is kept under
runs/ and not done again. About 20 minutes on 2 CPU cores for the digits.
"""

import argparse
import json
import math
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from tqdm import tqdm

import samplerzoo as sz
from experiment import RESULTS, ROOT, interval, markdown, ratio
from samplerzoo.registry import load
from samplerzoo.runs.parts import load_data, load_model

STEPS, SEEDS, REPORT_SEED = 10, (0, 1, 2), 1000


class Options(NamedTuple):
    """How a search is done; the defaults are the command's."""

    learning_rate: float = 0.03
    iterations: int = 300
    batch: int = 512
    stride: str = "quadratic"


CHANGES = {
    "the defaults": {},
    "learning rate 0.01": {"learning_rate": 0.01},
    "learning rate 0.1": {"learning_rate": 0.1},
    "100 iterations": {"iterations": 100},
    "1,000 iterations": {"iterations": 1000},
    "batch 128": {"batch": 128},
    "batch 2,048": {"batch": 2048},
    "linear stride at first": {"stride": "linear"},
}


class Study:
    """The model, the features searched and reported, and their references."""

    def __init__(self, given: argparse.Namespace):
        self.n, self.model = given.n, load_model(given.model)
        data = load_data(given.data, self.model.shape, self.model.clip)
        names = (given.features, given.report_features)
        self.searched, self.reported = (load("features", name)() for name in names)
        references = [
            sz.reference(name, phi, data)
            for name, phi in zip(names, (self.searched, self.reported), strict=True)
        ]
        self.objective = sz.KID(self.searched, sz.Linear(), references[0].features)
        self.moments = references[1].moments

    def distance(self, family: sz.AbstractFamily) -> float:
        """FD of a family's samples in the reported features."""
        table, key = family.table(self.model.schedule), jax.random.key(REPORT_SEED)
        found = sz.extract(self.reported, sz.draw_samples(table, self.model, key, self.n))
        return sz.frechet_distance(found, sz.FeatureSet(moments=self.moments))

    def search(self, options: Options, seed: int) -> dict[str, float]:
        """FD at the end of a search, and of the average over its last quarter."""
        family = sz.GDDIM(STEPS, options.stride)
        optimiser = sz.adam(options.iterations, options.learning_rate)
        state = sz.start(family, sz.free_parameters(family, times=True), optimiser)
        step = sz.compile_step(family, state, self.model, self.objective, optimiser, options.batch)
        key, last = jax.random.key(seed), math.ceil(options.iterations / 4)
        steps = sz.descend(step, state, key, options.iterations)
        kept = [state.parameters for state, _ in tqdm(steps, total=options.iterations)][-last:]
        mean = jax.tree.map(lambda *each: sum(each) / last, *kept)
        ends = {"end": kept[-1], "average": mean}
        return {name: self.distance(eqx.combine(p, family)) for name, p in ends.items()}


def main() -> None:
    """Run what is missing and write the page."""
    given = parse()
    path = ROOT / "runs" / f"tuning-{given.model}.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    study = Study(given)
    for seed in SEEDS:
        for name, changes in CHANGES.items():
            if f"{name}, {seed}" not in found:
                found[f"{name}, {seed}"] = study.search(Options(**changes), seed)
                path.parent.mkdir(exist_ok=True)
                path.write_text(json.dumps(found))
    strides = [study.distance(sz.DDIM(STEPS, times)) for times in ("linear", "quadratic")]
    text = page(given, found, min(strides))
    given.out.write_text(text)
    print(text)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="digits")
    parser.add_argument("--data", default="digits-train")
    parser.add_argument("--features", default="digits-cnn", help="searched")
    parser.add_argument("--report-features", default="digits-mlp")
    parser.add_argument("--n", type=int, default=10_000, help="samples a score")
    parser.add_argument("--out", type=Path, default=RESULTS / "tuning.md")
    return parser.parse_args()


def page(given: argparse.Namespace, found: dict[str, dict[str, float]], ddim: float) -> str:
    """The page, its sentences made of the numbers."""

    def scores(name: str, kind: str) -> list[float]:
        return [found[f"{name}, {seed}"][kind] for seed in SEEDS]

    base = next(iter(CHANGES))
    lines, better, worse = [], [], []
    for name in CHANGES:
        share = ratio(scores(name, "end"), scores(base, "end"))
        cells = [interval(scores(name, kind), 3) for kind in ("end", "average")]
        lines.append([name, cells[0], share.text(2) if name != base else "1", cells[1]])
        gaps = np.subtract(scores(name, "end"), scores(base, "end"))
        for side, sign in ((better, 1), (worse, -1)):
            if name != base and np.all(sign * gaps < 0):
                side.append(name)
    table = markdown(["GDDIM, K = 10", "FD", "over the defaults'", "FD of the average"], lines)
    averaged = ratio(
        [s for name in CHANGES for s in scores(name, "average")],
        [s for name in CHANGES for s in scores(name, "end")],
    ).value
    return f"""# Tuning a search

Written by `python benchmarks/tuning.py`: model `{given.model}`, searched in `{given.features}`,
FD in `{given.report_features}`, n = {given.n:,}, {len(SEEDS)} search seeds (± is half of a 95%
interval, Student's t). DDIM's FD at K = {STEPS}, the better stride: {ddim:.2f}.

{table}

Better than the defaults with every seed: {", ".join(better) or "none"}.
Worse with every seed: {", ".join(worse) or "none"}.

Over all rows, the average of the parameters over the last quarter of a search has {averaged:.2f}
times the FD of the search's end (whose learning rate has fallen to 0 by then).
"""


if __name__ == "__main__":
    main()

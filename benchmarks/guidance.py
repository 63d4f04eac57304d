"""The page docs/results/guidance.md: `python benchmarks/guidance.py`.

Searches RDDIM for the class-conditional digits at NFE 10, with weights of guidance that are fixed
at 1, 2 and 4, and with weights that are searched at each step or at some, three seeds each, and
scores them in feature spaces that no search saw. What is done is kept under runs/guidance/ and not
done again. About 15 minutes on 2 CPU cores.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import samplerzoo as sz
from experiment import (
    RESULTS,
    ROOT,
    Results,
    as_words,
    interval,
    markdown,
    ratio,
    scored,
    searched,
)
from samplerzoo.assets import digits_mlp
from samplerzoo.files import digest, write

FOLDER = Path("runs/guidance")
SCORES, ACCURACY = FOLDER / "scores", FOLDER / "accuracy.json"
MODEL = "digits-conditional"
BUDGETS, SEEDS, N = (10,), (0, 1, 2), 5000
SPACES = ("digits-cnn", "digits-mlp", "pixels")  # the first is searched
SEARCH = {
    "model": MODEL,
    "family": "rddim",
    "times": "quadratic-searched",
    "data": "digits-train",
    "batch": 256,
    "iterations": 150,
    "n": 100,
}
SCORE = {
    "model": MODEL,
    "data": "digits-train",
    "features": SPACES,
    "metrics": ("fd", "precision-recall"),
    "n": N,
    "seeds": SEEDS,
}


class Kind(NamedTuple):
    """A kind of guidance: the option, and the steps for each evaluation that it leaves room for."""

    guidance: str
    share: float


FIXED = {"weight 1": Kind("1", 1.0), "weight 2": Kind("2", 0.5), "weight 4": Kind("4", 0.5)}
SEARCHED = {
    "searched": Kind("2-searched", 0.5),
    "searched in part": Kind("1@0.5-0.75-searched", 0.8),  # a quarter of the steps
}
KINDS = FIXED | SEARCHED


def main() -> None:
    """Run what is missing and write the page."""
    os.chdir(ROOT)
    runs: dict[tuple[str, int], list[str]] = {}
    for nfe in BUDGETS:
        for name in KINDS:
            runs[name, nfe] = [str(search(name, nfe, seed)) for seed in SEEDS]
    rows = scored(SCORES, [run for found in runs.values() for run in found], SCORE)
    rivals = {}
    for nfe in BUDGETS:
        for name, kind in FIXED.items():
            sampler = f"ddim-quadratic:guidance={kind.guidance}"
            rivals[f"ddim, {name}", nfe] = [sampler]
            rows += scored(SCORES, [sampler], {**SCORE, "steps": steps_of(name, nfe)})
    asked = {run: accuracy(run) for found in runs.values() for run in found}
    text = page(Results(rows, runs | rivals), runs, rivals, asked)
    (RESULTS / "guidance.md").write_text(text)
    print(text)


def steps_of(name: str, nfe: int) -> int:
    """How many steps a budget pays for: those with a weight of 1 cost one evaluation."""
    return round(nfe * KINDS[name].share)


def search(name: str, nfe: int, seed: int) -> Path:
    """Search with weights of guidance that are fixed or searched; return the run's folder."""
    folder = FOLDER / f"{name.replace(' ', '-')}-{nfe}-{seed}"
    options = {"start": "ddim", "guidance": KINDS[name].guidance}
    steps = steps_of(name, nfe)
    searched(folder, {**SEARCH, "family_options": options, "steps": steps, "seed": seed})
    return folder


def accuracy(folder: str) -> float:
    """The share of a run's samples that a classifier takes for the class that was asked for."""
    run = sz.load_run(folder)
    known = json.loads(ACCURACY.read_text()) if ACCURACY.exists() else {}
    name = f"{digest(run.table)} {N}"
    if name not in known:
        key, model = jax.random.key(N), run.model
        samples = jnp.asarray(sz.draw_samples(run.table, model, key, N))
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(N))
        asked = np.asarray(model.conditions)[np.asarray(jax.vmap(model.condition_of)(keys))]
        seen = np.argmax(jax.vmap(digits_mlp().logits)(samples), axis=1)
        known[name] = float(np.mean(seen == asked))
        write(ACCURACY, json.dumps(known).encode())
    return known[name]


def page(
    scores: Results,
    runs: Mapping[tuple[str, int], Sequence[str]],
    rivals: Mapping[tuple[str, int], Sequence[str]],
    asked: Mapping[str, float],
) -> str:
    """The page, its sentences made of the numbers."""
    searched_in, unseen, pixels = SPACES
    names = [*dict.fromkeys(name for name, _ in (*rivals, *runs))]
    shares = {
        name: {nfe: [asked[run] for run in runs[name, nfe]] for nfe in BUDGETS} for name in KINDS
    }
    worse = "\n".join(f"- {line}" for line in losses(scores, shares)) or "- Nothing."
    answer = "\n".join(
        f"- {name}, NFE {nfe}: {compared(scores, name, nfe, unseen)}; in pixels "
        f"{compared(scores, name, nfe, pixels)}."
        for nfe in BUDGETS
        for name in SEARCHED
    )
    accuracies = markdown(
        ["accuracy", *(f"NFE {nfe}" for nfe in BUDGETS)],
        [[name, *(interval(shares[name][nfe], 3) for nfe in BUDGETS)] for name in KINDS],
    )
    return f"""# Guidance: a searched weight for each step against one for all

Written by `python benchmarks/guidance.py`, which does what these commands do and keeps what they
leave under `runs/guidance/`. The embedded class-conditional model of 8x8 digits, all ten classes.
A step of weight 1 is one network evaluation, every other step two, so that at the same NFE samplers
have other numbers of steps, K: {counts()}.
{len(SEEDS)} searches with seeds of their own stand behind each row that is not DDIM, and all are
scored with {len(SEEDS)} seeds; n = {N:,}. ± is half of a 95% interval (Student's t): over searches,
for DDIM over seeds.

    samplerzoo search {as_words(SEARCH)} -F start=ddim \\
        -F guidance=2-searched --steps 5 --seed 0 --out RUN
    samplerzoo evaluate RUN... ddim-quadratic:guidance=2 {as_words(SCORE)} --steps 5 --out SCORES

All coefficients and times are searched in every row but DDIM's, so that what differs is guidance
alone: fixed at one weight, searched at each step from a weight of 2, or searched in part: from 1,
at a quarter of the steps, in the middle of the way.

## What got worse

Where searched weights are worse, by their mean, than the best fixed weight of the same NFE:

{worse}

## Is searched guidance better in features that no search saw?

FD of searched weights over that of the best fixed weight of the same NFE, in `{unseen}`, which is
another network than the searched one, and in pixels:

{answer}

{distances(scores, names, unseen)}

In the pixels themselves:

{distances(scores, names, pixels)}

And where it was searched:

{distances(scores, names, searched_in)}

## Are the samples of the class that was asked for?

The share of {N:,} samples that `{unseen}`'s classifier takes for it:

{accuracies}

## Which weights were found?

{found(runs)}

The distances compare all classes together: a search by them is told nothing of which class a sample
was to be, so that guidance is moved by how the samples look, and the accuracy is a test of its own.
"""


def counts() -> str:
    """How many steps each kind has at the first budget."""
    return ", ".join(f"{name} {steps_of(name, BUDGETS[0])}" for name in KINDS)


def losses(scores: Results, shares: Mapping[str, Mapping[int, Sequence[float]]]) -> list[str]:
    """Where searched weights are worse than the best fixed one."""
    found = []
    for nfe in BUDGETS:
        columns = {
            f"{column} in {space}": (sign, {k: scores.of(k, nfe, space, column) for k in KINDS})
            for space in SPACES
            for column, sign in (("fd", 1), ("precision", -1), ("recall", -1))
        }
        columns["accuracy"] = (-1, {name: own[nfe] for name, own in shares.items()})
        for name in SEARCHED:
            for column, (sign, own) in columns.items():
                best = best_fixed(own, sign)
                if sign * np.mean(own[name]) > sign * np.mean(own[best]):
                    ours, theirs = interval(own[name], 3), interval(own[best], 3)
                    found.append(f"{name}, {column}, NFE {nfe}: {ours} against {theirs} of {best}")
    return found


def best_fixed(own: Mapping[str, Sequence[float]], sign: int = 1) -> str:
    """The fixed weight with the least mean, or the greatest."""
    return min(FIXED, key=lambda name: sign * np.mean(own[name]))


def compared(scores: Results, name: str, nfe: int, space: str) -> str:
    """The ratio of searched weights' FD to that of the best fixed weight."""
    own = {kind: scores.of(kind, nfe, space, "fd") for kind in KINDS}
    best = best_fixed(own)
    found = ratio(own[name], own[best])
    surely = found.half is not None and not found.low <= 1 <= found.high
    words = ("less" if found.value < 1 else "more") + (", surely" if surely else ", not surely")
    return f"{found.text(2)} of {best}'s ({words})"


def distances(scores: Results, names: Sequence[str], space: str) -> str:
    """FD by NFE."""
    return markdown(
        [f"FD in {space}", *(f"NFE {nfe}" for nfe in BUDGETS)],
        [
            [name, *(interval(fd_of(scores, name, nfe, space), 3) for nfe in BUDGETS)]
            for name in names
        ],
    )


def fd_of(scores: Results, name: str, nfe: int, space: str) -> list[float]:
    """FD of each search; of DDIM, of each seed."""
    (first, *_) = scores.searches[name, nfe]
    return scores.of(name if name in KINDS else first, nfe, space, "fd")


def found(runs: Mapping[tuple[str, int], Sequence[str]]) -> str:
    """The weights of each search, a line each."""
    lines = []
    for (name, nfe), folders in runs.items():
        for seed, run in zip(SEEDS, folders, strict=True):
            words = " ".join(
                f"{weight:.2f}" for weight in np.asarray(sz.load_run(run).table.guidance)
            )
            lines += [[f"{name}, NFE {nfe}, seed {seed}", words]] if name in SEARCHED else []
    return markdown(["search", "weights, from noise to data"], lines)


if __name__ == "__main__":
    main()

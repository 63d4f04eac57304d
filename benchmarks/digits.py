"""The page docs/results/digits.md: `python benchmarks/digits.py`.

Searches RDDIM and GDDIM for K = 5, 10, 20 with three seeds each and scores them beside the
baselines and DDPM at K = 1000. What is done is kept under runs/digits/ and not done again. About 40
minutes on 2 CPU cores.
"""

import os
import shutil
from pathlib import Path

import numpy as np

from experiment import BASELINES, RESULTS, ROOT, Results, as_words, markdown, scored, searched

SCORES = Path("runs/digits/scores")
STEPS, SEEDS, N = (5, 10, 20), (0, 1, 2), 10_000
FAMILIES = ("rddim", "gddim")
NAMES = (*BASELINES, *FAMILIES)
DIVERSITY = ("recall", "density", "coverage")
SPACES = ("digits-cnn", "digits-mlp", "pixels")  # the first is searched
# From DDIM, as in the paper: the page asks what a search gains, not which start is best.
SEARCH = {
    "family_options": {"start": "ddim"},
    "times": "quadratic-searched",
    "data": "digits-train",
    "batch": 512,
    "n": 100,
}
SETS = {"data": "digits-train", "held_out": "digits-held-out"}
SCORE = {
    "features": SPACES,
    "metrics": ("fd", "kid", "precision-recall", "density-coverage", "memorisation"),
    "n": N,
    "seeds": SEEDS,
}


def main() -> None:
    """Run what is missing and write the page."""
    os.chdir(ROOT)
    names = {}
    for family in FAMILIES:
        for steps in STEPS:
            found = {f"runs/digits/{family}-{steps}-{seed}": seed for seed in SEEDS}
            names[family, steps] = list(found)
            for name, seed in found.items():
                searched(Path(name), {**SEARCH, "family": family, "steps": steps, "seed": seed})
    targets = [name for found in names.values() for name in found]
    wanted = {**SETS, **SCORE}
    rows = scored(SCORES, [*targets, "ddpm", "ddim"], {**wanted, "steps": STEPS})
    rows += scored(SCORES, ["ddpm-linear"], {**wanted, "steps": 1000})
    shutil.copy(ROOT / names["rddim", 10][0] / "samples.png", RESULTS / "samples.png")
    text = page(Results(rows, names))
    (RESULTS / "digits.md").write_text(text)
    print(text)


def page(scores: Results) -> str:
    """The page, its sentences made of the numbers."""
    searched_in, unseen, pixels = SPACES
    best = {k: min(FAMILIES, key=lambda f: np.mean(scores.of(f, k, unseen, "fd"))) for k in STEPS}
    answer = "; ".join(f"K = {k}: {best[k]} {scores.share(best[k], k, unseen)}" for k in STEPS)
    rival = "ddim-quadratic"
    below = "\n".join(
        f"- {column}: {scores.losses(column, rival, unseen)}"
        for column in ("precision", *DIVERSITY)
    )
    spread = markdown(
        [f"FD in {unseen}", *(f"search seed {seed}" for seed in SEEDS)],
        [
            [f"{family}, K = {k}", *(f"{fd:.2f}" for fd in scores.of(family, k, unseen, "fd"))]
            for family in FAMILIES
            for k in STEPS
        ],
    )
    fidelity = dict.fromkeys(("precision", *DIVERSITY), 3)
    copying = {"copies": 4, "copy_auc": 3}
    compared = (rival, *FAMILIES)
    return f"""# Digits: the whole protocol on a small model

Written by `python benchmarks/digits.py`, which does what these commands do and keeps what
they leave under `runs/digits/`. The embedded model of 8x8 digits; every search and distance is
against the {1437:,} images that the model was trained on, and 360 more are held out.
{len(SEEDS)} searches with seeds of their own stand behind each searched sampler, and each is scored
with {len(SEEDS)} seeds; n = {N:,}. ± is half of a 95% interval (Student's t): over searches, for
baselines over seeds. In parentheses: the ratio to the better of DDIM's two strides.

    samplerzoo search --family rddim --steps 10 {as_words(SEARCH)} --seed 0 --out RUN
    samplerzoo evaluate RUN... ddpm ddim {as_words({"steps": STEPS})} --out SCORES \\
        {as_words(SETS)} \\
        {as_words(SCORE)}
    samplerzoo report RUN... SCORES

## Does the gain hold in features that the search never saw?

Searched in `{searched_in}`, read in `{unseen}`, another network trained apart. There FD is surely
below DDIM's (the interval of the ratio lies below 1) in {scores.gains(unseen)} kinds of searches.
The best searched sampler's share of DDIM's FD, {answer}.

{scores.distances(NAMES, STEPS, unseen)}

In the pixels themselves, which no network has seen, in {scores.gains(pixels)}:

{scores.distances(NAMES, STEPS, pixels)}

And where it was searched, in {scores.gains(searched_in)}; were the gain only here, it would be
over-fitting:

{scores.distances(NAMES, STEPS, searched_in)}

The linear kernel compares the means of features alone, and what a network's features do not see, a
search in them is free to change: pixels are where that shows.

## Is it bought with diversity, or with fidelity?

Searches whose interval lies wholly below that of `{rival}` at the same K, in `{unseen}`:

{below}

{scores.columns(fidelity, compared, STEPS, unseen)}

## Does another seed of the search find as much?

{spread}

## Are training images copied?

`copies` is the share of samples that are as near to a training image as the nearest 1% of the
held-out images are: 0.01 is what a sampler that copies nothing gives. `copy auc` is the
probability that a sample is nearer to the training images than a held-out image is: 0.5 is
neutral, but a sampler whose images are more typical than real ones is above it too. In the pixels:

{scores.columns(copying, compared, STEPS, pixels)}

FD is not FID: both classifiers are small ones of the digits. A searched sampler can be better than
DDPM with 1000 evaluations because the search also corrects errors of the model.
"""


if __name__ == "__main__":
    main()

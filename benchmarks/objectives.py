"""The page docs/results/objectives.md: `python benchmarks/objectives.py`.

Searches the digits with several objectives, each from the same start with the same budget, and
compares what came of it in features and pixels. What is done is kept under runs/objectives/ and not
done again. About 40 minutes on 2 CPU cores.
"""

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import samplerzoo as sz
from experiment import RESULTS, ROOT, Results, as_words, interval, markdown, scored, searched
from samplerzoo.assets import digits_model
from samplerzoo.core.engine import sample_batch

FOLDER = Path("runs/objectives")
SEEDS, N, REPORT_SEED = (0, 1, 2), 10_000, 0
SPACES = ("digits-mlp", "pixels")
# What is minimised, by the options that say so.
OBJECTIVES = {
    "KID of means": {"features": "digits-cnn"},
    "KID": {"features": "digits-cnn,pixels", "kernel": "polynomial"},
    "teacher": {"features": "digits-cnn", "objective": "teacher"},
    "KID + teacher": {
        "features": "digits-cnn,pixels",
        "kernel": "polynomial",
        "objective": "kid+0.01*teacher",
    },
}
# From the solver and grid that a search starts from by default, the same for all seeds.
STARTS = {5: "unipc-3-quadratic", 10: "unipc-2-karras"}
FAMILIES = ("rddim", "gddim")
BUDGET = {"data": "digits-train", "batch": 256, "iterations": 300, "n": 100}
SCORE = {
    "data": "digits-train",
    "held_out": "digits-held-out",
    "features": SPACES,
    "metrics": ("fd", "precision-recall", "density-coverage"),
    "n": N,
    "seeds": (REPORT_SEED,),
}
COLUMNS = {"precision": 3, "recall": 3, "density": 2, "coverage": 3}
TEACHER_STEPS, ENDPOINT_SEED = 500, 2**31
INDICES = jnp.arange(1000)


def main() -> None:
    """Run what is missing and write the page."""
    os.chdir(ROOT)
    runs: dict[tuple[str, str, int], list[str]] = {}
    seconds: dict[tuple[str, str, int], list[float]] = {}
    rivals: dict[int, str] = {}
    for steps, start in STARTS.items():
        for family in FAMILIES:
            for kind, objective in OBJECTIVES.items():
                folder = FOLDER / f"{family}-{steps}-{kind.replace(' ', '-')}"
                options = {"family": family, "steps": steps, "family_options": {"start": start}}
                results = {
                    f"{folder}-{seed}": searched(
                        Path(f"{folder}-{seed}"), {**BUDGET, **options, **objective, "seed": seed}
                    )
                    for seed in SEEDS
                }
                runs[family, kind, steps] = list(results)
                seconds[family, kind, steps] = [r["search_seconds"] for r in results.values()]
                rivals.setdefault(steps, next(iter(results.values()))["unsearched"])
    targets = [name for found in runs.values() for name in found]
    rows = scored(FOLDER / "scores", targets, SCORE)
    for steps, rival in rivals.items():
        rows += scored(FOLDER / "scores", [rival], {**SCORE, "steps": steps})
    scores = Results(rows, {(f"{family}, {kind}", k): v for (family, kind, k), v in runs.items()})
    text = page(scores, seconds, rivals)
    (RESULTS / "objectives.md").write_text(text)
    print(text)


@functools.cache
def true_ends() -> np.ndarray:
    """What many steps make of the noises."""
    table = sz.DDIM(TEACHER_STEPS, "quadratic").table(digits_model().schedule)
    return ends(table)


@functools.cache
def ends_of(name: str) -> np.ndarray:
    """What a run's sampler makes of the same noises."""
    return ends(sz.load_run(name).table)


def ends(table: sz.StepTable) -> np.ndarray:
    """What a sampler makes of the noises."""
    return np.asarray(sample_batch(table, digits_model(), jax.random.key(ENDPOINT_SEED), INDICES))


def endpoint_errors(names: Sequence[str]) -> list[float]:
    """How far samples end from those of many steps from the same noise, root mean square."""
    return [float(np.sqrt(np.mean((ends_of(name) - true_ends()) ** 2))) for name in names]


def lines_of(scores: Results, seconds: dict, rivals: dict[int, str], steps: int) -> list[list[str]]:
    """The table's lines at a number of steps: the best unsearched sampler, then every search."""
    rival = rivals[steps]
    cells = [interval(scores.of(rival, steps, space, "fd")) for space in SPACES]
    cells += [interval(scores.of(rival, steps, "pixels", c), d) for c, d in COLUMNS.items()]
    lines = [[f"{rival}, unsearched", *cells, "", ""]]
    for family in FAMILIES:
        for kind in OBJECTIVES:
            name = f"{family}, {kind}"
            cells = []
            for space in SPACES:
                own, base = (scores.of(n, steps, space, "fd") for n in (name, rival))
                share = np.mean(own) / np.mean(base)
                cells.append(f"{interval(own)} ({share:.2f})")
            cells += [interval(scores.of(name, steps, "pixels", c), d) for c, d in COLUMNS.items()]
            found = seconds[family, kind, steps]
            errors = endpoint_errors(scores.searches[name, steps])
            lines.append([name, *cells, interval(errors, 3), f"{np.median(found):.0f}"])
    return lines


def spans(scores: Results, seconds: dict, rivals: dict[int, str], kind: str) -> list[str]:
    """Least and greatest shares of the best unsearched FD, in each space; errors and seconds."""
    runs = [(f"{family}, {kind}", k) for k in STARTS for family in FAMILIES]

    def span(values: Sequence[float], digits: int) -> str:
        return f"{min(values):.{digits}f} to {max(values):.{digits}f}"

    def shares(space: str) -> list[float]:
        means = [
            [np.mean(scores.of(n, k, space, "fd")) for n in (name, rivals[k])] for name, k in runs
        ]
        return [float(own / base) for own, base in means]

    errors = [float(np.mean(endpoint_errors(scores.searches[run]))) for run in runs]
    took = [float(np.median(seconds[family, kind, k])) for k in STARTS for family in FAMILIES]
    return [*(span(shares(space), 2) for space in SPACES), span(errors, 2), span(took, 0)]


def page(scores: Results, seconds: dict, rivals: dict[int, str]) -> str:
    """The page, made of the numbers."""
    head = ["sampler", "FD in digits-mlp", "FD in pixels", *COLUMNS, "endpoint error", "seconds"]
    tables = "\n\n".join(
        f"## K = {k}, from {start}\n\n{markdown(head, lines_of(scores, seconds, rivals, k))}"
        for k, start in STARTS.items()
    )
    ends = [[kind, *spans(scores, seconds, rivals, kind)] for kind in OBJECTIVES]
    heads = ["objective", *(f"share in {space}" for space in SPACES), "endpoint error", "seconds"]
    summary = markdown(heads, ends)
    said = "\n".join(f"- **{kind}**: `{as_words(o)}`" for kind, o in OBJECTIVES.items())
    return f"""# Objectives: distributions, a teacher, and both

Written by `python benchmarks/objectives.py`, which keeps what is done under `runs/objectives/`. The
embedded model of 8x8 digits; each search starts from the same sampler and has the same budget
({as_words(BUDGET)}):

{said}

The teacher is DPM-Solver++ (3M) of 32 evaluations from the same noise. `KID of means` is KID with
the linear kernel, which compares nothing but mean features.

{len(SEEDS)} searches stand behind each line, with seeds of their own, each scored with n = {N:,}
against the images that the model was trained on. ± is half of a 95% interval over searches
(Student's t); in parentheses stands the ratio to the best unsearched sampler's. No search saw
`digits-mlp`; pixels were seen by those whose options name them. Precision, recall, density and
coverage are in pixels. The endpoint error is the root mean square distance of a sample's pixels to
what DDIM of {TEACHER_STEPS} evaluations makes of the same noise ({len(INDICES):,} noises that no
search saw).
Seconds are those of the search, the median, on a machine that did other work beside.

## In short

The least and the greatest of four kinds of searches (two families at two K); a share is FD over the
best unsearched sampler's, and below 1 it is better:

{summary}

What ends nearest to the teacher need not be nearest to the data: FD is of distributions, and the
endpoint error is not.

{tables}
"""


if __name__ == "__main__":
    main()

"""The table of docs/results/digits.md: `python benchmarks/digits.py`.

Searches RDDIM and GDDIM for K = 5, 10, 20 with three seeds each, scores the baselines with the same
seeds and n, and DDPM at K = 1000 for scale. Runs are kept under runs/digits/ and not done again; an
interrupted one is resumed. About 20 minutes on 2 CPU cores.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import scipy.stats

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "runs" / "digits"
PAGE = ROOT / "docs" / "results" / "digits.md"
STEPS, SEEDS, N = (5, 10, 20), (0, 1, 2), 10_000
NAMES = ["ddpm-linear", "ddpm-quadratic", "ddim-linear", "ddim-quadratic", "rddim", "gddim"]


def samplerzoo(*words: str) -> dict:
    """A command's JSON, its progress passed on to stderr."""
    command = [sys.executable, "-m", "samplerzoo", *words, "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def searched(family: str, steps: int, seed: int) -> dict:
    """The result of one search, from disk where it is done."""
    folder = RUNS / f"{family}-{steps}-{seed}"
    if (folder / "config.toml").exists():
        return samplerzoo("resume", str(folder))
    return samplerzoo(
        "search", "--family", family, "--steps", str(steps), "--seed", str(seed),
        "--n", str(N), "--out", str(folder),
    )  # fmt: skip


def thousand() -> list[dict]:
    """Rows of DDPM with 1000 steps."""
    path = RUNS / "ddpm-1000.json"
    if not path.exists():
        seeds = ",".join(map(str, SEEDS))
        found = samplerzoo(
            "evaluate", "ddpm-linear", "--steps", "1000", "--n", str(N), "--seeds", seeds
        )
        path.write_text(json.dumps(found))
    return json.loads(path.read_text())["rows"]


def interval(values: list[float]) -> str:
    """The mean with the half-width of its 95% interval."""
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{np.mean(values):.2f} ± {half:.2f}"


def table(rows: list[dict], features: str) -> str:
    """Samplers by K, with the ratio to DDIM's linear stride at the same K."""

    def fds(sampler: str, steps: int) -> list[float]:
        wanted = (sampler, steps, features)
        return [r["fd"] for r in rows if (r["sampler"], r["nfe"], r["features"]) == wanted]

    lines = ["| FD in " + features + " | " + " | ".join(f"K = {k}" for k in STEPS) + " |"]
    lines.append("|---" * (len(STEPS) + 1) + "|")
    for name in NAMES:
        cells = []
        for steps in STEPS:
            ratio = np.mean(fds(name, steps)) / np.mean(fds("ddim-linear", steps))
            cells.append(f"{interval(fds(name, steps))} ({ratio:.2f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines.append(f"\nDDPM with 1000 evaluations: {interval(fds('ddpm-linear', 1000))}.")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing and write the page."""
    RUNS.mkdir(parents=True, exist_ok=True)
    rows, seconds = list(thousand()), {}
    for steps in STEPS:
        for seed in SEEDS:
            for family in ("rddim", "gddim"):
                result = searched(family, steps, seed)
                seconds.setdefault((family, steps), []).append(result["search_seconds"])
                rows += [row for row in result["rows"] if row not in rows]
    result = searched("rddim", STEPS[0], SEEDS[0])
    times = "; ".join(
        f"{family} {', '.join(f'{np.mean(seconds[family, k]):.0f} s' for k in STEPS)}"
        for family in ("rddim", "gddim")
    )
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(f"""# Digits: a search in half a minute, on a CPU

Written by `python benchmarks/digits.py`. The embedded model and data, all options at their
defaults; searched in `{result["search_features"]}`, n = {N:,}, {len(SEEDS)} seeds, each for a
search and its report: mean, half-width of the 95% interval over seeds (Student's t), and in
parentheses the ratio to DDIM with a linear stride.

## In features that the search never saw

{table(rows, result["report_features"])}

## In the searched features

{table(rows, result["search_features"])}

Both feature spaces are those of small classifiers of the digits; FD is not FID. The reference is
all 1,797 images, of which the model and the classifiers were trained on 1,437. A searched sampler
can be better than DDPM with 1000 evaluations because the search also corrects errors of the model.

Mean time of a search (K = {", ".join(map(str, STEPS))}) on 2 CPU cores, evaluation not counted:
{times}.
""")
    print(PAGE.read_text())


if __name__ == "__main__":
    main()

"""What the pages under docs/results are made of: searches, scores and tables, kept on disk.

Runs are folders under runs/, which are resumed or not done again; scores are an evaluation's
folder, which grows. Both go by their paths below the repository, where the pages are written from.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import samplerzoo as sz
from samplerzoo.metrics import Interval, mean_interval, ratio_interval
from samplerzoo.tables import Table

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
BASELINES = ("ddpm-linear", "ddpm-quadratic", "ddim-linear", "ddim-quadratic")
Record = Mapping[str, Any]


def searched(folder: Path, options: Mapping[str, Any]) -> dict:
    """The result of a search in a folder, from disk where it is done."""
    print(f"search {folder}", file=sys.stderr)
    jax.clear_caches()  # a few dozen searches' programs are more than a process may map
    begun = (folder / "config.toml").exists()
    run = sz.resume(folder) if begun else sz.search(**options, out=folder)
    assert run.result is not None
    return run.result


def scored(folder: Path, samplers: Sequence[str], options: Mapping[str, Any]) -> list[Record]:
    """The rows of an evaluation, from disk where they are there."""
    print(f"evaluate into {folder}", file=sys.stderr)
    return sz.evaluate(samplers, **options, out=folder).records


def as_words(options: Mapping[str, Any]) -> str:
    """Options as a command takes them."""
    words = []
    for name, value in options.items():
        if isinstance(value, dict):
            words += [f"-{name[0].upper()} {key}={one}" for key, one in value.items()]
            continue
        many = isinstance(value, list | tuple)
        shown = ",".join(map(str, value)) if many else str(value)
        words.append(f"--{name.replace('_', '-')} {shown}")
    return " ".join(words)


def interval(scores: Sequence[float], digits: int = 2) -> str:
    """The mean with half of its 95% interval."""
    return mean_interval(scores).text(digits)


def ratio(scores: Sequence[float], base: Sequence[float]) -> Interval:
    """The ratio of two means."""
    return ratio_interval(mean_interval(scores), mean_interval(base))


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return Table(head, list(lines)).markdown()


class Results(NamedTuple):
    """Rows of evaluations, and which samplers stand for several searches of the same kind.

    `searches` has by the name of such a kind and K the samplers' names, a seed each.
    """

    rows: Sequence[Record]
    searches: Mapping[tuple[str, int], Sequence[str]]

    def of(self, name: str, steps: int, features: str, column: str) -> list[float]:
        """A score of each search, the mean over the seeds of its report; else one a seed."""
        found: dict[str, list[float]] = {}
        samplers = self.searches.get((name, steps), [name])
        for row in self.rows:
            if (row["nfe"], row["features"]) == (steps, features) and row["sampler"] in samplers:
                found.setdefault(row["sampler"], []).append(row[column])
        if name in samplers:
            return found[name]
        return [float(np.mean(found[sampler])) for sampler in samplers]

    def best_ddim(self, steps: int, features: str) -> list[float]:
        """FD of the better of DDIM's strides."""
        strides = [self.of(f"ddim-{s}", steps, features, "fd") for s in ("linear", "quadratic")]
        return min(strides, key=np.mean)

    def share(self, name: str, steps: int, features: str) -> str:
        """FD over that of the better of DDIM's strides."""
        return self._ratio(name, steps, features).text(2)

    def gains(self, features: str) -> str:
        """How many kinds of searches have FD below DDIM's (of one seed, none), and which not."""
        lost = [k for k in self.searches if not self._surely_less(*k, features)]
        total, names = len(self.searches), ", ".join(f"{name} at K = {k}" for name, k in lost)
        return f"{total - len(lost)} of {total}" + (f" (not {names})" if lost else "")

    def losses(self, column: str, rival: str, features: str) -> str:
        """Those kinds of searches whose interval of a column lies wholly below a rival's."""
        found = []
        for name, k in self.searches:
            ours, theirs = (mean_interval(self.of(n, k, features, column)) for n in (name, rival))
            if ours.below(theirs):
                found.append(f"{name} at K = {k}")
        return ", ".join(found) or "none"

    def missed(self, name: str, steps: int, features: str, most: float) -> str | None:
        """By how much the ratio to DDIM is above `most`, if it is."""
        found = self._ratio(name, steps, features).value
        return f"{name} at K = {steps} by {found - most:.2f}" if found > most else None

    def _ratio(self, name: str, steps: int, features: str) -> Interval:
        return ratio(self.of(name, steps, features, "fd"), self.best_ddim(steps, features))

    def _surely_less(self, name: str, steps: int, features: str) -> bool:
        found = self._ratio(name, steps, features)
        return found.half is not None and found.high < 1

    def distances(self, names: Iterable[str], steps: Sequence[int], features: str) -> str:
        """FD by K, of searched samplers with the ratio to DDIM's; last DDPM's at K = 1000."""
        lines = []
        for name in names:
            cells = [interval(self.of(name, k, features, "fd")) for k in steps]
            if (name, steps[0]) in self.searches:
                shares = [self.share(name, k, features) for k in steps]
                cells = [f"{c} ({share})" for c, share in zip(cells, shares, strict=True)]
            lines.append([name, *cells])
        thousand = interval(self.of("ddpm-linear", 1000, features, "fd"))
        lines.append(["ddpm-linear, K = 1000", thousand, *[""] * (len(steps) - 1)])
        space = Path(features).stem if ":" in features else features
        return markdown([f"FD in {space}", *(f"K = {k}" for k in steps)], lines)

    def columns(
        self,
        columns: Mapping[str, int],
        names: Iterable[str],
        steps: Sequence[int],
        features: str,
    ) -> str:
        """Some columns, each with so many decimals, of some samplers at each K."""
        kinds = [(name, k) for k in steps for name in names] + [("ddpm-linear", 1000)]
        lines = [
            [
                name,
                str(k),
                *(interval(self.of(name, k, features, c), d) for c, d in columns.items()),
            ]
            for name, k in kinds
        ]
        return markdown(["sampler", "K", *(c.replace("_", " ") for c in columns)], lines)

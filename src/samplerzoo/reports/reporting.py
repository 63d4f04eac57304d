"""A report: the page that compares samplers, and what it says in words and in numbers."""

import html
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from ..files import write
from ..metrics import Interval
from ..runs.errors import RunError
from ..runs.evaluation import is_evaluation, load_evaluation
from ..runs.rows import Scores
from ..runs.run import Run, load_run
from ..runs.samplers import listed
from ..runs.store import is_sweep, run_folder
from ..runs.sweeping import Sweep, runs_of
from ..wording import phrase
from .comparison import Comparison
from .facts import Facts
from .gathering import gather
from .standing import Scored, Standing, Standings, standings
from .templating import page
from .verdict import judge

Given: TypeAlias = str | Path | Run | Sweep | Scores


@dataclass(frozen=True)
class Report:
    """Hold a report: a page, and what it says. A notebook shows the page.

    Args:
        html: The page, which needs nothing else.
        headline: Which sampler is best.
        sentences: What qualifies that.
        answer: The numbers it rests on, as JSON holds them.
        path: Where the page was written, if it was.
    """

    html: str
    headline: str
    sentences: tuple[str, ...]
    answer: Mapping[str, Any]
    path: Path | None = None

    @classmethod
    def of(cls, facts: Facts) -> "Report":
        """Make the report of some facts.

        Args:
            facts: What the report is made of.

        Returns:
            The report.

        Raises:
            ValueError: No score can be compared.
        """
        scores = Comparison.of(facts)
        order = standings(scores, facts.searched, facts.steps)
        verdict = judge(order, scores)
        text = page(facts, scores, order, verdict)
        numbers = _answer(facts, scores, order)
        return cls(text, verdict.headline, verdict.sentences, numbers)

    def save(self, path: str | Path) -> "Report":
        """Write the page to a file.

        Args:
            path: The file.

        Returns:
            The report, which knows its path.

        Raises:
            OSError: The file cannot be written.
        """
        write(Path(path), self.html.encode(errors="replace"))
        return replace(self, path=Path(path))

    def json(self) -> str:
        """Write what the report says as one JSON object.

        Returns:
            The text of the object.
        """
        said = {"headline": self.headline, "sentences": list(self.sentences), **self.answer}
        where = None if self.path is None else str(self.path)
        return json.dumps({"report": where, **said}, indent=2)

    def _repr_html_(self) -> str:
        style = "width:100%;height:800px;border:0"
        return f'<iframe srcdoc="{html.escape(self.html)}" style="{style}"></iframe>'


def report(
    runs: Given | Sequence[Given],
    *,
    out: str | Path | None = None,
    progress: bool = True,
) -> Report:
    """Compare the samplers of finished runs on one page.

    It says which sampler is best and whether that holds in features that no search saw. The same
    as the command `samplerzoo report`.

    Args:
        runs: One or several of: a run, its folder, `hf:owner/name`; a sweep or its folder, which
            stands for its runs; and, among them, the scores that `evaluate` returned or the folder
            that keeps them, which are added.
        out: A file for the page; `"auto"` chooses report.html in the folder of the run or of the
            sweep, or in the current one where there are several. None writes none.
        progress: Whether a bar is shown on stderr.

    Returns:
        The report: its page, and what it says in words and numbers.

    Raises:
        ValueError: There is no run among them, one is not finished, or they cannot be compared.
        ConnectionError: Something cannot be fetched from the Hub.
        RunError: The page cannot be written.
    """
    typed = listed(runs)
    sweeps = {number: found for number, one in enumerate(typed) if (found := _members(one))}
    given = [run for n, one in enumerate(typed) for run in sweeps.get(n, [one])]
    searches, evaluations = _sorted(given)
    if not searches:
        raise ValueError("A report needs the folder of a run; evaluations only add scores to it.")
    path = _target(_home(typed, searches) / "report.html" if out == "auto" else out)
    command = _command(searches, evaluations, path)
    facts = gather(searches, evaluations, command, progress)
    made = Report.of(replace(facts, swept=bool(sweeps)))
    if path is None:
        return made
    try:
        return made.save(path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {phrase(error)}.") from error


def _members(given: Given) -> list[Given]:
    """The runs of a sweep or of its folder; nothing for anything else."""
    return [str(run) if isinstance(run, Path) else run for run in runs_of(given).values()]


def _sorted(given: Sequence[Given]) -> tuple[dict[str, Run], dict[str, Scores]]:
    """The runs and the evaluations, by what they are called."""
    runs: dict[str, Run] = {}
    evaluations: dict[str, Scores] = {}
    for number, one in enumerate(given, 1):
        name = str(one).rstrip("/") if isinstance(one, str | Path) else ""
        found = _opened(one, name)
        if isinstance(found, Scores):
            evaluations[name or f"scores {number}"] = found
        else:
            runs[name or str(found.path or f"run {number}")] = found
    return runs, evaluations


def _opened(given: Any, name: str) -> Run | Scores:
    """The run or the scores of a name, if there is one; else what is given."""
    if not name:
        return given
    folder = run_folder(name)
    return load_evaluation(folder).scores if is_evaluation(folder) else load_run(name)


def _home(given: Sequence[Given], runs: Mapping[str, Run]) -> Path:
    """The folder of the only run or sweep, if it is one of this user; else the current folder."""
    if len(given) == 1 and isinstance(given[0], str | Path) and is_sweep(run_folder(given[0])):
        return run_folder(given[0])
    typed = {str(one).rstrip("/") for one in given if isinstance(one, str | Path)}
    (name, run), *others = runs.items()
    own = name in typed or run.config.allow_code
    return Path(name) if own and not others and Path(name).is_dir() else Path()


def _target(out: str | Path | None) -> Path | None:
    """Where the page is written; refused before the work where it cannot be."""
    if out is None:
        return None
    path = Path(out)
    if path.is_dir():
        raise ValueError(f"--out {path} is a folder; give a file.")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ValueError(f"--out is {str(path)!r}, but there is no folder {folder}.")
    return path


def _command(runs: Mapping[str, Run], evaluations: Mapping[str, Scores], path: Path | None) -> str:
    """What makes the report again; nothing does of what is in memory alone."""
    if not all(run.path for run in runs.values()):
        return ""
    folders = [name for name in evaluations if is_evaluation(Path(name))]
    out = [] if path is None else ["--out", str(path)]
    return shlex.join(["samplerzoo", "report", *runs, *folders, *out])


def _answer(facts: Facts, scores: Comparison, order: Standings) -> dict[str, Any]:
    return {
        "model": facts.model,
        "n": facts.n,
        "metric": scores.metric,
        "better": scores.better,
        "standings": [
            {"features": space, "searched": space in scores.spaces.seen, **_standing(standing)}
            for space, column in order.items()
            for standing in column
        ],
    }


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "nfe": standing.nfe,
        "best": _scored(standing.best),
        "best_is_searched": standing.won,
        "clear": standing.clear,
        "baseline": _scored(standing.baseline),
        "ratio": standing.ratio,
    }


def _scored(given: Scored | None) -> dict[str, Any] | None:
    if given is None:
        return None
    sampler, score = given
    return {"sampler": sampler, **_interval(score)}


def _interval(score: Interval) -> dict[str, Any]:
    return {"value": score.value, "half": score.half, "count": score.count}

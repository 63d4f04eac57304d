"""A zoo: finished runs, from folders and from the Hub, on one static page with their pictures."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from ..files import write
from ..hub import PREFIX, parse
from ..metrics import Interval, decimals, normal_interval
from ..runs.errors import RunError
from ..runs.names import label_of, registered, split
from ..runs.parts import better_sides
from ..runs.rows import ERROR, Row, summarise
from ..runs.run import Run, load_run
from ..runs.spec import Config
from ..runs.sweeping import runs_of
from ..wording import phrase
from .comparison import text
from .looks import SHEET
from .reading import finished, one_n, run_rows, settings
from .templating import render

_PNG = b"\x89PNG\r\n\x1a\n"
_MARK = '<meta name="generator" content="samplerzoo zoo">'
_PAGE, _PICTURES = "index.html", "pictures"
_SHOWN = ("fd", "kid")  # the columns on the page, the first of which says what is best
_NONE = "–"


class Line(NamedTuple):
    """A sampler's scores in one feature space.

    Attributes:
        sampler: What it is called.
        searched: Whether it was searched.
        scores: One for each column, in words.
    """

    sampler: str
    searched: bool
    scores: list[str]


class Space(NamedTuple):
    """The scores in one feature space: the searched sampler's, and the best baseline's.

    Attributes:
        name: The feature space.
        role: Whether it was searched in, in words.
        heads: The names of the columns.
        lines: The searched sampler, and the best baseline where there is one.
        ratio: The searched sampler's first score as a share of the baseline's, in words.
    """

    name: str
    role: str
    heads: list[str]
    lines: list[Line]
    ratio: str


class Entry(NamedTuple):
    """A searched sampler of the zoo: one search, or several that differ in their seeds.

    Attributes:
        names: The runs, as commands take them.
        links: Their addresses on the Hub, by name.
        title: The family's name; where others of it are for the same model and K, the run's too.
        model: The model's name.
        family: The family's name.
        steps: The steps of the sampler.
        nfe: Network evaluations a sample.
        facts: What else is to be known, by its name.
        n: The samples behind every score.
        spaces: The scores, features that no search saw first.
        commands: What uses the sampler, by the tool.
        picture: The file of its samples beside the page; empty where there is none.
    """

    names: list[str]
    links: Mapping[str, str]
    title: str
    model: str
    family: str
    steps: int
    nfe: int
    facts: Mapping[str, str]
    n: int
    spaces: list[Space]
    commands: Mapping[str, str]
    picture: str


def zoo(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Write a static page that shows finished runs: their scores, samples, and how to use them.

    Runs of one search with different seeds are one entry, whose intervals are over them; of a
    single one only KID has an interval, from its standard error. The same as the command
    `samplerzoo zoo`.

    Args:
        runs: Folders of runs, those of sweeps for all their runs, and `hf:owner/name[@revision]`.
        out: The folder for `index.html` and `pictures/`; a new or empty one, or an earlier zoo,
            which is replaced.

    Returns:
        The page.

    Raises:
        ValueError: There is no such run, one is not finished or given twice, or the folder holds
            something else.
        ConnectionError: Something cannot be fetched from the Hub.
        RunError: The folder cannot be written.
    """
    folder = Path(out)
    _check_folder(folder)
    names = [
        str(name).rstrip("/") for one in runs for name in (list(runs_of(one).values()) or [one])
    ]
    if not names:
        raise ValueError("A zoo needs at least one finished run; give its folder or hf:owner/name.")
    entries, pictures = gather_zoo({name: load_run(name) for name in names}, names)
    content = {"sheet": Markup(SHEET), "mark": Markup(_MARK), "models": _by_model(entries)}
    try:
        _write_all(folder, render("zoo.html", content), pictures)
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {phrase(error)}.") from error
    return folder / _PAGE


def _check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else than a zoo."""
    page = folder / _PAGE
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {folder} is a file; give a folder.")
    ours = page.is_file() and _MARK in page.read_text(errors="replace")
    if folder.is_dir() and any(folder.iterdir()) and not ours:
        raise ValueError(f"--out {folder} holds something else than a zoo; give an empty folder.")


def _write_all(folder: Path, page: str, pictures: Mapping[str, bytes]) -> None:
    """Write the page and its pictures, and remove those of an earlier page."""
    (folder / _PICTURES).mkdir(parents=True, exist_ok=True)
    for old in (folder / _PICTURES).glob("[0-9]*.png"):
        old.unlink()
    for name, data in pictures.items():
        write(folder / name, data)
    write(folder / _PAGE, page.encode(errors="replace"))


def gather_zoo(
    runs: Mapping[str, Run], given: Sequence[str]
) -> tuple[list[Entry], dict[str, bytes]]:
    """Make the entries of a zoo, and their pictures by file.

    Args:
        runs: The runs by name.
        given: The names as they were given, to see which came twice.

    Returns:
        The entries in the order of model, NFE and family, and the PNG files.

    Raises:
        ValueError: A run is not finished, or is given twice.
    """
    groups: dict[str, dict[str, Run]] = {}
    for name, run in runs.items():
        twins = groups.setdefault(_search(run.config), {})
        same = [other for other, twin in twins.items() if twin.config.seed == run.config.seed]
        if same or given.count(name) > 1:
            raise ValueError(f"{(same or [name])[0]} and {name} are the same search; give one.")
        twins[name] = run
    entries, pictures = [], {}
    for number, group in enumerate(groups.values(), 1):
        picture = _picture(next(iter(group.values())))
        file = f"{_PICTURES}/{number}.png" if picture else ""
        pictures |= {file: picture} if picture else {}
        entries.append(_entry(group, file))
    entries = [_told_apart(entry, entries) for entry in entries]
    return sorted(entries, key=lambda one: (one.model, one.nfe, one.title)), pictures


def _told_apart(entry: Entry, entries: Sequence[Entry]) -> Entry:
    """The entry, called by its run too where another has its model, family and K."""
    alike = [(one.model, one.family, one.steps) for one in entries]
    if alike.count((entry.model, entry.family, entry.steps)) == 1:
        return entry
    return entry._replace(title=f"{entry.family} ({entry.names[0]})")


def _search(config: Config) -> str:
    """What runs of one search have in common, which differ in their seeds alone."""
    whole = {**settings(config), "family": config.family, "steps": config.steps}
    parts = (config.model, config.label, config.guidance, config.data, config.report_features)
    asked = (config.labels, config.conditions)
    return json.dumps([*parts, *asked, whole], default=str, sort_keys=True)


def _picture(run: Run) -> bytes:
    """A run's samples, where it has a PNG file of them."""
    found = run.pictures.get("samples.png", b"")
    return found if found.startswith(_PNG) else b""


def _entry(group: Mapping[str, Run], picture: str) -> Entry:
    """Make the entry of one search from its runs."""
    name, run = next(iter(group.items()))
    config, own = run.config, label_of(run.config.family)
    results = {name: finished(name, run) for name, run in group.items()}
    every = [row for name, result in results.items() for row in run_rows(name, own, result)]
    nfe = results[name]["nfe"]
    rows, _ = one_n([row for row in every if row.nfe == nfe], group)
    names = [label_of(name) for name in group]
    return Entry(
        names=names,
        links={name: _link(name) for name in names if name.startswith(PREFIX)},
        title=own,
        model=label_of(config.model),
        family=own,
        steps=config.steps,
        nfe=nfe,
        facts=_facts(config),
        n=rows[0].n,
        spaces=_spaces(rows, split(config.features)),
        commands=_commands(names[0]),
        picture=picture,
    )


def _link(name: str) -> str:
    """The page of a published run on the Hub."""
    from huggingface_hub import constants

    address = parse(name)
    return f"{constants.ENDPOINT}/{address.repository}/tree/{address.revision}"


def _facts(config: Config) -> dict[str, str]:
    options = ", ".join(f"{key} = {value}" for key, value in config.family_options.items())
    found = {
        "times": config.times,
        "options": options,
        "data": label_of(config.data),
        "objective": label_of(config.objective),
    }
    return {key: value for key, value in found.items() if value}


def _spaces(rows: Sequence[Row], searched: Sequence[str]) -> list[Space]:
    """The scores in each feature space, those that no search saw first."""
    better = better_sides()
    names = sorted(dict.fromkeys(row.features for row in rows), key=lambda name: name in searched)
    return [
        _space(name, "searched" if name in searched else "not searched", rows, better)
        for name in names
    ]


def _space(name: str, role: str, rows: Sequence[Row], better: Mapping[str, str]) -> Space:
    """The searched sampler's and the best baseline's scores in a feature space."""
    here = [row for row in rows if row.features == name]
    ours = {row.sampler for row in here if row.run}
    known = list(dict.fromkeys(column for row in here for column in row.scores))
    columns = [c for c in _SHOWN if c in known] or [c for c in known if not c.endswith(ERROR)][:1]
    found = {
        (sampler, column): score
        for (sampler, *_), own in summarise(here).items()
        for column in columns
        if (score := _interval(own, column))
    }
    first, sign = columns[0], -1 if better.get(columns[0]) == "larger" else 1
    values = {s: score.value for (s, column), score in found.items() if column == first}
    order = sorted(values, key=lambda sampler: sign * values[sampler])
    best = [next(iter(ours)), *[sampler for sampler in order if sampler not in ours][:1]]
    cells = {column: _cells([found.get((s, column)) for s in best]) for column in columns}
    lines = [
        Line(sampler, sampler in ours, [cells[column][n] for column in columns])
        for n, sampler in enumerate(best)
    ]
    pair = [values.get(sampler, 0.0) for sampler in best]
    ratio = f"{pair[0] / pair[1]:.2f}" if len(pair) == 2 and min(pair) > 0 else _NONE
    return Space(label_of(name), role, [column.upper() for column in columns], lines, ratio)


def _cells(scores: Sequence[Interval | None]) -> list[str]:
    """Scores in words, with as many decimals as they need together."""
    digits = decimals(score.value for score in scores if score)
    return [text(score, digits) if score else _NONE for score in scores]


def _interval(own: Mapping[str, Interval], column: str) -> Interval | None:
    """A score; of a single one, with the interval that its standard error gives."""
    score, error = own.get(column), own.get(column + ERROR)
    if score is not None and score.count == 1 and error is not None:
        return normal_interval(score.value, error.value)
    return score


def _commands(name: str) -> dict[str, str]:
    """What uses a run in each tool that there is an exporter for."""
    whole = shlex.quote(name)
    draw = {"samplerzoo": f"samplerzoo sample {whole} --n 64 --out samples.png"}
    return draw | {
        tool: f"samplerzoo export {whole} --to {shlex.quote(tool)} --out {shlex.quote(tool)}"
        for tool in registered("exporters")
    }


def _by_model(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.model, []).append(entry)
    return found

"""Evaluations: samplers, seeds, feature spaces and metrics, all on one model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

from ..core.devices import all_devices
from ..core.families import STRIDES
from ..core.model import DiffusionModel
from ..core.unsearched import unsearched_tables
from ..data import AbstractDataset
from ..files import digest
from ..metrics import FeatureSet, Metric
from ..wording import phrase
from .bars import progress_bar
from .choosing import choose_among, linear_kid
from .errors import RunError
from .evaluation import Evaluation, check_folder, open_evaluation
from .interruptions import stop_if_asked
from .likelihoods import NLL, likelihood_images, likelihood_row
from .names import check_there, defaults, name_of, split as split_names
from .parts import (
    Extractor,
    GivenData,
    crops,
    hashes,
    load_data,
    load_features,
    load_metric,
    load_model,
    load_references,
)
from .rows import Row, Scores
from .run import Run
from .samplers import (
    FAMILY,
    ODE,
    Families,
    Given,
    Sampler,
    listed,
    named_samplers,
    sampler_tables,
)
from .scores import METRICS, lacks, score_rows
from .setup import add_directory
from .spec import NUMBERS, check_seed, split_times
from .store import check_place, locked
from .times import GivenTimes, read_times

T = TypeVar("T")
Several: TypeAlias = T | Sequence[T] | Mapping[str, T]
OnRows: TypeAlias = Callable[[Sequence[Row]], Any]
BASELINES = ("ddpm", "ddim")
_OPTIONS = {"report_features": "features", "dtype": "model"}  # that stand for others
# Where no run says otherwise.
_OF_MODEL = {
    "dtype": "float32",
    "label": None,
    "guidance": None,
    "labels": None,
    "conditions": None,
}
_OF_DATA = {"split": None, "crop": False}


def evaluate(
    samplers: Several[Given],
    *,
    steps: int | Sequence[int] = 10,
    times: GivenTimes | None = None,
    baselines: bool = False,
    n: int = 10_000,
    seeds: int | Sequence[int] = 0,
    model: str | Path | DiffusionModel | Callable[[], DiffusionModel] | None = None,
    label: int | None = None,
    guidance: float | None = None,
    labels: str | None = None,
    conditions: str | Path | None = None,
    data: GivenData | None = None,
    split: str | None = None,
    crop: bool | None = None,
    held_out: GivenData | None = None,
    held_out_split: str | None = None,
    features: str | Extractor | Several[str | Extractor] | None = None,
    metrics: str | Metric | Several[str | Metric] | None = None,
    out: str | Path | None = None,
    progress: bool = True,
    callback: OnRows | None = None,
) -> Scores:
    """Score samplers on one model, with the same number of samples and the same seeds.

    The same options, defaults, checks and results as the command `samplerzoo evaluate`.

    Args:
        samplers: One sampler, several, or several by name: a run or its folder, a sweep or its
            folder for all its runs, `hf:owner/name`, a JSON file that `import_scheduler` or
            `export` wrote, a family's registered name (`"unipc-3-karras"` has a grid and
            `"ddim-quadratic:eta=0.5"` an option too), a class, a member of a family, a table;
            `"ode"`, the adaptive solver of the model's ODE, whose evaluations are counted.
        steps: Network evaluations of the families that are given by name or as a class.
        times: The grid of those that name none, as `search` takes it: a name, falling numbers, or a
            file of such. [default: linear and quadratic, both]
        baselines: Whether DDPM and DDIM are scored too, with both strides, and the best unsearched
            solver and grid, at each number of steps that comes up. The best is chosen by other
            samples than are scored, in the first feature space.
        n: Samples a score.
        seeds: Seeds of the samples; of several, tables show the mean and its 95% interval.
        model: The model, as `search` takes it. [default: that of the runs, or digits]
        label: The class to sample, of a class-conditional checkpoint.
        guidance: The weight of classifier-free guidance.
        labels: Which classes are sampled, one a sample, as `search` takes them.
        conditions: A file of conditions, one a sample, as `search` takes it.
        data: The data, as `search` takes them. [default: those of the runs, or the model's own]
        split: Part of the data, of a path.
        crop: Whether images of a path are cropped to their centre square and resized.
        held_out: Data that the model was not trained on, for the metric `memorisation`.
        held_out_split: Part of these.
        features: Names of feature spaces, separated by commas or as a list, or functions of one
            sample. [default: those of the runs, or the model's own]
        metrics: Names of metrics, separated by commas or as a list, or `Metric`s. `nll` is the bits
            per dimension of the held-out data, or else of the data, under the model's ODE, with
            their standard error: of `n` images at most. [default: those of fd, kid and
            precision-recall that apply]
        out: A folder that keeps the scores: what is in it is not done again, and more may be added
            later. None keeps everything in memory.
        progress: Whether bars are shown on stderr.
        callback: Called with the rows of each sampler and seed as soon as they are there.

    Returns:
        The scores: a row for each sampler, feature space and seed.

    Raises:
        ValueError: An option is not allowed, a part cannot be loaded or does not fit the others,
            or the folder holds scores that depend on something else.
        ConnectionError: Something cannot be fetched from the Hub.
        RunError: A sampler cannot be scored, or the folder cannot be written; the scores in it are
            whole.
        InterruptedRunError: It was interrupted; the same evaluation continues in its folder.
    """
    if n < 2:
        raise ValueError(f"n is {n}; it must be at least 2.")
    if held_out is None and held_out_split is not None:
        raise ValueError("--held-out-split is a part of --held-out; give this too.")
    wanted, budgets = _numbers("seeds", seeds, 0), _numbers("steps", steps, 1)
    for seed in wanted:
        check_seed(seed)
    folder = _checked(out)
    given, grids = named_samplers(samplers), _grids(times)
    runs = [sampler for sampler in given.values() if isinstance(sampler, Run)]
    for run in runs:
        add_directory(run.config)
    chosen = _choose(
        runs,
        {
            "model": model,
            "label": label,
            "guidance": guidance,
            "labels": labels,
            "conditions": None if conditions is None else str(Path(conditions).absolute()),
        },
        {"data": data, "split": split, "crop": crop},
        features,
    )
    setup = _load(chosen, held_out, held_out_split, progress)
    tables = _tables(given, Families(budgets, grids), setup.model)
    if baselines:
        tables |= _baselines(tables, setup, progress)
    columns, likelihood = _without_likelihood(metrics)
    compared = _load_metrics(columns, setup, n, progress)
    setup.about["depends_on"]["n"] = n
    digests = {f"{name} {nfe}": digest(sampler.table) for (name, nfe), sampler in tables.items()}
    kinds = {f"{name} {nfe}": sampler.kind for (name, nfe), sampler in tables.items()}
    _make(folder)
    with locked(folder, f"the same evaluation continues in {folder}"), _writing(folder):
        evaluation = open_evaluation(folder, setup.about, digests, kinds)
        places = []
        if any(compared.columns.values()):
            _fill(evaluation, tables, setup, compared, n, wanted, progress, callback)
            places += [(*at, space) for at in tables for space in setup.features]
        if likelihood:
            places.append(_add_likelihood(evaluation, setup, n, wanted, progress, callback))
        evaluation.finish()
    rows = [evaluation.rows[*place, seed] for place in places for seed in wanted]
    return Scores(rows, setup.about, samplers=digests, kinds=kinds)


def _numbers(name: str, given: int | Sequence[int], least: int) -> list[int]:
    """Different whole numbers, in their order."""
    found = list(dict.fromkeys(listed(given)))
    if not found or min(found) < least:
        raise ValueError(f"{name} is {given}; give one or more numbers of at least {least}.")
    return found


def _checked(out: str | Path | None) -> Path | None:
    """The folder, refused before the work where it is a file."""
    folder = None if out is None else Path(out)
    if folder is not None and folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {folder} is a file; give a new folder, or an evaluation's.")
    if folder is not None:
        check_folder(folder)
        check_place(folder)
    return folder


def _make(folder: Path | None) -> None:
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"--out {folder} cannot be made ({phrase(error)}); give another."
        ) from error


@contextmanager
def _writing(folder: Path | None) -> Iterator[None]:
    """Say of a disk that is full, or the like, that nothing is lost."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{folder} cannot be written ({phrase(error)}); the scores in it are whole, and the "
            "same evaluation continues from them."
        ) from error


def _choose(
    runs: Sequence[Run],
    on_model: Mapping[str, Any],
    on_data: Mapping[str, Any],
    features: Any,
) -> dict[str, Any]:
    """Choose what to compare on: as given, as all runs have it, or as it belongs to the model.

    With another model or other data than the runs', nothing of theirs stays.
    """
    chosen = _part("model", on_model, _OF_MODEL, runs, "digits")
    if isinstance(on_model["model"], str):  # which the user gave, and no run of others
        check_there("models", on_model["model"])
    own = {} if runs else _defaults(chosen["model"])
    chosen |= _part("data", on_data, _OF_DATA, runs, own.get("data"))
    chosen["features"] = _spaces(features, runs, own)
    lacking = [part for part in ("data", "features") if chosen[part] is None]
    if lacking:
        raise ValueError(
            f"The model {_name(chosen['model'])!r} has no default for "
            f"{' and '.join(f'--{part}' for part in lacking)}; give "
            f"{'it' if len(lacking) == 1 else 'them'}."
        )
    ours = all(run.config.allow_code for run in runs)
    given = {"model": on_model["model"], "data": on_data["data"], "features": features}
    chosen["trusted"] = {part: value is not None or ours for part, value in given.items()}
    return chosen


def _part(
    part: str, given: Mapping[str, Any], plain: Mapping[str, Any], runs: Sequence[Run], default: Any
) -> dict[str, Any]:
    """A part and its options: as given, or of the runs; plain ones of another part than theirs."""
    if given[part] is None and runs:
        found = {name: _common(runs, name) for name in (part, *plain)}
    else:
        found = {part: default, **plain}
    return found | {name: value for name, value in given.items() if value is not None}


def _common(runs: Sequence[Run], name: str) -> Any:
    """What all runs have in common: an object where they were given one."""
    values = dict.fromkeys(getattr(run.config, name) for run in runs)
    if len(values) > 1:
        raise ValueError(
            f"The runs differ in {name} ({', '.join(sorted(map(str, values)))}); give "
            f"--{_OPTIONS.get(name, name)}, or evaluate them apart."
        )
    objects = {id(run.objects[name]): run.objects[name] for run in runs if name in run.objects}
    if len(objects) > 1:
        raise ValueError(f"The runs differ in {name}; give one, or evaluate them apart.")
    return next(iter(objects.values() if objects else values))


def _defaults(model: Any) -> dict[str, str]:
    return defaults(model) if isinstance(model, str) else {}


def _spaces(given: Any, runs: Sequence[Run], own: Mapping[str, str]) -> dict[str, Any] | None:
    """The feature spaces by name: as given, of the runs, or the model's own if it has any."""
    if given is not None:
        return _named(given)
    parts = ("features", "report_features")
    if runs:
        return {getattr(runs[0].config, part): _common(runs, part) for part in parts}
    return {own[part]: own[part] for part in parts} if own else None


def _named(given: Any) -> dict[str, Any]:
    """Parts by name: a text is names that are separated by commas, an object has its own."""
    if isinstance(given, Mapping):
        return dict(given)
    if isinstance(given, str):
        return {name: name for name in split_names(given)}
    return {_name(part): part for part in listed(given)}


def _name(part: Any) -> str:
    return str(part) if isinstance(part, str | Path) else name_of(part)


class _Setup(NamedTuple):
    """What all samplers are compared on.

    Attributes:
        about: What the scores depend on, as the evaluation's folder says it.
        model: The model.
        features: The extractors by name.
        references: The features of the data by the extractor's name.
        scored: The images whose likelihood may be asked for, by what they are called.
    """

    about: dict[str, Any]
    model: DiffusionModel
    features: dict[str, Extractor]
    references: dict[str, FeatureSet]
    scored: tuple[str, AbstractDataset]


def _load(
    chosen: Mapping[str, Any], held_out: Any, held_out_split: str | None, progress: bool
) -> _Setup:
    trusted = chosen["trusted"]
    on_model = [chosen[name] for name in ("model", *_OF_MODEL)]
    model = load_model(*on_model, allow_code=trusted["model"])
    of_samples = (model.shape, model.clip)
    on_data = (chosen["data"], *of_samples, chosen["split"], chosen["crop"])
    images = load_data(*on_data, allow_code=trusted["data"])
    kept_apart = None
    if held_out is not None:
        crop = crops(held_out, chosen["crop"])
        kept_apart = load_data(held_out, *of_samples, held_out_split, crop)
    features = {
        name: load_features(given, model.shape, rounding=True, allow_code=trusted["features"])
        for name, given in chosen["features"].items()
    }
    references = load_references(features, images, kept_apart, progress)
    depends = {name: chosen[name] for name in ("label", "guidance", "dtype")}
    asked = {name: chosen[name] for name in ("labels", "conditions")}
    depends |= {name: value for name, value in asked.items() if value is not None}
    known = str(chosen["model"]) if isinstance(chosen["model"], str | Path) else None
    depends |= hashes(model, images, features, known)
    if kept_apart is not None:
        depends["held-out data"] = kept_apart.digest
    about = {"model": _name(chosen["model"]), "data": _name(chosen["data"])}
    scored = ("data", images) if kept_apart is None else ("held-out data", kept_apart)
    return _Setup({**about, "depends_on": depends}, model, features, references, scored)


def _grids(times: GivenTimes | None) -> dict[str, str]:
    """The grids of families that name none, by what they are called."""
    if times is None:
        return {stride: stride for stride in STRIDES}
    grid, searched = split_times(read_times(times))
    if not grid or searched != "fixed":
        raise ValueError(f"times is {times!r}; an evaluation needs a grid, and searches nothing.")
    if not NUMBERS.fullmatch(grid):
        return {grid: grid}
    path = isinstance(times, str | Path) and Path(times).is_file()
    return {Path(str(times)).stem if path else "own": grid}


def _tables(
    given: Mapping[str, Any], families: Families, model: DiffusionModel
) -> dict[tuple[str, int], Sampler]:
    """The samplers by name and NFE."""
    found = [
        sampler
        for name, one in given.items()
        for sampler in sampler_tables(one, name, families, model)
    ]
    return _keyed(found, model)


def _keyed(samplers: Sequence[Sampler], model: DiffusionModel) -> dict[tuple[str, int], Sampler]:
    return {(sampler.name, sampler.table.nfe * model.passes): sampler for sampler in samplers}


def _baselines(
    tables: Mapping[tuple[str, int], Sampler], setup: _Setup, progress: bool
) -> dict[tuple[str, int], Sampler]:
    """DDPM, DDIM and the best unsearched sampler at each number of steps of some samplers."""
    model, budgets = setup.model, sorted({sampler.table.nfe for sampler in tables.values()})
    both = Families(budgets, {stride: stride for stride in STRIDES})
    found = [sampler for name in BASELINES for sampler in sampler_tables(name, name, both, model)]
    space, phi = next(iter(setup.features.items()))
    measure = linear_kid(phi, setup.references[space])
    for steps in budgets:
        rivals = unsearched_tables(steps, model.schedule)
        best = choose_among(rivals, model, measure, progress).name
        found += sampler_tables(best, best, both._replace(steps=[steps]), model)
    return _keyed(found, model)


class _Compared(NamedTuple):
    """The metrics by name, and the columns that each feature space has of them."""

    metrics: dict[str, Metric]
    columns: dict[str, list[str]]


def _load_metrics(given: Any, setup: _Setup, n: int, progress: bool) -> _Compared:
    """Load the metrics, and find where each applies.

    One that lacks something in all feature spaces is refused; of the default ones, left out.
    """
    names = _named(METRICS if given is None else given)
    found: dict[str, Metric] = {}
    columns: dict[str, list[str]] = {space: [] for space in setup.features}
    with progress_bar(names.items(), "metrics of the data", progress, brief=True) as bar:
        for name, part in bar:
            metric = load_metric(part)
            reasons = {
                space: lacks(metric, setup.features[space], setup.model.shape, reference, n)
                for space, reference in setup.references.items()
            }
            if all(reasons.values()) and given is not None:
                reason = next(iter(reasons.values()))
                raise ValueError(f"The metric {name!r} does not apply, so leave it out: {reason}")
            found[name] = metric
            for space, reason in reasons.items():
                columns[space] += [] if reason else metric.better
    return _Compared(found, columns)


def _without_likelihood(metrics: Any) -> tuple[Any, bool]:
    """The metrics of samples, and whether the likelihood of the data is asked for too."""
    if metrics is None:
        return None, False
    names = _named(metrics)
    return {name: metric for name, metric in names.items() if name != NLL}, NLL in names


def _add_likelihood(
    evaluation: Evaluation,
    setup: _Setup,
    n: int,
    seeds: Sequence[int],
    progress: bool,
    callback: OnRows | None,
) -> tuple[str, int, str]:
    """Compute the likelihood with each seed where it is not there; say where its rows are."""
    space, data = setup.scored
    images = likelihood_images(data, n)
    before = {row.seed: row for row in evaluation.rows.values() if NLL in row.scores}
    nfe = next((row.nfe for row in before.values()), 0)  # seeds differ by fractions of one
    work = [seed for seed in seeds if seed not in before]
    with progress_bar(len(images) * len(work), f"likelihood of {space}", progress) as bar:
        for seed in work:

            def advance(done: int) -> None:
                bar.update(done)
                stop_if_asked()

            row = likelihood_row(space, images, setup.model, seed, advance)
            nfe = nfe or row.nfe
            row = replace(row, nfe=nfe)
            evaluation.kinds[row.key] = FAMILY
            evaluation.add([row])
            if callback is not None:
                callback([row])
    return ODE, nfe, space


def _fill(
    evaluation: Evaluation,
    samplers: Mapping[tuple[str, int], Sampler],
    setup: _Setup,
    compared: _Compared,
    n: int,
    seeds: Sequence[int],
    progress: bool,
    callback: OnRows | None,
) -> None:
    """Score what is not scored yet; the bar counts network evaluations."""
    work = [
        (name, nfe, seed)
        for name, nfe in samplers
        for seed in seeds
        if not evaluation.has(name, nfe, seed, compared.columns)
    ]
    with progress_bar(n * sum(nfe for _, nfe, _ in work), "evaluate", progress) as bar:
        for name, nfe, seed in work:
            sampler = samplers[name, nfe]

            def advance(drawn: int, nfe: int = nfe) -> None:
                bar.update(drawn * nfe)
                stop_if_asked()

            rows, _ = score_rows(
                name,
                sampler.table,
                setup.model,
                setup.features,
                setup.references,
                n=n,
                seed=seed,
                metrics=compared.metrics,
                mesh=all_devices(),
                advance=advance,
                sample=sampler.sample,
            )
            evaluation.add(rows)
            stop_if_asked()
            if callback is not None:
                callback(rows)

"""From what a search is given to its configuration, and from that to everything it needs."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
import optax
from jaxtyping import PyTree

from ..core.devices import all_devices
from ..core.drawing import make_table, objective_key
from ..core.families import AbstractFamily, free_parameters
from ..core.model import DiffusionModel
from ..core.objectives import AbstractObjective
from ..core.schedule import CosineVP
from ..core.warm import warm_start
from ..files import digest, from_tensors, to_tensors
from ..metrics import FeatureSet
from ..references import same
from ..registry import entries
from ..wording import shown
from .choosing import Neighbour, choose_for, choose_warm, linear_kid
from .guiding import OPTION, read_guidance
from .names import (
    check_known,
    check_there,
    defaults,
    label_of,
    name_of,
    pinned,
    repository,
    split,
)
from .objectives import ObjectiveSetting, SearchedSpace, make_objective, named_objectives
from .parts import (
    Extractor,
    hashes,
    load_data,
    load_family,
    load_features,
    load_kernel,
    load_model,
    load_optimiser,
    load_references,
    random_images,
    split_sampler,
)
from .saved import SavedSampler, as_text, is_file, is_text, parse_saved, read_saved
from .spec import DEFAULTS, NUMBERS, Config, split_times, versions
from .store import run_name
from .times import read_times

SHOWN = 48  # images in a run's picture
# The parts that are named in a configuration, and the group of each.
PARTS = {
    "family": "families",
    "model": "models",
    "data": "datasets",
    "features": "features",
    "report_features": "features",
    "objective": "objectives",
    "kernel": "kernels",
    "optimiser": "optimisers",
}
# Of a configuration, what says nothing of what is searched.
_ASIDE = (
    "microbatch",
    "checkpoint_every",
    "start",
    "warm",
    "warm_tried",
    "unsearched",
    "tried",
    "allow_code",
    "directory",
    "hashes",
    "versions",
)
_HASHED = ("family", "objective", "kernel")  # as objects: a name says what they are


class Setup(NamedTuple):
    """Everything that a search needs.

    Attributes:
        config: The configuration, with what was chosen at the beginning.
        family: The family before it is searched.
        free: What of it is searched, see `free_parameters`.
        model: The model.
        objective: What the search minimises; its features do not round samples to 8 bits.
        optimiser: What takes the search's steps.
        computed: Arrays that took long to compute for the objective, by name.
        warm: The parameters that the search starts from, where they are a neighbour's result.
        features: The extractors of the report, by name.
        references: The features of the data, by the extractor's name.
        shown: Images of the data, chosen at random, None where it has no images.
        hashes: Those of the model, the data and the extractors.
    """

    config: Config
    family: AbstractFamily
    free: PyTree[bool]
    model: DiffusionModel
    objective: AbstractObjective
    optimiser: optax.GradientTransformation
    computed: dict[str, np.ndarray]
    warm: dict[str, np.ndarray]
    features: dict[str, Extractor]
    references: dict[str, FeatureSet]
    shown: np.ndarray | None
    hashes: dict[str, str]


def configure(given: Mapping[str, Any]) -> tuple[Config, dict[str, Any]]:
    """Make the configuration of a new search.

    Args:
        given: Values by the names of `Config`'s fields. The parts are names, paths or objects; the
            data and features that are None are those that belong to the model.

    Returns:
        The configuration, whose names stay the same on this machine, and the parts that are
        objects.

    Raises:
        ValueError: A value is not allowed, a name is unknown, or data and features are missing.
    """
    given = dict(given)
    objects = {part: given[part] for part in PARTS if _is_object(given[part])}
    names = {part: _name(given[part]) for part in PARTS if part not in objects}
    names |= _object_names(objects)
    names |= _own_parts(names)
    for part, name in names.items():
        for one in _parts_of(part, str(name)):
            check_known(PARTS[part], one)
    if given.get("conditions") is not None:
        given["conditions"] = str(Path(given["conditions"]).absolute())
    given["times"] = read_times(given.get("times", DEFAULTS["times"]))
    given["family_options"] = _with_start(given)
    given |= {part: _pinned(part, str(name)) for part, name in names.items()}
    if given["steps"] is None:
        given["steps"] = _steps_of(objects.get("family"))
    config = Config(**given, versions=versions(*_plugins(names)))
    if OPTION in config.family_options:
        read_guidance(config.family_options[OPTION], config.steps)
    return config, objects


def configure_sweep(
    given: Mapping[str, Any], steps: Sequence[Any]
) -> tuple[dict[int, Config], dict[str, Any]]:
    """Make the configurations of a sweep: searches that differ in their number of steps.

    Args:
        given: Values as `configure` takes them, without steps.
        steps: The numbers of steps.

    Returns:
        The configurations by number of steps, which rises, and the parts that are objects.

    Raises:
        ValueError: As `configure`; or the steps are not whole numbers, or something that is given
            has a number of steps of its own.
    """
    if not steps or not all(isinstance(k, int) and not isinstance(k, bool) for k in steps):
        raise ValueError(
            f"steps is {shown(steps)}; it must be a whole number, or several such as 5,10,20."
        )
    found = {k: configure({**given, "steps": k}) for k in sorted(set(steps))}
    first, objects = next(iter(found.values()))
    if isinstance(objects.get("family"), AbstractFamily):
        raise ValueError(
            "A family that is an object has its own number of steps; give several steps with a "
            "family's name or class."
        )
    if NUMBERS.fullmatch(first.grid):
        raise ValueError(
            f"times is {shown(first.times)}, numbers for one number of steps; give several steps "
            "with a grid's name."
        )
    return {k: config for k, (config, _) in found.items()}, objects


def _parts_of(part: str, name: str) -> list[str]:
    """The single names in a name: several feature spaces may be searched, objectives added."""
    if part == "features":
        return split(name)
    return named_objectives(name) if part == "objective" else [name]


def _pinned(part: str, name: str) -> str:
    if part == "objective":
        return name
    return ",".join(pinned(PARTS[part], one) for one in _parts_of(part, name))


def _with_start(given: Mapping[str, Any]) -> dict[str, Any]:
    """The family's options, with the numbers of a start that is numbers; refuse two grids."""
    options = dict(given.get("family_options") or {})
    start, grid = options.get("start"), split_times(given["times"])[0]
    if isinstance(start, str | Path) and is_file(start):
        start = read_saved(start)
    if isinstance(start, SavedSampler):
        options["start"] = as_text(start)
    if is_text(options.get("start")):
        _check_start(parse_saved(options["start"]), given, grid)
    elif isinstance(start, str) and grid and split_sampler(start).grid:
        raise ValueError(
            f"The start {start!r} and times {given['times']!r} both name a grid; give one."
        )
    return options


def _check_start(start: SavedSampler, given: Mapping[str, Any], grid: str) -> None:
    """Refuse a start of another number of evaluations than is searched, or beside another grid."""
    asked = DEFAULTS["steps"] if given["steps"] is None else given["steps"]
    own = start.table.nfe
    if own != asked:
        raise ValueError(
            f"The start {start.name!r} has {own} network evaluations where steps is {asked}; give "
            f"steps {own}, or a start of {asked}."
        )
    if grid:
        raise ValueError(
            f"The start {start.name!r} has times of its own beside times {given['times']!r}; give "
            "one."
        )


def _is_object(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return not all(isinstance(one, str) for one in value)
    return value is not None and not isinstance(value, str | Path)


def _name(value: str | Path | Sequence[str] | None) -> str | None:
    if isinstance(value, Path):
        return str(value.absolute())
    return value if value is None or isinstance(value, str) else ",".join(value)


def _object_names(objects: Mapping[str, Any]) -> dict[str, str]:
    """What each object is called; different extractors are told apart."""
    names = {part: _object_name(value) for part, value in objects.items()}
    both = [objects.get(part) for part in ("features", "report_features")]
    if names.get("features") == names.get("report_features") and both[0] is not both[1]:
        names["report_features"] += "-2"
    return names


def _object_name(value: Any) -> str:
    if not isinstance(value, list | tuple):
        return name_of(value)
    names = [one if isinstance(one, str) else name_of(one) for one in value]
    if len(set(names)) < len(names):
        raise ValueError(f"Two of the features have one name: {', '.join(names)}; rename one.")
    return ",".join(names)


def _own_parts(names: Mapping[str, str | None]) -> dict[str, str]:
    """The data and the features that belong to the model, where none are given."""
    model = str(names["model"])
    check_known("models", model)
    known = defaults(model)
    lacking = [part for part, name in names.items() if name is None]
    if lacking and not known and not model.startswith("object:"):
        check_there("models", model)
    if unknown := [part for part in lacking if part not in known]:
        words = [f"--{part.replace('_', '-')}" for part in unknown]
        groups = dict.fromkeys(PARTS[part] for part in unknown)
        installed = [f"{group}: {', '.join(entries(group))}" for group in groups]
        raise ValueError(
            f"The model {label_of(model)!r} has no default for {listed(words)}; give "
            f"{'one' if len(words) == 1 else 'them'} (installed are {'; '.join(installed)})."
        )
    return {part: known[part] for part in lacking}


def differences(now: Config, then: Config, model: str) -> list[tuple[str, Any, Any]]:
    """Find where two configurations say different things of a search.

    Args:
        now: The configuration that is asked for.
        then: The configuration of a search that began.
        model: The model's name as it was given: a branch or tag of the Hub stands for whatever
            commit it stood for then.

    Returns:
        Of each field that differs its name, its value now and its value then.
    """
    fields = [field.name for field in dataclasses.fields(Config) if field.name not in _ASIDE]
    pairs = [(name, getattr(now, name), getattr(then, name)) for name in fields]
    return [
        (name, one, other)
        for name, one, other in pairs
        if one != other and not (name == "model" and _same_repository(model, other))
    ]


def _same_repository(given: str, then: str) -> bool:
    """Whether a model's name leads to a branch or tag of the repository of another name."""
    now, before = repository(given), repository(then)
    if now is None or before is None:
        return False
    return now.repository == before.repository and not now.pinned


def listed(words: Sequence[str]) -> str:
    """Write words as a list: `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _steps_of(family: Any) -> int:
    """How many steps a family has that is an object; else the default."""
    if not isinstance(family, AbstractFamily):
        return DEFAULTS["steps"]
    return eqx.filter_eval_shape(family.table, CosineVP()).steps


def _plugins(names: Mapping[str, str | None]) -> set[str]:
    """The distributions of all named parts that come from one."""
    points = [
        point for part, name in names.items() for point in entries(PARTS[part]).get(str(name), [])
    ]
    return {point.dist.name for point in points if point.dist and point.dist.name}


def load_setup(
    config: Config,
    objects: Mapping[str, Any],
    progress: bool,
    computed: Mapping[str, np.ndarray] | None = None,
    warm: Mapping[str, np.ndarray] | None = None,
    neighbour: Neighbour | None = None,
) -> Setup:
    """Load everything that a configuration names, and check it against one another.

    The start and the best unsearched sampler are chosen, where the configuration says nothing.
    Every image of the data has been read once, now or when their features were kept.

    Args:
        config: The configuration.
        objects: The parts that are objects; a name stands for each of the others.
        progress: Whether bars are shown on stderr.
        computed: What an earlier call computed for the objective.
        warm: What an earlier call started from, where that was a neighbour's result.
        neighbour: The search before, of a search in a sweep that has not begun.

    Raises:
        ValueError: A part cannot be loaded, or does not fit the others.
        RunError: None of the unsearched samplers can be scored.
    """
    if config.allow_code:
        add_directory(config)
    parts = {part: objects.get(part, getattr(config, part)) for part in PARTS}
    trust = {"allow_code": config.allow_code}
    model = load_model(
        parts["model"],
        config.dtype,
        config.label,
        config.guidance,
        config.labels,
        config.conditions,
        **trust,
    )
    family, free = _searched(config, parts["family"], model)
    if not jax.tree.leaves(eqx.filter(family, free)):
        raise ValueError(
            f"The family {config.family!r} has nothing to search with fixed times; give --times "
            f"{'-'.join(filter(None, (config.grid, 'searched')))}, or its per-step parameters "
            "(-F per_step=true)."
        )
    kernel = load_kernel(parts["kernel"], config.kernel_options, **trust)
    optimiser = load_optimiser(parts["optimiser"], config.iterations, config.learning_rate, **trust)
    data = load_data(parts["data"], model.shape, model.clip, config.split, config.crop, **trust)
    searched = _by_name(config.features, parts["features"])
    spaces = searched | {config.report_features: parts["report_features"]}
    features = {
        name: load_features(phi, model.shape, rounding=True, **trust)
        for name, phi in spaces.items()
    }
    references = load_references(features, data, progress=progress)
    space = next(iter(searched))
    measure = linear_kid(features[space], references[space])
    if not config.unsearched:
        choices = choose_for(config, parts["family"], model, measure, progress)
        config = dataclasses.replace(config, **choices._asdict())
        family, free = _searched(config, parts["family"], model)
    if neighbour is not None:
        alike = dataclasses.replace(config, start=neighbour.start, warm=neighbour.steps)
        theirs, of_theirs = _searched(alike, parts["family"], model)
        carried = _carried(theirs, of_theirs, neighbour.family)
        name = run_name(neighbour.steps)
        tried = choose_warm(family, carried, name, model, measure, progress)
        if tried[name] < tried["start"]:
            config, family, free = alike, carried, of_theirs
        config = dataclasses.replace(config, warm_tried=tried)
    elif config.warm and warm:
        family = eqx.combine(from_tensors(eqx.filter(family, free), dict(warm)), family)
    computed = dict(computed or {})
    setting = ObjectiveSetting(
        model,
        [
            SearchedSpace(name, load_features(phi, model.shape, **trust), references[name].features)
            for name, phi in searched.items()
        ],
        kernel,
        objective_key(config.seed),
        computed,
        all_devices(),
    )
    objective = make_objective(parts["objective"], setting, family, config.batch, **trust)
    name = None if "model" in objects else config.model
    found = hashes(model, data, features, name)
    found |= {part: digest(objects[part]) for part in _HASHED if part in objects}
    if isinstance(objects.get("family"), AbstractFamily):  # its grid is not an array
        found["family"] = digest((family, make_table(family, model.schedule)))
    return Setup(
        config,
        family,
        free,
        model,
        objective,
        optimiser,
        computed,
        to_tensors(eqx.filter(family, free)) if config.warm else {},
        features,
        references,
        random_images(data, SHOWN),
        found,
    )


def _by_name(names: str, given: Any) -> dict[str, Any]:
    """The extractors that are searched, names or objects, by their names."""
    several = split(names)
    if isinstance(given, str):
        return dict(zip(several, several, strict=True))
    return dict(zip(several, given if isinstance(given, list | tuple) else [given], strict=True))


def _searched(
    config: Config, given: Any, model: DiffusionModel
) -> tuple[AbstractFamily, PyTree[bool]]:
    """Make the family before it is searched, and tell what of it is."""
    family = load_family(
        given, config.steps, config.grid, model, config.options, allow_code=config.allow_code
    )
    return family, free_parameters(family, config.searches_times, config.decouples_times)


def _carried(family: AbstractFamily, free: PyTree[bool], found: AbstractFamily) -> AbstractFamily:
    """The family with what was found at another number of steps, where it is searched."""
    return eqx.combine(eqx.filter(warm_start(family, found), free), family)


def add_directory(config: Config) -> None:
    """Look for modules where the run began, too; only of a run that is one's own."""
    if config.allow_code and config.directory not in sys.path:
        sys.path.insert(0, config.directory)


def check_hashes(config: Config, now: Mapping[str, str]) -> None:
    """Refuse to continue with another model, other data or other features than a run began with.

    Raises:
        ValueError: One of them has another hash now.
    """
    if changed := [k for k, then in config.hashes.items() if not same(then, now.get(k, ""))]:
        raise ValueError(
            f"{' and '.join(changed)}: not what it was when this run began, so the run cannot "
            "continue as if nothing had changed; search again."
        )


def changed_versions(then: Mapping[str, str]) -> list[str]:
    """Compare versions with those of now.

    Returns:
        What has changed, in words.

    Raises:
        ValueError: A package is not installed any more.
    """
    try:
        now = versions(*(set(then) - {"python"}))
    except PackageNotFoundError as error:
        raise ValueError(f"This run needs the package {error.name}; install it.") from None
    return [f"{name} {v} -> {now.get(name)}" for name, v in then.items() if v != now.get(name)]

"""The parts of a run from their names, or checked as they are given: model, family, data, ..."""

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial, singledispatch
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import ArrayLike, Float

from ..backbones import Rounded
from ..core.families import AbstractFamily, Times
from ..core.kernels import AbstractKernel
from ..core.model import DiffusionModel
from ..core.optimise import MakeOptimiser
from ..data import AbstractDataset, Images, Range, Shape, other_shape, read
from ..features import (
    AbstractExtractor,
    Extractor,
    as_extractor,
    check_extractor,
    load_cifar_resnet,
)
from ..files import digest
from ..formats import Condition, Format
from ..metrics import FeatureSet, Metric
from ..opening import check_path
from ..references import (
    Bank,
    Statistics,
    cache_path,
    fingerprint,
    is_bank,
    is_statistics,
    reference,
)
from ..registry import GROUPS, entries
from ..wording import phrase, sentence
from .bars import progress_bar
from .conditions import with_conditions
from .guiding import OPTION, check_guidable, check_guidance, with_guidance
from .names import (
    HUB,
    PATH,
    PYTHON,
    RESNET,
    Name,
    check_trusted,
    find,
    load_format,
    load_formats,
    name_of,
    options as read_options,
    parse,
)
from .saved import is_text, parse_saved
from .spec import GRID, fits, type_name
from .times import times_on

Extractors: TypeAlias = Mapping[str, Extractor]
DEFAULT_GRID = "quadratic"  # of a family's times, where nothing says which
GivenData: TypeAlias = str | Path | AbstractDataset | ArrayLike | Callable[[], Any]


def load_model(
    given: str | Path | DiffusionModel | Callable[[], DiffusionModel],
    dtype: str = "float32",
    label: int | None = None,
    guidance: float | None = None,
    labels: str | None = None,
    conditions: str | Path | None = None,
    *,
    allow_code: bool = True,
) -> DiffusionModel:
    """Load a model, or check one that is given.

    Args:
        given: A registered name, `python:module:attribute`, `hf:owner/name[@revision]`, a folder or
            file of a known format, `FORMAT:[ARGUMENT:]path`; or a DiffusionModel, or what makes
            one.
        dtype: The type that its network computes in.
        label: The class to sample, of a class-conditional checkpoint.
        guidance: The weight of classifier-free guidance, of such a checkpoint.
        labels: Which of its classes are sampled, one a sample, see `read_labels`.
        conditions: A safetensors file of conditions, one a sample, see `read_conditions`.
        allow_code: Whether a name may lead to code and to files of this machine.

    Returns:
        The model, whose network fits its shape and is finite at its first time.

    Raises:
        ValueError: There is no such model, or it cannot be used.
        ConnectionError: The Hub is out of reach.
    """
    condition = Condition(label, guidance, labels is not None)
    if condition.labels and condition != Condition(labels=True):
        raise ValueError(
            "With labels, one a sample, give neither a label nor guidance of the model; -F "
            "guidance=WEIGHT is that of a sampler."
        )
    if isinstance(given, str | Path):
        what = f"The model {str(given)!r}"
        found = _named_model(str(given), condition, allow_code)
    else:
        what, found = "The model", given
        _refuse_condition(what, condition)
    if not isinstance(found, DiffusionModel):
        found = call(found, what)
    if not isinstance(found, DiffusionModel):
        raise ValueError(f"{what} is a {type(found).__name__}, not a DiffusionModel.")
    found = with_conditions(what, found, labels, conditions, allow_code=allow_code)
    if dtype != "float32":
        found = dataclasses.replace(found, network=Rounded(found.network, jnp.dtype(dtype)))
    _check_network(what, found)
    return found


def _named_model(text: str, condition: Condition, allow_code: bool) -> Any:
    name = parse("models", text)
    check_trusted("models", name, allow_code)
    if not (formats := _formats(name)):
        _refuse_condition(f"The model {text!r}", condition)
        return find("models", text, allow_code=allow_code)
    from ..hub.models import load_model as load_checkpoint

    return load_checkpoint(name.place, formats, condition, name.argument)


def _formats(name: Name) -> dict[str, Format]:
    """The formats that the model of a name may be of; none for what is not a checkpoint."""
    if name.scheme in (HUB, PATH):
        return load_formats()
    known = name.scheme in entries("formats")
    return {name.scheme: load_format(name.scheme)} if known else {}


def describe_model(text: str) -> dict[str, Any]:
    """Describe a checkpoint by its name, before its weights are fetched.

    Args:
        text: `hf:owner/name[@revision]`, a path, or a model format's name before these.

    Returns:
        Names with values, in the order in which they are shown.

    Raises:
        ValueError: It is not a checkpoint's name, or cannot be looked into.
        ConnectionError: The Hub is out of reach.
    """
    from ..hub.models import describe

    name = parse("models", text)
    if not (formats := _formats(name)):
        raise ValueError(
            f"The model {text!r} is not a checkpoint; give a folder or a file, hf:owner/name, or "
            "FORMAT:PATH."
        )
    return describe(name.place, formats, name.argument)


def model_digest(text: str, model: DiffusionModel) -> str:
    """Compute the hash by which a run knows its model again, as the model's format does.

    Args:
        text: The model's name.
        model: What it stands for.
    """
    name = parse("models", text)
    if not (formats := _formats(name)):
        return digest(model)
    from ..hub.models import find_model

    found, _ = find_model(name.place, formats, name.argument)
    return formats[found].digest(model)


def _refuse_condition(what: str, condition: Condition) -> None:
    if condition.label is not None or condition.guidance is not None:
        raise ValueError(
            f"{what} takes no label and no guidance; checkpoints do (hf:, openai: or a folder), "
            "and functions behind python: can set their own. A model with conditions takes "
            "--labels."
        )


def _check_network(what: str, model: DiffusionModel) -> None:
    """Raise ValueError where a network does not fit its model's shape or first time."""
    x, t = jnp.zeros(model.shape), jnp.asarray(model.schedule.t_max)
    network = what.replace("The model", "The network of the model", 1)
    taken = " and a scalar time" if model.conditions is None else ", a scalar time and a condition"
    model = model.for_sample(jax.random.key(0))
    try:
        out = eqx.filter_eval_shape(model.network, x, t)
    except Exception as error:
        raise ValueError(
            f"{network} cannot take a sample of shape {model.shape}{taken}: {sentence(error)}"
        ) from error
    wide = (*model.shape[:-1], 2 * model.shape[-1])
    if getattr(out, "shape", None) not in (model.shape, wide):
        raise ValueError(
            f"{network} returns shape {getattr(out, 'shape', None)} for samples of shape "
            f"{model.shape}; it must be {model.shape} (or {wide}, with learned variance)."
        )
    if not all(np.all(np.isfinite(part)) for part in eqx.filter_jit(model)(x, t)):
        raise ValueError(
            f"{what} estimates numbers that are not finite at its first time, t_max = "
            f"{model.schedule.t_max:g}; an eps prediction needs alpha(t_max) > 0 there."
        )


def load_family(
    given: str | type[AbstractFamily] | AbstractFamily,
    steps: int,
    grid: str,
    model: DiffusionModel,
    options: Mapping[str, Any],
    *,
    allow_code: bool = True,
) -> AbstractFamily:
    """Make a family, or check one that is given.

    Args:
        given: A registered name, `python:module:attribute`, the class, or a member as it is.
        steps: Network evaluations a sample.
        grid: The name of its times' grid, or their numbers, see `times_on`; where it is empty, the
            start's, or `DEFAULT_GRID`. A member has its own.
        model: The model, whose schedule bounds the steps.
        options: Options of the class.
        allow_code: Whether a name may lead to code.

    Raises:
        ValueError: There is no such family, or it takes no such steps or options.
    """
    most = model.schedule.steps
    if steps < 1 or (most is not None and steps > most):
        bound = f" and at most the schedule's {most}" if most is not None else ""
        raise ValueError(f"steps is {steps}; it must be at least 1{bound}.")
    if OPTION in options or OPTION in _options_of(options.get("start")):
        check_guidable(model, "The sampler")
    if isinstance(given, AbstractFamily):
        table = eqx.filter_eval_shape(given.table, model.schedule)
        check_guidance(table, model, "The family")
        if table.steps != steps:
            raise ValueError(
                f"The family has {table.steps} steps where steps is {steps}; give {table.steps}."
            )
    times = times_on(grid, model.schedule)
    start = options.get("start")
    if is_text(start):
        parse_saved(start).table_on(model)
    return make_family(given, steps, times, options, allow_code=allow_code)


def make_family(
    given: str | type[AbstractFamily] | AbstractFamily,
    steps: int,
    times: str | Times,
    options: Mapping[str, Any],
    *,
    allow_code: bool = True,
) -> AbstractFamily:
    """Make a family for whatever schedule; see `load_family`.

    The option `start` may be the name of another sampler, as in `unipc-3` or `unipc-3-karras:b=1`,
    or one's JSON text; every family has the option `guidance`, see `read_guidance`.
    """
    options, guidance = dict(options), options.get(OPTION)
    options.pop(OPTION, None)
    fixed: dict[str, Any] = {"steps": steps, "times": times or DEFAULT_GRID}
    name = options.get("start")
    if is_text(name) and takes_start(given, allow_code=allow_code):
        options = {**options, "start": parse_saved(name).family}
        fixed["times"] = None
    elif isinstance(name, str) and takes_start(given, allow_code=allow_code):
        start = split_sampler(name)
        own = start.grid or times or DEFAULT_GRID
        member = make_family(start.family, steps, own, start.options, allow_code=allow_code)
        options = {**options, "start": member}
        fixed["times"] = None
    family = _member("families", AbstractFamily, given, fixed, options, allow_code)
    return with_guidance(family, guidance, steps)


def takes_start(given: Any, *, allow_code: bool = True) -> bool:
    """Tell whether a family can start from another sampler: its option `start` says so."""
    if isinstance(given, AbstractFamily):
        return False
    cls, _ = _class("families", AbstractFamily, given, allow_code)
    return "start" in declared(cls)


class NamedSampler(NamedTuple):
    """A sampler's name, taken apart: its family, the grid if it has one, and the options."""

    family: str
    grid: str
    options: dict[str, Any]


def split_sampler(text: str) -> NamedSampler:
    """Take a name such as `ddim-quadratic:eta=0.5` apart.

    Args:
        text: A family's registered name, or `python:module:attribute`; a grid's name and options
            may follow.

    Raises:
        ValueError: The options do not look like options.
    """
    words, more = split_family(text)
    found = read_options(more.split(",")) if more else {}
    known = entries("families")
    if words not in known:
        for n, dash in enumerate(words):
            family = words[:n]
            made = family in known or family.startswith(f"{PYTHON}:")
            if dash == "-" and made and GRID.fullmatch(words[n + 1 :]):
                return NamedSampler(family, words[n + 1 :], found)
    return NamedSampler(words, "", found)


def _options_of(start: Any) -> Mapping[str, Any]:
    """The options of a start that is said by its name."""
    named = isinstance(start, str) and not is_text(start)
    return split_sampler(start).options if named else {}


def split_family(given: str) -> tuple[str, str]:
    """Take apart the name of a family, with its grid if it says one, and its options' text."""
    colons = 3 if given.startswith(f"{PYTHON}:") else 1
    *name, text = [*given.split(":", colons), *[""] * (given.count(":") < colons)]
    return ":".join(name), text


def load_kernel(
    given: str | type[AbstractKernel] | AbstractKernel,
    options: Mapping[str, Any],
    *,
    allow_code: bool = True,
) -> AbstractKernel:
    """Make a kernel, or take one that is given.

    Args:
        given: A registered name, `python:module:attribute`, the class, or a kernel as it is.
        options: Options of the class.
        allow_code: Whether a name may lead to code.

    Raises:
        ValueError: There is no such kernel, or it takes no such options.
    """
    return _member("kernels", AbstractKernel, given, {}, options, allow_code)


def load_optimiser(
    given: str | MakeOptimiser, iterations: int, learning_rate: float, *, allow_code: bool = True
) -> optax.GradientTransformation:
    """Make an optimiser for a search.

    Args:
        given: A registered name, `python:module:attribute`, or the function that makes it of the
            number of steps and the highest learning rate, such as `samplerzoo.adam`.
        iterations: The steps of the search.
        learning_rate: The highest rate.
        allow_code: Whether a name may lead to code.

    Raises:
        ValueError: There is no such optimiser, or it cannot be made.
    """
    name = given if isinstance(given, str) else name_of(given)
    what = f"The optimiser {name!r}"
    make = find("optimisers", given, allow_code=allow_code) if isinstance(given, str) else given
    try:
        made = make(iterations, learning_rate)
    except Exception as error:
        raise ValueError(
            f"{what} cannot be made of {iterations} steps and a rate of {learning_rate:g}: "
            f"{phrase(error)}."
        ) from error
    if not isinstance(made, optax.GradientTransformation):
        raise ValueError(
            f"{what} makes {type(made).__name__}; it must make an optax.GradientTransformation."
        )
    return made


def _member(
    group: str,
    base: type,
    given: Any,
    fixed: Mapping[str, Any],
    options: Mapping[str, Any],
    allow_code: bool,
) -> Any:
    """A member of a class that is named or given, or the member that is given."""
    kind = GROUPS[group]
    if isinstance(given, base):
        if options:
            raise ValueError(f"A {kind} that is an object has its options; give none beside it.")
        return given
    cls, name = _class(group, base, given, allow_code)
    return construct(cls, f"The {kind} {name!r}", fixed, options)


def _class(group: str, base: type, given: Any, allow_code: bool) -> tuple[Callable, str]:
    """A class that is named or given, and what it is called."""
    if isinstance(given, str):
        return find(group, given, base, allow_code=allow_code), given
    if isinstance(given, type) and issubclass(given, base):
        return given, given.__name__
    raise ValueError(
        f"The {GROUPS[group]} is {given!r}; it must be a name, a class derived from "
        f"{base.__name__}, or a member of one."
    )


def load_metric(given: str | Metric, *, allow_code: bool = True) -> Metric:
    """Load a metric by its name, or take one that is given.

    Raises:
        ValueError: There is no such metric.
    """
    found = find("metrics", given, allow_code=allow_code) if isinstance(given, str) else given
    if not isinstance(found, Metric):
        raise ValueError(f"The metric {given!r} is a {type(found).__name__}, not a Metric.")
    return found


def better_sides() -> dict[str, str]:
    """Tell which side of each column is better, of all metrics that are installed and load."""
    found: dict[str, str] = {}
    for name in entries("metrics"):
        with suppress(ValueError):
            found |= load_metric(name).better
    return found


def load_features(
    given: str | Extractor, shape: Shape, rounding: bool = False, *, allow_code: bool = True
) -> AbstractExtractor:
    """Load a feature extractor, or check one that is given.

    Args:
        given: A registered name; `python:module:attribute` of a function of one sample or of an
            AbstractExtractor, or `python:module:attribute()` of what makes one; `resnet:path` for a
            CIFAR ResNet's file; or a function of one sample, or an AbstractExtractor.
        shape: The shape of a sample.
        rounding: Whether samples are rounded to 8 bits first, as reports want it, where the
            extractor says that it can.
        allow_code: Whether a name may lead to code and to files of this machine.

    Returns:
        A function that maps a sample to a vector.

    Raises:
        ValueError: There is no such extractor, or it does not map such samples to vectors.
        ConnectionError: Its weights cannot be fetched.
    """
    if isinstance(given, str):
        what = f"The feature extractor {given!r}"
        found = _named_features(given, what, allow_code)
    else:
        what, found = "The feature extractor", given
    phi = as_extractor(found)
    phi = phi.rounded() if rounding else phi
    check_extractor(phi, shape, what)
    return phi


def _named_features(text: str, what: str, allow_code: bool) -> Any:
    name = parse("features", text)
    check_trusted("features", name, allow_code)
    if name.scheme == RESNET:
        return load_cifar_resnet(Path(name.rest))
    found = find("features", text, allow_code=allow_code)
    return found if name.scheme == PYTHON else call(found, what)


def load_data(
    given: GivenData,
    shape: Shape,
    clip: Range,
    split: str | None = None,
    crop: bool = False,
    *,
    allow_code: bool = True,
) -> AbstractDataset:
    """Load data, or check what is given.

    Args:
        given: A registered data set, `python:module:attribute`, or a path: of images as
            `samplerzoo.read` reads them, of features that were kept before (a .safetensors file or
            a folder of such), or of their moments (an .npz of `mu` and `sigma`); or Images, a Bank,
            Statistics, an array (N, ...), or what makes one of these.
        shape: The shape of a model's samples.
        clip: The range of a model's samples.
        split: Part of the data, of a path.
        crop: Whether images of a path are cropped to their centre square and resized.
        allow_code: Whether a name may lead to code and to files of this machine.

    Raises:
        ValueError: There are no such data, or they do not fit the model.
    """
    if not isinstance(given, str | Path):
        return _data_of(given, "The data", "The array", shape, clip, split, crop)
    text = str(given)
    name = parse("datasets", text)
    check_trusted("datasets", name, allow_code)
    if name.scheme != PATH:
        found = find("datasets", text, allow_code=allow_code)
        return _data_of(found, f"The data {text!r}", text, shape, clip, split, crop)
    path = Path(text)
    check_path(path)
    if not path.exists():
        known = ", ".join(entries("datasets"))
        raise ValueError(f"{text!r} is neither a file or folder nor a data set ({known}).")
    if not is_bank(path) and (split or not is_statistics(path)):
        return read(path, shape, clip, split, crop)
    if split or crop:
        raise ValueError(f"{text!r} holds no images, so there is no --split and no --crop of it.")
    return Bank.at(path) if is_bank(path) else Statistics(path)


def crops(given: GivenData, crop: bool) -> bool:
    """Tell whether held-out data are cropped: as the data are, if they are files too."""
    is_path = isinstance(given, str | Path) and parse("datasets", str(given)).scheme == PATH
    return crop and is_path


def _data_of(
    given: Any,
    what: str,
    source: str,
    shape: Shape,
    clip: Range,
    split: str | None,
    crop: bool,
) -> AbstractDataset:
    """Data that an object is or makes; messages call it `what`, and its images `source`'s."""
    if split or crop:
        raise ValueError(f"{what} are not files, so there is no --split or --crop of it.")
    found = call(given, what)
    if not isinstance(found, AbstractDataset):
        try:
            return Images.of(np.asarray(found), clip, source, shape)
        except TypeError as error:
            raise ValueError(f"{what} are not an array of numbers: {error}.") from error
    images = found.images
    if images is not None and images.shape != shape:
        raise other_shape(source, images.shape, shape)
    return found


def load_references(
    features: Extractors,
    data: AbstractDataset,
    held_out: AbstractDataset | None = None,
    progress: bool = False,
) -> dict[str, FeatureSet]:
    """Compute the features of the data, or find them in the cache, by each extractor's name.

    Args:
        features: The extractors.
        data: The data.
        held_out: AbstractDataset that the model was not trained on.
        progress: Whether a bar is shown on stderr.

    Raises:
        ValueError: Features are not finite, or an image cannot be read.
    """
    total = sum(len(given.images or ()) for given in (data, held_out) if given is not None)
    found = {}
    for name, phi in features.items():
        with progress_bar(total, f"features {name}", progress, brief=True) as bar:
            found[name] = reference(name, phi, data, held_out, bar.update)
    return found


def kept(data: AbstractDataset, features: Extractors, progress: bool) -> list[dict[str, Any]]:
    """Tell where the features of a data set are kept, which are computed now if they were not.

    Args:
        data: The images.
        features: The extractors by their names.
        progress: Whether a bar is shown on stderr.

    Returns:
        For each extractor `features`, `n`, `d`, `path`, `data` and `extractor`; `path` is None
        where features are not kept.

    Raises:
        ValueError: There are no images to compute them from.
    """
    images = data.images
    if images is None:
        raise ValueError("These data are features already; give the images.")
    rows = []
    for name, found in load_references(features, data, progress=progress).items():
        extractor = fingerprint(features[name], images.shape)
        path = cache_path(extractor, images)
        row = {"features": name, "n": len(images), "d": found.width, "path": path and str(path)}
        rows.append({**row, "data": data.digest, "extractor": extractor})
    return rows


def random_images(data: AbstractDataset, number: int) -> Float[np.ndarray, "n ..."] | None:
    """Choose images of a data set at random, the same ones every time.

    Args:
        data: The data, which may lie in the order of their classes.
        number: How many; fewer where the data have fewer.

    Returns:
        The images; None where the data have none.
    """
    images = data.images
    if images is None:
        return None
    chosen = np.random.default_rng(0).permutation(len(images))[:number]
    return np.concatenate([images[int(index) : int(index) + 1] for index in chosen])


def hashes(
    model: DiffusionModel, data: AbstractDataset, features: Extractors, name: str | None = None
) -> dict[str, str]:
    """Compute the hashes of a model and of data, and the extractors' fingerprints.

    Args:
        model: The model.
        data: The data.
        features: The extractors by their names.
        name: The model's name, if it has one: a model format may have a hash of its own.
    """
    found = {space: fingerprint(phi, model.shape) for space, phi in features.items()}
    of_model = digest(model) if name is None else model_digest(name, model)
    return {"model": of_model, "data": data.digest, **found}


@singledispatch
def declared(make: Callable[..., Any]) -> dict[str, Any]:
    """Return the options that a maker declares: its annotated arguments, by name.

    Args:
        make: A function, a class, whose constructor declares them, or a `functools.partial`.
    """
    kinds = make.__annotations__
    return {name: kind for name, kind in kinds.items() if name != "return"}


@declared.register
def _(make: type) -> dict[str, Any]:
    return declared(make.__init__)


@declared.register
def _(make: partial) -> dict[str, Any]:
    return declared(make.func)


def construct(
    cls: Callable, what: str, fixed: Mapping[str, Any], options: Mapping[str, Any]
) -> Any:
    """Make `cls(**fixed, **options)`.

    Raises:
        ValueError: It does not take these options, or cannot be made.
    """
    allowed = {name: kind for name, kind in declared(cls).items() if name not in fixed}
    undeclared = [key for key in options if key not in allowed]
    for key, value in options.items():
        if key in allowed and not fits(value, allowed[key]):
            kind = type_name(allowed[key])
            raise ValueError(f"{what} was given {key} = {value!r}; it must be of type {kind}.")
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    try:
        return cls(**fixed, **options)
    except ValueError:
        raise
    except TypeError as error:
        if undeclared:  # which Python refuses, if it is not an argument without an annotation
            raise ValueError(
                f"{what} has no option {undeclared[0]!r}; it takes {', '.join(allowed) or 'none'}."
            ) from error
        raise ValueError(f"{what} cannot be made: TypeError: {phrase(error)}.") from error
    except Exception as error:
        raise ValueError(
            f"{what} cannot be made: {type(error).__name__}: {phrase(error)}."
        ) from error


def call(found: Any, what: str) -> Any:
    """Return what a callable without arguments makes; anything else as it is.

    Raises:
        ValueError: It raises something else than ConnectionError.
    """
    if not callable(found):
        return found
    try:
        return found()
    except ConnectionError:
        raise
    except Exception as error:
        raise ValueError(
            f"{what} cannot be made: {type(error).__name__}: {sentence(error)}"
        ) from error

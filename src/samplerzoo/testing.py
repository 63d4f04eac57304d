"""The contracts that plugins must keep: run these in a plugin's own tests.

Every built-in passes them. A broken rule raises AssertionError with a sentence that names it.
"""

import contextlib
import inspect
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from .core.drawing import make_table
from .core.engine import run_from_noise, sample_batch
from .core.families import DDIM, DDPM, GDDIM, GRIDS, STRIDES, AbstractFamily, exponential
from .core.kernels import AbstractKernel, Linear
from .core.loss import batch_loss
from .core.model import DiffusionModel
from .core.objectives import AbstractObjective
from .core.optimise import MakeOptimiser
from .core.schedule import EDM, AbstractSchedule, CosineVP, DiscreteVP, LinearVP, RectifiedFlow
from .core.table import StepTable
from .data import AbstractDataset
from .exporters.exporting import Exporter
from .exporters.sampler import PlainSampler, plain_sampler
from .features import AbstractExtractor, as_extractor
from .formats import (
    UNCONDITIONAL,
    Checkpoint,
    Condition,
    Format,
    Parts,
    load_checkpoint,
    open_local,
)
from .metrics import FeatureSet, Metric
from .runs.objectives import ObjectiveSetting, SearchedSpace

SCHEDULES: tuple[AbstractSchedule, ...] = (
    DiscreteVP.from_betas(np.linspace(1e-4, 0.02, 1000)),
    LinearVP(),
    CosineVP(),
    EDM(),
    RectifiedFlow(),
)


def gaussian_model(
    schedule: AbstractSchedule, mean: float = 0.3, scale: float = 0.5, size: int = 3
) -> DiffusionModel:
    """Make the exact model of data `N(mean, scale^2 I)`, for tests against closed forms.

    Args:
        schedule: The schedule that the data are noised by.
        mean: The mean of every number of the data.
        scale: Their standard deviation.
        size: How many numbers a sample has.

    Returns:
        A model of samples of shape (size,), which predicts x0.
    """

    def posterior_mean(x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        gain = alpha * scale**2 / (alpha**2 * scale**2 + sigma**2)
        return mean + gain * (x - alpha * mean)

    return DiffusionModel(posterior_mean, schedule, (size,), prediction="x0", clip=None)


def check_family(cls: Callable[..., AbstractFamily], **options: Any) -> None:
    """Check the contract of `samplerzoo.families`, for `cls(steps, times=..., **options)`.

    1. It is a class derived from AbstractFamily, or a function that makes a member of one, and that
       class is final: nothing derives from it.
    2. It is made for any number of steps and for each named grid, which sets its times.
    3. Its table has that many rows, its times lie inside (0, t_max], and all is finite.
    4. Its start is a valid sampler: exact Gaussian data come out near the data's mean and spread.
    5. Any values of its floating-point arrays give a finite table.
    6. Its table has finite derivatives in those arrays, agreeing with finite differences; so has a
       sample as a search draws it.
    7. Its arrays are floating-point, and each of them acts on the table.
    8. Its first time is fixed, whatever the arrays: a search sends no derivative through it. A
       table with a spread of its own is free of this.

    Args:
        cls: The family.
        **options: What its constructor is given beside steps and times.

    Raises:
        AssertionError: A rule is broken; the message names it.
    """
    made = cls if isinstance(cls, type) else type(_make(cls, 1, "linear", options))
    _rule(
        issubclass(made, AbstractFamily),
        cls,
        "must be a class derived from samplerzoo.AbstractFamily, or what makes a member of one",
    )
    _rule(not made.__subclasses__(), made, "must be final, but other classes derive from it")
    _rule(not inspect.isabstract(made), made, "must implement table(schedule)")
    for grid in GRIDS:
        for steps in (1, 2, 7) if grid in STRIDES else (7,):
            family, schedule = _make(cls, steps, grid, options), CosineVP()
            _check_table(cls, _table(cls, family, schedule), schedule, steps, "its start")
    family = _make(cls, 7, "linear", options)
    for schedule in SCHEDULES:
        first = _table(cls, family, schedule).times[0]
        for scale in (0.0, 0.1, 1.0, 30.0, 1e4):
            table = _table(cls, _move(family, scale), schedule)
            what = f"parameters of the order of {scale:g}"
            _check_table(cls, table, schedule, 7, what)
            fixed = np.allclose(table.times[0], first, rtol=1e-6, atol=0)
            _rule(
                fixed or table.spread is not None,
                cls,
                f"must hold its first time fixed, but moves it for {what}",
            )
    first, other = (_table(cls, _make(cls, 7, s, options), CosineVP()).times for s in STRIDES)
    _rule(not np.allclose(first, other), cls, "must follow the stride it is given as times")
    arrays = jax.tree.leaves(eqx.filter(family, eqx.is_array))
    _rule(all(map(eqx.is_inexact_array, arrays)), cls, "must hold floating-point arrays only")
    _check_derivatives(cls, family)
    _check_start(cls, _make(cls, 20, "linear", options))


def check_kernel(cls: type[AbstractKernel], **options: Any) -> None:
    """Check the contract of `samplerzoo.kernels`.

    1. The Gram matrix is symmetric, positive definite and of the right shape.
    2. `condense` keeps the mean embedding.
    3. The gradient is finite.

    Args:
        cls: The kernel, a class derived from AbstractKernel.
        **options: What its constructor is given.

    Raises:
        AssertionError: A rule is broken; the message names it.
    """
    _rule(
        isinstance(cls, type) and issubclass(cls, AbstractKernel),
        cls,
        "must be a class derived from samplerzoo.AbstractKernel",
    )
    kernel = cls(**options)
    x, y = jax.random.normal(jax.random.key(0), (2, 12, 5))
    gram = kernel(x, x)
    _rule(kernel(x, y[:7]).shape == (12, 7), cls, "must map (N, d) and (M, d) to (N, M)")
    _rule(np.allclose(gram, gram.T, rtol=1e-4, atol=1e-5), cls, "must be symmetric")
    least = np.linalg.eigvalsh(np.asarray(gram, np.float64)).min()
    _rule(least > -1e-4 * np.abs(gram).max(), cls, "must be positive definite")
    whole, small = jnp.mean(kernel(y, x)), jnp.mean(kernel(y, kernel.condense(x)))
    _rule(
        np.allclose(whole, small, rtol=1e-4, atol=1e-5),
        cls,
        "has a condense that changes the mean embedding",
    )
    slope = jax.grad(lambda points: jnp.sum(kernel(points, points)))(x)
    _rule(bool(jnp.all(jnp.isfinite(slope))), cls, "must have a finite gradient")


def check_objective(make: Callable[..., tuple[AbstractObjective, ...]], **options: Any) -> None:
    """Check the contract of `samplerzoo.objectives`, on a small model.

    1. It makes a tuple of objectives, at least one, and makes the same ones again.
    2. Each gives a finite number, whose gradient in the sampler is finite, and not 0.
    3. Both are the same however a batch is cut.

    Args:
        make: What the entry point leads to; see `ObjectiveSetting`.
        **options: What it is given beside the setting.

    Raises:
        AssertionError: A rule is broken; the message names it.
    """
    model, batch = gaussian_model(CosineVP()), 6
    phi = _Logits(jax.random.normal(jax.random.key(1), (3, 4)))
    reference = np.asarray(jax.vmap(phi)(jax.random.normal(jax.random.key(2), (50, 3))))
    spaces = [SearchedSpace("logits", phi, reference)]
    setting = ObjectiveSetting(model, spaces, Linear(), jax.random.key(3), {})
    found, again = (make(setting, **options) for _ in range(2))
    _rule(isinstance(found, tuple) and bool(found), make, "must make a tuple of objectives")
    _rule(
        all(isinstance(one, AbstractObjective) for one in found),
        make,
        "must make members of samplerzoo.AbstractObjective",
    )
    table = make_table(DDIM(3), model.schedule)

    def slope(table, objective, microbatch):
        return _slope_of_loss(table, model, objective, batch, microbatch)

    for one, other in zip(found, again, strict=True):
        number, gradient = slope(table, one, None)
        numbers = [np.ravel(leaf) for leaf in jax.tree.leaves((number, gradient))]
        found_numbers = np.concatenate(numbers)
        _rule(np.ndim(number) == 0, make, "must give a single number")
        _rule(bool(np.all(np.isfinite(found_numbers))), make, "must have finite derivatives")
        _rule(any(np.any(leaf) for leaf in numbers[1:]), make, "must depend on the sampler")
        for cut, what in ((one, 4), (other, None)):
            parted = np.concatenate([np.ravel(x) for x in jax.tree.leaves(slope(table, cut, what))])
            scale = np.abs(found_numbers).max()
            _rule(
                np.allclose(parted, found_numbers, rtol=0, atol=1e-3 * scale),
                make,
                "must be the same however a batch is cut, and whenever it is made",
            )


@eqx.filter_jit
@eqx.filter_value_and_grad
def _slope_of_loss(
    table: StepTable,
    model: DiffusionModel,
    objective: AbstractObjective,
    batch: int,
    microbatch: int | None,
) -> Array:
    return batch_loss(table, model, objective, jax.random.key(0), batch, microbatch)


class _Logits(AbstractExtractor):
    """Features that are a classifier's answers themselves."""

    weight: Array

    def __call__(self, x: Array) -> Array:
        return jnp.tanh(x) @ self.weight

    def classifier(self) -> Callable[[Array], Array]:
        return _same

    def rounded(self) -> "_Logits":
        return self


def _same(features: Array) -> Array:
    return features


def check_optimiser(make: MakeOptimiser) -> None:
    """Check the contract of `samplerzoo.optimisers`.

    1. It makes an `optax.GradientTransformation` of a number of steps, down to one, and a rate.
    2. Its steps are of the shapes and types of what is searched, and finite.
    3. In 100 of them it comes nearer to the least value of a convex function.

    Args:
        make: What the entry point leads to, a function of the number of steps and the highest
            learning rate.

    Raises:
        AssertionError: A rule is broken; the message names it.
    """
    for steps in (1, 100):
        optimiser = make(steps, 0.03)
        right = isinstance(optimiser, optax.GradientTransformation)
        _rule(right, make, "must make an optax.GradientTransformation")
    point = {"a": jnp.ones((2, 3)), "b": jnp.ones(())}
    state = optimiser.init(point)

    def loss(point):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(point))

    @jax.jit
    def step(point, state):
        updates, state = optimiser.update(jax.grad(loss)(point), state, point)
        return updates, state

    with jax.numpy_dtype_promotion("standard"):  # as optax mixes integers and floats
        for _ in range(100):
            updates, state = step(point, state)
            pairs = zip(jax.tree.leaves(updates), jax.tree.leaves(point), strict=True)
            alike = all((u.shape, u.dtype) == (p.shape, p.dtype) for u, p in pairs)
            _rule(alike, make, "must make steps of the parameters' shapes")
            point = jax.tree.map(jnp.add, point, updates)
    value = float(loss(point))
    _rule(np.isfinite(value), make, "must make finite steps")
    _rule(value < 7, make, "must come nearer to the least value of a convex function")


def check_model(make: Callable[[], DiffusionModel]) -> None:
    """Check the contract of `samplerzoo.models`.

    A model's estimates are finite, of its shape, and give back the state that they were made from;
    of one with conditions, those of a sample with one of them.

    Args:
        make: A callable without arguments that returns a DiffusionModel.

    Raises:
        AssertionError: A rule is broken; the message names it.
    """
    model = make()
    _rule(isinstance(model, DiffusionModel), make, "must return a samplerzoo.DiffusionModel")
    model = model.for_sample(jax.random.key(0))
    x = jax.random.normal(jax.random.key(0), model.shape)
    for share in (1.0, 0.5, 0.1):
        t = jnp.asarray(share * model.schedule.t_max)
        x0, eps = model(x, t)
        _rule(x0.shape == eps.shape == model.shape, make, "must estimate in its own shape")
        _rule(bool(jnp.all(jnp.isfinite(x0) & jnp.isfinite(eps))), make, "must be finite")
        back = model.schedule.alpha(t) * x0 + model.schedule.sigma(t) * eps
        _rule(bool(jnp.allclose(back, x, atol=1e-3)), make, "must keep x = alpha x0 + sigma eps")


def check_features(features: Callable[[Array], Array], shape: tuple[int, ...]) -> None:
    """Check the contract of `samplerzoo.features`: a differentiable map from a sample to a vector.

    An AbstractExtractor maps the vector to logits with its head, if it has one, and the one that
    reports use has the same width.

    Args:
        features: The extractor: an AbstractExtractor, or a function of one sample.
        shape: The shape of one sample, (H, W, C).

    Raises:
        AssertionError: A rule is broken; the message names it.
    """
    x = jax.random.uniform(jax.random.key(0), shape, minval=-1)
    _rule(jnp.ndim(features(x)) == 1, features, "must map one sample to a vector")
    slope = jax.grad(lambda sample: jnp.sum(features(sample)))(x)
    _rule(bool(jnp.all(jnp.isfinite(slope))), features, "must have a finite gradient")
    _rule(bool(jnp.any(slope != 0)), features, "must depend on the sample, differentiably")
    phi, width = as_extractor(features), features(x).shape
    rounded = phi.rounded()
    _rule(
        isinstance(rounded, AbstractExtractor) and rounded(x).shape == width,
        features,
        "must return an extractor of the same width from rounded()",
    )
    if (head := phi.classifier()) is not None:
        logits = head(features(x))
        _rule(jnp.ndim(logits) == 1, features, "must have a head from its vector to logits")


def check_dataset(load: Callable[[], np.ndarray | AbstractDataset]) -> None:
    """Check the contract of `samplerzoo.datasets`: at least two samples (N, ...), finite.

    Samples are an array, or `Images` that are read on demand; in their place, a `Bank` of features.

    Args:
        load: A callable without arguments that returns them.

    Raises:
        AssertionError: A rule is broken; the message names it.
    """
    data = load()
    if isinstance(data, AbstractDataset):
        images = data.images
        if images is None:
            return
        data = images[:]
    data = np.asarray(data)
    _rule(data.ndim >= 2 and len(data) >= 2, load, "must return at least two samples, (N, ...)")
    _rule(bool(np.all(np.isfinite(data))), load, "must return finite numbers")


def check_metric(metric: Metric) -> None:
    """Check the contract of `samplerzoo.metrics`, on sets of 1000 points.

    The sets have a head and held-out data.

    1. It is a Metric.
    2. It computes the columns that it declares, in this order, as finite floats.
    3. A smaller column is smaller for samples from the reference's distribution than for samples
       far from it, which the head is not sure of; a larger one, larger.
    4. The order of the images matters little: a tenth of that difference at the most.
    5. It computes without a head, held-out data, or all but the moments of the reference's
       features, where it does not declare that it needs them.

    Args:
        metric: The metric.

    Raises:
        AssertionError: A rule is broken; the message names it.
    """
    _rule(isinstance(metric, Metric), metric, "must be a samplerzoo.metrics.Metric")
    draw = np.random.default_rng(0).normal
    near, train, held_out = draw(size=(3, 1000, 4))
    far = draw(4.0, size=(1000, 4))
    reference = FeatureSet(train, held_out=FeatureSet(held_out))
    found, turned, worse = (
        metric.compute(FeatureSet(x, head=_sure_near_zero), reference)
        for x in (near, near[::-1], far)
    )
    _rule(list(found) == list(metric.better), metric, "must compute the columns that it declares")
    needed = FeatureSet(near, head=_sure_near_zero if "head" in metric.needs else None)
    known = FeatureSet(
        train if "features" in metric.needs else None,
        moments=reference.moments,
        held_out=reference.held_out if "held_out" in metric.needs else None,
    )
    _rule(_computes(metric, needed, known), metric, "must declare all that it needs")
    for name, way in metric.better.items():
        value = found[name]
        _rule(
            isinstance(value, float) and np.isfinite(value),
            metric,
            f"must compute a finite float as {name!r}",
        )
        gap = {"smaller": worse[name] - value, "larger": value - worse[name]}.get(way)
        _rule(gap is None or gap > 0, metric, f"must compute a {way} {name!r} for nearer sets")
        _rule(
            gap is None or abs(turned[name] - value) <= gap / 10,
            metric,
            f"must not depend on the order of the images, but {name!r} does",
        )


def check_exporter(write: Exporter) -> None:
    """Check the contract of `samplerzoo.exporters`, on samplers of every kind.

    They are a deterministic one whose steps each reach the next state alone, on a
    variance-preserving, a variance-exploding and a flow model; one that adds fresh noise; one whose
    steps reach all states that follow; one of a single step; and one whose first state has a
    standard deviation of its own.

    1. It makes the folder if it is not there, writes below it only, and at least one file.
    2. It returns the paths of all files that it wrote. They are files, not links.
    3. It writes the same bytes again, into another folder and over its own files.
    4. It writes every kind, or refuses those that its tool cannot run by a ValueError of a
       sentence, and then writes nothing. The first it must write.

    Args:
        write: The exporter, a function of a PlainSampler and a folder.

    Raises:
        AssertionError: A rule is broken; the message names it.
    """
    for number, (kind, sampler) in enumerate(_samplers().items()):
        with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
            refused = _check_written(write, kind, sampler, Path(place).resolve())
            _rule(not (refused and number == 0), write, f"must write {kind}")


def _samplers() -> dict[str, PlainSampler]:
    """A sampler of every kind, by what it is."""
    discrete = SCHEDULES[0]
    kinds: dict[str, tuple[AbstractFamily, AbstractSchedule]] = {
        "a deterministic sampler": (DDIM(3), discrete),
        "a sampler of a variance-exploding model": (DDIM(3), EDM()),
        "a sampler of a flow": (DDIM(3), RectifiedFlow()),
        "a sampler with fresh noise": (DDPM(3), discrete),
        "a sampler whose steps reach all states": (GDDIM(3), discrete),
        "a sampler of one step": (DDIM(1), discrete),
        "a sampler with a first spread of its own": (exponential(3, afs=True), discrete),
    }
    return {
        kind: plain_sampler("contract", make_table(family, schedule), gaussian_model(schedule))
        for kind, (family, schedule) in kinds.items()
    }


def _check_written(write: Exporter, kind: str, sampler: PlainSampler, place: Path) -> bool:
    """Check what is written for one sampler into a folder of a place, or tell that it is not."""
    folder, other = place / "a" / "folder", place / "another"
    (place / "beside.txt").write_text("beside")
    try:
        returned = write(sampler, folder)
    except ValueError as error:
        words = str(error)
        _rule(words.endswith(".") and " " in words, write, "must refuse by a whole sentence")
        _rule(_below(place) == {Path("beside.txt")}, write, "must not write what it refuses")
        return True
    written = _below(place) - {Path("beside.txt")}
    _rule((place / "beside.txt").read_text() == "beside", write, "must leave other files alone")
    _rule(written, write, f"must write a file for {kind}")
    below = all(path.is_relative_to("a/folder") for path in written)
    _rule(below, write, "must write below the folder only")
    links = any(path.is_symlink() for path in place.rglob("*"))
    _rule(not links, write, "must write files, not links")
    named = {Path(path).resolve() for path in returned}
    _rule(
        named == {place / path for path in written},
        write,
        "must return the paths of all files that it wrote",
    )
    first = {path.relative_to("a/folder"): (place / path).read_bytes() for path in written}
    write(sampler, other)
    write(sampler, folder)
    for again in (other, folder):
        found = {path: (again / path).read_bytes() for path in _below(again)}
        _rule(found == first, write, "must write the same bytes again")
    return False


def _below(folder: Path) -> set[Path]:
    """All that is below a folder but folders, by the path from there."""
    return {path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()}


def check_format(
    form: Format,
    example: Path | None = None,
    argument: str = "",
    condition: Condition = UNCONDITIONAL,
) -> None:
    """Check the contract of `samplerzoo.formats`, on an example of a checkpoint.

    1. It is a Format, with a layout in words; without a path, it has an argument.
    2. It finds the example's files, which are all there, and nothing in an empty folder or in one
       of something else; a damaged name or configuration raises ValueError at the most.
    3. Its summary has the shape, the prediction and the range of the model that it reads, and as
       many parameters as the model's network has numbers.
    4. What it reads keeps the contract of `samplerzoo.models`; twice, it has one digest.
    5. A checkpoint with a file that is empty, or cut off, or noise, is refused with ValueError.

    Args:
        form: The format.
        example: A folder or file of the format; None for one without paths.
        argument: What stands before the path in a name of the example.
        condition: What the example is asked for, where it is class-conditional.

    Raises:
        AssertionError: A rule is broken; the message names it.
    """
    _rule(isinstance(form, Format), form, "must be a samplerzoo.formats.Format")
    what = form.layout or repr(form)
    _rule(form.layout, what, "must say its layout in words")
    _rule(form.has_path or form.argument, what, "must have a path or an argument in its names")
    _rule(form.has_path == (example is not None), what, "needs an example if it has paths")
    checkpoint = _open(example, argument)
    if example is not None:
        parts = form.find(checkpoint)
        _rule(isinstance(parts, Parts) and parts.weights, what, "must find the example's Parts")
        names = {*parts.small, *parts.weights} if parts else set()
        _rule(names <= set(checkpoint.sizes), what, "must find files that are there only")
        _check_damaged(form, what, example, sorted(names), argument, condition)
    summary, model = form.summarise(checkpoint), form.read(checkpoint, condition)
    check_model(lambda: model)
    said = (summary.shape, summary.prediction, summary.clip)
    _rule(
        said == (model.shape, model.prediction, model.clip),
        what,
        "must summarise the shape, prediction and clip of the model that it reads",
    )
    size = sum(
        leaf.size for leaf in jax.tree.leaves(eqx.filter(model.network, eqx.is_inexact_array))
    )
    _rule(
        summary.parameters == size,
        what,
        f"must count the network's parameters: {size}, not {summary.parameters}",
    )
    again = form.digest(form.read(_open(example, argument), condition))
    _rule(again == form.digest(model), what, "must give one digest for one checkpoint")


def _open(example: Path | None, argument: str) -> Checkpoint:
    if example is not None:
        return open_local(example, argument)
    return Checkpoint(argument, {}, lambda name: Path(name), argument)


def _check_damaged(
    form: Format, what: str, example: Path, names: list[str], argument: str, condition: Condition
) -> None:
    """Rules 2 and 5, on copies of the example."""
    with tempfile.TemporaryDirectory() as place:
        other = Path(place) / "other"
        other.mkdir()
        for content in (None, b"something else"):
            if content:
                (other / "README.md").write_bytes(content)
            try:
                found = form.find(open_local(other, argument))
            except ValueError:
                found = None
            _rule(found is None, what, "must find nothing in a folder of something else")
        for name in names:
            for content in (lambda data: b"", lambda data: data[: len(data) // 2], _noise):
                copy = Path(place) / "copy" / example.name
                shutil.rmtree(copy.parent, ignore_errors=True)
                copy.parent.mkdir()
                (shutil.copytree if example.is_dir() else shutil.copyfile)(example, copy)
                path = copy / name if example.is_dir() else copy
                path.write_bytes(content(path.read_bytes()))
                _check_refused(form, what, open_local(copy, argument), condition, name)


def _noise(data: bytes) -> bytes:
    return np.random.default_rng(0).bytes(len(data))


def _check_refused(
    form: Format, what: str, checkpoint: Checkpoint, condition: Condition, name: str
) -> None:
    try:
        load_checkpoint(form, checkpoint, condition)
    except ValueError:
        return
    except Exception as error:
        raise AssertionError(
            f"{what} must refuse a damaged {name} with ValueError, but that raises "
            f"{type(error).__name__}: {error}"
        ) from error
    raise AssertionError(f"{what} must refuse a damaged {name}, but reads it.")


def _computes(metric: Metric, samples: FeatureSet, reference: FeatureSet) -> bool:
    """Whether a metric computes its columns of two sets."""
    try:
        return set(metric.compute(samples, reference)) == set(metric.better)
    except Exception:
        return False


def _sure_near_zero(x: Array) -> Array:
    """Logits of a classifier that is sure of images like the reference, and of no others."""
    return 20 * x / (1 + jnp.sum(x**2))


def _rule(kept: Any, what: Any, rule: str) -> None:
    name = getattr(what, "__name__", repr(what))
    assert kept, f"{name} {rule}."


def _make(cls: Callable, steps: int, grid: str, options: dict) -> Any:
    name = getattr(cls, "__name__", repr(cls))
    try:
        return cls(steps, times=grid, **options)
    except Exception as error:
        raise AssertionError(
            f"{name} must be made by {name}({steps}, times={grid!r}), but that raises "
            f"{type(error).__name__}: {error}"
        ) from error


def _table(cls: Callable, family: AbstractFamily, schedule: AbstractSchedule) -> StepTable:
    try:
        table = family.table(schedule)
    except Exception as error:
        raise AssertionError(
            f"{type(family).__name__} must give a table on {type(schedule).__name__}, whose shapes "
            "fit together and which JAX can trace, but that raises "
            f"{type(error).__name__}: {error}"
        ) from error
    _rule(isinstance(table, StepTable), cls, "must return a StepTable from table(schedule)")
    return table


def _check_table(
    cls: Callable, table: StepTable, schedule: AbstractSchedule, steps: int, what: str
) -> None:
    _rule(table.steps == steps, cls, f"must have one row a step: {steps}, not {table.steps}")
    finite = all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(table))
    where = f"on {type(schedule).__name__} for {what}"
    _rule(finite, cls, f"must have a finite table {where}")
    times = np.asarray(table.times)
    inside = np.all((times > 0) & (times <= schedule.t_max * (1 + 1e-5)))
    _rule(bool(inside), cls, f"must have times inside (0, t_max] {where}")


def _move(family: AbstractFamily, scale: float) -> AbstractFamily:
    """The family with noise added to all its floating-point arrays."""
    arrays, rest = eqx.partition(family, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(arrays)
    keys = jax.random.split(jax.random.key(0), len(leaves) + 1)
    moved = [
        a + scale * jax.random.normal(k, a.shape, a.dtype)
        for a, k in zip(leaves, keys, strict=False)
    ]
    return eqx.combine(jax.tree.unflatten(structure, moved), rest)


def _check_derivatives(cls: Callable, family: AbstractFamily) -> None:
    """Rules 6 and 7, in float64 on the cosine schedule, which is smooth."""
    arrays, rest = eqx.partition(_move(family, 0.1), eqx.is_inexact_array)

    @jax.jit
    def table(arrays):
        return eqx.combine(arrays, rest).table(CosineVP())

    def total(arrays):
        return float(_total(table(arrays)))

    with jax.enable_x64(True):
        arrays = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), arrays)
        try:
            made, pull = jax.vjp(table, arrays)
        except Exception as error:
            raise AssertionError(
                f"{type(family).__name__} must be differentiable in its arrays, but that raises "
                f"{type(error).__name__}: {error}"
            ) from error
        (slopes,) = pull(_slope_of_total(made))
        leaves, structure = jax.tree_util.tree_flatten_with_path(arrays)
        for n, ((path, leaf), slope) in enumerate(
            zip(leaves, jax.tree.leaves(slopes), strict=True)
        ):
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            finite = bool(jnp.all(jnp.isfinite(slope)))
            _rule(finite, cls, f"must have a finite derivative in {name!r}")
            way = np.cos(3.0 * np.arange(leaf.size)).reshape(leaf.shape)
            low, high = (
                total(
                    structure.unflatten(
                        [a + s * way if m == n else a for m, (_, a) in enumerate(leaves)]
                    )
                )
                for s in (-1e-5, 1e-5)
            )
            numeric, exact = (high - low) / 2e-5, float(jnp.vdot(slope, way))
            close = abs(numeric - exact) <= 1e-4 * max(1e-2, abs(numeric))
            _rule(
                close,
                cls,
                f"must have derivatives in {name!r} that agree with finite "
                f"differences ({exact:.6g} against {numeric:.6g})",
            )
            _rule(
                bool(jnp.any(slope != 0)),
                cls,
                f"must depend on {name!r}: an array that acts on "
                "nothing must not be a floating-point field",
            )


@eqx.filter_jit
def _total(table: StepTable) -> Array:
    """A number that depends on all of a table, and on a sample as a search draws it.

    One program serves for all families whose tables have the same shapes.
    """
    model = gaussian_model(CosineVP())
    sample = run_from_noise(table, model, jax.random.key(0), jnp.asarray(0))
    leaves = [*jax.tree.leaves(table), sample]
    weights = [np.cos(n + np.arange(leaf.size)) for n, leaf in enumerate(leaves)]
    terms = [jnp.vdot(w, leaf.ravel()) for w, leaf in zip(weights, leaves, strict=True)]
    return jnp.sum(jnp.stack(terms))


_slope_of_total = eqx.filter_jit(jax.grad(_total))


def _check_start(cls: Callable, family: AbstractFamily) -> None:
    """Rule 4, with 2000 samples of the exact model of a Gaussian."""
    samples = _samples(make_table(family, CosineVP()))
    mean, spread = float(jnp.mean(samples)), float(jnp.std(samples))
    _rule(
        abs(mean - 0.3) < 0.1 and abs(spread - 0.5) < 0.1,
        cls,
        "must start as a valid sampler: at 20 steps, data with mean 0.3 and spread 0.5 come out "
        f"with mean {mean:.2f} and spread {spread:.2f}",
    )


@eqx.filter_jit
def _samples(table: StepTable) -> Array:
    """2000 samples of the exact model of a Gaussian."""
    return sample_batch(table, gaussian_model(CosineVP()), jax.random.key(0), jnp.arange(2000))

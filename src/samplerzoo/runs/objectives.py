"""The objective of a search: from its name, such as `kid+0.1*teacher:power=1`, to the module."""

import math
import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from ..core.compiling import jit
from ..core.devices import device_put, replicate
from ..core.drawing import NUMBERS, make_table
from ..core.families import AbstractFamily, dpmpp_multistep
from ..core.kernels import AbstractKernel
from ..core.loss import batch_loss
from ..core.model import DiffusionModel
from ..core.objectives import (
    KID,
    AbstractObjective,
    Classifier,
    Pool,
    Sum,
    Teacher,
    check_pool,
    ode_targets,
    table_targets,
)
from ..core.scaling import scaled
from ..core.types import Key, Scalar, State
from ..features import AbstractExtractor, Pixels, apply
from ..wording import printable
from .guiding import check_guidance, with_guidance
from .names import OBJECT, PYTHON, find, label_of, options, split
from .parts import construct

_WORDS = 60  # characters of what is minimised, beside an axis
_TERM = re.compile(r"\s*(?:(\d+\.?\d*(?:[eE]-?\d+)?)\s*\*)?\s*([A-Za-z][^*]*?)\s*")


class SearchedSpace(NamedTuple):
    """Hold a feature space that is searched.

    Attributes:
        name: What the extractor is called.
        features: The extractor: a differentiable function from one sample to a vector (d,).
        reference: The features of the data, (M, d).
    """

    name: str
    features: AbstractExtractor
    reference: Float[np.ndarray, "M d"]


class ObjectiveSetting(NamedTuple):
    """Hold what a search gives to those who make its objective.

    Attributes:
        model: The frozen model.
        spaces: The feature spaces that are searched, at least one.
        kernel: The kernel of KIDs.
        key: What everything random in the objective is drawn from.
        computed: Arrays that took long to compute, by name, which the run keeps; see `keep`.
        mesh: The devices of the search.
    """

    model: DiffusionModel
    spaces: Sequence[SearchedSpace]
    kernel: AbstractKernel
    key: Key
    computed: MutableMapping[str, np.ndarray]
    mesh: Mesh | None = None

    def keep(self, name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """Compute an array once a run, which is kept with it.

        Args:
            name: What it is called.
            compute: Computes it.

        Returns:
            The array.
        """
        if name not in self.computed:
            self.computed[name] = np.asarray(compute())
        return self.computed[name]


class Term(NamedTuple):
    """A term of an objective's name: its weight, the name of its maker, and its options."""

    weight: float
    name: str
    options: dict[str, Any]


def kid_objectives(setting: ObjectiveSetting) -> tuple[AbstractObjective, ...]:
    """Make the KID of each feature space."""
    return tuple(KID(s.features, setting.kernel, s.reference) for s in setting.spaces)


def teacher_objectives(
    setting: ObjectiveSetting,
    power: int = 2,
    space: str = "states",
    size: int = 4096,
    steps: int = 32,
    tolerance: float = 1e-4,
    guidance: int | float | None = None,
) -> tuple[AbstractObjective, ...]:
    """Make the distance to what a sampler of many steps makes of the same noise.

    Args:
        setting: What the search gives.
        power: 2 for squared differences, 1 for absolute ones.
        space: `states` compares the samples themselves, `features` their features in each space
            that is searched.
        size: How many noises the teacher knows, from which the search draws its batches.
        steps: The teacher's network evaluations, by DPM-Solver++ (3M) on a grid uniform in
            log-SNR; 0 is the adaptive solution of the probability-flow ODE.
        tolerance: That of the adaptive solution.
        guidance: The weight of classifier-free guidance at each of the teacher's steps; None is no
            guidance, whatever the searched sampler has.

    Returns:
        One objective for each space.

    Raises:
        ValueError: The space, the size, the steps or the guidance are not allowed.
    """
    if space not in ("states", "features"):
        raise ValueError(f"The teacher's space is {space!r}; it must be states or features.")
    if size < 1 or steps < 0:
        raise ValueError(
            f"The teacher's size is {size} and its steps are {steps}; they must be at least 1 and "
            "0, which is the adaptive solution."
        )
    if guidance is not None and not steps:
        raise ValueError(
            f"The teacher's guidance is {guidance} and its steps are 0, the adaptive solution, "
            "which has no guidance; give steps=32."
        )
    pool = Pool(setting.key, size)
    compared = {"states": Pixels()}
    if space == "features":
        compared = {each.name: each.features for each in setting.spaces}
    found = []
    for name, phi in compared.items():
        compute = partial(_targets, phi, setting, pool, steps, tolerance, guidance)
        kept = f"teacher of {size} in {name}, {steps or tolerance}"
        kept += "" if guidance is None else f", guidance {guidance:g}"
        found.append(Teacher(phi, setting.keep(kept, compute), pool, power))
    return tuple(found)


def _targets(
    phi: AbstractExtractor,
    setting: ObjectiveSetting,
    pool: Pool,
    steps: int,
    tolerance: float,
    guidance: int | float | None,
) -> np.ndarray:
    """Compute the features of what the teacher makes of the pool's noises."""
    model, mesh = setting.model, setting.mesh
    if steps:
        solver = dpmpp_multistep(steps, order=3, times="logsnr")
        teacher = with_guidance(solver, guidance, steps)
        table = make_table(teacher, model.schedule)
        check_guidance(table, model, "The teacher")
        return table_targets(phi, table, model, pool, mesh=mesh, apply=apply)
    return ode_targets(phi, model, pool, tolerance=tolerance, mesh=mesh)


class Logits(eqx.Module):
    """Map one sample to a classifier's unnormalised log-probabilities, by features and head."""

    features: AbstractExtractor
    head: Callable[[Array], Array]

    def __call__(self, x: State) -> Float[Array, "classes"]:
        return self.head(self.features(x))


def classifier_objectives(
    setting: ObjectiveSetting, label: int | None = None
) -> tuple[AbstractObjective, ...]:
    """Make the question to the classifiers whose features are searched.

    Args:
        setting: What the search gives.
        label: The class that all samples are to be of; None asks how sure the classifier is.

    Returns:
        One objective for each classifier.

    Raises:
        ValueError: None of the features are a classifier's, or it has no such class.
    """
    found = []
    for space in setting.spaces:
        head = space.features.classifier()
        if head is None:
            continue
        logits = Logits(space.features, head)
        classes = eqx.filter_eval_shape(logits, jnp.zeros(setting.model.shape)).shape[0]
        if label is not None and not 0 <= label < classes:
            raise ValueError(
                f"The label is {label}; {space.name} knows the classes 0 to {classes - 1}."
            )
        found.append(Classifier(logits, label))
    if not found:
        names = ", ".join(space.name for space in setting.spaces)
        raise ValueError(
            f"The objective 'classifier' needs features of a classifier; {names} are not."
        )
    return tuple(found)


def parse_objective(text: str) -> list[Term]:
    """Take the name of an objective apart.

    Args:
        text: Terms with `+` between them, each `NAME`, `WEIGHT*NAME` or with options
            `WEIGHT*NAME:key=value,key=value`.

    Returns:
        The terms.

    Raises:
        ValueError: It does not look like that, or a weight is not positive.
    """
    found = []
    for part in text.split("+"):
        match = _TERM.fullmatch(part)
        if not match:
            raise ValueError(
                f"The objective is {text!r}; it must look like kid, kid+0.1*teacher or "
                "kid+0.1*teacher:power=1."
            )
        weight = float(match[1] or 1)
        if not 0 < weight < math.inf:
            raise ValueError(f"The objective is {text!r}; its weights must be positive numbers.")
        words = match[2].split(":")
        named = {PYTHON: 3, OBJECT: 2}.get(words[0], 1)  # python:module:attribute
        name, rest = ":".join(words[:named]), ":".join(words[named:])
        found.append(Term(weight, name, options(rest.split(",")) if rest else {}))
    return found


def named_objectives(text: str) -> list[str]:
    """Return the names of the objectives that are added in a name; see `parse_objective`."""
    return [term.name for term in parse_objective(text)]


def minimised(objective: str, features: str) -> str:
    """Say in words what a search minimises.

    Args:
        objective: The objective's name.
        features: The names of the feature spaces that are searched.
    """
    if objective != "kid":
        return printable(f"objective {label_of(objective)}", _WORDS)
    return printable(f"KID in {' and '.join(map(label_of, split(features)))}", _WORDS)


def make_objective(
    given: str | AbstractObjective,
    setting: ObjectiveSetting,
    family: AbstractFamily,
    batch: int,
    *,
    allow_code: bool = True,
) -> AbstractObjective:
    """Make what a search minimises.

    Several terms, those of several feature spaces among them, are each divided by what they are
    worth at the start of the search, so that weights compare them.

    Args:
        given: A name, see `parse_objective`, or the objective as it is.
        setting: What the search gives.
        family: The family, as it stands when the search starts.
        batch: Samples a step.
        allow_code: Whether a name may lead to code.

    Raises:
        ValueError: There is no such objective, it takes no such options, or makes no objectives.
    """
    if isinstance(given, AbstractObjective):
        found = given
    else:
        found = _named(given, setting, family, batch, allow_code)
    check_pool(found, batch)
    return found


def _named(
    given: str, setting: ObjectiveSetting, family: AbstractFamily, batch: int, allow_code: bool
) -> AbstractObjective:
    """The objective behind a name."""
    terms, weights = [], []
    for weight, name, chosen in parse_objective(given):
        made = _make(name, setting, chosen, allow_code)
        terms += made
        weights += [weight / len(made)] * len(made)
    if len(terms) == 1:
        return terms[0]
    total = Sum(terms, np.asarray(weights, np.float32))

    def scales() -> np.ndarray:
        model, mesh = setting.model, setting.mesh
        table = make_table(family, model.schedule)
        share = max(1, NUMBERS // math.prod(model.shape))

        def value(weights: Float[Array, "terms"], total: Sum, key: Key) -> Scalar:
            weighted = eqx.tree_at(lambda each: each.weights, total, weights)
            return batch_loss(table, model, weighted, key, batch, share, mesh)

        # A sum is linear in its weights: its slopes in them are the terms, by one program.
        compute = jit(lambda *given: replicate(jax.grad(value)(*given), mesh))

        def score(total: Sum, key: Key) -> Float[Array, "terms"]:
            return compute(*device_put((total.weights, total, key), mesh))

        return np.asarray(scaled(total, score, jax.random.fold_in(setting.key, 1)).weights)

    return Sum(terms, setting.keep(f"weights of {given}", scales))


def _make(
    name: str, setting: ObjectiveSetting, chosen: Mapping[str, Any], allow_code: bool
) -> tuple[AbstractObjective, ...]:
    """Make the objectives behind a name, of which their mean is minimised."""
    what = f"The objective {name!r}"
    maker = find("objectives", name, allow_code=allow_code)
    made = construct(maker, what, {"setting": setting}, chosen)
    right = isinstance(made, tuple) and all(isinstance(m, AbstractObjective) for m in made)
    if not (made and right):
        raise ValueError(f"{what} must make a tuple of objectives; it makes {made!r}.")
    return made

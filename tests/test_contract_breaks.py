"""Each rule of the contracts, broken, is named: one broken member a rule."""

import abc
import inspect
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array

from samplerzoo import (
    DDIM,
    AbstractFamily,
    AbstractKernel,
    CosineVP,
    DiffusionModel,
    Linear,
    StepTable,
)
from samplerzoo.metrics import Metric, distance_of_moments
from samplerzoo.testing import (
    check_dataset,
    check_exporter,
    check_family,
    check_features,
    check_kernel,
    check_metric,
    check_model,
    check_optimiser,
)


class Gained(AbstractFamily):
    """Keeps the contract: DDIM whose last weight of the data is free."""

    ddim: DDIM
    gain: Array

    def __init__(self, steps, times="linear"):
        self.ddim = DDIM(steps, times)
        self.gain = jnp.zeros(steps)

    def table(self, schedule):
        return alter(self, schedule, clean=lambda c, g: c * jnp.exp(jnp.tanh(g))[:, None])


def alter(family, schedule, **changes):
    """DDIM's table with some columns changed by the gain."""
    table = family.ddim.table(schedule)
    columns = {name: getattr(table, name) for name in ("times", "clean", "noise", "fresh")}
    for name, change in changes.items():
        columns[name] = change(columns[name], family.gain)
    return StepTable(**columns)


def breaking(**changes):
    """A family that keeps the contract but for these columns of its table."""

    class Broken(AbstractFamily):
        ddim: DDIM
        gain: Array

        def __init__(self, steps, times="linear"):
            self.ddim = DDIM(steps, times)
            self.gain = jnp.zeros(steps)

        def table(self, schedule):
            return alter(self, schedule, **changes)

    return Broken


def made_by(make):
    """A family whose DDIM is made by `make(steps, times)`."""

    class Broken(AbstractFamily):
        ddim: DDIM

        def __init__(self, steps, times="linear"):
            self.ddim = make(steps, times)

        def table(self, schedule):
            return self.ddim.table(schedule)

    return Broken


def refused(check, sentence, *arguments):
    check = inspect.unwrap(check)  # without the types checked, which would refuse some first
    with pytest.raises(AssertionError, match=sentence):
        check(*arguments)


@pytest.mark.slow
def test_the_family_that_the_others_break_keeps_the_contract():
    check_family(Gained)


class Parent(AbstractFamily):
    def table(self, schedule):
        return DDIM(1).table(schedule)


class Child(Parent):
    pass


class Unfinished(AbstractFamily):
    @abc.abstractmethod
    def more(self):
        """Never given."""

    def table(self, schedule):
        return DDIM(1).table(schedule)


@pytest.mark.parametrize("what", [int, dict, lambda steps, times: steps])
def test_not_a_family(what):
    sentence = "must be a class derived from samplerzoo.AbstractFamily, or what makes a member"
    refused(check_family, sentence, what)


def test_a_function_that_makes_a_family():
    check_family(lambda steps, times: DDIM(steps, times, per_step=True))


def test_not_final():
    refused(check_family, "Parent must be final, but other classes derive from it", Parent)


def test_abstract():
    refused(check_family, "Unfinished must implement", Unfinished)


def test_not_made_for_one_step():
    broken = made_by(lambda steps, times: DDIM(steps, times) if steps > 1 else DDIM(0))
    sentence = r"must be made by Broken\(1, times='linear'\), but that raises ValueError"
    refused(check_family, sentence, broken)


def test_not_made_for_every_stride():
    broken = made_by(lambda steps, times: DDIM(steps, {"linear": "linear"}[times]))
    refused(check_family, r"must be made by Broken\(1, times='quadratic'\)", broken)


def test_ignores_the_number_of_steps():
    broken = made_by(lambda steps, times: DDIM(5, times))
    refused(check_family, "must have one row a step: 1, not 5", broken)


def test_one_row_too_many():
    broken = made_by(lambda steps, times: DDIM(steps + 1, times))
    refused(check_family, "must have one row a step: 1, not 2", broken)


@pytest.mark.parametrize(
    "changes",
    [
        {"clean": lambda c, g: c[:, 0]},
        {"noise": lambda c, g: jnp.concatenate([c, c], axis=1)},
        {"fresh": lambda f, g: f[:-1]},
    ],
)
def test_wrong_shapes(changes):
    refused(check_family, "must give a table on CosineVP, whose shapes fit", breaking(**changes))


def test_not_a_table():
    class Pair(AbstractFamily):
        steps: int

        def __init__(self, steps, times="linear"):
            self.steps = steps

        def table(self, schedule):
            return jnp.ones(self.steps), jnp.ones((self.steps, 1))

    # Where types are checked as the code runs, make_table refuses it first.
    refused(check_family, "must return a StepTable|must give a table", Pair)


def test_not_traceable():
    def through_numpy(clean, gain):
        return clean * jnp.asarray(np.exp(np.asarray(gain)))[:, None]

    refused(check_family, "which JAX can trace, but that raises", breaking(clean=through_numpy))


def test_branches_on_a_value():
    def branch(clean, gain):
        return clean if gain[0] > 0 else 2 * clean

    refused(check_family, "must be differentiable in its arrays", breaking(clean=branch))


@pytest.mark.parametrize(
    "change",
    [
        lambda c, g: c + jnp.log1p(g)[:, None],
        lambda c, g: c * jnp.exp(g)[:, None],
        lambda c, g: c / (1 - jnp.sign(jnp.abs(g)))[:, None],
    ],
)
def test_not_finite_for_some_parameters(change):
    refused(
        check_family,
        "must have a finite table on .* for parameters of the order of",
        breaking(clean=change),
    )


def test_not_finite_at_its_start():
    broken = breaking(fresh=lambda f, g: f / g)
    refused(check_family, "must have a finite table on CosineVP for its start", broken)


@pytest.mark.parametrize(
    "change",
    [lambda t, g: 1.5 * t, lambda t, g: -t, lambda t, g: t - t[-1]],
)
def test_times_out_of_range(change):
    refused(check_family, r"must have times inside \(0, t_max\]", breaking(times=change))


def test_times_that_parameters_drive_out():
    broken = breaking(times=lambda t, g: t + g)
    refused(check_family, "must have times .* for parameters of the order of", broken)


def test_a_first_time_that_moves():
    """Inside the range, and above the second."""
    broken = breaking(times=lambda t, g: t.at[0].multiply(1 - 0.01 * jnp.tanh(g[0]) ** 2))
    refused(check_family, "must hold its first time fixed", broken)


def test_a_gradient_that_is_stopped():
    def stop(clean, gain):
        return clean * (1 + jnp.tanh(jax.lax.stop_gradient(gain)))[:, None]

    refused(
        check_family,
        "must have derivatives in 'gain' that agree with finite differences",
        breaking(clean=stop),
    )


def test_a_gradient_that_is_wrong():
    @jax.custom_jvp
    def doubled(gain):
        return jnp.tanh(gain)

    doubled.defjvps(lambda tangent, out, gain: 2 * tangent)
    refused(
        check_family,
        "must have derivatives in 'gain' that agree",
        breaking(clean=lambda c, g: c * (1 + doubled(g))[:, None]),
    )


def test_a_round_trip_through_integers():
    def whole(clean, gain):
        return clean * (1 + jnp.tanh(jnp.round(gain).astype(int).astype(clean.dtype)))[:, None]

    refused(check_family, "must depend on 'gain'", breaking(clean=whole))


def test_a_gradient_that_is_not_finite():
    def hidden(clean, gain):  # finite, but where the root has none its derivative is NaN
        return clean + jnp.where(gain > 9, jnp.sqrt(jnp.minimum(gain, 0)), jnp.tanh(gain))[:, None]

    def finite(clean, gain):
        return hidden(clean, jnp.minimum(gain, 8))

    refused(check_family, "must have a finite derivative in 'gain'", breaking(clean=finite))


def test_an_array_that_acts_on_nothing():
    refused(check_family, "must depend on 'gain': an array that acts on nothing", breaking())


@pytest.mark.parametrize(
    "changes",
    [
        {"clean": lambda c, g: (0.5 + jnp.tanh(g))[:, None] * c},
        {"fresh": lambda f, g: f + 0.4 + jnp.tanh(g)},
    ],
)
def test_a_start_that_is_no_sampler(changes):
    refused(check_family, "must start as a valid sampler: at 20 steps", breaking(**changes))


def kernel(gram, condense=lambda x: x):
    class Broken(AbstractKernel):
        def __call__(self, x, y):
            return gram(x, y)

        def condense(self, x):
            return condense(x)

    return Broken


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (int, "must be a class derived from samplerzoo.AbstractKernel"),
        (kernel(lambda x, y: jnp.sum(x @ y.T, axis=1)), "must map|must be symmetric"),
        (kernel(lambda x, y: x @ jnp.flip(y, 1).T @ jnp.ones((len(y), len(y)))), "symmetric"),
        (kernel(lambda x, y: -(x @ y.T)), "must be positive definite"),
        (kernel(lambda x, y: x @ y.T, lambda x: x[:3]), "changes the mean embedding"),
        (
            kernel(lambda x, y: jnp.exp(-jnp.sqrt(jnp.sum((x[:, None] - y[None]) ** 2, axis=-1)))),
            "must have a finite gradient",
        ),
    ],
)
def test_kernel(broken, sentence):
    refused(check_kernel, sentence, broken)


def test_a_kernel_of_the_wrong_shape():
    def wide(x, y):
        return x @ y.T if len(x) == len(y) else jnp.ones((len(x), len(y) + 1))

    refused(check_kernel, r"must map \(N, d\) and \(M, d\) to \(N, M\)", kernel(wide))


def model(answer):
    return lambda: DiffusionModel(lambda x, t: answer(x), CosineVP(), (2, 3), clip=None)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda steps, rate: rate, "must make an optax.GradientTransformation"),
        (lambda steps, rate: optax.scale(rate), "must come nearer"),
        (lambda steps, rate: optax.scale(jnp.nan), "must make finite steps"),
        (lambda steps, rate: ADAM._replace(update=wrong), "must make steps of the parameters'"),
    ],
)
def test_optimiser(make, sentence):
    refused(check_optimiser, sentence, make)


ADAM = optax.adam(0.1)


def wrong(updates, state, params=None):
    return jax.tree.map(jnp.ravel, updates), state


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (lambda: Linear(), "must return a samplerzoo.DiffusionModel"),
        (model(lambda x: jnp.concatenate([x[:1]] * 4)[:, None]), "own shape|must estimate"),
        (model(lambda x: x / 0), "must be finite"),
        (model(lambda x: 1e9 * x), "must keep x = alpha x0"),
    ],
)
def test_model(broken, sentence):
    with jax.numpy_rank_promotion("allow"):
        refused(check_model, sentence, broken)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (lambda x: x[None], "must map one sample to a vector"),
        (lambda x: jnp.sum(x), "must map one sample to a vector"),
        (lambda x: jnp.sqrt(x * 0), "must have a finite gradient"),
        (lambda x: jnp.round(x), "must depend on the sample, differentiably"),
        (lambda x: jnp.ones(3), "must depend on the sample, differentiably"),
    ],
)
def test_features(broken, sentence):
    refused(check_features, sentence, broken, (4,))


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (lambda: np.ones(5), "must return at least two samples"),
        (lambda: np.ones((1, 5)), "must return at least two samples"),
        (lambda: np.array([[1.0], [np.nan]]), "must return finite numbers"),
    ],
)
def test_dataset(broken, sentence):
    refused(check_dataset, sentence, broken)


def metric(compute, **better):
    return Metric(compute, better)


def distance(samples, reference):
    return distance_of_moments(samples.moments, reference.moments)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (lambda x, y: 1.0, "must be a samplerzoo.metrics.Metric"),
        (metric(lambda x, y: {"a": 1.0}, b="neither"), "must compute the columns"),
        (metric(lambda x, y: {"a": np.ones(())}, a="neither"), "must compute a finite float"),
        (metric(lambda x, y: {"a": float("nan")}, a="neither"), "must compute a finite float"),
        (metric(lambda x, y: {"a": distance(x, y)}, a="larger"), "must compute a larger 'a'"),
        (metric(lambda x, y: {"a": -distance(x, y)}, a="smaller"), "must compute a smaller 'a'"),
        (metric(lambda x, y: {"a": 1.0}, a="smaller"), "must compute a smaller 'a'"),
        (
            metric(lambda x, y: {"a": distance(x, y) + 100 * float(x.features[0, 0])}, a="smaller"),
            "must not depend on the order",
        ),
    ],
)
def test_metric(broken, sentence):
    refused(check_metric, sentence, broken)


def writes(name: str = "a.txt", text: str = "text", returned: bool = True, kinds=None):
    """An exporter that breaks a rule, or none."""

    def write(sampler, folder):
        if kinds is not None and not kinds(sampler):
            raise ValueError("This tool cannot run it.")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(random=os.urandom(8).hex()))
        return [path] if returned else []

    return write


def links(_sampler, folder):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "link"
    path.unlink(missing_ok=True)
    path.symlink_to(__file__)
    return [path]


def here(_sampler, _folder):
    path = Path("here.txt")
    path.write_text("here")
    return [path]


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (lambda sampler, folder: [], "must write a file for a deterministic sampler"),
        (here, "must write below the folder only"),
        (writes("../b.txt"), "must write below the folder only"),
        (writes("../../beside.txt"), "must leave other files alone"),
        (links, "must write files, not links"),
        (writes(returned=False), "must return the paths of all files"),
        (writes(text="{random}"), "must write the same bytes again"),
        (writes(kinds=lambda sampler: False), "must write a deterministic sampler"),
    ],
)
def test_exporter(broken, sentence):
    refused(check_exporter, sentence, broken)


def test_an_exporter_may_refuse_with_a_sentence():
    check_exporter(writes("x/a.txt", kinds=lambda sampler: sampler.depth == 1))

"""Every built-in keeps the contract that plugins must keep."""

import pytest

from samplerzoo import testing
from samplerzoo.assets import SHAPE
from samplerzoo.registry import entries, load

FAMILY_OPTIONS = [
    ("ddpm", {}),
    ("ddpm", {"per_step": True}),
    ("ddpm", {"variance": "forward"}),
    ("ddim", {}),
    ("ddim", {"eta": 0.5, "per_step": True}),
    ("rddim", {}),
    ("rddim", {"eta": 0.5}),
    ("gddim", {}),
    ("gddim", {"depth": 1}),
    ("dpmpp-2m", {}),
    ("dpmpp-2m", {"afs": True}),
    ("dpmpp-3m", {"exact_moments": True}),
    ("sde-dpmpp-2m", {}),
    ("dpmpp-2s", {}),
    ("dpmpp-3s", {"exact_moments": True}),
    ("unipc-2", {"b": 1}),
    ("unipc-3", {}),
    ("deis-2", {}),
    ("deis-3", {"lower_order_final": False}),
    ("ipndm", {"afs": True}),
    ("exponential", {"order": 3, "answer": "eps", "variable": "ratio"}),
    ("heun", {}),
    ("heun", {"churn": 10.0, "churn_high": 50.0}),
    ("dpmpp-2s", {"afs": True}),
    ("runge-kutta", {"method": "Bosh3"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), FAMILY_OPTIONS)
def test_family(name, options):
    testing.check_family(load("families", name), **options)


def test_every_family_is_checked():
    ours = {n for n, p in entries("families").items() if p[0].value.startswith("samplerzoo.")}
    assert {name for name, _ in FAMILY_OPTIONS} == ours


@pytest.mark.parametrize("name", entries("kernels"))
def test_kernel(name):
    testing.check_kernel(load("kernels", name))


OBJECTIVE_OPTIONS = [
    ("kid", {}),
    ("teacher", {"size": 8, "steps": 5}),
    ("teacher", {"size": 8, "steps": 0, "space": "features", "power": 1}),
    ("classifier", {}),
    ("classifier", {"label": 2}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), OBJECTIVE_OPTIONS)
def test_objective(name, options):
    testing.check_objective(load("objectives", name), **options)


def test_every_objective_is_checked():
    assert {name for name, _ in OBJECTIVE_OPTIONS} == set(entries("objectives"))


@pytest.mark.parametrize("name", entries("optimisers"))
def test_optimiser(name):
    testing.check_optimiser(load("optimisers", name))


@pytest.mark.parametrize("name", entries("exporters"))
def test_exporter(name):
    testing.check_exporter(load("exporters", name))


@pytest.mark.parametrize("name", entries("models"))
def test_model(name):
    testing.check_model(load("models", name))


# The weights of the others come from the Hub: test_features.py checks their networks.
SHIPPED = [n for n, p in entries("features").items() if "samplerzoo.hub" not in p[0].value]


@pytest.mark.parametrize("name", SHIPPED)
def test_features(name):
    testing.check_features(load("features", name)(), (32, 32, 3) if "cifar10" in name else SHAPE)


@pytest.mark.parametrize("name", entries("datasets"))
def test_dataset(name):
    testing.check_dataset(load("datasets", name))


@pytest.mark.parametrize("name", entries("metrics"))
def test_metric(name):
    testing.check_metric(load("metrics", name))

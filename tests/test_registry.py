"""Names to objects, with real distributions on disk and entry points without one."""

import importlib
import subprocess
import sys

import pytest

from cli_tools import write_plugin
from samplerzoo.core.families import AbstractFamily
from samplerzoo.formats import Format
from samplerzoo.registry import GROUPS, RegistryError, entries, load, origin, resolve


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """A folder on the import path, whose distributions are installed for one test."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    importlib.invalidate_caches()
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def refused(*arguments):
    with pytest.raises(RegistryError) as caught:
        load(*arguments)
    return str(caught.value)


def test_listing_imports_nothing():
    code = (
        "import sys; from samplerzoo.registry import GROUPS, entries\n"
        "names = [name for group in GROUPS for name in entries(group)]\n"
        "assert 'rddim' in names and 'digits' in names\n"
        "print({'jax', 'numpy', 'equinox', 'samplerzoo.core.families'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("group", GROUPS)
def test_built_ins_load(group):
    assert entries(group)
    for name, (point,) in entries(group).items():
        found = load(group, name)
        assert isinstance(found, Format) if group == "formats" else callable(found)
        assert origin(point).startswith("samplerzoo ")


def test_a_plugin_is_found_beside_the_built_ins(plugins):
    write_plugin(plugins, "zoo_a", {"metrics": {"mine": "zoo_a:metric"}}, "metric = max")
    assert {"fd", "kid", "mine"} <= set(entries("metrics"))
    assert load("metrics", "mine") is max
    assert origin(entries("metrics")["mine"][0]) == "zoo_a 1.0"


def test_unknown_names_say_what_there_is():
    assert refused("kernels", "linaer") == (
        "No kernel is called 'linaer' (did you mean 'linear'?); installed: "
        f"{', '.join(entries('kernels'))}."
    )
    assert "did you mean" not in refused("kernels", "zzz")


def test_two_distributions_of_one_name_are_both_named(plugins):
    for name in ("zoo_a", "zoo_b"):
        write_plugin(plugins, name, {"metrics": {"fd": f"{name}:m", "own" + name: f"{name}:m"}})
    said = refused("metrics", "fd")
    for name in ("zoo_a 1.0", "zoo_b 1.0", "samplerzoo "):
        assert name in said
    assert "uninstall all but one" in said
    assert callable(load("metrics", "kid"))
    assert set(entries("metrics")) >= {"ownzoo_a", "ownzoo_b"}


@pytest.mark.parametrize(
    ("value", "code", "word"),
    [
        ("zoo_a:X", "raise ValueError('first\\nsecond')", "ValueError: first."),
        ("zoo_a:X", "raise ValueError", "ValueError."),
        ("zoo_a:X", "import sys; sys.exit(3)", "SystemExit: 3."),
        ("zoo_a:X", "def (", "SyntaxError"),
        ("zoo_a:X", "", "AttributeError"),
        ("zoo_nowhere:X", "", "ModuleNotFoundError: No module named 'zoo_nowhere'."),
        ("zoo_a:X", "X = 3", "not a class derived from AbstractFamily."),
        ("zoo_a:X", "class X: pass", "not a class derived from AbstractFamily."),
    ],
)
def test_a_plugin_that_does_not_load_is_named_with_its_error(plugins, value, code, word):
    write_plugin(plugins, "zoo_a", {"families": {"mine": value}}, code)
    said = refused("families", "mine", AbstractFamily)
    assert said.startswith("The family 'mine' of zoo_a 1.0 ")
    assert word in said
    assert "second" not in said
    assert issubclass(load("families", "ddim", AbstractFamily), AbstractFamily)


def test_references_to_any_module(tmp_path, monkeypatch):
    (tmp_path / "zoo_here.py").write_text("class A:\n    b = 7\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert resolve("models", "python:zoo_here:A.b") == 7
    assert resolve("models", "python:json.decoder:JSONDecoder").__name__ == "JSONDecoder"
    assert resolve("kernels", "linear") is load("kernels", "linear")
    for wrong in ("python:", "python:json", "python::x", "python:json:"):
        with pytest.raises(RegistryError, match=r"must look like python:package\.module:attribute"):
            resolve("models", wrong)
    with pytest.raises(RegistryError, match=r"'python:zoo_here:A\.c' does not load: Attribute"):
        resolve("models", "python:zoo_here:A.c")
    with pytest.raises(RegistryError, match="No module named 'zoo_gone'"):
        resolve("models", "python:zoo_gone:x")

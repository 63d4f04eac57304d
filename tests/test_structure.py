"""The architecture, as tests: layers, abstract or final, size, and documentation."""

import ast
import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

import equinox as eqx
import pytest

import samplerzoo

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "samplerzoo"

# From the bottom up. A module may import those below it, and those of its own folder.
LAYERS = [
    ["files", "pickles", "registry", "tables"],
    ["core"],
    ["backbones", "features", "data"],
    ["metrics", "formats"],
    ["references", "hub"],
    ["runs"],
    ["reports", "publishing", "exporters", "testing"],
    ["cli", "assets"],
    ["__main__"],
]
# What a layer's order inside a row allows beside that: features are made of backbones' layers.
WITHIN = {("features", "backbones")}
ALLOWED_REGISTRY = {"cli", "runs", "testing"}


def part(path: Path) -> str:
    """The top-level module or folder that a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The parts of samplerzoo that a file imports, whether at the top or in a function."""
    depth = len(path.relative_to(SOURCE).parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {name.split(".")[0] for name in names}
    return found


FILES = sorted(p for p in SOURCE.rglob("*.py") if p.name != "__init__.py" or p.parent != SOURCE)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_run_downward(path):
    level = {name: n for n, row in enumerate(LAYERS) for name in row}
    own = part(path)
    for other in imports(path) - {own}:
        assert level[other] < level[own] or (own, other) in WITHIN, f"{own} imports {other}"
        assert other != "registry" or own in ALLOWED_REGISTRY, f"{own} imports the registry"


def test_every_part_has_a_layer():
    assert {part(p) for p in FILES} == {name for row in LAYERS for name in row}


def modules():
    """Every module class that the package defines."""
    for info in pkgutil.walk_packages(samplerzoo.__path__, "samplerzoo."):
        if info.name != "samplerzoo.__main__":
            for cls in vars(import_module(info.name)).values():
                own = getattr(cls, "__module__", None) == info.name
                if own and isinstance(cls, type) and issubclass(cls, eqx.Module):
                    yield cls


@pytest.mark.parametrize("cls", list(modules()), ids=lambda c: c.__name__)
def test_every_module_is_abstract_or_final(cls):
    """Abstract classes hold no fields and no behaviour; nothing derives from the others."""
    derived = [c for c in cls.__subclasses__() if c.__module__.startswith("samplerzoo")]
    if cls.__name__.startswith("Abstract"):
        assert inspect.isabstract(cls)
        assert not cls.__dataclass_fields__
    else:
        assert not inspect.isabstract(cls)
        assert not derived


@pytest.mark.parametrize("name", samplerzoo.__all__)
def test_every_public_name_has_its_place_in_the_reference(name):
    """It is on one page of docs/reference: the line is `::: samplerzoo.NAME`."""
    pages = sorted((ROOT / "docs" / "reference").glob("*.md"))
    lines = [line for page in pages for line in page.read_text().splitlines()]
    assert lines.count(f"::: samplerzoo.{name}") == 1


def test_importing_the_package_imports_nothing_else():
    import subprocess
    import sys

    code = "import sys, samplerzoo; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert "sample_batch" in dir(samplerzoo)
    homes = {path.stem for path in SOURCE.iterdir()}
    assert not homes & set(samplerzoo.__all__), "a module would hide the name"
    with pytest.raises(AttributeError, match="nonsense"):
        _ = samplerzoo.nonsense

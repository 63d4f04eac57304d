"""The architecture, as tests: layers, abstract or final, size, and documentation."""

import ast
import inspect
import io
import keyword
import pkgutil
import tokenize
from importlib import import_module
from pathlib import Path

import equinox as eqx
import pytest

import samplerzoo

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "samplerzoo"

# From the bottom up. A module may import those below it, and those of its own folder.
LAYERS = [
    ["wording", "limits", "notices"],
    ["opening"],
    ["files", "pickles", "registry", "schema", "tables"],
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


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_private_names_stay_in_their_module(path):
    """No name with an underscore is imported, and no such module of another folder."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names if alias.name.startswith("_")]
            assert not names, f"line {node.lineno} imports {names[0]}"
            private = node.level > 1 and "._" in f".{node.module or ''}"
            assert not private, f"line {node.lineno} imports {node.module}"


def test_nothing_outside_it_knows_the_program():
    """Libraries, tests and benchmarks do without `samplerzoo.cli`."""
    inside = [path for path in FILES if part(path) not in ("cli", "__main__")]
    outside = [p for folder in ("benchmarks", "plugins") for p in (ROOT / folder).rglob("*.py")]
    assert not [path for path in inside if "cli" in imports(path)]
    assert not [path for path in outside if "samplerzoo.cli" in path.read_text()]


def own_lines(path: Path) -> list[tuple[int, list[tokenize.TokenInfo]]]:
    """The lines of a file by number, without imports, docstrings and tables of data."""
    text = path.read_text()
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if docstring or isinstance(node, ast.Import | ast.ImportFrom):
            left_out |= set(range(node.lineno, node.end_lineno + 1))
        if isinstance(node, ast.Dict | ast.List | ast.Set | ast.Tuple):
            left_out |= set(range(node.lineno + 1, node.end_lineno))
    lines: dict[int, list[tokenize.TokenInfo]] = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if (
            token.string.strip()
            and token.type != tokenize.COMMENT
            and token.start[0] not in left_out
        ):
            lines.setdefault(token.start[0], []).append(token)
    return sorted(lines.items())


def shape_of(lines: list[tuple[int, list[tokenize.TokenInfo]]]) -> str:
    """What lines are but for their names, numbered in their order, and their strings."""
    names: dict[str, str] = {}
    words = []
    for _, tokens in lines:
        for token in tokens:
            if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
                words.append(names.setdefault(token.string, f"name{len(names)}"))
            else:
                words.append("text" if token.type == tokenize.STRING else token.string)
        words.append("\n")
    return " ".join(words)


def test_nothing_stands_twice():
    """No eight lines are the same but for their names."""
    places: dict[str, str] = {}
    twice = []
    for path in FILES:
        lines = own_lines(path)
        for start in range(len(lines) - 7):
            place = f"{path.relative_to(SOURCE)}:{lines[start][0]}"
            first = places.setdefault(shape_of(lines[start : start + 8]), place)
            twice += [f"{first} and {place}"] if first != place else []
    assert not twice


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

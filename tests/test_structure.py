"""The architecture, as tests: layers, abstract or final, size, and documentation."""

import ast
import inspect
import io
import keyword
import pkgutil
import re
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
    ["wording", "limits", "notices", "caches", "cores"],
    ["opening", "layouts"],
    ["schema"],
    ["files", "pickles", "registry", "tables"],
    ["core"],
    ["backbones", "features", "data"],
    ["metrics", "formats"],
    ["references", "hub"],
    ["runs"],
    ["exporters"],
    ["reports", "publishing", "testing"],
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
        if isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module else [alias.name for alias in node.names]
            home = "samplerzoo." if node.level == depth else "." * node.level
            found |= {f"{home}{name}" for name in names}
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("samplerzoo.")}


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


def python_files(*folders: str) -> list[Path]:
    """All Python files of some folders of the repository, plugins' among them."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


EVERYTHING = python_files("src", "tests", "benchmarks", "plugins")
TUPLES = {"_asdict", "_fields", "_make", "_replace"}  # what named tuples offer


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in TUPLES


def of_this_project(node: ast.ImportFrom) -> bool:
    """Whether an import leads to the package or to a module beside the file."""
    top = (node.module or "").partition(".")[0]
    return node.level > 0 or top == "samplerzoo" or (ROOT / "tests" / f"{top}.py").exists()


def private_names(path: Path) -> list[str]:
    """The lines of a file that use a private name of another module."""
    tree = ast.parse(path.read_text())
    imported, found = set(), []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            found += [(node.lineno, name) for name in names if is_private(name)]
            if of_this_project(node):
                imported |= {alias.asname or alias.name for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = ast.unparse(node.value).partition(".")[0]
            found += [(node.lineno, ast.unparse(node))] if owner in imported else []
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = re.findall(r"\bsamplerzoo(?:\.\w+)*\._[a-z]\w*", node.value)
            found += [(node.lineno, name) for name in names]
    return [f"{path.relative_to(ROOT)}:{line} {name}" for line, name in found]


def test_private_names_stay_in_their_module():
    """No name or module with an underscore is imported, in tests and benchmarks neither."""
    assert [use for path in EVERYTHING for use in private_names(path)] == []


def test_nothing_outside_it_knows_the_program():
    """The library, the benchmarks and the plugins do without `samplerzoo.cli`; its tests do not."""
    inside = [path for path in FILES if part(path) not in ("cli", "__main__")]
    assert not [path for path in inside if "cli" in imports(path)]
    outside = [*inside, *python_files("benchmarks", "plugins")]
    assert not [path for path in outside if re.search(r"samplerzoo[. ].*\bcli\b", path.read_text())]


def test_no_module_has_the_name_of_a_function():
    """Neither would then hide the other where both are imported."""
    modules = {part for path in FILES for part in path.relative_to(SOURCE).with_suffix("").parts}
    names = {}
    for path in FILES:
        if "templates" not in path.parts:
            tops = ast.parse(path.read_text()).body
            functions = [node for node in tops if isinstance(node, ast.FunctionDef | ast.ClassDef)]
            names |= {node.name: f"{path.relative_to(SOURCE)}:{node.lineno}" for node in functions}
    names |= dict.fromkeys(samplerzoo.__all__, "__init__.pyi")
    assert {name: names[name] for name in modules & set(names)} == {}


def own_lines(path: Path) -> list[tuple[int, list[tokenize.TokenInfo]]]:
    """The lines of a file by number, without imports, docstrings, options and tables of data."""
    text = path.read_text()
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if docstring or isinstance(node, ast.Import | ast.ImportFrom):
            left_out |= set(range(node.lineno, node.end_lineno + 1))
        if isinstance(node, ast.Dict | ast.List | ast.Set | ast.Tuple):
            left_out |= set(range(node.lineno + 1, node.end_lineno))
        for option in getattr(node, "decorator_list", []):
            left_out |= set(range(option.lineno, option.end_lineno + 1))
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
    with pytest.raises(AttributeError, match="nonsense"):
        _ = samplerzoo.nonsense


def test_nothing_is_guessed():
    """What a class or a function takes is declared, not looked up by `inspect.signature`."""
    assert not [path for path in FILES if "inspect.signature" in path.read_text()]


PROSE = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WRITTEN = [*PROSE, *(SOURCE.rglob("*.md")), *(p for p in EVERYTHING if p != Path(__file__))]
# What is not said, and what is said in its place.
AVOIDED = {
    r"(?i)\blikewise\b": "what is the same",
    r"(?i)\b(go|goes|going|went) on\b(?! to)": "continue",
    r"(?<!here )\b(is|are|was|were) no (?!longer\b|more\b)[a-z]": "is not a",
}


@pytest.mark.parametrize("words", AVOIDED)
def test_words_that_are_avoided(words):
    found = []
    for path in WRITTEN:
        lines = enumerate(path.read_text().splitlines(), 1)
        found += [
            f"{path.relative_to(ROOT)}:{n} {t.strip()}" for n, t in lines if re.search(words, t)
        ]
    assert found == [], f"say {AVOIDED[words]!r}"


def described(docstring: str) -> list[str]:
    """What the sections of a docstring say of each argument, attribute and error."""
    found = []
    for section in re.findall(r"(?m)^(?:Args|Attributes|Raises):\n((?:    .*\n?|\n)+)", docstring):
        found += re.findall(r"(?m)^    \*{0,2}\w+: (.*)", section)
    return found


def test_arguments_are_described_by_sentences():
    """Each description begins with a capital, a digit or a name in backticks."""
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                said = described(ast.get_docstring(node) or "")
                small = [words for words in said if words[0].islower()]
                found += [f"{path.relative_to(SOURCE)} {node.name}: {words}" for words in small]
    assert found == []


def classes(path: Path) -> list[ast.ClassDef]:
    return [
        node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)
    ]


def test_exceptions_end_in_error():
    bases = {"Exception", "BaseException"}
    for path in EVERYTHING:
        for cls in classes(path):
            names = [ast.unparse(base).rpartition(".")[2] for base in cls.bases]
            if any(name in bases or name.endswith(("Error", "Exception")) for name in names):
                assert cls.name.endswith("Error"), f"{path.relative_to(ROOT)}: {cls.name}"


@pytest.mark.parametrize("path", EVERYTHING, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_formatter_has_the_last_word(path):
    """Nothing is kept from the formatter, and no lambda is bound to a name."""
    text = path.read_text()
    with path.open("rb") as file:
        comments = [
            t.string for t in tokenize.tokenize(file.readline) if t.type == tokenize.COMMENT
        ]
    assert not [comment for comment in comments if re.search(r"fmt: *(skip|off)", comment)]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            named = any(isinstance(target, ast.Name) for target in targets)
            assert not (named and isinstance(node.value, ast.Lambda)), f"line {node.lineno}"

"""Code in the documents runs, in the order of each page: Python as it is, `samplerzoo` in small.

README's runs in `test_readme.py`, as a newcomer would run it.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import click
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplerzoo as sz
from cli_tools import ENVIRONMENT, SMALL, run
from samplerzoo.assets import digits_model
from samplerzoo.cli import program
from samplerzoo.core.engine import draw

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHORT = {"search": SMALL, "evaluate": ("--n=80", "--steps=3", "--seeds=0", "--quiet")}
INSTALLED = "installed"  # the folder for the plugins that a page installs
FENCE = re.compile(
    r"""^```(?:[ ]\{[ ]\.)?(?P<language>python|sh)  # as it is, or { .python }
        (?:[ ]title="(?P<file>[^"]*)")?(?:[ ]\})?\n
        (?P<code>.*?)^```""",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
SNIPPET = re.compile(r'^--8<-- "(.*)"$', re.MULTILINE)


# What is typed: whole blocks, and lines of tables; and in these the commands.
TYPED = re.compile(r"^```[^\n]*\n.*?^```|^\|[^\n]*\|$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:\$ |\|.* \| `)?samplerzoo ([a-z].*?)(?:`.*)?$", re.MULTILINE)


class Block(NamedTuple):
    """A piece of code on a page; `file` is the name that the page gives it."""

    language: str
    file: str | None
    code: str


def blocks(page: Path) -> list[Block]:
    """The code of a page in its order, with the files that it quotes."""
    found = (
        Block(*match.group("language", "file", "code"))
        for match in FENCE.finditer(page.read_text())
    )
    return [block._replace(code=SNIPPET.sub(quoted, block.code)) for block in found]


def quoted(match: re.Match) -> str:
    return (ROOT / match[1]).read_text()


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES[1:] if blocks(p)], ids=ids)
def test_code_runs(page, tmp_path, monkeypatch, capsys):
    """A page's code in one folder; Python prints what its comments say."""
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"__name__": "page"}
    for block in blocks(page):
        if block.file:
            Path(block.file).write_text(block.code)
        if block.language == "python":
            run_python(block.code, namespace, page)
            printed = " ".join(capsys.readouterr().out.split())
            for promised in re.findall(r"^ *print\(.*\)  # (.*)$", block.code, re.MULTILINE):
                assert promised in printed
        else:
            for line in commands(block.code):
                run_command(line)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Searches and evaluations from Python in small, as those of the program are."""
    monkeypatch.setattr(sz, "search", partial(sz.search, batch=8, iterations=4, n=64))
    monkeypatch.setattr(sz, "evaluate", partial(sz.evaluate, n=80))


def run_python(code: str, namespace: dict, page: Path) -> None:
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        exec(compile(code, str(page), "exec"), namespace)


def commands(code: str) -> Iterator[list[str]]:
    """The words of each line that says something."""
    for line in code.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def run_command(line: list[str]) -> None:
    program, *words = line
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in words if "=" not in word} <= set(targets), line
    elif program == "samplerzoo":
        done = run(*words, *SHORT.get(words[0], ()), cwd=Path.cwd(), path=Path(INSTALLED))
        assert done.code == 0, f"{line}: {done.err}"
    elif program == "pip" and words[-1].startswith("./plugins/"):
        options = ("--quiet", "--no-deps", "--no-build-isolation", "--target", INSTALLED)
        command = [sys.executable, "-m", "pip", "install", *options, ROOT / words[-1]]
        subprocess.run(command, check=True)
    else:
        assert program in (".", "git", "cd", "pip", "python"), line


class Replay:
    """The fresh noise that the engine draws, for a loop that asks for it step by step."""

    def __init__(self, key):
        self.key, self.drawn = key, 0

    def normal(self, size):
        self.drawn += 1
        return np.asarray(draw(self.key, self.drawn, size))


@pytest.fixture
def loop(tmp_path, monkeypatch):
    """A sampler with random coefficients, its model, and the names that README's loops define."""
    monkeypatch.chdir(tmp_path)
    model = digits_model()
    arrays, rest = eqx.partition(sz.GDDIM(steps=5), eqx.is_inexact_array)
    noise = iter(jax.random.split(jax.random.key(0), 100))
    family = eqx.combine(
        jax.tree.map(lambda a: a + 0.05 * jax.random.normal(next(noise), a.shape), arrays), rest
    )
    table = family.table(model.schedule)
    Path("runs/five").mkdir(parents=True)
    sz.save_sampler(Path("runs/five/sampler.safetensors"), family, table, {})
    schedule = model.schedule
    names = {
        "jnp": jnp,
        "network": lambda x, t: model.network(jnp.asarray(x, jnp.float32), jnp.asarray(t)),
        "alpha": lambda t: schedule.alpha(jnp.asarray(t)),
        "sigma": lambda t: schedule.sigma(jnp.asarray(t)),
    }
    for block in blocks(ROOT / "README.md"):
        if any(name in block.code for name in ("def sample", "def estimate")):
            code = block.code.replace("np.clip", "jnp.clip")
            run_python(code, names, ROOT / "README.md")
    return table, model, names


def test_numpy_loop_draws_the_same_image(loop):
    table, model, names = loop
    key = jax.random.key(1)
    x = np.asarray(jax.random.normal(jax.random.key(2), model.shape))
    found = names["sample"](names["estimate"], x, Replay(key))
    np.testing.assert_allclose(found, sz.run_table(table, model, jnp.asarray(x), key), atol=1e-4)


def test_jax_loop_draws_the_same_image(loop):
    table, model, names = loop
    names["fresh"] = np.zeros_like(names["fresh"])
    quiet = eqx.tree_at(lambda t: t.fresh, table, jnp.zeros_like(table.fresh))
    key = jax.random.key(1)
    x = jax.random.normal(jax.random.split(key, table.nfe + 1)[0], model.shape)
    wanted = sz.run_table(quiet, model, x, key)
    np.testing.assert_allclose(names["sample_jax"](key), wanted, atol=1e-4)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


class Loaded(HTMLParser):
    """What a page loads, and the places on it that links can lead to."""

    def __init__(self, page: Path):
        super().__init__()
        self.addresses: list[str] = []
        self.places: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.places.add(given.get("id") or "")
        address = given.get("href") if tag == "link" else given.get("src")
        if tag in ("link", "script", "img", "iframe") and given.get("rel") != "canonical":
            self.addresses.append(address or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` builds it."""
    pytest.importorskip("mkdocs", reason="needs the docs extra")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_has_the_options_that_a_page_gives_it(page):
    """Those that are not run here, too."""
    typed = "\n".join(TYPED.findall(page.read_text().replace("\\\n", " ")))
    for command in COMMAND.findall(typed):
        name, *words = shlex.split(command, comments=True)
        found = program.commands[name]
        if "..." not in words:
            found.make_context(name, words, parent=click.Context(program))


@pytest.mark.slow
def test_site_says_every_public_name(site):
    places = {
        place for page in (site / "reference").rglob("*.html") for place in Loaded(page).places
    }
    assert {f"samplerzoo.{name}" for name in sz.__all__} <= places
    index = (site / "search" / "search_index.json").read_text()
    assert all(name in index for name in sz.__all__)


@pytest.mark.slow
def test_site_asks_no_other_server(site):
    for page in site.rglob("*.html"):
        elsewhere = [a for a in Loaded(page).addresses if a.startswith(("http", "//"))]
        assert not elsewhere, page

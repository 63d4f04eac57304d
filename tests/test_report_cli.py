"""`samplerzoo report` as users meet it: runs on disk, a page, and a browser that opens it."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

import hub_server
from cli_tools import SMALL, TINY, contents, fail, succeed, write_toys
from report_page import check_page

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
PAGE = Path(__file__).parent.parent / "docs" / "reports.md"
RUNS = ("five", "ten")
SHORT = {
    "search": SMALL,
    "evaluate": ("--n=80", "--seeds=0,1", "--metrics=fd,precision-recall", "--quiet"),
}
VECTORS = """
def vector_model():
    return DiffusionModel(lambda x, t: 0.5 * x * t, LinearVP(), (3,), clip=None)

def vectors():
    return np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)

def first(x):
    return x[:2]

def last(x):
    return x[1:]
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The folder in which the commands of docs/reports.md were run, and what reports printed."""
    folder, done = tmp_path_factory.mktemp("report"), []
    for line in re.findall(r"^\$ samplerzoo (.*)$", PAGE.read_text(), re.MULTILINE):
        words = shlex.split(line)
        done.append(succeed(*words, *SHORT.get(words[0], ()), cwd=folder))
    return folder, [one for one in done if one.out.endswith(".html\n")]


@pytest.mark.slow
def test_report_of_several_runs(digits):
    folder, done = digits
    assert [one.out for one in done] == ["report.html\n", "runs/more.html\n"]
    assert "draw" in done[0].err
    page = check_page((folder / "report.html").read_text())
    assert "network evaluations a sample" in page.text("p")
    heads = page.text("h3")
    assert "5 evaluations" in heads
    assert "10 evaluations" in heads
    assert len(page.images) == 2 * (1 + 1 + 4)
    commands = page.text("pre")
    assert "samplerzoo report runs/five runs/ten --out report.html" in commands
    assert "samplerzoo search --family gddim --steps 5" in commands
    assert not list(folder.glob(".*.tmp"))


@pytest.mark.slow
def test_samples_of_a_report_are_those_of_sample(digits):
    """The same noise, drawn by the same sampler."""
    folder, _ = digits
    page = check_page((folder / "report.html").read_text())
    succeed("sample", "runs/five", "--n", 20, "--out", "x.npz", cwd=folder)
    samples = np.load(folder / "x.npz")["samples"]
    pixels = next(p for alt, p in page.images if alt.startswith("20 samples of gddim"))
    for n, sample in enumerate(samples):
        shown = pixels[:, 9 * n : 9 * n + 8, :1].astype(float)
        assert np.max(np.abs(shown - (np.clip(sample, -1, 1) + 1) * 127.5)) < 0.6


@pytest.mark.slow
def test_scores_of_an_evaluation_are_added(digits):
    folder, _ = digits
    page = check_page((folder / "runs/more.html").read_text())
    text = page.text("p")
    assert "n = 80" in text
    results = [json.loads((folder / "runs" / run / "result.json").read_text()) for run in RUNS]
    others = sum(len(result["rows"]) for result in results)
    assert f"{others} scores with other n are left out" in text
    assert "the evaluation in runs/scores" in text
    heads = page.text("th")
    assert "PRECISION ↑" in heads
    assert "NFE 50" in heads
    assert "2 seeds" in page.text("td")
    assert "ddpm-linear not scored" in page.text()


@pytest.mark.slow
def test_report_of_one_run_of_vectors(tmp_path):
    write_toys(tmp_path, VECTORS)
    where = [
        f"--{k}=python:toys:{v}"
        for k, v in {
            "model": "vector_model",
            "data": "vectors",
            "features": "first",
            "report-features": "last",
        }.items()
    ]
    succeed("search", *where, *TINY, "--out=run", "--quiet", cwd=tmp_path)
    before = contents(tmp_path / "run")
    done = succeed("report", "run", cwd=tmp_path)
    assert done.out == "run/report.html\n"
    page = check_page((tmp_path / "run/report.html").read_text())
    assert not page.images
    assert sum(m.points for m in page.marks("200 samples of") if m.title == "data") > 100
    assert "One seed gives no interval" in page.text("p")
    said = json.loads(succeed("report", "run", "--json", "--quiet", cwd=tmp_path).out)
    assert said["report"] == "run/report.html"
    assert said["headline"] == page.text("h1")
    after = contents(tmp_path / "run")
    assert {k: v for k, v in after.items() if k != "report.html"} == before


@pytest.mark.slow
def test_report_of_a_published_run(digits, tmp_path):
    """Its log stays at home, the rest of the page does not change."""
    folder, _ = digits
    with hub_server.serve() as hub:
        variables = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": tmp_path,
            "HF_TOKEN": hub_server.TOKEN,
            "HF_HUB_DISABLE_XET": "1",
        }
        before = ("env", *(f"{key}={value}" for key, value in variables.items()))
        succeed("push", "runs/five", "you/fast", "--quiet", cwd=folder, before=before)
        done = succeed("report", "hf:you/fast", "--quiet", cwd=tmp_path, before=before)
    assert done.out == "report.html\n"
    page = check_page((tmp_path / "report.html").read_text())
    assert "There is no log of hf:you/fast" in page.text("p")
    assert "samplerzoo pull you/fast --out RUN" in page.text("pre")
    known = dict(check_page((folder / "report.html").read_text()).images)
    assert all(np.array_equal(known[alt], pixels) for alt, pixels in page.images)


@pytest.mark.slow
def test_wrong_usage(digits, tmp_path):
    folder, _ = digits
    run = folder / "runs/five"
    assert "holds no run" in fail("report", tmp_path, cwd=tmp_path)
    assert "nowhere holds no run" in fail("report", "nowhere", cwd=tmp_path)
    assert "there is no folder" in fail("report", run, "--out=a/b.html", cwd=folder)
    assert "is a folder; give a file" in fail("report", run, "--out", tmp_path, cwd=folder)
    other = shutil.copytree(run, tmp_path / "other")
    (other / "result.json").unlink()
    assert "is not finished; `samplerzoo resume" in fail("report", "other", cwd=tmp_path)
    text = (other / "config.toml").read_text()
    (other / "config.toml").write_text(text.replace('model = "digits"', 'model = "python:a:b"'))
    error = fail("report", run, "other", cwd=tmp_path)
    assert "other differ in model (digits and python:a:b)" in error
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores/evaluation.json").write_text("{}")
    assert "scores/evaluation.json is damaged" in fail("report", "scores", cwd=tmp_path)
    assert "needs the folder of a run" in fail("report", folder / "runs/scores", cwd=tmp_path)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the browser extra")
    if BROWSER is None:
        pytest.skip("needs Chromium on PATH")
    sandbox = [] if os.geteuid() else ["--no-sandbox"]
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=BROWSER, args=sandbox)
        yield opened
        opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_a_browser_opens_it(digits, browser, width, height, scheme):
    """All of it loads, nothing runs off the side, and the answer is on the first screen."""
    folder, _ = digits
    size = {"width": width, "height": height}
    context = browser.new_context(viewport=size, color_scheme=scheme, java_script_enabled=True)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: complaints.extend(
            [] if request.url.startswith(("data:", "file:")) else [request.url]
        ),
    )
    page.goto((folder / "report.html").as_uri())
    for details in page.query_selector_all("details:not([open]) summary"):
        details.click()
    page.evaluate("scrollTo(0, 0)")
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    images = page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 0)")
    assert len(images) == 12
    assert all(images)
    answer = page.query_selector("#answer").bounding_box()
    assert 0 <= answer["y"] < answer["y"] + answer["height"] <= height
    cut = page.evaluate("""[...document.querySelectorAll('h1,h2,h3,p,li,figcaption,summary')]
        .filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).length""")
    assert cut == 0
    assert complaints == []
    context.close()

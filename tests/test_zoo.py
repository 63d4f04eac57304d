"""`samplerzoo zoo`: finished runs on one static page."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

import samplerzoo
from cli_tools import fail, succeed

EVIL = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def run(digits_run):
    return digits_run


def changed(run, folder: Path, config=(), result=lambda found: found) -> Path:
    """A copy of a run with other words in its files."""
    shutil.copytree(run.path, folder)
    text = (folder / "config.toml").read_text()
    for old, new in config:
        text, count = re.subn(old, lambda _, new=new: new, text, count=1, flags=re.MULTILINE)
        assert count == 1
    (folder / "config.toml").write_text(text)
    found = result(json.loads((folder / "result.json").read_text()))
    (folder / "result.json").write_text(json.dumps(found))
    return folder


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_a_run_is_shown_with_its_scores_and_commands(run, tmp_path):
    page = samplerzoo.zoo([run.path], tmp_path / "zoo")
    assert page == tmp_path / "zoo" / "index.html"
    assert (tmp_path / "zoo/pictures/1.png").read_bytes() == (run.path / "samples.png").read_bytes()
    found = Page(page)
    assert ("img", "pictures/1.png") in [(tag, a.get("src")) for tag, a in found.tags]
    rows = [row for row in run.scores.rows if row.features == "digits-mlp"]
    own, *others = sorted(rows, key=lambda row: (row.sampler != "rddim", row.scores["fd"]))
    for row in (own, others[0]):
        assert f"FD {row.scores['fd']:.2f}" in found.text
        half = 1.96 * row.scores["kid_se"]
        assert f"± {half:.2f}"[:5] in found.text
    assert f"{own.scores['fd'] / others[0].scores['fd']:.2f}" in found.text
    assert others[0].sampler in found.text
    assert "rddim-3: NFE 3" in found.text
    for tool in ("diffusers", "k-diffusion", "comfyui", "json"):
        assert f"samplerzoo export rddim-3 --to {tool}" in found.text
    assert str(tmp_path) not in page.read_text()
    assert str(run.path.parent) not in page.read_text()


def test_searches_of_other_seeds_are_one_entry(run, tmp_path):
    def worse(found):
        for row in found["rows"]:
            row["fd"] += 2.0 * (row["sampler"] == "rddim")
        return found

    other = changed(run, tmp_path / "other", [(r"^seed = 0$", "seed = 1")], worse)
    found = Page(samplerzoo.zoo([run.path, other], tmp_path / "zoo"))
    assert "rddim-3, other: NFE 3" in " ".join(found.text.split())
    fd = next(r.scores["fd"] for r in run.scores.rows if r.features == "digits-mlp")
    assert re.search(rf"FD {fd + 1:.2f} ± 12\.7", found.text)  # Student's t at 1 degree: 12.71
    assert sum(tag == "section" for tag, _ in found.tags) == 1
    for twice in ([run.path, run.path], [run.path, changed(run, tmp_path / "copy")]):
        with pytest.raises(ValueError, match="are the same search; give one"):
            samplerzoo.zoo(twice, tmp_path / "zoo")


def test_searches_that_look_alike_are_told_apart(run, tmp_path):
    """By the names of the runs, where the family, the model and K are the same."""
    options = [(r"^learning_rate = .*$", "learning_rate = 0.5")]
    other = changed(run, tmp_path / "other", options)
    found = Page(samplerzoo.zoo([run.path, other], tmp_path / "zoo"))
    for name in ("rddim-3", "other"):
        assert found.text.count(f"rddim ({name})") == 2  # in the table, and above its entry
    anchors = [a["id"] for tag, a in found.tags if tag == "h2"]
    assert [a["href"] for tag, a in found.tags if tag == "a"] == [f"#{one}" for one in anchors]


def test_names_of_others_are_text(run, tmp_path):
    words = [(r"^data = .*$", f"data = '{EVIL}'"), (r"^family = .*$", f"family = '{EVIL}'")]

    def named(found):
        for row in found["rows"]:
            row["sampler"] = EVIL if row["sampler"] == "ddim-linear" else row["sampler"]
            row["features"] = EVIL if row["features"] == "digits-mlp" else row["features"]
        return found

    evil = changed(run, tmp_path / "a b$(x)", words, named)
    page = samplerzoo.zoo([evil], tmp_path / "zoo")
    assert "<script" not in page.read_text()
    found = Page(page)
    assert EVIL in found.text
    assert "samplerzoo sample 'a b$(x)' --n 64" in found.text
    (evil / "samples.png").write_bytes(b"<svg onload=alert(1)>")
    page = samplerzoo.zoo([evil], tmp_path / "zoo")
    assert "<img" not in page.read_text()
    assert not list((tmp_path / "zoo/pictures").iterdir())


def test_what_cannot_be_shown_is_a_sentence(run, tmp_path):
    unfinished = tmp_path / "unfinished"
    shutil.copytree(run.path, unfinished)
    (unfinished / "result.json").unlink()
    with pytest.raises(ValueError, match="is not finished; `samplerzoo resume"):
        samplerzoo.zoo([unfinished], tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/index.html").write_text("mine")
    with pytest.raises(ValueError, match="holds something else than a zoo"):
        samplerzoo.zoo([run.path], tmp_path / "mine")
    with pytest.raises(ValueError, match="at least one"):
        samplerzoo.zoo([], tmp_path / "zoo")


def test_the_command_writes_what_the_call_does(run, tmp_path):
    page = samplerzoo.zoo([run.path], tmp_path / "called")
    done = succeed("zoo", run.path, "--out", tmp_path / "done", cwd=tmp_path)
    assert done.out == f"{tmp_path / 'done/index.html'}\n"
    assert (tmp_path / "done/index.html").read_bytes() == page.read_bytes()
    assert "no run" in fail("zoo", tmp_path / "none", "--out", "zoo", cwd=tmp_path)

"""`samplerzoo export` and `samplerzoo.export`, on a real run."""

import json

import numpy as np
import pytest

import samplerzoo
from cli_tools import fail, succeed


@pytest.fixture(scope="module")
def run(digits_run):
    return digits_run


def test_a_run_is_exported_from_python(run, tmp_path):
    (path,) = samplerzoo.export(run, to="json", out=tmp_path)
    content = json.loads(path.read_text())
    np.testing.assert_allclose(content["clean"], run.table.clean, rtol=1e-6)
    assert content["name"] == "rddim-3"
    assert content["about"] == {"family": "rddim", "nfe": 3, "seed": 0}


def test_the_command_writes_what_the_call_does(run, tmp_path):
    for tool in ("diffusers", "k-diffusion", "comfyui", "json"):
        called = samplerzoo.export(run.path, to=tool, out=tmp_path / "called" / tool)
        out = tmp_path / "done" / tool
        done = succeed("export", run.path, "--to", tool, "--out", out, cwd=tmp_path)
        assert len(done.out.splitlines()) == len(called)
        for path in called:
            twin = tmp_path / "done" / tool / path.relative_to(tmp_path / "called" / tool)
            assert twin.read_bytes() == path.read_bytes()


def test_wrong_words_are_a_sentence(run, tmp_path):
    with pytest.raises(ValueError, match="No exporter is called 'magic'; installed: comfyui"):
        samplerzoo.export(run, to="magic", out=tmp_path)
    with pytest.raises(ValueError, match=r"The name is '../x'; it must be"):
        samplerzoo.export(run, to="json", out=tmp_path, name="../x")
    (tmp_path / "file").write_text("")
    words = ("export", run.path, "--to", "json", "--out", tmp_path / "file")
    assert "is a file; give a folder" in fail(*words, cwd=tmp_path)

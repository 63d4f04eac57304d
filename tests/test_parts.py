"""Parts of a user's own: of any callable kind, from any directory, loud, changed meanwhile."""

import json
import os

import pytest

from cli_tools import TINY, fail, succeed, write_plugin, write_toys

MORE = """
import functools

loud_model = functools.partial(
    DiffusionModel, lambda x, t: print("network") or 0.5 * x * t, LinearVP(), SHAPE
)

@functools.cache
def cached_data():
    return data()

class Factory:
    @classmethod
    def features(cls):
        def loud(x):
            print("features")
            return features(x)
        return loud
"""
OWN = (
    "--model=python:toys:loud_model",
    "--data=python:toys:cached_data",
    "--features=python:toys:Factory.features()",
    "--report-features=python:toys:other_features",
)
FAMILY = """
import jax.numpy as jnp
import samplerzoo as sz

class Plain(sz.AbstractFamily):
    "DDIM; its options have no annotations."
    ddim: sz.DDIM
    gain: object

    def __init__(self, steps, times="linear", order=2):
        if order == 4:
            raise KeyError("four")
        self.ddim, self.gain = sz.DDIM(steps, times), jnp.zeros(())

    def table(self, schedule):
        table = self.ddim.table(schedule)
        return sz.StepTable(table.times, table.clean, table.noise * jnp.exp(self.gain), table.fresh)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    write_toys(folder, MORE)
    succeed("search", *OWN, *TINY, "--quiet", "--out=run", cwd=folder)
    return folder


@pytest.mark.slow
def test_json_is_alone_however_loud_the_parts_are(own):
    done = succeed("evaluate", "run", "ddim", "--steps=2", "--n=8", "--json", cwd=own)
    assert {row["sampler"] for row in json.loads(done.out)["rows"]} == {
        "run",
        "ddim-linear",
        "ddim-quadratic",
    }
    assert "features" in done.err
    assert succeed("sample", "run", "--n=2", "--out=x.npz", cwd=own).out == "x.npz\n"


@pytest.mark.slow
def test_a_run_can_be_used_from_elsewhere(own, tmp_path):
    result = json.loads(succeed("resume", own / "run", "--json", cwd=tmp_path).out)
    assert result["run"] == str(own / "run")
    succeed("sample", own / "run", "--n=2", "--out=x.npz", cwd=tmp_path)
    succeed("evaluate", own / "run", "--n=8", "--quiet", cwd=tmp_path)


@pytest.mark.slow
def test_a_target_named_twice_is_scored_once(own):
    done = succeed("evaluate", "ddim", "ddim-linear", "run", "run/", "--n=8", "--json", cwd=own)
    samplers = [row["sampler"] for row in json.loads(done.out)["rows"]]
    assert len(samplers) == 2 * len(set(samplers)) == 6  # two feature spaces


@pytest.mark.slow
def test_metrics_by_name(own):
    command = ("evaluate", "run", "--n=8", "--features=pixels, python:toys:features")
    row = json.loads(succeed(*command, "--metrics=kid", "--json", cwd=own).out)["rows"][0]
    assert "fd" not in row
    assert "KID" in succeed(*command, "--metrics=kid", cwd=own).out
    assert "did you mean 'fd'" in fail(*command, "--metrics=fid", cwd=own)


@pytest.mark.slow
def test_changed_data_are_not_searched_on(own):
    (own / "run/result.json").rename(own / "kept.json")
    source = (own / "toys.py").read_text()
    try:
        (own / "toys.py").write_text(source.replace("default_rng(0)", "default_rng(1)"))
        assert "not what it was when this run began" in fail("resume", "run", cwd=own)
    finally:
        (own / "toys.py").write_text(source)
        os.rename(own / "kept.json", own / "run/result.json")


@pytest.mark.slow
def test_options_without_annotations_and_failing_constructors(own, tmp_path):
    write_plugin(tmp_path, "plain", {"families": {"plain": "plain:Plain"}}, FAMILY)
    more = {"cwd": own, "path": tmp_path}
    search = ("search", "--family=plain", *OWN, *TINY, "--iterations=2", "--quiet")
    succeed(*search, "-F", "order=3", "--out=plain", **more)
    assert "plain" in (own / "plain/config.toml").read_text().partition("[versions]")[2]
    said = fail(*search, "-F", "order=4", "--out=other", **more)
    assert "The family 'plain' cannot be made: KeyError" in said
    listed = json.loads(succeed("list", "families", "--json", **more).out)["families"]
    assert "plain" in {member["name"] for member in listed}

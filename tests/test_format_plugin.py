"""The model format of docs/plugins.md, as an installed distribution of one file."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import hub_server
from cli_tools import contents, fail, succeed, write_plugin

PAGE = Path(__file__).parent.parent / "docs" / "plugins.md"
NAME = "you/gaussian-in-3"
CONFIG = {"shape": [2, 3, 1], "scale": 0.5}
MORE = """

def own_digest(model):
    return "gaussian-" + digest(model)

from dataclasses import replace
from samplerzoo.files import digest
GAUSSIAN = replace(GAUSSIAN, digest=own_digest)
"""


def code() -> str:
    """The plugin's file, as the page has it."""
    section = PAGE.read_text().split("## A model format")[1].split("\n## ")[0]
    (found,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return found


def files() -> dict[str, bytes]:
    mean = np.linspace(-0.5, 0.5, 6, dtype=np.float32).reshape(2, 3, 1)
    return {
        "README.md": b"---\nlicense: mit\n---\n",
        "gaussian.json": json.dumps(CONFIG).encode(),
        "gaussian.safetensors": safetensors.numpy.save({"mean": mean}),
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder, where the plugin is installed beside it; and a Hub."""
    folder = tmp_path_factory.mktemp("gaussian")
    plugins, work = folder / "plugins", folder / "work"
    (work / "net").mkdir(parents=True)
    points = {"formats": {"gaussian": "zoo_gaussian:GAUSSIAN"}}
    write_plugin(plugins, "zoo_gaussian", points, code() + MORE)
    for name, data in files().items():
        (work / "net" / name).write_bytes(data)
    data = np.random.default_rng(0).normal(size=(64, 2, 3, 1)).astype(np.float32)
    np.save(work / "data.npy", data)
    with hub_server.serve() as hub:
        hub.add("me/gaussian", files(), card={"license": "mit"})
        variables = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(folder / "cache"),
            "HF_TOKEN": hub_server.TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        before = ("env", *(f"{key}={value}" for key, value in variables.items()))
        yield work, hub, {"cwd": work, "path": plugins, "before": before}


SEARCH = (
    "search",
    "--data=data.npy",
    "--features=pixels",
    "--report-features=pixels",
    "--family=ddim",
    "--times=linear-searched",
    "--steps=3",
    "--iterations=3",
    "--batch=8",
    "--n=16",
    "--quiet",
)


@pytest.mark.slow
def test_it_keeps_the_contract(place, monkeypatch):
    from samplerzoo.registry import load
    from samplerzoo.testing import check_format

    work, _, options = place
    monkeypatch.syspath_prepend(options["path"])
    check_format(load("formats", "gaussian"), work / "net")


@pytest.mark.slow
def test_it_is_listed_and_inspected(place):
    _, _, options = place
    listed = json.loads(succeed("list", "--json", **options).out)["formats"]
    ours = {row["name"]: row for row in listed}
    assert {"unet2d", "openai", "gaussian"} <= set(ours)
    assert ours["gaussian"]["distribution"] == "zoo_gaussian"
    assert ours["gaussian"]["error"] is None
    for name in ("net", "gaussian:net", "hf:me/gaussian", "gaussian:hf:me/gaussian"):
        found = json.loads(succeed("inspect", name, "--json", **options).out)
        assert found["supported"] is True
        assert found["architecture"] == "Gaussian"
        assert (found["parameters"], found["shape"]) == (6, [2, 3, 1])
        assert (found["format"], found["file"]) == ("gaussian", "gaussian.safetensors")
        assert found["licence"] == "mit"
    assert "is not supported" in fail(
        "search", *SEARCH[1:], "--model=unet2d:net", "--out=x", **options
    )


@pytest.mark.slow
def test_it_is_searched_hashed_pushed_and_used_again(place):
    work, hub, options = place
    names = {"path": "net", "scheme": "gaussian:net", "hub": "gaussian:hf:me/gaussian"}
    commit, configs = hub.repositories["me/gaussian"].main, {}
    for run, name in names.items():
        succeed(*SEARCH, f"--model={name}", f"--out={run}", **options)
        configs[run] = tomllib.loads((work / run / "config.toml").read_text())
    assert configs["path"]["model"] == str(work / "net")
    assert configs["scheme"]["model"] == f"gaussian:{work / 'net'}"
    assert configs["hub"]["model"] == f"gaussian:hf:me/gaussian@{commit}"
    hashes = {config["hashes"]["model"] for config in configs.values()}
    assert len(hashes) == 1
    assert hashes.pop().startswith("gaussian-")

    succeed("push", "scheme", NAME, "--quiet", **options)
    pushed = hub.repositories[NAME].commits[hub.repositories[NAME].main]
    assert tomllib.loads(pushed["config.toml"].decode())["model"] == "gaussian:net"
    assert not [name for name, data in pushed.items() if str(work).encode() in data]
    succeed("push", "hub", f"{NAME}-hub", "--quiet", **options)
    card = hub.repositories[f"{NAME}-hub"].commits[hub.repositories[f"{NAME}-hub"].main]
    assert b"base_model: me/gaussian\n" in card["README.md"]
    assert f"/me/gaussian/tree/{commit}".encode() in card["README.md"]
    assert b"license: mit\n" in card["README.md"]
    draw = ("--n=4", "--out=a.npz")
    succeed("sample", f"hf:{NAME}-hub", *draw, **options)
    assert "names no files of this machine" in fail("sample", f"hf:{NAME}", *draw, **options)

    scored = succeed("evaluate", "ddim", "scheme", "--steps=3", "--n=16", "--json", **options)
    assert {row["sampler"] for row in json.loads(scored.out)["rows"]} >= {"scheme", "ddim-linear"}
    before = contents(work / "path")
    (work / "path" / "result.json").unlink()
    succeed("resume", "path", "--quiet", **options)
    assert contents(work / "path")["result.json"] == before["result.json"]


@pytest.mark.slow
def test_what_is_changed_or_damaged_is_refused(place):
    work, _, options = place
    shutil.copytree(work / "net", work / "other")
    search = (*SEARCH, "--model=gaussian:other", "--out=changed")
    succeed(*search, **options)
    (work / "changed" / "result.json").unlink()
    mean = np.ones((2, 3, 1), np.float32)
    (work / "other/gaussian.safetensors").write_bytes(safetensors.numpy.save({"mean": mean}))
    assert "model: not what it was" in fail("resume", "changed", "--quiet", **options)
    (work / "other/gaussian.json").write_text(json.dumps(CONFIG | {"scale": 0}))
    search = (*SEARCH, "--model=other", "--out=none")
    assert "scale is 0; it must be a number from 0.01 to 100" in fail(*search, **options)
    assert "'gaussian:nothing' must look like" not in fail(
        *SEARCH, "--model=gaussian:nothing", "--out=none", **options
    )

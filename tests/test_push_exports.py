"""What `push` adds for other tools: on a Hub of this machine, and loaded from it by diffusers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hub_server
import samplerzoo
from cli_tools import write_plugin
from samplerzoo.publishing.exports import files_below, write_exports
from samplerzoo.publishing.upload import prepare
from test_hub import EXPORTS, Machine, files

NAME = "you/digits-in-3"


@pytest.fixture(scope="module")
def run(digits_run):
    return digits_run


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    with hub_server.serve() as hub:
        yield Machine(tmp_path_factory.mktemp("machine"), hub)


@pytest.fixture(scope="module")
def pushed(run, machine):
    """The repository's files after a push."""
    machine.succeed("push", run.path, NAME)
    return files(machine.hub, NAME)


def named(names):
    return {name.replace("ddpm-cifar10-32-in-5", "digits-in-3") for name in names}


def test_a_push_adds_the_files_for_every_tool(run, pushed, tmp_path):
    assert {name for name in pushed if name.startswith("export/")} == named(EXPORTS)
    samplerzoo.export(run, to="diffusers", out=tmp_path, name="digits-in-3")
    for path in tmp_path.iterdir():
        assert pushed[f"export/diffusers/{path.name}"] == path.read_bytes()
    for data in pushed.values():
        for secret in (run.path, run.path.parent, Path.cwd(), hub_server.TOKEN):
            assert str(secret).encode() not in data


def test_the_card_has_the_lines_for_each_tool(pushed):
    card = pushed["README.md"].decode()
    assert f'"{NAME}", subfolder="export/diffusers", trust_remote_code=True' in card
    assert "images = pipeline(num_inference_steps=3).images" in card
    for tool in ("k-diffusion", "comfyui"):
        assert f'hf download {NAME} --include "export/{tool}/*"' in card


def test_without_exports_those_of_before_are_removed(run, pushed, machine):
    name = "we/digits-in-3"
    machine.hub.add(name, {**pushed, "notes.md": b"kept", "export/old.txt": b"gone"})
    machine.succeed("push", run.path, name)
    assert set(files(machine.hub, name)) == {*pushed, "notes.md"}
    machine.succeed("push", run.path, name, "--no-export")
    left = files(machine.hub, name)
    assert set(left) == {*pushed, "notes.md"} - named(EXPORTS)
    assert "export/" not in left["README.md"].decode()


def test_a_zoo_of_a_published_run_fetches_the_run_alone(pushed, machine):
    done = machine.succeed("zoo", f"hf:{NAME}", "--out", "zoo")
    assert not [request for request in machine.hub.requests if "/export/" in request]
    page = (machine.folder / "zoo/index.html").read_text()
    assert done.out == "zoo/index.html\n"
    assert f'<a href="{machine.hub.url}/{NAME}/tree/main">hf:{NAME}</a>' in page
    assert f"samplerzoo export hf:{NAME} --to diffusers --out diffusers" in page
    assert (machine.folder / "zoo/pictures/1.png").read_bytes() == pushed["samples.png"]


FAILING = """
import os
from pathlib import Path

def breaks(sampler, folder):
    (folder / "half.txt").write_text("half")
    raise RuntimeError("it is broken")

def leaves(sampler, folder):
    raise SystemExit(3)

def links(sampler, folder):
    os.symlink("/etc/passwd", folder / "link")
    return [folder / "link"]

def works(sampler, folder):
    (folder / "table.txt").write_text(f"{sampler.name} {sampler.nfe}")
    return [folder / "table.txt"]

def tells(sampler, folder):
    (folder / "home.txt").write_text(f"{Path.home()}/models")
    return [folder / "home.txt"]
"""


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """A function that installs exporters of `FAILING` by names."""

    def install(**names: str) -> None:
        points = {name: f"zootools:{function}" for name, function in names.items()}
        write_plugin(tmp_path / "plugins", "zootools", {"exporters": points}, FAILING)
        monkeypatch.syspath_prepend(tmp_path / "plugins")

    return install


def test_a_failing_exporter_is_said_and_left_out(run, plugins, tmp_path, caplog):
    plugins(breaks="breaks", leaves="leaves", links="links", works="works", absent="nothing")
    tools = write_exports(run.path, NAME, tmp_path / "export")
    assert tools == dict.fromkeys(("comfyui", "diffusers", "json", "k-diffusion", "works"), 3)
    assert {path.name for path in (tmp_path / "export").iterdir()} == set(tools)
    assert (tmp_path / "export/works/table.txt").read_text() == "digits-in-3 3"
    said = [record.getMessage() for record in caplog.records]
    for tool, words in {
        "breaks": "it is broken",
        "leaves": "failed (3)",
        "links": "link is not a plain file",
        "absent": "does not load",
    }.items():
        assert [line for line in said if f"added for {tool}: " in line and words in line], said


def test_secrets_are_looked_for_in_subfolders(run, plugins, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    plugins(tells="tells")
    (tmp_path / "made").mkdir()
    with pytest.raises(ValueError, match=r"export/tells/home.txt would publish the path"):
        prepare(run.path, NAME, tmp_path / "made")
    (tmp_path / "none").mkdir()
    prepare(run.path, NAME, tmp_path / "none", export=False)
    assert "export" not in {path.name for path in files_below(tmp_path / "none")}


# Loads the class from the Hub; the Hub's client reads its environment once.
LOAD = """
import json, sys, warnings
warnings.simplefilter("ignore")
import diffusers, torch
name, folder = sys.argv[1:]
options = {"subfolder": folder}
try:
    diffusers.AutoModel.from_pretrained(name, **options)
except ValueError as error:
    refused = str(error)
scheduler = diffusers.AutoModel.from_pretrained(name, trust_remote_code=True, **options)
again = type(scheduler).from_pretrained(name, **options)
torch.manual_seed(0)
unet = diffusers.UNet2DModel(
    sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
    down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"),
)
pipeline = diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler())
pipeline.scheduler = scheduler
pipeline.set_progress_bar_config(disable=True)
images = pipeline(num_inference_steps=3, output_type="np").images
print(json.dumps([refused, type(again).__name__, again.config.clean, images.shape]))
"""


@pytest.mark.oracle
@pytest.mark.slow
def test_diffusers_loads_the_class_from_the_hub_with_the_flag_alone(pushed, machine):
    pytest.importorskip("torch", reason="the oracle extra (torch, diffusers) is not installed")
    done = subprocess.run(
        [sys.executable, "-c", LOAD, NAME, "export/diffusers"],
        env=os.environ | machine.variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    refused, cls, clean, shape = json.loads(done.stdout.splitlines()[-1])
    assert "trust_remote_code=True" in refused
    assert cls == "SamplerzooScheduler"
    assert clean == json.loads(pushed["export/diffusers/scheduler_config.json"])["clean"]
    assert shape == [1, 8, 8, 3]

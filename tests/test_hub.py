"""Models and samplers on the Hub, through its own client and a server on this machine."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import hub_server
from cli_tools import ENVIRONMENT, Done, contents, fail, succeed
from samplerzoo.formats import OPENAI, UNET2D, find_parts, open_local, recognise
from samplerzoo.hub import parse
from samplerzoo.publishing.upload import as_published, public_names, refuse_secrets, renamed
from samplerzoo.runs.spec import Config

PAGE = Path(__file__).parent.parent / "docs" / "hub.md"
BASE, PUSHED = "google/ddpm-cifar10-32", "you/ddpm-cifar10-32-in-5"
SMALL = {
    "search": ["--iterations", "2", "--batch", "8", "--n", "16", "--quiet"],
    "evaluate": ["--n", "16", "--quiet"],
}
UNET = {
    "_class_name": "UNet2DModel",
    "act_fn": "silu",
    "add_attention": False,
    "block_out_channels": [8],
    "down_block_types": ["DownBlock2D"],
    "in_channels": 3,
    "layers_per_block": 1,
    "mid_block_type": None,
    "norm_num_groups": 4,
    "out_channels": 3,
    "sample_size": 8,
    "up_block_types": ["UpBlock2D"],
}
SCHEDULER = {
    "_class_name": "DDPMScheduler",
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "clip_sample": True,
    "num_train_timesteps": 1000,
}
WEIGHTS = "diffusion_pytorch_model.safetensors"
EXPORTS = {
    f"export/{name}"
    for name in (
        "diffusers/README.md",
        "diffusers/config.json",
        "diffusers/samplerzoo_scheduler.py",
        "diffusers/scheduler_config.json",
        "k-diffusion/README.md",
        "k-diffusion/samplerzoo_k_diffusion.py",
        "comfyui/README.md",
        "comfyui/__init__.py",
        "comfyui/nodes.py",
        "comfyui/pyproject.toml",
        "comfyui/samplerzoo_k_diffusion.py",
        "comfyui/samplers/ddpm-cifar10-32-in-5.json",
        "json/ddpm-cifar10-32-in-5.json",
    )
}


def weights(seed: int) -> bytes:
    """Random weights of `UNET`, by the names and in the layouts of diffusers."""
    layers = {"conv_in": (8, 3, 3, 3), "conv_norm_out": (8,), "conv_out": (3, 8, 3, 3)}
    layers |= {"time_embedding.linear_1": (32, 8), "time_embedding.linear_2": (32, 32)}
    resnets = {"down_blocks.0.resnets.0": 8, "up_blocks.0.resnets.0": 16}
    resnets |= {"up_blocks.0.resnets.1": 16}
    for name, width in resnets.items():
        layers |= {f"{name}.norm1": (width,), f"{name}.conv1": (8, width, 3, 3)}
        layers |= {f"{name}.norm2": (8,), f"{name}.conv2": (8, 8, 3, 3)}
        layers[f"{name}.time_emb_proj"] = (8, 32)
        if width != 8:
            layers[f"{name}.conv_shortcut"] = (8, width, 1, 1)
    draw = np.random.default_rng(seed).normal
    tensors = {f"{name}.weight": draw(size=shape) / 8 for name, shape in layers.items()}
    tensors |= {f"{name}.bias": draw(size=shape[0]) / 8 for name, shape in layers.items()}
    return safetensors.numpy.save({k: v.astype(np.float32) for k, v in tensors.items()})


def model_files(seed: int = 0, **config) -> dict[str, bytes]:
    """The files of a small model in diffusers' layout."""
    return {
        "README.md": b"---\nlicense: apache-2.0\n---\n",
        "config.json": json.dumps(UNET | config).encode(),
        "scheduler_config.json": json.dumps(SCHEDULER).encode(),
        WEIGHTS: weights(seed),
    }


class Machine:
    """A user's machine: a working folder, a cache of the Hub, and a way to the server."""

    def __init__(self, folder: Path, hub: hub_server.Hub):
        self.folder, self.hub = folder, hub
        self.variables = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(folder / "cache"),
            "HF_TOKEN": hub_server.TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def before(self, variables: dict[str, str]) -> dict:
        pairs = (self.variables | variables).items()
        return {"cwd": self.folder, "before": ("env", *(f"{k}={v}" for k, v in pairs))}

    def succeed(self, *arguments, **variables: str) -> Done:
        self.hub.requests.clear()
        return succeed(*arguments, **self.before(variables))

    def fail(self, *arguments, code: int = 2, **variables: str) -> str:
        self.hub.requests.clear()
        return fail(*arguments, code=code, **self.before(variables))


@pytest.fixture(scope="module")
def hub():
    with hub_server.serve() as hub:
        hub.add(BASE, model_files(), card={"license": "apache-2.0"})
        yield hub


@pytest.fixture(scope="module")
def machine(tmp_path_factory, hub):
    folder = tmp_path_factory.mktemp("machine")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    from PIL import Image

    for n in range(16):
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{n}.png")
    return Machine(folder, hub)


@pytest.fixture(scope="module")
def done(machine, hub):
    """What the commands of docs/hub.md did, in their order; one download is cut in the middle."""
    found = {}
    for line in re.findall(r"^\$ samplerzoo (.*)$", PAGE.read_text(), re.MULTILINE):
        name, *words = shlex.split(line)
        hub.cuts = int(name == "search")
        found[name] = machine.succeed(name, *words, *SMALL.get(name, []))
        found[f"{name} requests"] = list(hub.requests)
    return found


def files(hub: hub_server.Hub, name: str = PUSHED) -> dict[str, bytes]:
    """What a repository holds."""
    return hub.repositories[name].commits[hub.repositories[name].main]


@pytest.mark.slow
def test_inspect_fetches_no_weights(done):
    lines = dict(line.split(maxsplit=1) for line in done["inspect"].out.splitlines())
    assert lines["supported"] == "yes"
    assert lines["licence"] == "apache-2.0"
    assert lines["shape"] == "8, 8, 3"
    assert lines["file"] == WEIGHTS
    size = sum(array.size for array in safetensors.numpy.load(weights(0)).values())
    assert lines["parameters"] == f"{size:,}"
    fetched = [request for request in done["inspect requests"] if WEIGHTS in request]
    assert [request.split()[0] for request in fetched] == ["GET"]  # the header


@pytest.mark.slow
def test_a_search_pins_the_commit_and_survives_a_cut(done, hub, machine):
    config = tomllib.loads((machine.folder / "runs/cifar10/config.toml").read_text())
    assert config["model"] == f"hf:{BASE}@{hub.repositories[BASE].main}"
    pieces = [r for r in done["search requests"] if r.startswith("GET") and r.endswith(WEIGHTS)]
    assert len(pieces) == 2
    assert hub.cuts == 0
    assert "README.md" not in "".join(done["search requests"])


@pytest.mark.slow
def test_what_is_pushed(done, hub, machine):
    held, run = files(hub), machine.folder / "runs/cifar10"
    assert set(held) == {
        ".gitattributes",
        "README.md",
        "config.toml",
        "sampler.safetensors",
        "result.json",
        "samples.png",
        "curve.png",
        *EXPORTS,
    }
    assert hub.repositories[PUSHED].private
    assert done["push"].out.startswith(f"{hub.url}/{PUSHED}/tree/")
    assert held["sampler.safetensors"] == (run / "sampler.safetensors").read_bytes()
    assert tomllib.loads(held["config.toml"].decode())["data"] == "images"
    for data in held.values():
        for secret in (machine.folder, Path.cwd(), Path.home(), hub_server.TOKEN):
            assert len(str(secret)) == 1 or str(secret).encode() not in data


@pytest.mark.slow
def test_the_model_card(done, hub):
    from huggingface_hub import ModelCard

    card = ModelCard(files(hub)["README.md"].decode())
    assert card.data.license == "apache-2.0"
    assert card.data.base_model == BASE
    assert card.data.library_name == "samplerzoo"
    assert card.data.pipeline_tag == "unconditional-image-generation"
    rows = json.loads(files(hub)["result.json"])["rows"]
    for row in rows:
        assert (
            f"| {row['sampler']} | {row['nfe']} | pixels (searched) | {row['fd']:.4f} |"
            in card.text
        )
    assert f"samplerzoo sample hf:{PUSHED}" in card.text
    assert hub.repositories[BASE].main in card.text
    assert "n = 16 samples" in card.text


@pytest.mark.slow
def test_a_pulled_run_is_a_run(done, hub, machine):
    pulled, ours = (contents(machine.folder / "runs" / name) for name in ("pulled", "cifar10"))
    assert set(pulled) == set(ours) - {"log.jsonl", "checkpoint.safetensors"}
    asked = done["sample requests"] + done["evaluate requests"] + done["pull requests"]
    assert not [request for request in asked if "/export/" in request]
    for name in ("sampler.safetensors", "samples.png", "curve.png"):
        assert pulled[name] == ours[name]
    assert tomllib.loads(pulled["config.toml"].decode())["directory"] == str(machine.folder)
    assert f"hf:{PUSHED}" in done["evaluate"].out


@pytest.mark.slow
def test_without_network_all_comes_from_the_cache(done, machine):
    """The run draws what the published sampler drew, and no request is made."""
    machine.succeed("sample", "runs/cifar10", "--n=16", "--out=again.png", HF_TOKEN="")
    assert not machine.hub.requests, "the model's commit is known, and its files are there"
    ours, theirs = ((machine.folder / name).read_bytes() for name in ("again.png", "grid.png"))
    assert ours == theirs


@pytest.mark.slow
def test_a_run_goes_on_until_the_weights_of_its_folder_change(done, machine):
    folder, run = machine.folder / "net", machine.folder / "moved"
    folder.mkdir()
    for name, data in model_files().items():
        (folder / name).write_bytes(data)
    shutil.copytree(machine.folder / "runs/cifar10", run)
    config = (run / "config.toml").read_text()
    config = re.sub(r"^model = .*$", f'model = "{folder}"', config, count=1, flags=re.MULTILINE)
    (run / "config.toml").write_text(config)
    result = json.loads((run / "result.json").read_bytes())
    (run / "result.json").unlink()
    machine.succeed("resume", run, "--quiet")
    assert not machine.hub.requests
    assert json.loads((run / "result.json").read_bytes())["rows"] == result["rows"]
    (run / "result.json").unlink()
    (folder / WEIGHTS).write_bytes(weights(seed=1))
    assert "model: not what" in machine.fail("resume", run)


# Runs several commands in one process: its arguments are a JSON list of command lines.
SEVERAL = """
import json, sys
import click
from samplerzoo.cli import program
for words in json.loads(sys.argv[1]):
    try:
        program.main(words, standalone_mode=False)
        print(json.dumps([0, ""]))
    except click.ClickException as error:
        print(json.dumps([error.exit_code, error.format_message()]))
"""


@pytest.mark.slow
def test_errors_are_sentences(done, hub, machine):
    """Each: the command, its exit status, and words of its message. Nobody is logged in."""
    evil = files(hub)["config.toml"].decode().replace('model = "hf:', 'model = "python:')
    hub.add("evil/run", files(hub) | {"config.toml": evil.encode()})
    hub.add("gated/net", model_files(), gated=True)
    hub.add("broken/net", model_files(), damaged=True)
    hub.add("other/kind", model_files(_class_name="UNet2DConditionModel"))
    hub.add(
        "other/pipeline",
        {f"unet/{k}": v for k, v in model_files().items()}
        | {"model_index.json": b"{}", "vae/config.json": b"{}"},
    )
    hub.add("other/size", model_files(block_out_channels=[16]))
    use = ["evaluate", "ddim", "--data=images", "--features=pixels", "--quiet", "--model"]
    cases = [
        (["inspect", "hf:name"], 2, ["hf:owner/name@revision"]),
        ([*use, BASE], 2, ["no folder", BASE, "hf:owner/name"]),
        (["inspect", "no/folder"], 2, ["no folder or file 'no/folder'"]),
        (["inspect", "hf:no/where"], 2, ["There is no", "no/where", "hf auth login"]),
        (["inspect", f"hf:{PUSHED}"], 2, ["There is no", "private"]),
        (["inspect", f"hf:{BASE}@v9"], 2, [BASE, "no revision 'v9'"]),
        ([*use, "hf:gated/net"], 2, ["gated", f"{hub.url}/gated/net", "hf auth login"]),
        ([*use, "hf:other/kind"], 2, ["not supported", "UNet2DConditionModel"]),
        ([*use, "hf:other/pipeline"], 2, ["not supported", "'vae'"]),
        ([*use, "hf:evil/run"], 2, ["not supported", "is a sampler"]),
        ([*use, "hf:broken/net"], 1, [WEIGHTS, "SHA-256", "removed"]),
        ([*use, "hf:broken/net"], 1, [WEIGHTS, "SHA-256", "removed"]),
        (["sample", f"hf:{BASE}"], 2, [BASE, "holds no sampler"]),
        (["sample", "hf:evil/run"], 2, ["model is python:", "samplerzoo pull"]),
        (["pull", "evil/run", "--out=images"], 2, ["images", "--out"]),
        (["pull", "evil/run@v9"], 2, ["no revision"]),
        (["push", "runs/cifar10", "you/new"], 2, ["hf auth login", "HF_TOKEN"]),
    ]
    hub.requests.clear()
    check_cases(cases, machine, HF_TOKEN="")
    fetched = [r for r in hub.requests if WEIGHTS in r and "broken" not in r]
    assert not fetched, "weights of models that cannot be used"


def check_cases(cases: list[tuple], machine: Machine, **variables: str) -> None:
    lines = several([command for command, _, _ in cases], machine, **variables)
    for (command, code, words), (status, message) in zip(cases, lines, strict=True):
        assert (code, command) == (status, command), message
        assert status == 0 or message.endswith((".", ")"))
        for word in words:
            assert word in message


def several(commands: list[list[str]], machine: Machine, **variables: str) -> list[list]:
    """Exit statuses and messages of commands."""
    words = [sys.executable, "-c", SEVERAL, json.dumps(commands)]
    process = subprocess.run(
        words,
        cwd=machine.folder,
        env=ENVIRONMENT | machine.variables | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return [json.loads(line) for line in process.stdout.splitlines() if line[0] == "["]


@pytest.mark.slow
def test_pushing_again_and_where_it_must_not(done, hub, machine):
    """Refused: on something else, in public, an unfinished run, or one that tells a path."""
    hub.add("you/notes", {"notes.txt": b"mine"})
    hub.add("you/public", {".gitattributes": b""})
    unfinished, home = machine.folder / "unfinished", machine.folder / "home"
    for folder in (unfinished, home):
        shutil.copytree(machine.folder / "runs/cifar10", folder)
    (unfinished / "result.json").unlink()
    config = (home / "config.toml").read_text()
    (home / "config.toml").write_text(config.replace('"linear"', f'"{machine.folder}/k"'))
    before = {name: files(hub, name) for name in hub.repositories}
    cases = [
        (["push", "runs/cifar10", PUSHED], 0, []),
        (["push", "runs/cifar10", "you/notes"], 2, ["you/notes", "something else"]),
        (["push", "runs/cifar10", "you/public", "--private"], 2, ["you/public", "is public"]),
        (["push", "unfinished", "you/new"], 2, ["samplerzoo resume unfinished"]),
        (["push", "home", "you/new"], 2, ["would publish", str(machine.folder)]),
    ]
    check_cases(cases, machine)
    assert before == {name: files(hub, name) for name in hub.repositories}


@pytest.mark.slow
def test_offline(done, hub, machine):
    """A branch is the commit last seen; what is not in the cache is not to be had."""
    hub.requests.clear()
    words = [["inspect", f"hf:{BASE}"], ["pull", PUSHED, "--out=offline"], ["inspect", "hf:a/b"]]
    *found, (status, message) = several(words, machine, HF_HUB_OFFLINE="1", HF_TOKEN="")
    assert found == [[0, ""], [0, ""]]
    assert contents(machine.folder / "offline") == contents(machine.folder / "runs/pulled")
    assert status == 1
    assert "hf:a/b@main is not in the cache, and HF_HUB_OFFLINE" in message
    assert not hub.requests


def test_no_hub_at_all(machine, tmp_path):
    nowhere = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    message = machine.fail("inspect", f"hf:{BASE}", code=1, **nowhere)
    assert "http://127.0.0.1:9" in message
    assert "run this again" in message


def test_the_hubs_client_is_imported_only_where_it_is_needed():
    code = "import sys, samplerzoo.cli, samplerzoo.hub; print({'jax', 'huggingface_hub'}"
    code += " & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("hf:a/b", ("a/b", "main")),
        ("a-1/b.c_d@refs/pr/1", ("a-1/b.c_d", "refs/pr/1")),
        ("hf:a/b@" + "0" * 40, ("a/b", "0" * 40)),
    ],
)
def test_references(text, reference):
    assert parse(text) == reference
    assert parse(text).pinned == (len(reference[1]) == 40)
    assert parse(str(parse(text))) == reference


@pytest.mark.parametrize(
    "text", ["hf:", "hf:a", "a/b/c", "a/b@", "../b", "a/..", "a /b", "hf:hf:a/b"]
)
def test_what_is_no_reference(text):
    with pytest.raises(ValueError, match="must look like hf:owner/name"):
        parse(text)


@pytest.mark.parametrize(
    ("names", "files"),
    [
        ("config.json scheduler_config.json W.bin", "config.json scheduler_config.json W.bin"),
        (
            "config.json scheduler_config.json W.bin W.safetensors model_index.json README.md",
            "config.json scheduler_config.json W.safetensors",
        ),
        (
            "model_index.json unet/config.json unet/W.bin scheduler/scheduler_config.json W.bin",
            "unet/config.json scheduler/scheduler_config.json unet/W.bin",
        ),
        ("config.json W.safetensors", "no scheduler_config.json"),
        ("config.json scheduler_config.json unet/W.bin model.ckpt", "not a model of a format"),
        (
            "model_index.json unet/config.json unet/W.bin scheduler/scheduler_config.json "
            "text_encoder/config.json",
            "a part 'text_encoder'",
        ),
    ],
)
def test_which_files_make_a_model(names, files, tmp_path):
    names, files = (re.sub(r"\bW\.", "diffusion_pytorch_model.", words) for words in (names, files))
    for name in names.split():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"text_encoder": ["a", "b"]} if "text" in names else {}))
    checkpoint, formats = open_local(tmp_path), {"unet2d": UNET2D, "openai": OPENAI}
    if files.startswith(("no ", "not ", "a ")):
        with pytest.raises(ValueError, match=files):
            recognise(formats, checkpoint)
    else:
        assert recognise(formats, checkpoint) == "unet2d"
        small, weights = find_parts(UNET2D, checkpoint)
        assert [*small, *weights] == files.split()


def test_of_paths_the_last_part_is_published():
    names = {"features": "pixels", "report_features": "pixels", "directory": "/home/me"}
    public = publish(Config(model="/home/me/net", data="/home/me/faces.zip", **names))
    assert (public.model, public.data, public.directory) == ("net", "faces.zip", ".")
    same = publish(Config(model="hf:a/b@c", data="python:my.data:load", **names))
    assert (same.model, same.data) == ("hf:a/b@c", "python:my.data:load")


def publish(config: Config) -> Config:
    return as_published(config, public_names(config))


@pytest.mark.parametrize(
    ("part", "name", "public"),
    [
        ("model", "openai:lsun-uncond-100m:/home/me/a b.pt", "openai:lsun-uncond-100m:a b.pt"),
        ("model", "/home/me/digits", "./digits"),  # is not the registered one
        ("data", "/home/me/cifar10", "./cifar10"),
        ("data", "/home/me/images/", "images"),
        ("features", "resnet:/home/me/net.safetensors", "resnet:net.safetensors"),
        ("report_features", "resnet:/home/me/net.safetensors", "resnet:net.safetensors"),
        ("features", "resnet:near.safetensors", "resnet:near.safetensors"),
        ("kernel", "python:mine:Kernel", "python:mine:Kernel"),
        ("kernel", "/home/me/kernel", "/home/me/kernel"),  # is none, and refused with the secrets
    ],
)
def test_no_scheme_publishes_a_path(part, name, public):
    given = {"data": "digits", "features": "pixels", "report_features": "pixels"}
    assert getattr(publish(Config(**(given | {part: name}))), part) == public


def test_two_files_of_one_name_stay_two():
    names = {"features": "resnet:/a/x.safetensors", "report_features": "resnet:/b/x.safetensors"}
    hashes = {"data": "1", **{name: name for name in names.values()}}
    public = publish(Config(data="digits", hashes=hashes, **names))
    assert public.features == "resnet:x.safetensors"
    assert public.report_features == "resnet:x.safetensors-2"
    assert set(public.hashes) == {"data", public.features, public.report_features}
    rows = {"rows": [{"features": name, "fd": 1.0} for name in names.values()], "n": 3}
    found = renamed(rows, public_names(Config(data="digits", **names)))
    assert [row["features"] for row in found["rows"]] == [public.features, public.report_features]
    assert found["n"] == 3


def test_the_end_of_an_address_is_no_path_of_this_machine(tmp_path, monkeypatch):
    """The folder /data is not published by a link to .../me/data."""
    monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
    config = Config(data="digits", features="pixels", report_features="pixels", directory="/a/data")
    page = tmp_path / "README.md"
    page.write_text("https://huggingface.co/you/a/data and /a/data-set")
    refuse_secrets(tmp_path, config)
    for secret in ("see '/a/data/mine'", f"see {Path.home()}/x", f"{hub_server.TOKEN}"):
        page.write_text(secret)
        with pytest.raises(ValueError, match=r"README.md would publish"):
            refuse_secrets(tmp_path, config)

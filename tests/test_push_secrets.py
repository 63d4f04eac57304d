"""What `push` would send of a run: nothing of this machine, no link, no picture of others."""

import dataclasses
import io
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from samplerzoo.files import read_tensors, write_json, write_tensors
from samplerzoo.publishing.exports import files_below
from samplerzoo.publishing.upload import prepare, refuse_secrets
from samplerzoo.runs.store import load_config, load_result, save_config

NAME = "you/digits-in-3"
CANARY = "canary-of-this-machine"
FILES = ("config.toml", "result.json", "sampler.safetensors", "samples.png", "curve.png")


@pytest.fixture
def run(digits_run, tmp_path) -> Path:
    """A finished run, whose files may be changed."""
    return Path(shutil.copytree(digits_run.path, tmp_path / "run"))


def sent(run: Path) -> dict[str, bytes]:
    """What is published of a run, without the files for other tools."""
    folder = run.parent / "sent"
    folder.mkdir()
    prepare(run, NAME, folder, export=False)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files_below(folder)}


def renamed(run: Path, old: str, new: str) -> None:
    """Another name of a part in all that a run has written of it."""
    spelt = [json.dumps(name) for name in (old, new)]
    result = json.dumps(load_result(run)).replace(*spelt)
    write_json(run / "result.json", json.loads(result))
    tensors, metadata = read_tensors(run / "sampler.safetensors")
    about = metadata["about"].replace(*spelt)
    write_tensors(run / "sampler.safetensors", tensors, metadata | {"about": about})
    config = load_config(run)
    fields = {k: new for k, v in vars(config).items() if v == old}
    hashes = {new if k == old else k: v for k, v in config.hashes.items()}
    save_config(run, dataclasses.replace(config, hashes=hashes, **fields))


NAMES = [
    ("digits", "openai:lsun-uncond-100m:/srv/{}/a b.pt", "openai:lsun-uncond-100m:a b.pt"),
    ("digits-mlp", "resnet:/srv/{}/net.safetensors", "resnet:net.safetensors"),
    ("digits-cnn", '/srv/{}/{}/é "x".npz', 'é "x".npz'),
    ("digits", "/srv/{}/back\\slash/", "back\\slash"),
    ("digits-mlp", "hf-path:/srv/{}/\u2028/net", "hf-path:net"),
]


@pytest.mark.parametrize(("old", "new", "public"), NAMES)
def test_of_a_name_with_a_path_its_last_part_is_sent(run, old, new, public):
    """In every file, however its format escapes it."""
    renamed(run, old, new.format(CANARY, CANARY))
    found = sent(run)
    assert public in vars(load_config(run.parent / "sent")).values()
    assert not [name for name, data in found.items() if CANARY.encode() in data]


def test_of_conditions_the_files_name_is_sent(run):
    config = dataclasses.replace(load_config(run), conditions=f"/srv/{CANARY}/texts.safetensors")
    save_config(run, config)
    found = sent(run)
    assert load_config(run.parent / "sent").conditions == "texts.safetensors"
    assert not [name for name, data in found.items() if CANARY.encode() in data]


def test_what_else_lies_in_the_folder_stays_there(run):
    """A sweep's run has what it started from, and text in a file's head may be anyone's."""
    shutil.copy(run / "sampler.safetensors", run / "warm.safetensors")
    for name in ("warm.safetensors", "sampler.safetensors"):
        tensors, metadata = read_tensors(run / name)
        write_tensors(run / name, tensors, metadata | {"from": f"/srv/{CANARY}/x"})
    (run / "notes.txt").write_text(CANARY)
    (run / "sweep.toml").write_text(f"# {CANARY}")
    found = sent(run)
    assert set(found) == {"README.md", *FILES}
    assert not [name for name, data in found.items() if CANARY.encode() in data]


OPTIONS = {
    "an option of the family": {"family_options": {"file": "/srv/{}/x.npz"}},
    "an option in a list": {"kernel_options": {"files": ["a", "see /srv/{}/x.npz"]}},
    "an objective": {"objective": "kid+0.1*mine:file=/srv/{}/x.npz"},
    "a web address of a file": {"start": "file:///srv/{}/x.npz"},
    "a path of Windows": {"kernel": "C:\\Users\\{}\\kernel"},
    "a scheme": {"optimiser": "mine:/srv/{}/optimiser"},
    "a key": {"tried": {"/srv/{}/x": 1.0}},
}


def filled(value):
    """A value with the canary in its texts."""
    if isinstance(value, dict):
        return {filled(key): filled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item) for item in value]
    return value.replace("{}", CANARY) if isinstance(value, str) else value


@pytest.mark.parametrize("case", OPTIONS)
def test_a_path_anywhere_else_is_refused(run, case):
    save_config(run, dataclasses.replace(load_config(run), **filled(OPTIONS[case])))
    with pytest.raises(ValueError, match=f"configuration would publish the path .*{CANARY}"):
        sent(run)


RESULTS = [
    {"start": "/srv/{}/start.json"},
    {"unsearched": "mine:file=/srv/{}/x"},
    {"warm_start": {"neighbour": "/srv/{}/k2", "taken": True, "score": 1, "start_score": 2}},
    {"note": ["/srv/{}/x"]},
]


@pytest.mark.parametrize("change", RESULTS)
def test_a_path_in_the_result_is_refused(run, change):
    write_json(run / "result.json", {**load_result(run), **filled(change)})
    with pytest.raises(ValueError, match=f"result would publish the path .*{CANARY}"):
        sent(run)


WRITTEN = ["{}", "file://{}/log.jsonl", "path='{}'", "a:{},b", '{{"from": "{}/config.toml"}}']


def test_paths_that_are_there_are_refused_in_what_exporters_write(run, tmp_path):
    config = load_config(run)
    (tmp_path / "out").mkdir()
    page = tmp_path / "out" / "tool.txt"
    for kept in ("#!/usr/bin/env python", "https://huggingface.co/you/a", "/srv/no/such", "1/2/3"):
        page.write_text(kept)
        refuse_secrets(tmp_path / "out", config)
    for text in WRITTEN:
        page.write_text(text.format(run))
        with pytest.raises(ValueError, match=r"tool.txt would publish the path"):
            refuse_secrets(tmp_path / "out", config)


@pytest.mark.parametrize("name", FILES)
def test_no_link_is_followed(run, name):
    """Not even to a file that would do."""
    secret = run.parent / "elsewhere"
    (run / name).rename(secret)
    (run / name).symlink_to(secret)
    with pytest.raises(ValueError, match=f"{name} is a link, which is not followed"):
        sent(run)
    assert not list((run.parent / "sent").iterdir())


def png(text: str = "") -> bytes:
    about, buffer = PngInfo(), io.BytesIO()
    about.add_text("Comment", text)
    Image.new("L", (4, 4)).save(buffer, "PNG", pnginfo=about)
    return buffer.getvalue()


PICTURES = {
    "another picture": lambda own: png(),
    "with words in it": lambda own: png(CANARY),
    "with words behind it": lambda own: own + CANARY.encode(),
    "a page": lambda own: f"<svg>{CANARY}</svg>".encode(),
    "cut short": lambda own: own[:-20],
    "empty": lambda own: b"",
}


@pytest.mark.parametrize("name", ["samples.png", "curve.png"])
@pytest.mark.parametrize("case", PICTURES)
def test_only_pictures_that_the_run_drew_are_sent(run, case, name):
    (run / name).write_bytes(PICTURES[case]((run / name).read_bytes()))
    with pytest.raises(
        ValueError, match=r"is not (a PNG file|the picture that the run drew); draw"
    ):
        sent(run)


def test_a_run_from_before_pictures_were_signed_is_sent(run):
    result = load_result(run)
    del result["drawn"]
    write_json(run / "result.json", result)
    assert sent(run)["samples.png"] == (run / "samples.png").read_bytes()

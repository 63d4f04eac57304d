"""Model formats: one entry point each, their contract, and how a checkpoint's format is told."""

import json

import numpy as np
import pytest

import torch_files
from samplerzoo.formats import (
    OPENAI,
    UNET2D,
    Checkpoint,
    Condition,
    Format,
    Parts,
    find_parts,
    load_checkpoint,
    open_local,
    recognise,
)
from samplerzoo.testing import check_format
from unets import SMALL, random_unet, save_model


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("formats") / "unet"
    save_model(folder, random_unet(SMALL), SMALL)
    return folder


def test_diffusers_folders_keep_the_contract(unet):
    check_format(UNET2D, unet)


def other(parts: Parts | None, **more) -> Format:
    """A format that finds the same in whatever it is shown."""
    return Format(
        layout="anything",
        find=lambda checkpoint: parts,
        summarise=UNET2D.summarise,
        read=UNET2D.read,
        **more,
    )


def test_one_format_recognises_a_checkpoint(unet):
    checkpoint = open_local(unet)
    found = Parts((), ("config.json",))
    assert recognise({"a": other(None), "unet2d": UNET2D, "openai": OPENAI}, checkpoint) == "unet2d"
    assert recognise({"a": other(found, argument="X"), "unet2d": UNET2D}, checkpoint) == "unet2d"
    with pytest.raises(ValueError, match=r"of the formats a or unet2d; say which, as a:PATH\."):
        recognise({"a": other(found), "unet2d": UNET2D}, checkpoint)
    with pytest.raises(ValueError, match=r"not a model of a format .*a: anything; b: anything"):
        recognise({"a": other(None), "b": other(None)}, checkpoint)


def test_a_refusal_counts_where_no_other_format_reads_the_files(unet, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "Another"}))
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"")
    checkpoint = open_local(tmp_path)
    with pytest.raises(ValueError, match="The network is a Another; supported is UNet2DModel"):
        recognise({"a": other(None), "unet2d": UNET2D}, checkpoint)
    found = Parts((), ("config.json",))
    assert recognise({"unet2d": UNET2D, "a": other(found)}, checkpoint) == "a"


def test_a_checkpoint_is_a_folder_or_a_file(unet, tmp_path):
    alone = open_local(unet / "config.json")
    assert [*alone.sizes] == ["config.json"]
    assert alone.path("config.json") == unet / "config.json"
    with pytest.raises(ValueError, match="neither a folder nor a file"):
        open_local(tmp_path / "missing")
    with pytest.raises(ValueError, match=r"is not supported\. It is not a folder of diffusers'"):
        load_checkpoint(UNET2D, alone)


def test_weights_are_asked_for_last(unet):
    """Not of a model that lacks a label, nor to describe one."""
    asked, local = [], open_local(unet)

    def path(name):
        asked.append(name)
        return local.path(name)

    checkpoint = Checkpoint("hf:a/b", local.sizes, path)
    with pytest.raises(ValueError, match=r"hf:a/b is not supported\. The label is 3"):
        load_checkpoint(UNET2D, checkpoint, Condition(3))
    assert UNET2D.summarise(checkpoint).shape == (8, 8, 1)
    weights = find_parts(UNET2D, checkpoint).weights
    assert weights
    assert not {*weights} & {*asked}
    load_checkpoint(UNET2D, checkpoint)
    assert asked[-1:] == [*weights]


def test_openai_files_need_a_preset(tmp_path):
    state = {"a.weight": np.zeros((2, 2), np.float32)}
    data = torch_files.zip_file(torch_files.state(state), torch_files.numbers(state))
    (tmp_path / "model.pt").write_bytes(data)
    checkpoint = open_local(tmp_path / "model.pt", "cifar10-uncond-50m")
    assert find_parts(OPENAI, checkpoint).weights == ("model.pt",)
    assert OPENAI.summarise(checkpoint).shape == (32, 32, 3)
    with pytest.raises(ValueError, match="does not fit the flags"):
        load_checkpoint(OPENAI, checkpoint)
    with pytest.raises(ValueError, match="There is no preset 'nope'; there are cifar10"):
        load_checkpoint(OPENAI, open_local(tmp_path / "model.pt", "nope"))

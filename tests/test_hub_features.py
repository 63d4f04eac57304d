"""Feature extractors from the Hub: fetched once, checked, converted, and used without network."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
import safetensors.numpy

import extractors
import hub_server
import torch_files
from samplerzoo.features import Inception, ViT
from samplerzoo.files import digest
from samplerzoo.hub.features import INCEPTION

DINOV2, CLIP = "facebook/dinov2-small", "openai/clip-vit-large-patch14-336"
# Runs factories in a process of its own, since the Hub's client reads its environment once.
# Arguments: factories by name, the SHA-256 to pin for each, or none.
SCRIPT = """
import json, sys
from samplerzoo.files import digest
from samplerzoo.hub import features

for name, sha256 in json.loads(sys.argv[1]):
    if sha256:
        features.INCEPTION = features.INCEPTION._replace(sha256=sha256)
    try:
        print(json.dumps(["made", digest(getattr(features, name)())]))
    except (ValueError, ConnectionError) as error:
        print(json.dumps([type(error).__name__, str(error)]))
"""


def make(hub, folder, *factories, **variables: str) -> list[list[str]]:
    """What each `(name, sha256)` made or raised; the server's requests begin anew."""
    hub.requests.clear()
    settings = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(folder),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "JAX_PLATFORMS": "cpu",
    }
    words = [sys.executable, "-c", SCRIPT, json.dumps(factories)]
    done = subprocess.run(
        words,
        env=os.environ | settings | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def torch_file(tensors: dict) -> bytes:
    return torch_files.zip_file(torch_files.state(tensors), torch_files.numbers(tensors))


@pytest.fixture(scope="module")
def hub():
    """DINOv2 as safetensors, CLIP as PyTorch's file; Inception damaged, and only elsewhere whole.

    All with random weights, and the first two small.
    """
    with hub_server.serve() as hub:
        for name, config in ((DINOV2, extractors.DINOV2), (CLIP, extractors.CLIP)):
            tensors, file = extractors.vit_tensors(config), "pytorch_model.bin"
            data = torch_file(tensors)
            if name == DINOV2:
                file, data = "model.safetensors", safetensors.numpy.save(tensors)
            hub.add(name, {"config.json": json.dumps(config).encode(), file: data})
        whole = torch_file(extractors.inception_tensors())
        hub.sha256 = hashlib.sha256(whole).hexdigest()
        (first, name), (second, other) = INCEPTION.places
        hub.add(first, {name: whole[:-1] + b"x"})
        hub.add(second, {other: whole})
        yield hub


@pytest.mark.slow
def test_extractors_come_from_the_hub_once(hub, tmp_path):
    """The weights are those of the files; a wrong one is not read; later there is no request."""
    wanted = [
        digest(ViT.from_tensors(extractors.DINOV2, extractors.vit_tensors(extractors.DINOV2))),
        digest(ViT.from_tensors(extractors.CLIP, extractors.vit_tensors(extractors.CLIP))),
        digest(Inception.from_tensors(extractors.inception_tensors())),
    ]
    names = ("dinov2_small", None), ("clip", None), ("inception", hub.sha256)
    assert make(hub, tmp_path, *names) == [["made", one] for one in wanted]
    downloads = [request for request in hub.requests if request.startswith("GET")]
    assert sum(INCEPTION.places[1][1] in request for request in downloads) == 1
    hub.add(DINOV2, {"config.json": b"{}", "model.safetensors": b"changed"})
    variables = {"HF_HUB_OFFLINE": "1"}
    names = (*names, ("inception_clean_fid", None), ("dinov2_base", None))
    for found in (make(hub, tmp_path, *names[:4]), make(hub, tmp_path, *names, **variables)):
        assert found[:4] == [["made", one] for one in (*wanted, wanted[2])]
        assert not hub.requests
    kind, message = found[4]
    assert kind == "ConnectionError"
    assert "facebook/dinov2-base" in message
    assert "HF_HUB_OFFLINE" in message


@pytest.mark.slow
def test_files_that_are_not_what_they_should_be(hub, tmp_path):
    """The random Inception is not the published one; repositories that lack or damage files."""
    weights = safetensors.numpy.save(extractors.vit_tensors(extractors.DINOV2))
    config = {"config.json": json.dumps(extractors.DINOV2).encode()}
    hub.add(DINOV2, config | {"model.safetensors": weights}, damaged=True)
    hub.add("facebook/dinov2-base", config | {"model.safetensors": weights[:-1]})
    hub.add(CLIP, config)
    names = ("inception", None), ("dinov2_small", None), ("dinov2_base", None), ("clip", None)
    found = make(hub, tmp_path, *names)
    words = [
        ("ValueError", INCEPTION.places[1][1], hub.sha256[:12], INCEPTION.sha256[:12], "not read"),
        ("ConnectionError", "model.safetensors", "SHA-256", "removed"),
        ("ValueError", "facebook/dinov2-base", "model.safetensors"),
        ("ValueError", CLIP, "neither model.safetensors nor pytorch_model.bin"),
    ]
    for (kind, message), (wanted, *parts) in zip(found, words, strict=True):
        assert kind == wanted, message
        assert message.endswith(".")
        for part in parts:
            assert part in message

"""Feature extractors whose weights are fetched from the Hub, once; later there is no request.

Those at the end are factories without arguments. They raise ValueError for files that are not what
they should be, and ConnectionError where the Hub is out of reach.
"""

import hashlib
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..features import Inception, ViT
from ..files import write_tensors
from ..formats import read_weights
from ..schema import NAMES, read_json
from .addresses import Address
from .fetching import cached, check, download, listing, pin


class Pinned(NamedTuple):
    """A file by its content, and the files, each in a repository, that are said to have it."""

    sha256: str
    places: tuple[tuple[str, str], ...]


# Copies of the file that torch-fidelity and pytorch-fid publish outside the Hub.
INCEPTION = Pinned(
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    (
        ("FoundationVision/unitok_external", "weights-inception-2015-12-05-6726825d.pth"),
        ("RaphaelLiu/EvalCrafter-Models", "pt_inception-2015-12-05-6726825d.pth"),
    ),
)
CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def fetch_inception(preprocessing: str) -> Inception:
    """FID's Inception-v3 behind "torch-fidelity", "pytorch-fid" or "clean-fid" preprocessing."""
    return Inception.from_tensors(read_weights(converted(INCEPTION)), preprocessing)


def fetch_transformer(repository: str) -> ViT:
    """DINOv2, or the image tower of CLIP, from a repository in transformers' layout."""
    config, weights = _layout(repository)
    check(weights)
    try:
        return ViT.from_tensors(read_json(config, NAMES), read_weights(weights))
    except ValueError as error:
        raise ValueError(f"hf:{repository} cannot be used for features. {error}") from error


def converted(pinned: Pinned) -> Path:
    """A pinned file of tensors as safetensors, in the Hub's cache; fetched if it is not there."""
    from huggingface_hub import cached_assets_path

    path = cached_assets_path("samplerzoo", "features") / f"{pinned.sha256}.safetensors"
    if not path.is_file():
        tensors = read_weights(_fetch_pinned(pinned))
        write_tensors(path, tensors, {"sha256": pinned.sha256})
    return path


def _fetch_pinned(pinned: Pinned) -> Path:
    """The file from the first place that has it. Raises the last place's error where none has."""
    *others, last = pinned.places
    for place in others:
        try:
            return _verified(pinned.sha256, *place)
        except (ValueError, ConnectionError):
            continue
    return _verified(pinned.sha256, *last)


def _verified(sha256: str, repository: str, name: str) -> Path:
    path = download(pin(Address(repository), (name,)), name)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(
            f"{name} of hf:{repository} is another file than it was: its SHA-256 is "
            f"{found[:12]}... and must be {sha256[:12]}...; it is not read."
        )
    return path


def _layout(repository: str) -> tuple[Path, Path]:
    """The paths of config.json and of the weights, which are fetched if they are not there."""
    found = cached(Address(repository), (CONFIG, *WEIGHTS))
    if CONFIG not in found or not found.keys() & set(WEIGHTS):
        at = pin(Address(repository), (CONFIG,))
        names = [name for name in WEIGHTS if name in listing(at).sizes]
        if not names:
            raise ValueError(f"hf:{repository} has neither {' nor '.join(WEIGHTS)}.")
        found = {name: download(at, name) for name in (CONFIG, names[0])}
    return found[CONFIG], next(found[name] for name in WEIGHTS if name in found)


inception = partial(fetch_inception, "torch-fidelity")
"""FID's Inception-v3 from the Hub, behind torch-fidelity's resizing."""
inception_pytorch_fid = partial(fetch_inception, "pytorch-fid")
"""FID's Inception-v3 from the Hub, behind pytorch-fid's resizing."""
inception_clean_fid = partial(fetch_inception, "clean-fid")
"""FID's Inception-v3 from the Hub, behind clean-fid's resizing."""
dinov2_small = partial(fetch_transformer, "facebook/dinov2-small")
"""DINOv2's small transformer, from the Hub."""
dinov2_base = partial(fetch_transformer, "facebook/dinov2-base")
"""DINOv2's base transformer, from the Hub."""
clip = partial(fetch_transformer, "openai/clip-vit-large-patch14-336")
"""CLIP's image tower (ViT-L/14 at 336 pixels), from the Hub."""

"""Models of any format, on the Hub or in a local folder or file."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..core.model import DiffusionModel
from ..files import read_header
from ..formats import (
    UNCONDITIONAL,
    Checkpoint,
    Condition,
    Format,
    find_parts,
    load_checkpoint,
    open_local,
    open_nothing,
    recognise,
)
from ..schema import NAMES, read_front
from .addresses import PREFIX, Address, parse
from .errors import explained
from .fetching import Listing, cached, cached_files, check, download, listing, pin, read_card

Formats = Mapping[str, Format]
# Of these, the first that a repository has is fetched to remember the commit of a branch.
CONFIGS = ("config.json", "unet/config.json", "model_index.json", "README.md")


def pin_model(address: Address) -> Address:
    """Return the same at the commit that its branch or tag stands for; without network, the last
    that was seen."""
    return pin(address, CONFIGS)


def fetch_one(address: Address, names: Sequence[str]) -> Path:
    """Fetch the first of some files that a repository has; of a commit in the cache, from there.

    Raises:
        ValueError: It has none of them.
        ConnectionError: The Hub is out of reach, or the file arrives damaged.
    """
    address = pin(address, names)
    if found := cached(address, names):
        checkpoint = _in_cache(address, "")
    else:
        checkpoint = _on_hub(listing(address), "")
        found = checkpoint.sizes
    if not (there := [name for name in names if name in found]):
        raise ValueError(f"There is no {' or '.join(names)} in {address}.")
    return checkpoint.path(there[0])


def load_model(
    place: str | None, formats: Formats, condition: Condition = UNCONDITIONAL, argument: str = ""
) -> DiffusionModel:
    """Load the model of a repository, a folder or a file.

    Of a commit whose files are in the cache there is no request. Weights are fetched last, and
    only of a model that is supported.

    Args:
        place: `hf:owner/name[@revision]`, or a path; None for a model without files.
        formats: The formats that it may be of, by name.
        condition: What a class-conditional model is asked for.
        argument: What stood before the place in the model's name.

    Raises:
        ValueError: There is no model, or one that is not supported.
        ConnectionError: The Hub is out of reach, or a file arrives damaged.
    """
    name, checkpoint = find_model(place, formats, argument)
    return load_checkpoint(formats[name], checkpoint, condition)


def find_model(place: str | None, formats: Formats, argument: str = "") -> tuple[str, Checkpoint]:
    """Find the format of a model and its files; see `load_model`.

    Returns:
        The format's name, and the checkpoint.
    """
    if place is None or not place.startswith(PREFIX):
        return _recognised(formats, _open(place, argument))
    address = pin_model(parse(place))
    try:
        return _recognised(formats, _in_cache(address, argument))
    except ValueError:
        return _recognised(formats, _on_hub(listing(address), argument))


def _open(place: str | None, argument: str) -> Checkpoint:
    """A checkpoint on this machine."""
    return open_nothing(argument) if place is None else open_local(Path(place), argument)


def _recognised(formats: Formats, checkpoint: Checkpoint) -> tuple[str, Checkpoint]:
    try:
        return _choose(formats, checkpoint), checkpoint
    except ValueError as error:
        raise ValueError(f"{checkpoint.name} is not supported. {error}") from error


def _choose(formats: Formats, checkpoint: Checkpoint) -> str:
    """The format of a checkpoint, which is the only one where one was asked for."""
    if len(formats) > 1:
        return recognise(formats, checkpoint)
    (name,) = formats
    find_parts(formats[name], checkpoint)
    return name


def _on_hub(found: Listing, argument: str) -> Checkpoint:
    """What the Hub has of a commit; files are fetched when their paths are asked for."""

    def path(name: str) -> Path:
        fetched = download(found.address, name, found)
        check(fetched)
        return fetched

    return Checkpoint(str(found.address), found.sizes, path, argument)


def _in_cache(address: Address, argument: str) -> Checkpoint:
    """What the cache has of a commit; no request is made."""
    files = cached_files(address)

    def path(name: str) -> Path:
        check(files[name])
        return files[name]

    sizes = {name: file.stat().st_size for name, file in files.items()}
    return Checkpoint(str(address), sizes, path, argument)


class _Place(NamedTuple):
    """A checkpoint, with what is told of it beside its files."""

    checkpoint: Checkpoint
    address: Address | None
    card: dict[str, str]


def describe(place: str | None, formats: Formats, argument: str = "") -> dict[str, Any]:
    """Describe what a repository, a folder or a file holds, from configurations and headers.

    Args:
        place: `hf:owner/name[@revision]`, or a path; None for a model without files.
        formats: The formats that it may be of, by name.
        argument: What stood before the place in the model's name.

    Returns:
        Names with values, in the order in which they are shown. A model that is not supported is
        described as such, with a `reason`.

    Raises:
        ValueError: It cannot be looked into.
        ConnectionError: The Hub is out of reach.
    """
    if place is None or not place.startswith(PREFIX):
        found = _local(place, argument)
    else:
        found = _remote(parse(place), argument)
    checkpoint = found.checkpoint
    about = {
        "model": checkpoint.name,
        "revision": found.address and found.address.revision,
        "licence": found.card.get("license"),
        "supported": False,
    }
    try:
        name = _choose(formats, checkpoint)
    except ValueError as error:
        return about | {"reason": str(error)}
    weights = find_parts(formats[name], checkpoint).weights
    size = {
        "format": name,
        "file": ", ".join(weights),
        "bytes": sum(checkpoint.sizes[file] for file in weights),
    }
    try:
        summary = formats[name].summarise(checkpoint)
    except ValueError as error:
        return about | {"reason": str(error)} | size
    about |= summary._asdict() | size
    held = [_count(found, file) for file in weights]
    if None not in held and sum(filter(None, held)) != summary.parameters:
        total = sum(filter(None, held))
        why = f"The file holds {total:,} numbers, the architecture {summary.parameters:,}."
        return about | {"reason": why}
    return about | {"supported": True}


def _remote(address: Address, argument: str) -> _Place:
    try:
        found = listing(address)
        return _Place(_on_hub(found, argument), found.address, found.card)
    except ConnectionError:
        kept = pin_model(address)
        checkpoint = _in_cache(kept, argument)
        if not checkpoint.sizes:
            raise
        return _Place(checkpoint, kept, {})


def _local(place: str | None, argument: str) -> _Place:
    checkpoint = _open(place, argument)
    card = "README.md" in checkpoint.sizes and read_front(checkpoint.path("README.md"), NAMES)
    return _Place(checkpoint, None, read_card(card or {}))


def _count(place: _Place, name: str) -> int | None:
    """How many numbers a safetensors file holds, from its header; None of other files."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import SafetensorsParsingError

    if not name.endswith(".safetensors"):
        return None
    if place.address is None:
        return _count_local(place.checkpoint.path(name))
    if file := cached(place.address, [name]):
        return _count_local(file[name])
    try:
        with explained(place.address):
            header = HfApi().parse_safetensors_file_metadata(
                place.address.repository, name, revision=place.address.revision
            )
    except SafetensorsParsingError:
        return 0
    return sum(header.parameter_count.values())


def _count_local(path: Path) -> int | None:
    try:
        with path.open("rb") as file:
            return sum(math.prod(place["shape"]) for place in read_header(file).places.values())
    except ValueError:
        return 0

"""Models in diffusers' layout, on the Hub or in a local folder."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import safetensors

from ..core.model import DiffusionModel
from ..formats import Condition, Summary, inspect_config, load_diffusers
from ..formats.diffusers import check_condition, read_json
from .download import Listing, cached, check, download, folder_of, listing, pin
from .errors import explained
from .reference import PREFIX, Reference, parse

# A network lies at the root of a repository or is a pipeline's part; safetensors come first.
_NETWORKS = [(unet, kind) for unet in ("", "unet/") for kind in ("safetensors", "bin")]
_WEIGHTS = {f"{unet}diffusion_pytorch_model.{kind}": unet for unet, kind in _NETWORKS}
_SCHEDULERS = ("scheduler/scheduler_config.json", "scheduler_config.json")
_PIPELINE = "model_index.json"
CONFIGS = ("config.json", "unet/config.json", *_SCHEDULERS, _PIPELINE)


class Files(NamedTuple):
    """The files that make a model, by their names in a repository or folder."""

    config: str
    scheduler: str
    weights: str


def plan(names: Iterable[str]) -> Files:
    """Those of the files that make a model. Raises ValueError where they make none."""
    names = set(names)
    if "sampler.safetensors" in names:
        raise ValueError("It is a sampler, not a model; `samplerzoo sample` takes it.")
    parts = {name.split("/")[0] for name in names if name.count("/") == 1 and "config" in name}
    if _PIPELINE in names and (others := sorted(parts - {"unet", "scheduler"})):
        raise ValueError(
            f"It is a pipeline with a part {others[0]!r}; supported are pipelines of a unet on "
            "pixels and a scheduler."
        )
    networks = ((f"{unet}config.json", weights) for weights, unet in _WEIGHTS.items())
    network = next((pair for pair in networks if names.issuperset(pair)), None)
    scheduler = next((name for name in _SCHEDULERS if name in names), None)
    if network is None or scheduler is None:
        lacking = (
            "config.json with diffusion_pytorch_model.safetensors or .bin"
            if network is None
            else "scheduler_config.json"
        )
        raise ValueError(f"It is not in diffusers' layout: there is no {lacking}.")
    return Files(network[0], scheduler, network[1])


def pin_model(reference: Reference) -> Reference:
    """The same at the commit that its branch or tag stands for; without network, the last seen."""
    return pin(reference, CONFIGS)


def load_model(
    name: str, label: int | None = None, guidance: float | None = None
) -> DiffusionModel:
    """The model that `hf:owner/name`, `hf:owner/name@revision` or the path of a folder stands for.

    A class-conditional model needs the `label` of the class to sample, and takes a weight of
    classifier-free guidance if its last label stands for no class. Raises ValueError for a model
    that is not there or not supported, ConnectionError where the Hub is out of reach or a file
    arrives damaged.
    """
    condition, on_hub = Condition(label, guidance), name.startswith(PREFIX)
    folder = fetch_model(parse(name), condition) if on_hub else Path(name)
    return load_diffusers(folder, label, guidance)


def fetch_model(reference: Reference, condition: Condition) -> Path:
    """The folder of the cache with a model; no request for a commit that is there.

    Weights are fetched last, and only of a model that is supported. Raises ValueError for others.
    """
    reference = pin_model(reference)
    found = cached(reference, (*CONFIGS, *_WEIGHTS))
    try:
        files = plan(found)
    except ValueError:
        files, found = _fetch(reference, condition)
    check(found[files.weights])
    return folder_of(found)


def _fetch(reference: Reference, condition: Condition) -> tuple[Files, dict[str, Path]]:
    sizes = listing(reference).sizes
    with _unsupported(reference):
        files = plan(sizes)
    found = {name: download(reference, name) for name in CONFIGS if name in sizes}
    with _unsupported(reference):
        summary = summarise(found[files.config], found[files.scheduler])
        check_condition(summary.classes, condition)
    return files, found | {files.weights: download(reference, files.weights)}


@contextmanager
def _unsupported(reference: Reference) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{reference} is not supported. {error}") from error


def summarise(config: Path, scheduler: Path) -> Summary:
    """A model by its two configurations. Raises ValueError where it is not supported."""
    return inspect_config(read_json(config), read_json(scheduler))


class _Place(NamedTuple):
    """A model's files, wherever they are: their sizes, a way to one, and one's header."""

    name: str
    revision: str | None
    sizes: dict[str, int]
    card: dict[str, Any]
    get: Callable[[str], Path]
    numbers: Callable[[str], int | None]


def describe(name: str) -> dict[str, Any]:
    """What `hf:owner/name` or a local folder holds, from configurations and headers alone.

    Raises ValueError or ConnectionError where it cannot be looked into; a model that is not
    supported is described as such.
    """
    place = _on_hub(parse(name)) if name.startswith(PREFIX) else _local(Path(name))
    about = {
        "model": place.name,
        "revision": place.revision,
        "licence": place.card.get("license"),
        "supported": False,
    }
    try:
        files = plan(place.sizes)
    except ValueError as error:
        return about | {"reason": str(error)}
    size = {"file": files.weights, "bytes": place.sizes[files.weights]}
    configs = place.get(files.config), place.get(files.scheduler)
    try:
        summary = summarise(*configs)
    except ValueError as error:
        return about | {"reason": str(error)} | size
    about |= summary._asdict() | size
    held = place.numbers(files.weights)
    if held not in (None, summary.parameters):
        why = f"The file holds {held:,} numbers, the architecture {summary.parameters:,}."
        return about | {"reason": why}
    return about | {"supported": True}


def _on_hub(reference: Reference) -> _Place:
    try:
        found = listing(reference)
    except ConnectionError:
        files = cached(reference, (*CONFIGS, *_WEIGHTS))
        if not _WEIGHTS.keys() & files.keys():
            raise
        commit = Reference(reference.repository, folder_of(files).name)
        sizes = {name: path.stat().st_size for name, path in files.items()}
        found = Listing(commit, sizes, card={}, private=False)
    at = found.reference
    return _Place(
        str(at), at.revision, found.sizes, found.card,
        lambda name: download(at, name),
        lambda name: _count_remote(at, name),
    )  # fmt: skip


def _local(folder: Path) -> _Place:
    from huggingface_hub import metadata_load

    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; give one, or hf:owner/name.")
    paths = [path for depth in ("*", "*/*") for path in folder.glob(depth) if path.is_file()]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
    card = metadata_load(folder / "README.md") if "README.md" in sizes else None
    return _Place(
        str(folder), None, sizes, card or {},
        lambda name: folder / name,
        lambda name: _count_local(folder / name),
    )  # fmt: skip


def _count_remote(reference: Reference, name: str) -> int | None:
    """How many numbers a safetensors file holds, from its header; None of other files."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import SafetensorsParsingError

    if not name.endswith(".safetensors"):
        return None
    if file := cached(reference, [name]):
        return _count_local(file[name])
    try:
        with explained(reference):
            header = HfApi().parse_safetensors_file_metadata(
                reference.repository, name, revision=reference.revision
            )
    except SafetensorsParsingError:
        return 0
    return sum(header.parameter_count.values())


def _count_local(path: Path) -> int | None:
    if path.suffix != ".safetensors":
        return None
    try:
        with safetensors.safe_open(path, "numpy") as file:
            return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    except safetensors.SafetensorError:
        return 0

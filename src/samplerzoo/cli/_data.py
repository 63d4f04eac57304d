"""The data that a command names, and their features."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Array, Float
from tqdm import tqdm

from ..core.model import DiffusionModel
from ..data import Images, Range, Shape, read
from ..files import digest
from ..metrics import FeatureSet
from ..references import (
    Bank,
    Data,
    Statistics,
    cache_path,
    fingerprint,
    is_bank,
    is_statistics,
    reference,
)
from ..registry import entries, resolve
from ._common import call

Extractors: TypeAlias = Mapping[str, Callable[[Array], Array]]


def load_data(
    name: str, model: DiffusionModel, split: str | None = None, crop: bool = False
) -> Data:
    """The data of a name, in the shape and the range of a model."""
    return load_images(name, model.shape, model.clip, split, crop)


def load_held_out(
    name: str, shape: Shape, clip: Range, split: str | None = None, crop: bool = False
) -> Data:
    """Held-out data, cropped as the data are if they are files too."""
    return load_images(name, shape, clip, split, crop and not _is_object(name))


def load_images(
    name: str, shape: Shape, clip: Range, split: str | None = None, crop: bool = False
) -> Data:
    """A registered data set, what `python:` leads to, or what lies at a path.

    Images as `samplerzoo.data.read` reads them; features that were kept before, as a .safetensors
    file or a folder of such; or their moments, an .npz of `mu` and `sigma`.
    """
    if _is_object(name):
        return _object(name, shape, clip, split, crop)
    path = Path(name)
    if not path.exists():
        known = ", ".join(entries("datasets"))
        raise ValueError(f"{name!r} is neither a file or folder nor a data set ({known}).")
    if not is_bank(path) and (split or not is_statistics(path)):
        return read(path, shape, clip, split, crop)
    if split or crop:
        raise ValueError(f"{name!r} holds no images, so there is no --split and no --crop of it.")
    return Bank.at(path) if is_bank(path) else Statistics(path)


def _is_object(name: str) -> bool:
    return name.startswith("python:") or name in entries("datasets")


def _object(name: str, shape: Shape, clip: Range, split: str | None, crop: bool) -> Data:
    if split or crop:
        raise ValueError(f"The data {name!r} are no files, so there is no --split or --crop of it.")
    found = call(resolve("datasets", name), f"The data {name!r}")
    if isinstance(found, Bank | Statistics):
        return found
    if not isinstance(found, Images):
        try:
            return Images.of(np.asarray(found), clip, name, shape)
        except TypeError as error:
            raise ValueError(f"The data {name!r} are not an array of numbers: {error}.") from error
    if found.shape != shape:
        raise ValueError(
            f"The data of {name} have shape {found.shape} where the model makes {shape}."
        )
    return found


def load_references(
    features: Extractors, data: Data, held_out: Data | None = None, quiet: bool = True
) -> dict[str, FeatureSet]:
    """The features of the data by each extractor's name, with a progress bar if not quiet."""
    total = sum(len(images) for images in (data, held_out) if isinstance(images, Images))
    found = {}
    for name, phi in features.items():
        with tqdm(total=total, desc=f"features {name}", delay=1, leave=False, disable=quiet) as bar:
            found[name] = reference(name, phi, data, held_out, bar.update)
    return found


def kept(data: Data, features: Extractors, quiet: bool) -> list[dict[str, Any]]:
    """Where the features of a data set are kept, computed now if they were not.

    Raises ValueError where there are no images to compute them from.
    """
    if not isinstance(data, Images):
        raise ValueError("These data are features already; give the images.")
    rows = []
    for name, found in load_references(features, data, quiet=quiet).items():
        extractor = fingerprint(features[name], data.shape)
        path = cache_path(extractor, data)
        rows.append({
            "features": name, "n": len(data), "d": found.width, "path": path and str(path),
            "data": data.digest, "extractor": extractor,
        })  # fmt: skip
    return rows


def first_images(data: Data, number: int) -> Float[np.ndarray, "number ..."] | None:
    """The first images of a data set; None where it has no images."""
    return data[:number] if isinstance(data, Images) else None


def hashes(model: DiffusionModel, data: Data, features: Extractors) -> dict[str, str]:
    """The SHA-256 of the model's weights and of the data, and the extractors' fingerprints."""
    found = {name: fingerprint(phi, model.shape) for name, phi in features.items()}
    return {"model": digest(model), "data": data.digest, **found}

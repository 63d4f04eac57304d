"""The cache: a file for each data set and extractor, named by the hashes of both.

A file is written under another name, then renamed: two processes that compute the same write the
same, one after the other, and a reader finds a whole file or none.
"""

import functools
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..caches import user_cache
from ..data import AbstractDataset, Images
from ..features import Extractor, as_extractor, extract_batches
from ..metrics import FeatureSet
from ..wording import phrase
from .files import FORMAT, Kept, read_features, write_features
from .hashing import CALLBACK, fingerprint

Progress: TypeAlias = Callable[[int], object]
_OLD = 86_400  # seconds after which an unfinished file is that of a process that was killed


def cache_folder() -> Path:
    """Where features are kept: `references` in $SAMPLERZOO_CACHE, else in the user's cache."""
    return user_cache() / "references"


def reference(
    name: str,
    phi: Extractor,
    data: AbstractDataset,
    held_out: AbstractDataset | None = None,
    progress: Progress | None = None,
) -> FeatureSet:
    """Return the features of a data set and their moments, from the cache where they are there.

    They are a memory map of a file in the cache, computed a batch at a time where there is no such
    file yet. Of a `Bank` or `Statistics`, they are what these hold.

    Args:
        name: The extractor's name, which messages and files say.
        phi: The extractor: a function from one image (H, W, C) to a vector (d,).
        data: The images, or a `Bank` or `Statistics` in their place.
        held_out: Images that the model was not trained on, for metrics that need them.
        progress: A function that is told the number of images of each batch.

    Returns:
        The features, with the extractor's head where it has one.

    Raises:
        ValueError: Features are not finite, or an image cannot be read.
    """
    compute = functools.partial(_computed, progress)
    found = data.reference(name, phi, compute)
    if held_out is not None:
        found.held_out = held_out.reference(name, phi, compute)
    return found


def cache_path(extractor: str, images: Images) -> Path | None:
    """The file of the features of some images by an extractor's fingerprint, on such a device.

    None for an extractor that calls back to Python: its fingerprint does not say what it does.
    """
    if CALLBACK in extractor:
        return None
    key = f"{FORMAT} {extractor} {images.digest} {jax.default_backend()}"
    return cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.safetensors"


def _computed(progress: Progress | None, name: str, phi: Extractor, images: Images) -> FeatureSet:
    kept = _kept(name, phi, images, progress)
    return FeatureSet(kept.features, moments=kept.moments, head=as_extractor(phi).classifier())


def _kept(name: str, phi: Extractor, images: Images, progress: Progress | None) -> Kept:
    extractor = fingerprint(phi, images.shape)
    path = cache_path(extractor, images)
    about = {"features": name, "extractor": extractor, "data": images.digest}
    if path is not None and (found := _read(path, extractor, images)):
        return found
    width = jax.eval_shape(phi, jax.ShapeDtypeStruct(images.shape, jnp.float32)).shape[0]
    with _new(path) as file:
        chunks = _features(name, phi, images, progress)
        write_features(file, chunks, (len(images), width), about)
        return read_features(file)


def _features(
    name: str, phi: Extractor, images: Images, progress: Progress | None
) -> Iterator[Float[np.ndarray, "b d"]]:
    for chunk in extract_batches(phi, images):
        if not np.all(np.isfinite(chunk)):
            raise ValueError(f"The features {name!r} of the data are not all finite (NaN or inf).")
        yield chunk
        if progress is not None:
            progress(len(chunk))


def _read(path: Path, extractor: str, images: Images) -> Kept | None:
    """What is kept in a file; None where there is none, or a damaged one, which is said."""
    try:
        with path.open("rb") as file:
            found = read_features(file)
        about = found.metadata
        if (about["extractor"], about["data"]) != (extractor, images.digest):
            raise ValueError("it is another file under this name")
        return found
    except OSError:
        return None
    except ValueError as error:
        warn_once(f"The kept features {path} are damaged ({phrase(error)}), so computed again.")
        return None


@contextmanager
def _new(path: Path | None) -> Iterator[IO[bytes]]:
    """A file that gets the name `path` once it is whole; one without name where it cannot."""
    file = None if path is None else _unfinished(path.parent)
    if path is None or file is None:
        with tempfile.TemporaryFile() as nameless:
            yield nameless
        return
    try:
        with file:
            yield file
            os.fsync(file.fileno())
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except OSError as error:
        raise ValueError(
            f"{path.parent} cannot be written: {phrase(error)}. Make room, or set "
            "SAMPLERZOO_CACHE to another folder."
        ) from error
    finally:
        Path(file.name).unlink(missing_ok=True)  # there is none where it has its name


def _unfinished(folder: Path) -> Any:
    """A new file in the cache, None where there can be none; those left there are removed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".*.tmp"):
            with suppress(FileNotFoundError):  # where another process was faster
                if time.time() - left.stat().st_mtime > _OLD:
                    left.unlink()
        return tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".tmp", delete=False)
    except OSError as error:
        warn_once(
            f"Features of data are not kept, because {folder} cannot be written "
            f"({phrase(error)}); SAMPLERZOO_CACHE names another folder."
        )
        return None


@functools.cache
def warn_once(message: str) -> None:
    """Say something once, on stderr unless the program's logging says otherwise."""
    logging.getLogger("samplerzoo").warning("Warning: %s", message)

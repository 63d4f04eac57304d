"""CIFAR-10 as an image-folder, or a zip of one: one folder a class."""

import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from ...data.sources import SUFFIXES, read
from .classifier import CLASSES
from .loop import Data

SHAPE = (32, 32, 3)


def labelled(path: Path) -> Data:
    """The images at `path` with their classes, numbered in the order of the folders' names.

    Raises ValueError where there are not ten folders of 32x32 images.
    """
    images = read(path, SHAPE)
    folders = [Path(name).parent.name for name in _names(path)]
    classes = sorted(set(folders))
    if len(classes) != CLASSES:
        raise ValueError(
            f"{path} has {len(classes)} folders of images; one for each of {CLASSES} classes is "
            "needed."
        )
    pixels = np.round((images + 1) * 127.5).astype(np.uint8)
    labels = np.asarray([classes.index(folder) for folder in folders], np.int32)
    return Data(jnp.asarray(pixels), jnp.asarray(labels))


def _names(path: Path) -> list[str]:
    """The images' paths in the order in which `read` reads them."""
    if path.is_dir():
        files = [str(p) for p in sorted(path.rglob("*")) if p.is_file()]
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            files = sorted(archive.namelist())
    else:
        raise ValueError(f"{path} is neither a folder nor a zip of images.")
    paths = [(name, Path(name)) for name in files]
    return [n for n, p in paths if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]

"""CIFAR-10 as an image-folder, or a zip of one: one folder a class."""

import zipfile
from pathlib import Path, PurePosixPath

import jax.numpy as jnp
import numpy as np

from ...data.files import open_folder, open_zip
from .classifier import CLASSES
from .loop import Data

SHAPE = (32, 32, 3)


def labelled(path: Path) -> Data:
    """The images at `path` with their classes, numbered in the order of the folders' names.

    Raises ValueError where there are not ten folders of 32x32 images.
    """
    if not path.is_dir() and not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is neither a folder nor a zip of images.")
    files = (open_folder if path.is_dir() else open_zip)(path, SHAPE)
    folders = [
        PurePosixPath(name.rpartition(":")[2]).parent.name for name in files.names(0, len(files))
    ]
    classes = sorted(set(folders))
    if len(classes) != CLASSES:
        raise ValueError(
            f"{path} has {len(classes)} folders of images; one for each of {CLASSES} classes is "
            "needed."
        )
    labels = np.asarray([classes.index(folder) for folder in folders], np.int32)
    return Data(jnp.asarray(files.rows(0, len(files))), jnp.asarray(labels))

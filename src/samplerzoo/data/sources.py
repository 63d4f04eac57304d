"""A data set from its path: what lies there decides how it is read."""

import zipfile
from pathlib import Path

from ..opening import check_path
from .arrays import open_array
from .cifar import is_cifar, open_cifar
from .files import open_folder, open_zip
from .images import Images, Range, Shape, check_count
from .parquet import find_shards, open_parquet

ARRAYS = (".npz", ".npy")


def read(
    path: Path,
    shape: Shape,
    clip: Range = (-1.0, 1.0),
    split: str | None = None,
    crop: bool = False,
) -> Images:
    """Open the images at a path, each of the given shape; they are decoded when they are asked for.

    Args:
        path: A folder or a zip of images, an .npz or .npy array (N, H, W, C), CIFAR's folder or
            .tar.gz, or Parquet files with a column of images and the folder of such.
        shape: The shape of one image: (H, W, 1) reads image files in grey, (H, W, 3) in colour.
        clip: The model's range (low, high), which floats must lie in; None for any.
        split: A part of what is there: a folder in a folder or zip, an array of an .npz, `train`
            (the default) or `test` of CIFAR, the Parquet files of that name.
        crop: Resize image files of other sizes and crop them at the centre.

    Returns:
        The images.

    Raises:
        ValueError: There are not two images or not such a split, or something is damaged or of
            another size; of image files, where the image is reached. Also where the path leads to
            a device or a pipe.
        LimitError: Something would unpack to more than `samplerzoo.limits` allows.
    """
    check_path(path)
    if not path.exists():
        raise ValueError(f"There is no folder or file {path}.")
    if path.suffix in ARRAYS:
        return Images.of(open_array(path, split), clip, str(path), shape)
    if is_cifar(path):
        return Images.of(open_cifar(path, split), clip, str(path), shape)
    if shards := find_shards(path):
        files = open_parquet(path, shards, shape, split, crop)
    elif path.is_dir():
        files = open_folder(path, shape, split, crop)
    elif zipfile.is_zipfile(path):
        files = open_zip(path, shape, split, crop)
    else:
        raise ValueError(
            f"{path} is neither a folder or a zip of images nor an .npz, .npy, .parquet or CIFAR's "
            ".tar.gz."
        )
    check_count(len(files), str(path))
    return Images(files, shape, clip)

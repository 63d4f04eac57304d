"""References whose images are not there: features, or their moments, that were computed before."""

import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..data import AbstractDataset
from ..features import Extractor, as_extractor
from ..metrics import FeatureSet, load_moments
from ..opening import open_file
from .files import damage, read_features, read_metadata
from .hashing import weights_digest

SUFFIX = ".safetensors"


class Bank(AbstractDataset):
    """Stand for a data set by files of its features, such as the cache keeps.

    There is one file for each extractor.

    Args:
        paths: The files.

    Raises:
        ValueError: A file is not one of features, or they are not of the same data.
    """

    def __init__(self, paths: Iterable[Path]):
        self._paths: dict[str, Path] = {}
        digests = set()
        for path in paths:
            with damage(path):
                about = read_metadata(path)
            self._paths[about["features"]] = path
            digests.add(about["data"])
        if len(digests) != 1:
            names = ", ".join(map(str, self._paths.values())) or "none"
            raise ValueError(f"One data set's features are needed, not {len(digests)}'s ({names}).")
        self._digest: str = digests.pop()

    @classmethod
    def at(cls, path: str | Path) -> "Bank":
        """Make the Bank of a file, or of all files of a folder.

        Args:
            path: A .safetensors file, or a folder of them.

        Returns:
            The Bank.

        Raises:
            ValueError: A file is not one of features, or they are not of the same data.
        """
        path = Path(path)
        return cls(sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path])

    @property
    def digest(self) -> str:
        """Return the hash of the images that the features are of."""
        return self._digest

    @property
    def images(self) -> None:
        """Return None: there are no images."""
        return None

    def reference(self, name: str, phi: Extractor, compute: Any = None) -> FeatureSet:
        """Return the features of one extractor.

        Args:
            name: The extractor's name.
            phi: The extractor, whose weights must be those that made the features.
            compute: Computes the features of images, of which there are none here.

        Returns:
            The features, as a memory map.

        Raises:
            ValueError: Another extractor made them, there are none, or the file is damaged.
        """
        if name not in self._paths:
            raise ValueError(
                f"Of the data there are the features {', '.join(self._paths)} and no images, so "
                f"not {name!r}."
            )
        path = self._paths[name]
        with damage(path), path.open("rb") as file:
            kept = read_features(file)
        if kept.metadata["extractor"].partition(".")[0] != weights_digest(phi):
            raise ValueError(f"{path} was made by an extractor {name!r} with other weights.")
        return FeatureSet(kept.features, moments=kept.moments, head=as_extractor(phi).classifier())


class Statistics(AbstractDataset):
    """Stand for one data set by the mean and the covariance of its features, from an .npz file.

    The file holds `mu` and `sigma`, as pytorch-fid and torch-fidelity write them. It does not say
    of which features.

    Args:
        path: The .npz file.

    Raises:
        ValueError: The file is not such a file, or `sigma` is not a covariance.
    """

    def __init__(self, path: str | Path):
        path = Path(path)
        self._moments = load_moments(path)
        with open_file(path) as file:
            self._digest = hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the file."""
        return self._digest

    @property
    def images(self) -> None:
        """Return None: there are no images."""
        return None

    def reference(self, name: str, phi: Extractor, compute: Any = None) -> FeatureSet:
        """Return the moments alone, whatever the extractor.

        Args:
            name: The extractor's name, which is not looked at.
            phi: The extractor, which is not looked at.
            compute: Computes the features of images, of which there are none here.

        Returns:
            A set of moments without features.
        """
        return FeatureSet(moments=self._moments)


def is_bank(path: Path) -> bool:
    """Whether a path is a .safetensors file, or a folder that has such."""
    return path.suffix == SUFFIX or (path.is_dir() and any(path.glob(f"*{SUFFIX}")))


def is_statistics(path: Path) -> bool:
    """Whether a file is an .npz with `mu` and `sigma`."""
    if path.suffix != ".npz" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return {"mu.npy", "sigma.npy"} <= set(archive.namelist())

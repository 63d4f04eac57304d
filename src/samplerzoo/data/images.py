"""A set of images, which are decoded when they are asked for."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..wording import printable

Shape: TypeAlias = tuple[int, ...]
Range: TypeAlias = tuple[float, float] | None
RECIPE = "samplerzoo.images/1"  # another one when the same files give other numbers
NUMBERS = 2**22  # that are read at a time where all are


class AbstractSource(ABC):
    """Images as they are stored."""

    @abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abstractmethod
    def rows(self, start: int, stop: int) -> np.ndarray:
        """Some of them: 8-bit integers, or floats in the model's range, (n, ...)."""

    @abstractmethod
    def content(self) -> Iterator[bytes | memoryview]:
        """All that they are made from, in order."""


class AbstractDataset(ABC):
    """Stand for a data set: by its images, or by what was computed of them before."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """Return the hash that tells the data set from others."""

    @property
    @abstractmethod
    def images(self) -> "Images | None":
        """Return the images; None where they are not there."""

    @abstractmethod
    def reference(
        self,
        name: str,
        phi: Callable[[Array], Array],
        compute: Callable[[str, Callable[[Array], Array], "Images"], Any],
    ) -> Any:
        """Return the features by one extractor, for scores to compare samples with.

        Args:
            name: The extractor's name.
            phi: The extractor.
            compute: A function of the name, the extractor and images that returns their features.

        Returns:
            A `FeatureSet`.

        Raises:
            ValueError: There are none by this extractor.
        """


@dataclass(frozen=True, eq=False)
class Images(AbstractDataset):
    """Hold a set of images, or of other samples, that are read when they are asked for.

    `images[a:b]` are float32 arrays (b - a, *shape) in a model's range: 8-bit images are brought to
    it, floats are as they are stored. `read` and `Images.of` make one.

    Args:
        source: Where the images are stored.
        shape: The shape of one, (H, W, C).
        clip: The range (low, high) of the model; [-1, 1] if None.
    """

    source: AbstractSource
    shape: Shape
    clip: Range

    @classmethod
    def of(
        cls,
        array: ArrayLike,
        clip: Range = None,
        name: str = "The array",
        shape: Shape | None = None,
    ) -> "Images":
        """Make a set of the images of an array.

        Args:
            array: The images, (N, ...): uint8, or floats in the range.
            clip: The range (low, high) that floats must lie in and 8-bit images are brought to;
                None for any floats, and [-1, 1].
            name: What messages call the array.
            shape: The shape of one image. An array without the last axis of (H, W, 1) is grey.

        Returns:
            The set.

        Raises:
            ValueError: The array has other numbers, or another shape.
        """
        array = np.asarray(array)
        if shape is not None and array.ndim == len(shape) and shape[-1] == 1:
            array = array[..., None]
        shape = array.shape[1:] if shape is None else shape
        _check(array, name, shape, clip)
        return cls(_Rows(array), shape, clip)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, rows: slice) -> Float[np.ndarray, "n ..."]:
        """Read the images of a slice.

        Args:
            rows: A slice without a step.

        Returns:
            The images, float32 (n, ...), in the model's range.

        Raises:
            ValueError: The slice has a step, or an image cannot be read.
        """
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"Images are read in order, so a slice has no step; {step} is given.")
        found = self.source.rows(start, max(start, stop))
        if found.dtype == np.uint8:
            low, high = self.clip or (-1.0, 1.0)
            return low + (high - low) / 255 * found.astype(np.float32)
        return found.astype(np.float32)

    def batches(self, size: int) -> Iterator[Float[np.ndarray, "n ..."]]:
        """Read all images in order, some at a time.

        Args:
            size: The images at a time; the last batch has what is left.

        Returns:
            An iterator over float32 arrays (n, ...).
        """
        for start in range(0, len(self), size):
            yield self[start : start + size]

    @property
    def images(self) -> "Images":
        """Return the set itself: it is a data set whose images are there."""
        return self

    def reference(
        self,
        name: str,
        phi: Callable[[Array], Array],
        compute: Callable[[str, Callable[[Array], Array], "Images"], Any],
    ) -> Any:
        """Return the features of the images by one extractor.

        Args:
            name: The extractor's name.
            phi: The extractor.
            compute: A function of the name, the extractor and images that returns their features.

        Returns:
            What `compute` returns of these images.
        """
        return compute(name, phi, self)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of what the images are made from and of how they are read.

        It is the same wherever they are stored. Nothing is decoded for it.
        """
        return self._digest

    @cached_property
    def _digest(self) -> str:
        total = hashlib.sha256(f"{RECIPE} {self.shape} {self.clip}\n".encode())
        for piece in self.source.content():
            total.update(piece)
        return total.hexdigest()


class _Rows(AbstractSource):
    """An array of images, which may be a memory map."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def rows(self, start: int, stop: int) -> np.ndarray:
        return np.asarray(self.array[start:stop])

    def content(self) -> Iterator[bytes | memoryview]:
        yield f"{self.array.dtype.str} {self.array.shape}\n".encode()
        for piece in _pieces(self.array):
            yield np.ascontiguousarray(piece).data


def _pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    size = max(1, NUMBERS // max(1, array[:1].size))
    for start in range(0, len(array), size):
        yield array[start : start + size]


def _check(images: np.ndarray, source: str, shape: Shape, clip: Range) -> None:
    """Raise ValueError unless there are two images at least, of a shape, finite and in range.

    Floats must use the negative half of a range that has one.
    """
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        kind = printable(str(images.dtype), 80)
        raise ValueError(f"The data of {source} are {kind}; uint8 or floats are needed.")
    if images.ndim == 0 or images.shape[1:] != shape:
        raise other_shape(source, images.shape[1:], shape)
    check_count(len(images), source)
    if images.dtype == np.uint8:
        return
    bounds = [_bounds(piece) for piece in _pieces(images)]
    least, most = min(b[0] for b in bounds), max(b[1] for b in bounds)
    if not np.all(np.isfinite(bounds)):
        raise ValueError(f"The data of {source} hold numbers that are not finite (NaN or inf).")
    low, high = clip or (-np.inf, np.inf)
    if least < low - 1e-3 or most > high + 1e-3 or (low < 0 <= least):
        raise ValueError(
            f"The data of {source} lie in [{least:g}, {most:g}] where the model's lie in "
            f"[{low:g}, {high:g}]; give uint8, or floats of that range."
        )


def other_shape(source: str, found: Shape, wanted: Shape) -> ValueError:
    """Make the error of data whose images have another shape than a model's."""
    return ValueError(f"The data of {source} have shape {found} where the model makes {wanted}.")


def check_count(count: int, source: str) -> None:
    """Raise ValueError where there are fewer than two images."""
    if count < 2:
        raise ValueError(f"{source} holds {count} image(s); at least 2 are needed.")


def _bounds(piece: np.ndarray) -> tuple[float, float]:
    """The least and the greatest number in float32, NaN where there is one."""
    with np.errstate(over="ignore"):
        numbers = piece.astype(np.float32)
    return float(np.min(numbers)), float(np.max(numbers))

"""The mean and the covariance of features, and the files that other tools keep them in."""

import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..files import write
from ..limits import UNPACKED_BYTES, LimitError
from ..opening import open_file
from ..wording import phrase


@dataclass(frozen=True)
class Moments:
    """Hold the mean and the covariance (divided by N - 1) of a set of features, in float64.

    Args:
        mean: The mean, (d,).
        covariance: The covariance, (d, d).
    """

    mean: Float[np.ndarray, "d"]
    covariance: Float[np.ndarray, "d d"]

    def save(self, path: str | Path) -> None:
        """Write an .npz file of `mu` and `sigma`, as pytorch-fid and torch-fidelity read it.

        Args:
            path: The file to write.
        """
        buffer = io.BytesIO()
        np.savez(buffer, mu=self.mean, sigma=self.covariance)
        write(Path(path), buffer.getvalue())


def accumulate(chunks: Iterable[Float[np.ndarray, "_ d"]]) -> Moments:
    """The moments of at least two points that come in chunks of any sizes.

    All are shifted by the mean of the first, so that a mean far from zero costs no digits, and
    the chunks merged as in Chan, Golub and LeVeque (1983).
    """
    count, shift, mean, scatter = 0, np.zeros(1), np.zeros(1), np.zeros((1, 1))
    for chunk in chunks:
        points = np.array(chunk, np.float64)
        shift = shift if count else points.mean(0)
        points -= shift
        centre = points.mean(0)
        points -= centre
        gap, total = centre - mean, count + len(points)
        scatter = scatter + points.T @ points
        scatter += (count * len(points) / total * gap)[:, None] * gap[None, :]
        mean, count = mean + len(points) / total * gap, total
    if count < 2:
        raise ValueError(f"Moments need at least 2 points; {count} are given.")
    return Moments(shift + mean, scatter / (count - 1))


def load_moments(path: Path) -> Moments:
    """The moments in an .npz file with `mu` (d,) and `sigma` (d, d), of whatever tool.

    Raises ValueError where the file is none such, or the covariance is not one.
    """
    try:
        with open_file(path) as opened:
            with zipfile.ZipFile(opened) as archive:
                size = sum(member.file_size for member in archive.infolist())
                UNPACKED_BYTES.check(size, f"{path}, unpacked,")
            opened.seek(0)
            with np.load(opened, allow_pickle=False) as file:
                mean, covariance = (_real(file[key]) for key in ("mu", "sigma"))
    except FileNotFoundError:
        raise ValueError(f"There is no file {path}.") from None
    except LimitError:
        raise
    except Exception as error:  # damage shows as one of many kinds
        raise ValueError(
            f"{path} cannot be read as an .npz file of the arrays 'mu' and 'sigma' "
            f"({phrase(error)})."
        ) from error
    if mean.ndim != 1 or mean.size == 0 or covariance.shape != 2 * mean.shape:
        raise ValueError(
            f"{path} has mu of shape {mean.shape} and sigma of shape {covariance.shape}; (d,) and "
            "(d, d) are needed."
        )
    if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(covariance))):
        raise ValueError(f"{path} holds numbers that are not finite (NaN or inf).")
    spread = np.max(np.abs(covariance))
    asymmetry = np.max(np.abs(covariance - covariance.T))
    if asymmetry > 1e-5 * spread or np.min(np.diagonal(covariance)) < -1e-5 * spread:
        raise ValueError(
            f"The sigma of {path} is not a covariance: it must be symmetric and its diagonal not "
            "negative."
        )
    return Moments(mean, (covariance + covariance.T) / 2)


def _real(array: np.ndarray) -> np.ndarray:
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"they must be floating-point numbers, not {array.dtype}")
    return array.astype(np.float64)

"""Squared distances to nearest neighbours: exact, at the speed of float32 matrix products.

`|x|^2 + |y|^2 - 2 x.y` loses digits where points are near each other. So it only screens: it comes
with a bound of its error, and each comparison that the bound leaves open is made with
`sum (x - y)^2` in float64. Equal distances compare as equal, and duplicates are at distance 0.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from .checks import pieces

BLOCK = 2**21  # distances that are held at a time: in float32, what a core's cache holds
GROUPS = 128  # of a row, whose least numbers stand for it
OPEN = 64  # comparisons left open for a point, on average, above which float64 screens


class Side(NamedTuple):
    """One set, centred and scaled to numbers of at most 1, with its squared norms."""

    points: Float[np.ndarray, "N d"]
    norms: Float[np.ndarray, "N"]


def radii(x: Float[np.ndarray, "N d"], k: int) -> Float[np.ndarray, "N"]:
    """The squared distance of each point to its `k`-th nearest other point of the set."""
    return _kth(x, x, k, own=True)


def nearest(x: Float[np.ndarray, "N d"], y: Float[np.ndarray, "M d"]) -> Float[np.ndarray, "N"]:
    """The squared distance of each point to the nearest of another set."""
    return _kth(x, y, 1, own=False)


def inside(
    x: Float[np.ndarray, "N d"],
    y: Float[np.ndarray, "M d"],
    limits: Sequence[Float[np.ndarray, "_ _"]],
    closed: bool,
) -> list[tuple[Int[np.ndarray, "N"], Int[np.ndarray, "M"]]]:
    """How many `y` each `x` is within a limit of, and how many `x` each `y`, for each limit.

    Limits are squared: those of shape (1, M) are the radii of balls around `y`, (N, 1) around
    `x`. A closed ball holds the points at its radius.
    """
    counts = [(np.zeros(len(x), int), np.zeros(len(y), int)) for _ in limits]

    def settle(high, low, scale, start):
        still, sure = np.zeros(high.shape, bool), []
        for limit in limits:
            rows = limit[start : start + len(high)] if len(limit) > 1 else limit
            bound = (rows / scale**2).astype(high.dtype)
            sure.append(high < bound)
            still |= (low <= bound) & ~sure[-1]
        return still, *sure

    for start, (left, right), decided in _screened(x, y, settle):
        found = _squares(x, y, left, right)
        for (rows, columns), limit, sure in zip(counts, limits, decided, strict=True):
            bound = np.broadcast_to(limit, (len(x), len(y)))[left, right]
            held = found <= bound if closed else found < bound
            sure[left - start, right] = held
            rows[start : start + len(sure)] += np.count_nonzero(sure, axis=1)
            columns += np.count_nonzero(sure, axis=0)
    return counts


def _kth(
    x: Float[np.ndarray, "N d"], y: Float[np.ndarray, "M d"], k: int, own: bool
) -> Float[np.ndarray, "N"]:
    result = np.empty(len(x))

    def settle(high, low, scale, start):
        if own:
            index = np.arange(len(high))
            high[index, start + index] = low[index, start + index] = np.inf
        return (low <= _above_kth(high, k),)

    for start, (left, right), () in _screened(x, y, settle):
        found = _squares(x, y, left, right)
        order = np.lexsort((found, left))
        first = np.unique(left, return_index=True)[1]  # each point has `k` candidates at least
        result[start : start + len(first)] = found[order][first + k - 1]
    return result


def _above_kth(rows: Float[np.ndarray, "n M"], k: int) -> Float[np.ndarray, "n 1"]:
    """A number that at least `k` of each row do not exceed, close to the least of such.

    It is the `k`-th least of the least of groups: found in a fraction of the time that a row takes.
    """
    width = rows.shape[1] // max(GROUPS, 2 * k)
    if width > 1:
        grouped = rows[:, : rows.shape[1] // width * width]
        rows = grouped.reshape(len(rows), -1, width).min(axis=2)
    return np.partition(rows, k - 1, axis=1)[:, k - 1 : k]


def _screened(
    x: Float[np.ndarray, "N d"], y: Float[np.ndarray, "M d"], settle: Callable[..., tuple]
) -> Iterator[tuple[int, tuple[Int[np.ndarray, "p"], Int[np.ndarray, "p"]], list]]:
    """For blocks of `x`: the first row, the pairs `settle` leaves open, and its other results.

    `settle(high, low, scale, start)` is given bounds of the squared distances divided by
    `scale^2`, in float32, or in float64 where that leaves too many open.
    """
    centre = np.mean([np.mean(piece, 0, dtype=np.float64) for piece in pieces(y)], 0)
    scale = max(np.max(np.abs(piece - centre)) for z in (x, y) for piece in pieces(z)) or 1.0
    single = side(y, centre, scale, np.float32)
    size = max(1, BLOCK // len(y))
    for start in range(0, len(x), size):
        block = x[start : start + size]
        high, low = bounds(side(block, centre, scale, np.float32), single)
        mask, *rest = settle(high, low, scale, start)
        if np.count_nonzero(mask) > OPEN * len(block):
            double = side(y, centre, scale, np.float64)
            high, low = bounds(side(block, centre, scale, np.float64), double)
            mask, *rest = settle(high, low, scale, start)
        left, right = np.divmod(np.flatnonzero(mask), mask.shape[1])
        yield start, (left + start, right), rest


def side(x: np.ndarray, centre: np.ndarray, scale: float, dtype: type) -> Side:
    points = np.concatenate([((p - centre) / scale).astype(dtype) for p in pieces(x)])
    return Side(points, np.einsum("ij,ij->i", points, points, dtype=np.float64))


def bounds(x: Side, y: Side) -> tuple[Float[np.ndarray, "n M"], Float[np.ndarray, "n M"]]:
    """Above and below each squared distance.

    A sum of `d` products is off by more than `8 sqrt(d)` roundings with probability below 1e-13
    (Higham and Mary 2019); the rounded points and what is added here take less than 8 more.
    """
    dtype = x.points.dtype
    part = 2 * (8 * x.points.shape[1] ** 0.5 + 8) * np.finfo(dtype).eps
    high = x.points @ y.points.T
    high *= -2
    high += ((1 + part) * x.norms + 1e-30).astype(dtype)[:, None]
    high += ((1 + part) * y.norms).astype(dtype)[None, :]
    low = high - (2 * part * x.norms + 2e-30).astype(dtype)[:, None]
    low -= (2 * part * y.norms).astype(dtype)[None, :]
    return high, low


def _squares(
    x: Float[np.ndarray, "N d"],
    y: Float[np.ndarray, "M d"],
    left: Int[np.ndarray, "p"],
    right: Int[np.ndarray, "p"],
) -> Float[np.ndarray, "p"]:
    """`|x_i - y_j|^2` of pairs, by differences in float64."""
    size, found = max(1, 2**21 // x.shape[1]), np.empty(len(left))
    for start in range(0, len(left), size):
        part = slice(start, start + size)
        gap = x[left[part]].astype(np.float64) - y[right[part]]
        found[part] = np.einsum("ij,ij->i", gap, gap)
    return found

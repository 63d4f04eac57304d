"""The times that searches and evaluations are given: a grid's name, a file, or numbers."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ..core.families import Times
from ..core.schedule import AbstractSchedule
from ..wording import phrase
from .spec import GRID, NUMBERS, SEARCHED, check_times, split_times

GivenTimes: TypeAlias = str | Path | Sequence[float | int]


def read_times(given: GivenTimes) -> str:
    """Write times as a configuration holds them: with a file's numbers in the place of its name.

    Args:
        given: A grid's name, falling numbers (`"1000,600,200"` or a list), or a file of such,
            separated by commas, white space or lines; `600:580` is a time of the grid and the other
            one that the network is told. With `-searched` or `-decoupled` behind it, as in
            `"karras-searched"` and `"times.txt-searched"`; one of `SEARCHED` alone names no grid.

    Returns:
        The text, such as `karras-searched` or `1000,600:580,200-searched`.

    Raises:
        ValueError: It is none of these, or there is no such file.
    """
    if not isinstance(given, str | Path):
        given = ",".join(map(_text, given))
    text = str(given).strip()
    grid, behind = split_times(text)
    known = text in SEARCHED or GRID.fullmatch(grid) or NUMBERS.fullmatch(_joined(grid))
    if not known and Path(grid).is_file():
        grid = _numbers(Path(grid))
    elif not known:
        check_times(text)
    else:
        grid = grid if text in SEARCHED or GRID.fullmatch(grid) else _joined(grid)
    return "-".join(filter(None, (grid, behind if behind != "fixed" or not grid else "")))


def times_on(grid: str, schedule: AbstractSchedule) -> str | Times:
    """Make what a family takes as its times.

    Args:
        grid: A grid's name, which is returned as it is, or numbers: falling times of the schedule,
            to which 0, data, is added where it is not the last.
        schedule: The schedule whose times they are.

    Raises:
        ValueError: The numbers are not a grid.
    """
    if not NUMBERS.fullmatch(grid):
        return grid
    pairs = [part.partition(":") for part in grid.split(",")]
    numbers = [float(time) for time, _, _ in pairs]
    whole = np.array(numbers if numbers[-1] == 0 else [*numbers, 0.0])
    told = np.array([float(other or time) for time, _, other in pairs])
    try:
        return Times.fit(whole, told[: len(whole) - 1], schedule.t_max)
    except ValueError as error:
        raise ValueError(
            f"The times {grid} are not a grid of this model, whose t_max is {schedule.t_max:g}: "
            f"{phrase(error)}."
        ) from error


def _numbers(path: Path) -> str:
    """The numbers of a file."""
    try:
        found = _joined(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"The times in {path} cannot be read: {phrase(error)}.") from error
    if not NUMBERS.fullmatch(found):
        raise ValueError(
            f"{path} holds no times: it must hold falling numbers, separated by commas or white "
            "space; 600:580 is a time of the grid and the one that the network is told."
        )
    return found


def _joined(text: str) -> str:
    """Numbers with commas between them, whatever was there."""
    return ",".join(re.findall(r"[^\s,;]+", text.strip().strip("[]()")))


def _text(time: float | int) -> str:
    """A number in all its digits, without those that say nothing."""
    short = f"{time:g}"
    return short if float(short) == time else repr(float(time))

"""Times as they are given: names, numbers, files."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from samplerzoo import CosineVP, DiscreteVP, Times
from samplerzoo.core.families import GRIDS as KNOWN
from samplerzoo.runs.parts import split_sampler
from samplerzoo.runs.spec import GRIDS, SEARCHED, Config, split_times
from samplerzoo.runs.times import read_times, times_on

PARTS = {"data": "a", "features": "b", "report_features": "c"}
WAYS = ("", "-searched", "-decoupled")
SCHEDULE = DiscreteVP.from_betas(np.linspace(1e-4, 0.02, 1000))
AYS = [1000, 851, 737, 646, 546, 456, 344, 234, 125, 25]


def test_the_names_are_those_of_the_core():
    assert set(GRIDS) == set(KNOWN)


@pytest.mark.parametrize("grid", [*GRIDS, "karras-5", "karras-0.5"])
@pytest.mark.parametrize("way", WAYS)
def test_a_name_stays(grid, way):
    text = read_times(grid + way)
    assert text == grid + way
    assert Config(times=text, **PARTS).grid == grid
    assert times_on(grid, SCHEDULE) == grid


@pytest.mark.parametrize("word", SEARCHED)
def test_a_word_alone_names_no_grid(word):
    config = Config(times=read_times(word), **PARTS)
    assert config.grid == ""
    assert (config.searches_times, config.decouples_times) == (
        word == "searched",
        word == "decoupled",
    )


NUMBERS = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=12, unique=True)


@given(NUMBERS, st.sampled_from(WAYS))
def test_numbers_are_kept_to_the_last_digit(numbers, way):
    falling = sorted(numbers, reverse=True)
    grid, word = split_times(read_times(falling))
    assert word == "fixed"
    assert [float(number) for number in grid.split(",")] == falling
    assert read_times(grid + way) == grid + way


def test_a_list_is_a_grid_to_data():
    times = times_on(read_times(AYS), SCHEDULE)
    assert isinstance(times, Times)
    told, grid = times(SCHEDULE)
    np.testing.assert_allclose(grid, [*AYS, 0], rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(told, AYS, rtol=1e-6)
    whole = times_on(read_times([*AYS, 0]), SCHEDULE)
    np.testing.assert_array_equal(whole(SCHEDULE)[1], grid)


@pytest.mark.parametrize("content", ["[1000, 600, 200]\n", "1000 600\n200\n", "1000,600;200,0"])
@pytest.mark.parametrize("way", WAYS)
def test_a_file_is_read_once(tmp_path, content, way):
    """The configuration has its numbers, whatever becomes of the file."""
    (tmp_path / "own-times.txt").write_text(content)
    text = read_times(f"{tmp_path / 'own-times.txt'}{way}")
    grid, word = split_times(text)
    assert word == (way.removeprefix("-") or "fixed")
    np.testing.assert_allclose(times_on(grid, SCHEDULE)(SCHEDULE)[1], [1000, 600, 200, 0])
    assert Config(times=text, **PARTS).times == text


def test_decoupled_times(tmp_path):
    path = tmp_path / "times"
    path.write_text("1000\n600:580\n200:210\n")
    told, grid = times_on(read_times(path), SCHEDULE)(SCHEDULE)
    np.testing.assert_allclose(told, [1000, 580, 210], rtol=1e-5)
    np.testing.assert_allclose(grid, [1000, 600, 200, 0], rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cubic", "times is 'cubic'; it must be a grid"),
        ("", "times is ''"),
        ("linear-search", "times is 'linear-search'"),
        ("karras--7", "times is 'karras--7'"),
        ("1000,nan,3", "times is"),
        ("no-such-file.txt", "times is 'no-such-file.txt'"),
    ],
)
def test_what_says_nothing_of_times_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        read_times(text)


@pytest.mark.parametrize("content", [b"a, b", b"", b"1000 -600", b"\xff\xfe1"])
def test_a_file_without_times_is_refused(tmp_path, content):
    path = tmp_path / "times"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"times holds no times|times cannot be read"):
        read_times(path)


@pytest.mark.parametrize("grid", ["200,600", "2000,600", "1000,600:900", "1000,1000", "0"])
def test_numbers_that_are_no_grid_are_refused(grid):
    with pytest.raises(ValueError, match=r"not a grid of this model, whose t_max is 1000"):
        times_on(grid, SCHEDULE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ddim", ("ddim", "", {})),
        ("ddim-linear", ("ddim", "linear", {})),
        ("dpmpp-3m", ("dpmpp-3m", "", {})),
        ("dpmpp-3m-karras", ("dpmpp-3m", "karras", {})),
        ("unipc-3-karras-5:b=1,afs=true", ("unipc-3", "karras-5", {"b": 1, "afs": True})),
        ("no-such-linear", ("no-such-linear", "", {})),
        ("python:module:attribute", ("python:module:attribute", "", {})),
    ],
)
def test_a_sampler_is_a_family_a_grid_and_options(text, expected):
    assert split_sampler(text) == expected


def test_times_of_another_schedule_are_its_own():
    told, _ = times_on("0.9,0.5", CosineVP())(CosineVP())
    np.testing.assert_allclose(told, [0.9, 0.5], rtol=1e-6)

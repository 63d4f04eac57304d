"""Files that are whole or not there, configurations and options, over all their values."""

import datetime
import resource
import threading
from contextlib import contextmanager, suppress
from typing import Any

import click
import equinox as eqx
import jax
import numpy as np
import pytest
import safetensors.numpy
import tomli_w
from hypothesis import example, given, settings, strategies as st
from hypothesis.extra import numpy as arrays

from samplerzoo.cli.common import numbers, pairs
from samplerzoo.core.families import DDIM, GDDIM, free_parameters
from samplerzoo.core.optimise import adam, start
from samplerzoo.files import digest, from_tensors, read_tensors, to_tensors, write, write_tensors
from samplerzoo.runs.spec import GRIDS, MAX_SEED, SEARCHED, Config, fits, type_name
from samplerzoo.runs.store import (
    append_log,
    cut_log,
    load_checkpoint,
    load_config,
    load_family_into,
    load_result,
    load_sampler,
    log_line,
    read_log,
    save_checkpoint,
    save_config,
    save_result,
    save_sampler,
)
from samplerzoo.testing import SCHEDULES

quick = settings(deadline=None, max_examples=60)
DTYPES = st.sampled_from([np.float32, np.int32, np.uint8, np.bool_, np.float16])
ARRAYS = DTYPES.flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0)))
NAMES = st.text("abcdefgh_", min_size=1, max_size=8)
TREES = st.recursive(
    ARRAYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


def same(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@quick
@given(TREES)
def test_any_tree_comes_back_from_its_tensors(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("tree") / "x.safetensors"
    write_tensors(path, to_tensors(tree), {"a": "b"})
    tensors, metadata = read_tensors(path)
    assert metadata == {"a": "b"}
    same(from_tensors(tree, tensors), tree)
    shapes = eqx.filter_eval_shape(lambda: tree)
    same(from_tensors(shapes, tensors), tree)
    assert digest(from_tensors(tree, tensors)) == digest(tree)


def test_arrays_in_any_memory_order_are_written(tmp_path):
    array = np.arange(12.0).reshape(3, 4)
    views = {"t": array.T, "step": array[:, ::2], "f": np.asfortranarray(array), "0": array[0, 0]}
    write_tensors(tmp_path / "x", {name: np.asarray(view) for name, view in views.items()}, {})
    for name, found in read_tensors(tmp_path / "x")[0].items():
        assert found.shape == views[name].shape
        np.testing.assert_array_equal(found, views[name])


def test_the_same_content_gives_the_same_bytes(tmp_path):
    metadata = {f"key {n}": "x" * n for n in range(9)}
    found = set()
    for _ in range(9):
        write_tensors(tmp_path / "x", {"b": np.ones(3), "a": np.ones((), np.int8)}, metadata)
        found.add((tmp_path / "x").read_bytes())
    assert len(found) == 1
    assert read_tensors(tmp_path / "x")[1] == metadata


def test_tensors_that_do_not_fit_are_named():
    like = {"a": np.zeros(3, np.float32), "b": np.zeros((), np.int32)}
    good = to_tensors(like)
    for wrong, word in (
        ({"a": good["a"]}, "'b' is missing"),
        ({**good, "c": good["a"]}, "'c' is not expected"),
        ({**good, "a": np.zeros(4)}, r"'a' has shape \(4,\) where \(3,\) is needed"),
        ({**good, "b": np.zeros(1)}, r"'b' has shape \(1,\)"),
    ):
        with pytest.raises(ValueError, match=word):
            from_tensors(like, wrong)
    assert from_tensors(like, {**good, "a": np.ones(3)})["a"].dtype == np.float32


def test_digest_sees_every_change():
    base = {"a": np.zeros(3, np.float32), "b": np.zeros(2, np.float32)}
    other = [
        {**base, "a": np.zeros(3, np.int32)},
        {**base, "a": np.zeros((3, 1), np.float32)},
        {"a": base["a"], "c": base["b"]},
        {**base, "b": np.float32([0, 1e-45])},
    ]
    assert len({digest(tree) for tree in (base, *other)}) == 5


@quick
@given(st.data())
def test_truncated_files_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cut") / "x.safetensors"
    write_tensors(path, {"a": np.arange(5.0), "b": np.zeros((2, 2), np.int8)}, {"kind": "test"})
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ValueError, match=r"x\.safetensors is not a whole safetensors file"):
        read_tensors(path)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_changed_files_are_refused_or_read(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("changed") / "x.safetensors"
    tensors = {"a": np.arange(5.0), "b": np.zeros((2, 2), np.int8)}
    write_tensors(path, tensors, {"kind": "test"})
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with suppress(ValueError):
        found, _ = read_tensors(path)
        assert len(found) == 2
        if at >= 8 + int.from_bytes(content[:8], "little"):  # numbers, not the header
            assert {n: (a.shape, a.dtype) for n, a in found.items()} == {
                n: (a.shape, a.dtype) for n, a in tensors.items()
            }


@given(content=st.binary(max_size=200))
def test_other_files_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "other"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="other is not a whole safetensors file"):
        read_tensors(path)


def test_types_that_numpy_lacks_are_refused(tmp_path):
    header = b'{"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}'
    (tmp_path / "x").write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))
    with pytest.raises(ValueError, match="'a' has the type F8_E4M3"):
        read_tensors(tmp_path / "x")


@contextmanager
def largest_file(size):
    """No file of this process may grow over a number of bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_failing_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "x"
    write(path, b"old")
    with largest_file(1000), pytest.raises(OSError, match="File too large"):
        write(path, b"n" * 2000)
    with pytest.raises(TypeError):
        write(path, "text")  # pyright: ignore
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("x", b"old")]
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        write(tmp_path / "folder", b"new")
    with pytest.raises(OSError, match="No such file"):
        write(tmp_path / "nope" / "x", b"new")
    assert {p.name for p in tmp_path.iterdir()} == {"x", "folder"}
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_reader_sees_the_old_file_or_the_new(tmp_path):
    path, wholes = tmp_path / "x", [bytes([65 + n]) * 50_000 for n in range(2)]
    write(path, wholes[0])
    done = threading.Event()
    seen = set()

    def look():
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=look)
    reader.start()
    for n in range(100):
        write(path, wholes[n % 2])
    done.set()
    reader.join()
    assert seen <= set(wholes)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = (
    TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, width=64)
)
PLACES = st.sampled_from([*GRIDS, "karras-5", "karras-0.5", "1000,600:580,2e2,0"])
TIMES = st.sampled_from(SEARCHED) | st.builds(
    "{}{}".format, PLACES, st.sampled_from(["", "-searched", "-decoupled", "-fixed"])
)
OPTIONS = st.dictionaries(NAMES, SCALARS | st.lists(SCALARS, max_size=3), max_size=3)


@quick
@given(
    st.builds(
        Config,
        family=TEXT,
        family_options=OPTIONS,
        steps=st.integers(1, 2000),
        times=TIMES,
        tried=st.dictionaries(NAMES, st.floats(allow_nan=False)),
        model=TEXT,
        data=TEXT,
        features=TEXT,
        report_features=TEXT,
        kernel=TEXT,
        kernel_options=OPTIONS,
        batch=st.integers(2, 10**6),
        iterations=st.integers(1, 10**6),
        learning_rate=st.floats(0, 1e6, exclude_min=True),
        n=st.integers(2, 10**9),
        seed=st.integers(0, MAX_SEED),
        checkpoint_every=st.floats(0, 1e6) | st.just(float("inf")),
    )
)
def test_a_configuration_comes_back_from_its_file(tmp_path_factory, config):
    folder = tmp_path_factory.mktemp("run")
    save_config(folder, config)
    assert load_config(folder) == config


REQUIRED = {"data": "a", "features": "b", "report_features": "c"}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"colour": 1}, "unknown key 'colour'"),
        ({"steps": 0}, "steps is 0; it must be at least 1."),
        ({"batch": 1}, "batch is 1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"seed": MAX_SEED + 1}, str(MAX_SEED)),
        ({"times": "cubic"}, "times is 'cubic'"),
        ({"data": None}, "lacks data"),
    ],
)
def test_wrong_configurations_are_refused(change, word, tmp_path):
    content = {k: v for k, v in (REQUIRED | change).items() if v is not None}
    (tmp_path / "config.toml").write_text(tomli_w.dumps(content))
    with pytest.raises(ValueError, match=r"config\.toml") as caught:
        load_config(tmp_path)
    assert word in str(caught.value)


@pytest.mark.parametrize("content", [b"steps = ", b"\xff\xfe", b"[steps"])
def test_broken_toml_is_refused(content, tmp_path):
    (tmp_path / "config.toml").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.toml cannot be read as TOML"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (int, [1, -3], [1.0, True, "1", None, [1]]),
        (float, [1, 1.5, float("nan")], [True, "1", None]),
        (bool, [True, False], [0, 1, "true"]),
        (str, ["", "x"], [1, None, ["x"]]),
        (int | None, [1, None], [1.5, "x", True]),
        (tuple[float, ...], [[], [1, 2.5], (1.0,)], [1.0, "ab", ["a"], [True], [[1.0]]]),
        (dict[str, Any], [{}, {"a": 1}], [[], "a"]),
        ("a string", [1, "x", None], []),
        (Any, [1, "x", None], []),
    ],
)
def test_fits(kind, good, bad):
    assert all(fits(value, kind) for value in good)
    assert not any(fits(value, kind) for value in bad)


def test_types_are_named_for_users():
    kinds = (int, int | None, tuple[float, ...], int | str, dict[str, Any], "Odd")
    names = ["int", "int", "list of float", "int or str", "dict", "Odd"]
    assert [type_name(kind) for kind in kinds] == names


def parse(*values):
    return pairs(click.Context(click.Command("x")), click.Option(["-F"]), values)


@quick
@given(OPTIONS)
def test_options_are_read_as_toml(options):
    lines = [f"{key}={tomli_w.dumps({'x': value})[4:].rstrip()}" for key, value in options.items()]
    assert parse(*lines) == options


@given(TEXT)
@example("None")
@example("{1, 2}")
def test_any_text_is_an_option(text):
    (value,) = parse(f"key={text}").values()
    assert value == text or fits(
        value, bool | int | float | str | list | dict | datetime.date | datetime.time
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("posterior", "posterior"),
        ("0.5", 0.5),
        ("'0.5'", "0.5"),
        ("true", True),
        ("True", True),
        ("[1, 2.5]", [1, 2.5]),
        ("", ""),
        ("a=b", "a=b"),
        ("1\ny = 2", "1\ny = 2"),
        ("[" * 10_000, "[" * 10_000),
        ("9" * 5000, "9" * 5000),
    ],
    ids=lambda value: str(value)[:10],
)
def test_option_values(text, value):
    assert parse(f"key={text}") == {"key": value}


@pytest.mark.parametrize("text", ["", "key", "=1", "a b=1", "1=2", "-F=2"])
def test_options_must_be_pairs(text):
    with pytest.raises(click.ClickException, match="must look like key=value"):
        parse(text)


@given(st.lists(st.integers(1, 10**6), min_size=1))
def test_lists_of_numbers(values):
    context, option = click.Context(click.Command("x")), click.Option(["--steps"])
    assert numbers(context, option, ",".join(map(str, values))) == list(dict.fromkeys(values))


def test_a_checkpoint_comes_back_and_another_is_refused(tmp_path):
    family = GDDIM(3)
    state = start(family, free_parameters(family), adam(10, 0.1))
    config = Config(**(REQUIRED | {"iterations": 10}))
    assert load_checkpoint(tmp_path, state, config) is state
    save_checkpoint(tmp_path, state, config)
    same(load_checkpoint(tmp_path, state, config), state)
    other = GDDIM(4)
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors does not fit this run"):
        load_checkpoint(tmp_path, start(other, free_parameters(other), adam(10, 0.1)), config)


def test_times_of_an_earlier_version_are_refused(tmp_path):
    """A checkpoint and a family whose times were the logarithms of their gaps; not the table."""
    family = DDIM(3)
    state = start(family, free_parameters(family, times=True), adam(10, 0.1))
    table = family.table(SCHEDULES[0])
    config = Config(**REQUIRED)
    save_checkpoint(tmp_path, state, config)
    save_sampler(tmp_path / "sampler", family, table, {})
    for name in ("checkpoint.safetensors", "sampler"):
        tensors, metadata = read_tensors(tmp_path / name)
        renamed = {key.replace("times.moves", "times.gaps"): a for key, a in tensors.items()}
        assert renamed.keys() != tensors.keys()
        write_tensors(tmp_path / name, renamed, metadata)
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors is of an earlier samplerzoo"):
        load_checkpoint(tmp_path, state, config)
    with pytest.raises(ValueError, match=r"sampler is of an earlier samplerzoo.*search again"):
        load_family_into(tmp_path / "sampler", family)
    same(load_sampler(tmp_path / "sampler")[0], table)


def test_a_sampler_comes_back(tmp_path):
    path, table = tmp_path / "x", DDIM(4).table(SCHEDULES[0])
    save_sampler(path, DDIM(4), table, {"family": "ddim"})
    found, about = load_sampler(path)
    same(found, table)
    assert about == {"family": "ddim"}


def test_samplers_that_are_none_are_refused(tmp_path):
    path, table = tmp_path / "x.safetensors", DDIM(4).table(SCHEDULES[0])
    good = {f"table.{name}": array for name, array in to_tensors(table).items()}
    metadata = {"format": "samplerzoo.sampler/1", "about": "{}"}
    infinite = {**good, "table.fresh": np.full(4, np.inf, np.float32)}
    for tensors, about, word in (
        (good, {"format": "other"}, "is not a samplerzoo sampler"),
        (good, {}, "is not a samplerzoo sampler"),
        (good, {**metadata, "about": "{"}, "does not hold a whole sampler"),
        ({"table.times": good["table.times"]}, metadata, "does not hold a whole sampler"),
        (infinite, metadata, "not finite"),
    ):
        path.write_bytes(safetensors.numpy.save(tensors, about))
        with pytest.raises(ValueError, match=word) as caught:
            load_sampler(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "tail", [b'{"step": 4, "ki', b"\xff\xfe\n", b"4\n", b'{"other": 1}\n', b"null", b"\x00" * 50]
)
def test_a_damaged_log_is_read_up_to_the_damage(tail, tmp_path):
    assert read_log(tmp_path) == []
    for step in range(1, 4):
        append_log(tmp_path, log_line(step, float("nan") if step == 2 else 0.5, 0.12345))
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(tail)
    lines = read_log(tmp_path)
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert [line["kid"] for line in lines] == [0.5, None, 0.5]
    cut_log(tmp_path, 2)
    append_log(tmp_path, log_line(3, 0.25, 0.0))
    assert [line["kid"] for line in read_log(tmp_path)] == [0.5, None, 0.25]


def test_a_result_comes_back_and_a_damaged_one_is_named(tmp_path):
    assert load_result(tmp_path) is None
    spaces = {"search_features": "a", "report_features": "b"}
    result = {"sampler": "ddim", "nfe": 3, **spaces, "rows": [], "run": "x"}
    save_result(tmp_path, result)
    assert load_result(tmp_path) == result
    for damage in ("", "{", "[]", "{}", "3"):
        (tmp_path / "result.json").write_text(damage)
        with pytest.raises(ValueError, match=r"result\.json is damaged; remove it"):
            load_result(tmp_path)

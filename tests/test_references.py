"""Features of data sets: the same numbers, computed once, whatever happens to what is kept."""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from cli_tools import TINY, TOY, fail, succeed, write_toys
from samplerzoo.assets import digits_images
from samplerzoo.cli import program
from samplerzoo.data import Images, read
from samplerzoo.features import AbstractExtractor, Pixels, extract
from samplerzoo.metrics import LackingError
from samplerzoo.references import (
    Bank,
    Statistics,
    cache,
    cache_folder,
    fingerprint,
    reference,
    same,
)
from samplerzoo.references.files import read_features, write_features
from samplerzoo.runs.parts import kept as rows_of, load_data, random_images

SHAPE = (4, 4, 3)


class Projection(AbstractExtractor):
    """Tanh of a random projection, with a head."""

    matrix: jax.Array

    def __init__(self, seed: int = 0, width: int = 6):
        self.matrix = jax.random.normal(jax.random.key(seed), (width, 48))

    def __call__(self, x):
        return jnp.tanh(self.matrix @ x.reshape(-1))

    def classifier(self):
        return lambda features: features[:3]

    def rounded(self):
        return self


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("SAMPLERZOO_CACHE", str(tmp_path / "cache"))
    cache.warn_once.cache_clear()
    return tmp_path / "cache" / "references"


@pytest.fixture
def computed(monkeypatch):
    """The numbers of images of every pass over a data set."""
    passes, true = [], cache.extract_batches

    def counted(phi, images):
        passes.append(len(images))
        return true(phi, images)

    monkeypatch.setattr(cache, "extract_batches", counted)
    return passes


@pytest.fixture
def said(caplog):
    """What the program has warned of."""
    return lambda: [r.getMessage() for r in caplog.records if r.name == "samplerzoo"]


def images(n: int = 50, seed: int = 0) -> Images:
    return Images.of(np.random.default_rng(seed).integers(0, 256, (n, *SHAPE), np.uint8))


def test_features_and_moments_are_those_of_all_images(kept):
    data, told = images(), []
    found = reference("projection", Projection(), data, progress=told.append)
    expected = extract(Projection(), data[:])
    np.testing.assert_array_equal(found.features, expected)
    np.testing.assert_allclose(found.moments.mean, expected.mean(0, dtype=float), rtol=1e-12)
    covariance = np.cov(expected.astype(float), rowvar=False)
    np.testing.assert_allclose(found.moments.covariance, covariance, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(found.logits, expected[:, :3])
    assert sum(told) == 50
    assert found.held_out is None


def test_nothing_is_computed_twice(kept, computed):
    first = reference("projection", Projection(), images())
    again = reference("projection", Projection(), images())
    assert computed == [50]
    assert isinstance(again.features, np.ndarray)
    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_array_equal(first.moments.covariance, again.moments.covariance)
    assert [path.suffix for path in kept.iterdir()] == [".safetensors"]


def test_other_data_and_other_extractors_are_computed(kept, computed):
    data, scale = images(), np.float32(2)
    matrix = np.random.default_rng(0).normal(size=(3, 48)).astype(np.float32)
    others = [
        Projection(1),
        Projection(0, 5),
        lambda x: x.reshape(-1)[:5],
        lambda x: x.reshape(-1)[:5] * 2,
        lambda x: x.reshape(-1)[:5] * scale * 2,
        lambda x: jnp.asarray(matrix) @ x.reshape(-1),
        lambda x: jnp.asarray(matrix * 1.0001) @ x.reshape(-1),
    ]
    reference("x", Projection(), data)
    for phi in others:
        np.testing.assert_array_equal(reference("x", phi, data).features, extract(phi, data[:]))
    reference("x", Projection(), images(seed=1))
    assert len(computed) == 2 + len(others) == len(list(kept.iterdir()))


def test_held_out_images_have_features_of_their_own(kept, computed):
    data, others = images(), images(20, seed=1)
    found = reference("projection", Projection(), data, others)
    np.testing.assert_array_equal(found.held_out.features, extract(Projection(), others[:]))
    reference("projection", Projection(), others)
    assert sorted(computed) == [20, 50]


def test_files_are_safetensors(kept):
    found = reference("projection", Projection(), images())
    (path,) = kept.iterdir()
    tensors = safetensors.numpy.load(path.read_bytes())
    np.testing.assert_array_equal(tensors["features"], found.features)
    np.testing.assert_array_equal(tensors["mean"], found.moments.mean)
    np.testing.assert_array_equal(tensors["covariance"], found.moments.covariance)


def test_of_many_features_no_covariance_is_kept(kept, monkeypatch):
    monkeypatch.setattr("samplerzoo.references.files.MOMENTS", 47)
    found = reference("pixels", Pixels(), images())
    again = reference("pixels", Pixels(), images())
    (path,) = kept.iterdir()
    assert set(safetensors.numpy.load(path.read_bytes())) == {"features"}
    for each in (found, again):
        covariance = np.cov(each.features.astype(float), rowvar=False)
        np.testing.assert_allclose(each.moments.covariance, covariance, rtol=1e-9, atol=1e-12)


def test_features_that_are_not_finite_are_refused_and_not_kept(kept):
    with pytest.raises(ValueError, match="features 'log' of the data are not all finite"):
        reference("log", lambda x: jnp.log(x.reshape(-1)), images())
    assert list(kept.iterdir()) == []


def test_an_image_that_cannot_be_read_leaves_nothing(kept, tmp_path):
    (tmp_path / "images").mkdir()
    for n in range(5):
        Image.fromarray(np.zeros(SHAPE, np.uint8)).save(tmp_path / "images" / f"{n}.png")
    (tmp_path / "images" / "3.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"3\.png cannot be read as an image"):
        reference("pixels", Pixels(), read(tmp_path / "images", SHAPE))
    assert list(kept.iterdir()) == []


def test_what_calls_back_to_python_is_not_kept(kept, computed):
    def phi(x):
        out = jax.ShapeDtypeStruct((48,), jnp.float32)
        return jax.pure_callback(
            lambda v: np.asarray(v).reshape(-1), out, x, vmap_method="sequential"
        )

    for _ in range(2):
        found = reference("callback", phi, images(8))
        np.testing.assert_allclose(found.features, images(8)[:].reshape(8, -1))
    assert computed == [8, 8]
    assert not kept.exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    """A file of features."""
    path = tmp_path_factory.mktemp("whole") / "x"
    points = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    about = {"features": "projection", "extractor": "0.1@2", "data": "3"}
    with path.open("w+b") as file:
        write_features(file, [points[:20], points[20:]], points.shape, about)
        np.testing.assert_array_equal(read_features(file).features, points)
    return path.read_bytes()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_noticed(data, whole, tmp_path):
    """Any bytes changed, cut or added."""
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.one_of(st.integers(0, 500), st.integers(0, len(whole) - 1)))
        changed[at] = data.draw(st.integers(0, 255))
    changed = changed[: data.draw(st.integers(0, len(whole)))] + data.draw(st.binary(max_size=9))
    (tmp_path / "x").write_bytes(bytes(changed))
    with (tmp_path / "x").open("rb") as file:
        if bytes(changed) == whole:
            assert len(read_features(file).features) == 50
        else:
            with pytest.raises(ValueError, match=r"checksum|header|format"):
                read_features(file)


@pytest.mark.parametrize("damage", [b"", b"{}", 100, -1, "flip"])
def test_a_damaged_file_is_said_and_made_again(damage, kept, said):
    expected = np.array(reference("projection", Projection(), images()).features)
    (path,) = kept.iterdir()
    before = path.read_bytes()
    cut = before[:damage] if isinstance(damage, int) else damage
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]) if isinstance(cut, str) else cut)
    found = reference("projection", Projection(), images())
    np.testing.assert_array_equal(found.features, expected)
    assert path.read_bytes() == before
    (line,) = said()
    assert line.startswith(f"Warning: The kept features {path} are damaged (")
    assert line.endswith("), so computed again.")


def test_a_file_under_the_name_of_another_is_not_taken(kept, said):
    reference("projection", Projection(0), images())
    (first,) = kept.iterdir()
    reference("projection", Projection(1), images())
    (second,) = set(kept.iterdir()) - {first}
    shutil.copy(first, second)
    found = reference("projection", Projection(1), images())
    np.testing.assert_array_equal(found.features, extract(Projection(1), images()[:]))
    assert "another file under this name" in said()[0]


def test_features_are_used_after_their_file_is_gone(kept):
    found = reference("projection", Projection(), images())
    expected = np.array(found.features)
    shutil.rmtree(kept)
    np.testing.assert_array_equal(found.features, expected)


def test_a_folder_that_cannot_be_written_costs_one_warning(kept, monkeypatch, tmp_path, said):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SAMPLERZOO_CACHE", str(tmp_path / "file"))
    for seed in (0, 1):
        found = reference("projection", Projection(seed), images())
        np.testing.assert_array_equal(found.features, extract(Projection(seed), images()[:]))
    (line,) = said()
    assert "are not kept" in line


def test_a_full_disk_is_a_sentence(kept):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Error writing persistent compilation cache")
            with pytest.raises(ValueError, match=r"cannot be written: .*SAMPLERZOO_CACHE"):
                reference("projection", Projection(), images(100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(kept.iterdir()) == []


def test_what_killed_processes_left_is_removed(kept):
    kept.mkdir(parents=True)
    for name, age in ((".old.tmp", 100_000), (".new.tmp", 1000)):
        (kept / name).write_text("")
        os.utime(kept / name, (time.time() - age,) * 2)
    reference("projection", Projection(), images())
    names = {path.name for path in kept.iterdir()}
    assert ".new.tmp" in names
    assert ".old.tmp" not in names


def test_the_folder_of_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.delenv("SAMPLERZOO_CACHE")
    assert cache_folder() == tmp_path / ".cache" / "samplerzoo" / "references"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "samplerzoo" / "references"
    monkeypatch.setenv("SAMPLERZOO_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own" / "references"


PROCESS = """
import sys, time
import numpy as np, jax.numpy as jnp
from samplerzoo.data import Images
from samplerzoo.features import Pixels
from samplerzoo.references import fingerprint, reference
data = Images.of(np.random.default_rng(0).integers(0, 256, (3000, 8, 8, 3), np.uint8))


def phi(x):
    return jnp.tanh(x.reshape(-1))


passes = []
while time.time() < float(sys.argv[1]):
    time.sleep(0.001)
for _ in range(20):
    found = reference("tanh", phi, data, progress=passes.append)
    assert found.features.shape == (3000, 192)
    assert np.array_equal(found.features, np.asarray(jnp.tanh(data[:].reshape(3000, -1))))
print(fingerprint(phi, (8, 8, 3)), sum(passes))
"""


def test_processes_at_the_same_time(kept):
    """Three begin at once, with other orders of their sets: each computes once at most."""
    begin = time.time() + 6
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(begin)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": str(n)},
        )
        for n in range(3)
    ]
    ended = [process.communicate() for process in processes]
    assert [err for _, err in ended] == [""] * 3
    prints, counts = zip(*(out.split() for out, _ in ended), strict=True)
    assert len(set(prints)) == 1
    assert set(map(int, counts)) <= {0, 3000}
    assert [path.suffix for path in kept.iterdir()] == [".safetensors"]


MEMORY = """
import threading, time
import numpy as np
from samplerzoo.data import Images
from samplerzoo.features import Pixels
from samplerzoo.references import reference

def held():
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith("RssAnon")).split()[1])

def watch():
    while not done:
        most.append(held())
        time.sleep(0.002)

for n in (2000, 6000):
    array = np.broadcast_to(np.zeros((1, 64, 64, 3), np.uint8), (n, 64, 64, 3))
    done, most = [], []
    thread = threading.Thread(target=watch)
    thread.start()
    found = reference("pixels", Pixels(), Images.of(array))
    done.append(1)
    thread.join()
    print(found.features.nbytes // 1000, max(most))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells memory so")
def test_memory_does_not_grow_with_the_features(kept):
    """Three times the images, 197 MB more of features: less than 60 MB more memory."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    )
    (small, before), (large, after) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert large - small > 190_000
    assert after - before < 60_000


def test_fingerprints_tell_what_changed():
    first, other = fingerprint(Projection(), SHAPE), fingerprint(Projection(1), SHAPE)
    assert first == fingerprint(Projection(), SHAPE) != other
    weights, _, program = first.partition(".")
    assert other.endswith(program)
    assert same(first, first)
    assert not same(first, other)
    digest, version = program.split("@")
    assert version == jax.__version__
    assert not same(first, f"{weights}.{digest[::-1]}@{version}")
    assert same(first, f"{weights}.{digest[::-1]}@0.0.1")
    assert not same(first, f"{weights[::-1]}.{digest}@0.0.1")
    assert same("ab", "ab")
    assert not same("ab", "cd")
    assert not same("ab", "")


def test_features_without_images(kept, tmp_path):
    expected = reference("projection", Projection(), images())
    reference("pixels", Pixels(), images())
    bank = Bank.at(kept)
    assert bank.digest == images().digest
    found = reference("projection", Projection(), bank, bank)
    for each in (found, found.held_out):
        np.testing.assert_array_equal(each.features, expected.features)
        np.testing.assert_array_equal(each.moments.mean, expected.moments.mean)
    np.testing.assert_array_equal(found.logits, expected.logits)
    with pytest.raises(ValueError, match="made by an extractor 'projection' with other weights"):
        reference("projection", Projection(1), bank)
    with pytest.raises(ValueError, match=r"features .* and no images, so not 'other'"):
        reference("other", Projection(), bank)
    reference("tanh", Projection(), images(seed=1))
    with pytest.raises(ValueError, match="One data set's features are needed, not 2's"):
        Bank.at(kept)
    path = tmp_path / "x.safetensors"
    for data in (b"", b"text", safetensors.numpy.save({"features": np.zeros((3, 2))})):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"x\.safetensors is not a whole file of features"):
            Bank.at(path)
    with pytest.raises(ValueError, match=r"not a whole file of features: .*No such file"):
        Bank.at(tmp_path / "missing.safetensors")
    shutil.copy(next(kept.iterdir()), path)
    path.write_bytes(path.read_bytes()[:-1] + b"\x99")
    damaged = Bank.at(path)
    with pytest.raises(ValueError, match="checksum"):
        reference(*_only(damaged), damaged)


def _only(bank: Bank):
    (name,) = bank._paths
    return name, {"projection": Projection(), "pixels": Pixels(), "tanh": Projection()}[name]


def test_moments_without_features(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 5))
    np.savez(tmp_path / "x.npz", mu=x.mean(0), sigma=np.cov(x, rowvar=False))
    found = reference("any", Projection(), Statistics(tmp_path / "x.npz"))
    np.testing.assert_array_equal(found.moments.mean, x.mean(0))
    with pytest.raises(LackingError):
        _ = found.features


def test_data_of_a_command(kept, tmp_path):
    shape, clip = (8, 8, 1), (-1.0, 1.0)
    digits = load_data("digits", shape, clip)
    shown = random_images(digits, 40)
    np.testing.assert_array_equal(shown, random_images(digits, 40))
    everything = digits[: len(digits)]
    places = [int(np.argmin(np.abs(everything - one).sum((1, 2, 3)))) for one in shown]
    np.testing.assert_array_equal(everything[places], shown)
    assert len(set(places)) == 40
    assert max(places) - min(places) > len(digits) / 2  # not those that happen to lie first
    assert len(random_images(digits, 10**6)) == len(digits)
    (row,) = rows_of(digits, {"pixels": Pixels()}, False)
    bank = load_data(row["path"], shape, clip)
    assert bank.digest == digits.digest
    assert random_images(bank, 3) is None
    np.savez(tmp_path / "x.npz", mu=np.zeros(2), sigma=np.eye(2), images=-np.ones((2, *shape)))
    assert isinstance(load_data(str(tmp_path / "x.npz"), shape, clip), Statistics)
    assert len(load_data(str(tmp_path / "x.npz"), shape, clip, "images")) == 2
    for wrong, word in (
        (("digits", (4, 4, 1), clip), "where the model makes"),
        (("digits", shape, clip, "train"), "not files, so there is no --split"),
        (("digits", shape, clip, None, True), "not files, so there is no --split or --crop"),
        ((row["path"], shape, clip, None, True), "no images, so there is no --split and no --crop"),
        (("nope", shape, clip), "neither a file or folder nor a data set"),
    ):
        with pytest.raises(ValueError, match=word):
            load_data(*wrong)
    with pytest.raises(ValueError, match="features already"):
        rows_of(bank, {"pixels": Pixels()}, False)


def test_the_command_tells_what_it_keeps(kept):
    words = ["reference", "digits", "--features", "pixels"]
    done = CliRunner().invoke(program, [*words, "--shape=8x8x1", "--quiet"])
    (path,) = kept.iterdir()
    digest = Images.of(digits_images(), (-1.0, 1.0)).digest
    assert done.stdout.splitlines() == [
        "pixels: 1797 images, 64 features",
        f"  path       {path}",
        f"  data       {digest}",
        f"  extractor  {fingerprint(Pixels(), (8, 8, 1))}",
    ]
    for more, word in (
        ([], "--model or --shape"),
        (["--model=digits", "--shape=8x8x1"], "--model or --shape"),
        (["--shape=8x"], "32x32x3"),
    ):
        done = CliRunner().invoke(program, [*words, *more])
        assert done.exit_code == 2
        assert word in done.stderr


@pytest.mark.slow
def test_searches_of_a_split_cropped_and_of_kept_features(tmp_path):
    """Built ahead, searched with the images and without to the same numbers, and gone on with."""
    write_toys(tmp_path)
    for split, value in (("train", 0), ("test", 200)):
        (tmp_path / "images" / split).mkdir(parents=True)
        for n in range(4):
            pixels = np.full((9, 12, 3), value + 10 * n, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / split / f"{n}.png")
    part = ("--split=train", "--crop")
    names = "python:toys:features,python:toys:other_features"
    words = ("images", *part, "--features", names, "--model=python:toys:model", "--json")
    told = json.loads(succeed("reference", *words, cwd=tmp_path).out)["references"]
    assert [(row["features"], row["n"], row["d"]) for row in told] == [
        ("python:toys:features", 4, 5),
        ("python:toys:other_features", 4, 3),
    ]
    (tmp_path / "bank").mkdir()
    for row in told:
        shutil.copy(row["path"], tmp_path / "bank")
    search = ("search", *TOY, *TINY, "--quiet")
    succeed(*search, "--data=images", *part, "--out=a", cwd=tmp_path)
    succeed(*search, "--data=bank", "--out=b", cwd=tmp_path)
    first, second = (json.loads((tmp_path / run / "result.json").read_text()) for run in "ab")
    assert first["rows"] == second["rows"]
    assert first["hashes"] == second["hashes"]
    more = Image.fromarray(np.zeros((5, 5), np.uint8))
    more.save(tmp_path / "images" / "test" / "more.png")
    (tmp_path / "a" / "result.json").unlink()
    succeed("resume", "a", cwd=tmp_path)
    assert json.loads((tmp_path / "a" / "result.json").read_text())["rows"] == first["rows"]
    more.save(tmp_path / "images" / "train" / "more.png")
    (tmp_path / "a" / "result.json").unlink()
    assert "data: not what it was" in fail("resume", "a", cwd=tmp_path)

"""A run that is killed, stopped or out of disk continues to the bytes it would have had."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import safetensors.numpy

from cli_tools import (
    TINY,
    TOY,
    begin,
    contents,
    end,
    fail,
    message,
    succeed,
    write_toys,
)

# A checkpoint of about 20 kB after every step, so that there is something to interrupt.
OPTIONS = ("--family=gddim", "--steps=40", "--checkpoint-every=0", "--iterations=150", "--quiet")
SEARCH = ("search", *TOY, *TINY, *OPTIONS)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("alone")
    write_toys(folder)
    succeed(*SEARCH, "--out=run", cwd=folder)
    return folder / "run"


@pytest.fixture
def folder(tmp_path):
    """A folder with the toys."""
    write_toys(tmp_path)
    return tmp_path


def stop_when(process: subprocess.Popen, condition) -> None:
    """Stop a process in its tracks at a moment at which the condition holds."""
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        if condition():
            process.send_signal(signal.SIGSTOP)
            while (
                Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T"
            ):
                time.sleep(0.0005)
            if condition():
                return
            process.send_signal(signal.SIGCONT)
    raise AssertionError(f"the moment never came: {end(process)}")


def logged(run: Path) -> int:
    path = run / "log.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kids(run: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(line["step"], line["kid"]) for line in lines]


def check_finished(run: Path, alone: Path) -> None:
    """All that a run computes is what it would have been, to the last bit."""
    for name in ("sampler.safetensors", "checkpoint.safetensors", "samples.png", "curve.png"):
        assert (run / name).read_bytes() == (alone / name).read_bytes(), name
    assert kids(run) == kids(alone)
    assert [step for step, _ in kids(run)] == list(range(1, 151))
    ours, theirs = (json.loads((path / "result.json").read_text()) for path in (run, alone))
    for key in ("rows", "hashes", "skipped_steps"):
        assert ours[key] == theirs[key]
    assert set(contents(run)) == set(contents(alone))


MOMENTS = {
    "the configuration is there": lambda run: (run / "config.toml").exists(),
    "some steps are done": lambda run: logged(run) >= 50,
    "a checkpoint is being written": lambda run: logged(run) >= 20 and [*run.glob(".*.tmp")],
    "the sampler is being scored": lambda run: (
        (run / "sampler.safetensors").exists() and not (run / "result.json").exists()
    ),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_goes_on_as_if_nothing_had_been(moment, folder, alone):
    process = begin(*SEARCH, "--out=run", cwd=folder)
    stop_when(process, lambda: MOMENTS[moment](folder / "run"))
    process.kill()
    end(process)
    assert not (folder / "run/result.json").exists()
    succeed("resume", "run", "--quiet", cwd=folder)
    check_finished(folder / "run", alone)


def test_a_run_killed_again_and_again_goes_on(folder, alone):
    process = begin(*SEARCH, "--out=run", cwd=folder)
    for steps in (10, 50, 100):
        stop_when(process, lambda steps=steps: logged(folder / "run") >= steps)
        process.kill()
        end(process)
        process = begin("resume", "run", "--quiet", cwd=folder)
    assert end(process).code == 0
    check_finished(folder / "run", alone)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_how_to_go_on(number, code, folder, alone):
    process = begin(*SEARCH, "--out=my run", cwd=folder)
    stop_when(process, lambda: logged(folder / "my run") >= 30)
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    said = message(end(process), code)
    assert said == "Error: Interrupted; `samplerzoo resume 'my run'` continues it."
    steps = kids(folder / "my run")[-1][0]
    saved = safetensors.numpy.load_file(folder / "my run/checkpoint.safetensors")["step"]
    assert saved.shape == ()
    assert steps - 1 <= int(saved) <= steps
    succeed("resume", "my run", "--quiet", cwd=folder)
    check_finished(folder / "my run", alone)


def test_an_interrupted_scoring_says_how_to_go_on(folder, alone):
    loud = [argument for argument in SEARCH if argument != "--quiet"]
    process = begin(*loud, "--out=run", cwd=folder)
    stop_when(process, lambda: MOMENTS["the sampler is being scored"](folder / "run"))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    done = end(process)
    assert (done.code, done.out) == (130, "")
    assert done.err.splitlines()[-1] == "Error: Interrupted; `samplerzoo resume run` continues it."
    succeed("resume", "run", "--quiet", cwd=folder)
    check_finished(folder / "run", alone)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(folder, alone):
    succeed(*SEARCH, "--out=run", cwd=folder)
    check_finished(folder / "run", alone)
    succeed(*SEARCH, "--iterations=1", "--seed=1", "--out=other", cwd=folder)
    assert kids(folder / "other")[0] != kids(alone)[0]


def copy_unfinished(alone: Path, folder: Path) -> Path:
    """The run without its result, as if killed at the end of its scoring."""
    shutil.copytree(alone, folder / "run")
    (folder / "run/result.json").unlink()
    return folder / "run"


def test_a_damaged_last_line_of_the_log_is_survived(folder, alone):
    run = copy_unfinished(alone, folder)
    with (run / "log.jsonl").open("a") as file:
        file.write('{"step": 151, "ki')
    succeed("resume", "run", "--quiet", cwd=folder)
    check_finished(run, alone)


def test_one_process_at_a_time(folder):
    process = begin(*SEARCH, "--out=run", cwd=folder)
    stop_when(process, lambda: logged(folder / "run") >= 5)
    before = contents(folder / "run")
    said = fail("resume", "run", cwd=folder)
    assert "Another process is at work on run" in said
    assert contents(folder / "run") == before
    process.kill()
    end(process)


def test_damaged_runs_are_refused(folder, alone):
    run = copy_unfinished(alone, folder)
    whole = contents(run)
    config = whole["config.toml"].decode()
    step = safetensors.numpy.load(whole["checkpoint.safetensors"])["step"]
    foreign = safetensors.numpy.save({"x": step})
    cases = [
        ("checkpoint.safetensors", whole["checkpoint.safetensors"][:-9], "not a whole"),
        ("checkpoint.safetensors", foreign, "does not fit this run"),
        ("config.toml", b"colour = 1\n" + whole["config.toml"], "unknown key 'colour'"),
        ("config.toml", config.replace("steps = 40", "steps = 'x'").encode(), "of type int"),
        ("config.toml", config.replace("steps = 40", "steps = true").encode(), "of type int"),
        ("config.toml", config.replace('"gddim"', "3").encode(), "of type str"),
        ("config.toml", config.replace("steps = 40", "steps = 4").encode(), "does not fit"),
        ("config.toml", config.replace('"gddim"', '"gdim"').encode(), "'gddim'"),
        ("config.toml", whole["config.toml"][:50], "config.toml cannot be read as TOML"),
        ("config.toml", b"", "config.toml lacks data"),
        ("result.json", b"{", "result.json is damaged"),
    ]
    for name, content, word in cases:
        (run / name).write_bytes(content)
        before = contents(run)
        assert word in fail("resume", "run", cwd=folder)
        assert contents(run) == before
        (run / name).write_bytes(whole[name]) if name in whole else (run / name).unlink()
    done = succeed("resume", "run", "--quiet", cwd=folder)
    assert "FD and KID are better" in done.out


def test_other_versions_are_told(folder, alone):
    run = copy_unfinished(alone, folder)
    config = (run / "config.toml").read_text()
    (run / "config.toml").write_text(config.replace('python = "', 'python = "2.'))
    done = succeed("resume", "run", "--quiet", cwd=folder)
    assert "Warning: the versions have changed" in done.err
    assert "python 2.3." in done.err


def test_a_full_disk_leaves_the_last_checkpoint(folder, alone):
    """No file may grow over 9 KiB: the log fits for a while, a checkpoint of 20 kB never does."""
    process = begin(*SEARCH, "--out=run", cwd=folder)
    stop_when(process, lambda: logged(folder / "run") >= 5)
    process.kill()
    end(process)
    before = contents(folder / "run")
    limit = ("bash", "-c", 'ulimit -f 9; exec "$@"', "-")
    said = fail("resume", "run", "--quiet", cwd=folder, code=1, before=limit)
    assert "run cannot be written" in said
    assert "File too large" in said
    assert "`samplerzoo resume run` continues from it." in said
    assert {*contents(folder / "run")} <= {"config.toml", "log.jsonl", "checkpoint.safetensors"}
    name = "checkpoint.safetensors"
    assert (folder / "run" / name).read_bytes() == before[name]
    succeed("resume", "run", "--quiet", cwd=folder)
    check_finished(folder / "run", alone)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB, where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a small file system can be mounted by root only")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_small_disk_that_fills_up(folder, small_disk, alone):
    filler = small_disk / "filler"
    process = begin(*SEARCH, f"--out={small_disk}/run", cwd=folder)
    stop_when(process, lambda: logged(small_disk / "run") >= 5)
    filler.write_bytes(bytes(24_000))
    process.send_signal(signal.SIGCONT)
    assert "No space left on device" in message(end(process), 1)
    state = safetensors.numpy.load_file(small_disk / "run/checkpoint.safetensors")
    assert int(state["step"]) >= 1
    subprocess.run(["mount", "-o", "remount,size=10m", str(small_disk)], check=True)
    succeed("resume", small_disk / "run", "--quiet", cwd=folder)
    check_finished(small_disk / "run", alone)

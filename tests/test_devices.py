"""Devices and processes: the same result on any number of them, and none left hanging."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli_tools import ENVIRONMENT, TOY, Done, begin, end, succeed, write_toys
from samplerzoo import load_sampler
from samplerzoo.runs.processes import connection, is_scheduled, scheduled
from samplerzoo.runs.watch import PATIENCE

ITERATIONS = 300
SEARCH = (
    "search",
    *TOY,
    "--family=gddim",
    "--steps=3",
    "--n=64",
    "--batch=24",
    "--quiet",
    f"--iterations={ITERATIONS}",
)

# Runs without this suite's checks of types, in a process with eight devices.
EIGHT = """
import json
import equinox as eqx, jax, jax.numpy as jnp
jax.config.update("jax_enable_x64", True)
from networks import conv_model
from samplerzoo import (
    GDDIM, KID, CosineVP, DiffusionModel, Polynomial, batch_loss, draw_samples
)
from samplerzoo.core.devices import all_devices
from samplerzoo.features import Pixels

model = conv_model(size=8, width=8, depth=1)
model = jax.tree.map(lambda a: a.astype(float) if eqx.is_inexact_array(a) else a, model)
data = jax.random.normal(jax.random.key(1), (20, 192), float)
objective = KID(Pixels(), Polynomial(), data)
table, key, mesh = GDDIM(4).table(model.schedule), jax.random.key(0), all_devices()

def way(batch, microbatch, mesh):
    def loss(table, model, objective):
        return batch_loss(table, model, objective, key, batch, microbatch, mesh)
    run = eqx.filter_jit(jax.value_and_grad(loss))
    compiled = run.lower(table, model, objective).compile()
    value, slope = compiled(table, model, objective)
    memory = compiled.compiled.memory_analysis().temp_size_in_bytes
    return jnp.concatenate([value[None], *(a.ravel() for a in jax.tree.leaves(slope))]), memory

found = {"devices": mesh.size, "errors": [], "memory": []}
one, alone = way(64, None, None)
two = jax.sharding.Mesh(jax.devices()[:2], ("batch",))
# Eight times three do not divide the batch.
for microbatch, those in ((None, mesh), (3, mesh), (4, two)):
    many, each = way(64, microbatch, those)
    found["errors"].append(float(jnp.max(jnp.abs(one - many)) / jnp.max(jnp.abs(one))))
    found["memory"].append(each / alone)
one, many = (draw_samples(table, model, key, 21, 10, m) for m in (None, mesh))
found["samples"] = [one.shape == many.shape, float(abs(one - many).max())]
rows = jnp.linspace(-1, 1, 5)
told = DiffusionModel(lambda x, t, row: jnp.tanh(x + row), CosineVP(), (3,), conditions=rows)
table = GDDIM(4).table(told.schedule)
one, many = (draw_samples(table, told, key, 21, 10, m) for m in (None, mesh))
found["conditional"] = float(abs(one - many).max())
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the toys, and a search in it by one process."""
    folder = tmp_path_factory.mktemp("devices")
    write_toys(folder)
    succeed(*SEARCH, "--out=one", cwd=folder)
    return folder


def processes(count: int) -> list[tuple[str, ...]]:
    """The options of so many processes, with a port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"--coordinator=127.0.0.1:{server.getsockname()[1]}"
    return [(address, f"--processes={count}", f"--process-id={n}") for n in range(count)]


def table(path: Path):
    return load_sampler(path / "sampler.safetensors")[0]


def close(one, other) -> bool:
    """Whether two searches gave the same but for rounding, which every step magnifies."""
    pairs = ((one.clean, other.clean), (one.noise, other.noise), (one.fresh, other.fresh))
    return all(abs(a - b).max() < 1e-3 for a, b in pairs)


@pytest.mark.slow
def test_eight_devices_give_the_result_of_one():
    paths = (str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))
    environment = ENVIRONMENT | {
        "JAX_NUM_CPU_DEVICES": "8",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    done = subprocess.run(
        [sys.executable, "-c", EIGHT], env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["devices"] == 8
    assert max(found["errors"]) < 1e-12
    assert found["memory"][0] < 0.3  # an eighth of the samples, and all features
    assert found["samples"][0]
    assert found["samples"][1] < 1e-12
    assert found["conditional"] < 1e-12


@pytest.mark.slow
def test_eight_devices_search_as_one_does(folder):
    flags = ("env", "JAX_NUM_CPU_DEVICES=8")
    succeed(*SEARCH, "--out=eight", cwd=folder, before=flags)
    assert json.loads((folder / "eight" / "result.json").read_text())["cost"]["devices"] == 8
    assert close(table(folder / "one"), table(folder / "eight"))


def lose(folder: Path, name: str, victim: int, how: signal.Signals = signal.SIGKILL) -> Done:
    """Two processes at one search, one of which is killed, or stopped, at work: the other's end."""
    more = (f"--out={name}", "--checkpoint-every=0")
    both = [begin(*SEARCH, *more, *options, cwd=folder) for options in processes(2)]
    log, deadline = folder / name / "log.jsonl", time.monotonic() + 120
    while not (log.exists() and log.read_text().count("\n") > 5):
        assert time.monotonic() < deadline, [process.poll() for process in both]
        time.sleep(0.05)
    both[victim].send_signal(how)
    lost = time.monotonic()
    done = end(both[1 - victim])
    assert time.monotonic() - lost < PATIENCE + 10
    both[victim].kill()
    end(both[victim])
    assert not (folder / name / "result.json").exists()
    return done


@pytest.mark.slow
def test_two_processes_are_killed_and_resumed_by_one(folder):
    first = lose(folder, "killed", victim=1)
    assert first.code == 1
    assert (
        "Error: process 1 of this run was lost. `samplerzoo resume killed` continues it"
        in first.err
    )
    assert 5 < len((folder / "killed" / "log.jsonl").read_text().splitlines()) < ITERATIONS
    succeed("resume", "killed", "--quiet", cwd=folder)
    assert close(table(folder / "one"), table(folder / "killed"))


@pytest.mark.slow
def test_a_process_that_falls_silent_is_lost(folder):
    first = lose(folder, "silent", victim=1, how=signal.SIGSTOP)
    assert first.code == 1
    assert (
        "Error: process 1 of this run was lost. `samplerzoo resume silent` continues it"
        in first.err
    )


@pytest.mark.slow
def test_one_process_is_killed_and_resumed_by_two(folder):
    second = lose(folder, "first-killed", victim=0)
    assert second.code != 0
    assert "process 0 of this run was lost" in second.err or "another task died" in second.err
    command = ("resume", "first-killed", "--quiet", "--json")
    both = [begin(*command, *options, cwd=folder) for options in processes(2)]
    first, second = (end(process) for process in both)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert json.loads(first.out)["cost"]["devices"] == 2
    assert second.out == ""  # one process speaks, and one writes
    assert close(table(folder / "one"), table(folder / "first-killed"))


@pytest.mark.slow
def test_an_error_in_one_process_ends_the_others(folder):
    first, second = processes(2)
    # The folder is taken, which only the process that writes to it knows.
    both = [begin(*SEARCH, "--out=one", *options, cwd=folder) for options in (first, second)]
    first, second = (end(process) for process in both)
    assert first.code == 2
    assert "--out one holds another run" in first.err
    assert second.code != 0
    assert "process 0 of this run was lost" in second.err or "another task died" in second.err


@pytest.mark.slow
def test_under_slurm_nothing_needs_to_be_given(folder):
    def slurm(index: int) -> tuple[str, ...]:
        job = {"JOB_ID": os.getpid(), "STEP_NODELIST": "localhost", "NTASKS": 2}
        job |= {"PROCID": index, "LOCALID": index}
        return ("env", *(f"SLURM_{name}={value}" for name, value in job.items()))

    command = (*SEARCH, "--out=slurm", "--json")
    both = [begin(*command, cwd=folder, before=slurm(n)) for n in range(2)]
    first, second = (end(process) for process in both)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert json.loads(first.out)["cost"]["devices"] == 2
    assert close(table(folder / "one"), table(folder / "slurm"))


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({"SLURM_STEP_NODELIST": "node[01-04,7],b", "SLURM_JOB_ID": "5000"}, "node01:62344"),
        ({"SLURM_STEP_NODELIST": "a-1,b-2", "SLURM_JOB_ID": "1"}, "a-1:61441"),
        ({"SLURM_STEP_NODELIST": "localhost", "SLURM_JOB_ID": "x"}, None),
        ({"SLURM_STEP_NODELIST": "localhost"}, None),
        ({"OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.1.0.1:34911"}, "10.96.0.1:"),
        (
            {"OMPI_MCA_orte_hnp_uri": "1314521088.0;tcp6://[fe80::b9b,2620::3]:43370"},
            "[fe80::b9b]:",
        ),
        ({"OMPI_MCA_orte_hnp_uri": "nonsense"}, None),
    ],
)
def test_what_schedulers_tell(environment, found):
    counts = {"SLURM_NTASKS": "4", "SLURM_PROCID": "3"}
    counts |= {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}
    told = scheduled(environment | counts)
    assert (told is None) == (found is None)
    if told and found:
        assert told[0].startswith(found)
        assert told[1:] == (4, 3)


def test_schedulers_are_known_by_their_environment():
    assert not is_scheduled({})
    assert not is_scheduled({"SLURM_NTASKS": "4"})  # of the whole job, outside its steps
    assert is_scheduled({"SLURM_NTASKS": "4", "SLURM_STEP_NODELIST": "node[1-4]"})
    assert not is_scheduled({"SLURM_NTASKS": "1", "SLURM_STEP_NODELIST": "node1"})
    assert is_scheduled({"OMPI_COMM_WORLD_SIZE": "2"})
    assert is_scheduled({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"})
    assert not is_scheduled({"KUBERNETES_SERVICE_HOST": "10.0.0.1"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("host:1", None, 0), "go together; give all three"),
        ((None, 2, None), "go together; give all three"),
        (("host", 2, 0), "'host'; it must look like HOST:PORT"),
        (("host:port", 2, 0), "it must look like HOST:PORT"),
        (("host:1", 2, 2), "--process-id is 2 of --processes 2"),
        (("host:1", 2, -1), "--process-id is -1"),
        (("host:1", 0, 0), "--process-id is 0 of --processes 0"),
    ],
)
def test_what_does_not_tell_the_processes_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        connection(*given)


def test_addresses_of_all_kinds_are_taken():
    for address in ("host:1", "127.0.0.1:8476", "[::1]:8476"):
        assert connection(address, 2, 1)["coordinator_address"] == address


@pytest.mark.slow
def test_processes_that_do_not_agree_end_in_a_sentence(folder):
    """Two of one number, counts that differ, a port in use, and a first that never comes."""
    (address, *_), _ = processes(2)
    port = ("--coordinator=127.0.0.1:1",)
    patience = ("env", "SAMPLERZOO_JOIN_SECONDS=15")
    pairs = {
        "Two processes have --process-id 1": [(3, 0), (3, 1), (3, 1)],
        "give the same number to all": [(2, 0), (3, 1)],
    }
    for word, members in pairs.items():
        address = processes(1)[0][0]
        options = [(address, f"--processes={n}", f"--process-id={k}") for n, k in members]
        started = [
            begin(*SEARCH, "--out=none", *own, cwd=folder, before=patience) for own in options
        ]
        for done in map(end, started):
            assert done.code == 1, done.err
            assert word in done.err
            assert done.err.count("\n") == 1
    lone = ("--processes=2", "--process-id=1")
    done = end(
        begin(*SEARCH, *port, *lone, cwd=folder, before=("env", "SAMPLERZOO_JOIN_SECONDS=3"))
    )
    assert (done.code, done.err.count("\n")) == (1, 1), done.err
    assert "Process 0 did not listen at 127.0.0.1:1 within 3 seconds" in done.err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"--coordinator=127.0.0.1:{taken.getsockname()[1]}"
        done = end(begin(*SEARCH, place, "--processes=2", "--process-id=0", cwd=folder))
    assert (done.code, done.err.count("\n")) == (1, 1), done.err
    assert "is in use" in done.err

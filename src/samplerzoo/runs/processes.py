"""Several processes at one search: how they join, and how they end when one of them is lost."""

import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from ..limits import JOIN_SECONDS
from ..wording import phrase
from .rendezvous import JoinError, meet, parse_place
from .store import resuming
from .watch import PATIENCE, Watch


class Crew:
    """The processes at work on one run.

    Attributes:
        scratch: None in the first process, which writes the run. The others do all the same, and
            write to this folder, which is thrown away.
        first: Whether this is the first process.
    """

    def __init__(self, scratch: Path | None = None, watch: Watch | None = None):
        self.scratch, self.first, self._watch = scratch, scratch is None, watch

    def within(self, name: str) -> "Crew":
        """The same processes at work on a run in the folder of a sweep."""
        if self.scratch is None:
            return Crew(watch=self._watch)
        (self.scratch / name).mkdir(exist_ok=True)
        return Crew(self.scratch / name, self._watch)

    def tell(self, folder: Path) -> None:
        """Say which run can be resumed later, for the message that another process was lost."""
        if self._watch:
            name = f"`{resuming(folder)}`" if self.first else "`samplerzoo resume` of the run"
            self._watch.hint = f"{name} continues it, with any number of processes."

    def share(self, folder: Path, *names: str) -> None:
        """Copy files of the first process's folder, where they exist, to those of the others."""
        if self._watch is None:
            return
        for name in names:
            path = folder / name
            data = _broadcast(path.read_bytes() if self.first and path.exists() else b"")
            if data and not self.first:
                path.write_bytes(data)


@contextmanager
def joined(
    coordinator: str | None = None, processes: int | None = None, process_id: int | None = None
) -> Iterator[Crew]:
    """Join the other processes of this command, if there are any, and watch over them.

    An error in one process ends all, each with a message, within `PATIENCE` seconds. After an
    error, a process must end by `os._exit`, or it waits for the others at JAX's last barrier.

    Args:
        coordinator: `HOST:PORT` where the first process listens.
        processes: How many there are.
        process_id: Which of them this one is, from 0. Under Slurm, Open MPI or an indexed
            Kubernetes job none of the three is needed.

    Yields:
        The processes, as `search` and `resume` take them.

    Raises:
        ValueError: The arguments do not fit together.
        JoinError: The processes do not find one another, or do not agree on how many they are.
    """
    given = connection(coordinator, processes, process_id)
    if given is None:
        yield Crew()
        return
    if given:
        meet(parse_place(given["coordinator_address"]), given["num_processes"], given["process_id"])
    import jax

    try:
        jax.distributed.initialize(
            **given,
            initialization_timeout=JOIN_SECONDS.most,
            heartbeat_timeout_seconds=3 * PATIENCE,  # what happens where our own watch cannot be
        )
    except (ValueError, RuntimeError) as error:
        raise JoinError(
            f"The processes cannot be joined: {phrase(error)}. Give --coordinator, --processes and "
            "--process-id, the same first two in all."
        ) from error
    with tempfile.TemporaryDirectory(prefix="samplerzoo-") as scratch, _own_stdout():
        host = parse_place(given["coordinator_address"]).host if given else None
        watch = Watch(jax.process_index(), jax.process_count(), host, _broadcast)
        try:
            yield Crew(Path(scratch) if jax.process_index() else None, watch)
        except jax.errors.JaxRuntimeError:
            time.sleep(PATIENCE + 1)  # where another process was lost, the watch says so
            raise
        watch.close()
        jax.distributed.shutdown()


@contextmanager
def _own_stdout() -> Iterator[None]:
    """Keep stdout for what this program prints: libraries below Python write there too.

    Where Python's own stdout has been turned elsewhere, it stays so.
    """
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w") as own:
        os.dup2(2, 1)
        try:
            with redirect_stdout(own if sys.stdout is sys.__stdout__ else sys.stdout):
                yield
        finally:
            own.flush()
            os.dup2(own.fileno(), 1)


def connection(
    coordinator: str | None, processes: int | None, process_id: int | None
) -> dict[str, Any] | None:
    """Return the arguments of `jax.distributed.initialize`, or None for a process that is alone.

    They are empty where JAX finds them out itself, as under Kubernetes. Where the first process
    listens is one address of its machine, the one by which the others know it.

    Raises:
        ValueError: The arguments do not fit together; see `joined`.
    """
    given = (coordinator, processes, process_id)
    if all(value is None for value in given):
        if not is_scheduled(os.environ):
            return None
        found = scheduled(os.environ)
        return _arguments(*found) if found else {}
    if coordinator is None or processes is None or process_id is None:
        raise ValueError("--coordinator, --processes and --process-id go together; give all three.")
    if not re.fullmatch(r"[^\s:]+:\d+|\[[0-9a-fA-F:]+\]:\d+", coordinator):
        raise ValueError(f"--coordinator is {coordinator!r}; it must look like HOST:PORT.")
    if processes < 1 or not 0 <= process_id < processes:
        raise ValueError(
            f"--process-id is {process_id} of --processes {processes}; it must lie between 0 and "
            "the number of processes less one."
        )
    return _arguments(coordinator, processes, process_id)


def _arguments(coordinator: str, processes: int, process_id: int) -> dict[str, Any]:
    return {
        "coordinator_address": coordinator,
        "coordinator_bind_address": coordinator,
        "num_processes": processes,
        "process_id": process_id,
    }


def scheduled(environment: Mapping[str, str]) -> tuple[str, int, int] | None:
    """Find where the first process listens, how many there are, and which one this is.

    What Slurm and Open MPI tell each process; the port is made of the job's number. None where they
    tell less than that.
    """
    try:
        if "SLURM_STEP_NODELIST" in environment:
            first = re.match(r"([^,\[]+)(?:\[([^],-]+))?", environment["SLURM_STEP_NODELIST"])
            assert first is not None
            host, job = first[1] + (first[2] or ""), int(environment["SLURM_JOB_ID"])
            members = environment["SLURM_NTASKS"], environment["SLURM_PROCID"]
        else:
            found = re.match(
                r"(\d+)\..*?(?:tcp://([^,:]+)|tcp6://\[([^],]+))",
                environment["OMPI_MCA_orte_hnp_uri"],
            )
            assert found is not None
            host, job = found[2] or f"[{found[3]}]", int(found[1]) // 2**12
            members = environment["OMPI_COMM_WORLD_SIZE"], environment["OMPI_COMM_WORLD_RANK"]
        return f"{host}:{2**16 - 2**12 + job % 2**12}", int(members[0]), int(members[1])
    except (KeyError, ValueError, AssertionError):
        return None


def is_scheduled(environment: Mapping[str, str]) -> bool:
    """Tell whether Slurm, Open MPI or an indexed Kubernetes job started this as one of several."""
    slurm = environment.get("SLURM_NTASKS", "1") != "1" and "SLURM_STEP_NODELIST" in environment
    mpi = environment.get("OMPI_COMM_WORLD_SIZE", "1") != "1"
    return slurm or mpi or {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= set(environment)


def _broadcast(data: bytes) -> bytes:
    """What the first process gives, in all processes."""
    import numpy as np
    from jax.experimental.multihost_utils import broadcast_one_to_all

    size = int(broadcast_one_to_all(np.asarray(len(data))))
    content = np.frombuffer(data, np.uint8) if len(data) == size else np.zeros(size, np.uint8)
    return np.asarray(broadcast_one_to_all(content)).astype(np.uint8).tobytes()

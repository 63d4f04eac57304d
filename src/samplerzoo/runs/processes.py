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
        ValueError: The arguments do not fit together, or the processes cannot be joined.
    """
    given = connection(coordinator, processes, process_id)
    if given is None:
        yield Crew()
        return
    import jax

    try:
        jax.distributed.initialize(
            **given,
            initialization_timeout=120,
            heartbeat_timeout_seconds=3 * PATIENCE,  # what happens where our own watch cannot be
        )
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"The processes cannot be joined: {str(error).splitlines()[0]} Give --coordinator, "
            "--processes and --process-id, the same first two in all."
        ) from error
    with tempfile.TemporaryDirectory(prefix="samplerzoo-") as scratch, _own_stdout():
        watch = Watch(jax.process_index(), jax.process_count(), coordinator, _broadcast)
        try:
            yield Crew(Path(scratch) if jax.process_index() else None, watch)
        except jax.errors.JaxRuntimeError:
            time.sleep(PATIENCE + 1)  # where another process was lost, the watch says so
            raise
        watch.close()
        jax.distributed.shutdown()


@contextmanager
def _own_stdout() -> Iterator[None]:
    """Keep stdout for what this program prints: libraries below Python write there too."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w") as own:
        os.dup2(2, 1)
        try:
            with redirect_stdout(own):
                yield
        finally:
            own.flush()
            os.dup2(own.fileno(), 1)


def connection(
    coordinator: str | None, processes: int | None, process_id: int | None
) -> dict[str, Any] | None:
    """Return the arguments of `jax.distributed.initialize`, or None for a process that is alone.

    Raises:
        ValueError: The arguments do not fit together; see `joined`.
    """
    given = (coordinator, processes, process_id)
    if all(value is None for value in given):
        return {} if is_scheduled(os.environ) else None
    if coordinator is None or processes is None or process_id is None:
        raise ValueError("--coordinator, --processes and --process-id go together; give all three.")
    if not re.fullmatch(r"[^\s:]+:\d+|\[[0-9a-fA-F:]+\]:\d+", coordinator):
        raise ValueError(f"--coordinator is {coordinator!r}; it must look like HOST:PORT.")
    if processes < 1 or not 0 <= process_id < processes:
        raise ValueError(
            f"--process-id is {process_id} of --processes {processes}; it must lie between 0 and "
            "the number of processes less one."
        )
    return {
        "coordinator_address": coordinator,
        "num_processes": processes,
        "process_id": process_id,
    }


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

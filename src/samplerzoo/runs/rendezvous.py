"""How the processes of a run find one another, before JAX connects them.

JAX's own service ends a process with a C++ backtrace where a port is taken, two processes have one
number, or they were told of different numbers of processes. So they meet first, at the same
address: process 0 listens there, the others tell it who they are, and all get the same answer.
"""

import errno
import json
import socket
import threading
import time
from typing import Any, NamedTuple

from ..limits import JOIN_SECONDS
from ..schema import TEXT, Rule, or_null, parse_json, record, whole
from ..wording import phrase, printable
from .errors import RunError

_GREETING = b"samplerzoo/join/1 "
_LONGEST = 1000  # bytes of a line
_TOLD = record({"process_id": whole(0, 2**31), "processes": whole(0, 2**31)})
_ANSWER = record({"error": or_null(TEXT)})
_PAUSE = 0.2  # seconds between two attempts


class JoinError(RunError):
    """The processes of a run do not find one another."""


class Place(NamedTuple):
    """The address at which processes meet: `HOST:PORT`, taken apart."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_place(text: str) -> Place:
    """Take `HOST:PORT` or `[HOST]:PORT` apart, whose form has been checked."""
    host, _, port = text.rpartition(":")
    return Place(host.strip("[]"), int(port))


def listen(host: str, port: int, backlog: int) -> socket.socket:
    """Listen on one address of this machine, never on all.

    Args:
        host: The name or the number of the address.
        port: The port; 0 for any that is free.
        backlog: How many may wait to be accepted.

    Raises:
        OSError: Where the address is not of this machine, or the port is taken.
    """
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    server = socket.socket(family, kind)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
        server.listen(backlog)
    except OSError:
        server.close()
        raise
    return server


def meet(place: Place, processes: int, process_id: int) -> None:
    """Wait until all processes are there and agree on how many they are.

    Args:
        place: Where process 0 listens.
        processes: How many there are.
        process_id: Which of them this one is, from 0.

    Raises:
        JoinError: Where they do not, in a sentence that is the same in all processes that came.
    """
    until = time.monotonic() + JOIN_SECONDS.most
    if process_id == 0:
        _gather(place, processes, until)
    else:
        _come(place, processes, process_id, until)


class _Guests:
    """The processes that have come, by their numbers, with the connection to each."""

    def __init__(self, processes: int):
        self._wanted, self._lock = processes, threading.Lock()
        self._links: dict[int, list[socket.socket]] = {}
        self._error: str | None = None
        self.done = threading.Event()

    def add(self, link: socket.socket, told: Any) -> None:
        """Take note of a process. What it says of itself decides whether all can begin."""
        number, count = told["process_id"], told["processes"]
        with self._lock:
            known = self._links.setdefault(number, [])
            known.append(link)
            if count != self._wanted:
                self._error = (
                    f"Process {number} was started with --processes {count} and process 0 with "
                    f"--processes {self._wanted}; give the same number to all."
                )
            elif len(known) > 1 or number == 0:
                self._error = f"Two processes have --process-id {number}; give each its own."
            if self._error or len(self._links) == self._wanted - 1:
                self.done.set()

    def answer(self, error: str | None) -> None:
        """Tell all what came of it, and wait until they have heard it."""
        line = json.dumps({"error": error}).encode() + b"\n"
        for link in [link for links in self._links.values() for link in links]:
            try:
                link.sendall(_GREETING + line)
                link.recv(1)  # the other ends the connection, so that the port is free here
            except OSError:
                continue
            finally:
                link.close()

    def result(self) -> str | None:
        """Say what keeps the processes from beginning, if anything does."""
        with self._lock:
            missing = sorted(set(range(1, self._wanted)) - self._links.keys())
            if self._error or not missing:
                return self._error
            return (
                f"Process {missing[0]} of {self._wanted} did not come within "
                f"{JOIN_SECONDS.most} seconds; start all of them at about the same time, or set "
                f"{JOIN_SECONDS.variable} higher."
            )


def _gather(place: Place, processes: int, until: float) -> None:
    try:
        server = listen(*place, processes)
    except OSError as error:
        raise JoinError(_no_place(place, error)) from error
    guests = _Guests(processes)
    with server:
        threading.Thread(target=_receive, args=(server, guests), daemon=True).start()
        if processes > 1:
            guests.done.wait(until - time.monotonic())
        server.shutdown(socket.SHUT_RDWR)  # or the port stays taken while it waits for others
    error = guests.result()
    guests.answer(error)
    if error:
        raise JoinError(error)


def _receive(server: socket.socket, guests: _Guests) -> None:
    """Hear those who come, each on its own: a stranger keeps nobody waiting."""
    while True:
        try:
            link, _ = server.accept()
        except OSError:
            return  # it is closed
        threading.Thread(target=_hear, args=(link, guests), daemon=True).start()


def _hear(link: socket.socket, guests: _Guests) -> None:
    link.settimeout(5)
    try:
        told = _read(link, _TOLD)
    except (OSError, ValueError):
        link.close()  # of somebody else
        return
    guests.add(link, told)


def _come(place: Place, processes: int, process_id: int, until: float) -> None:
    link = _connect(place, until)
    with link:
        link.settimeout(max(1.0, until + 5 - time.monotonic()))
        told = {"process_id": process_id, "processes": processes}
        try:
            link.sendall(_GREETING + json.dumps(told).encode() + b"\n")
            error = _read(link, _ANSWER)["error"]
        except TimeoutError as silence:
            raise JoinError(
                f"What listens at {place} does not answer as process 0 of this command does; look "
                "whether the port is another program's."
            ) from silence
        except (OSError, ValueError) as other:
            raise JoinError(
                f"What listens at {place} is not process 0 of this command, or it ended; look at "
                "its messages, and whether the port is another program's."
            ) from other
    if error is not None:
        raise JoinError(printable(str(error), 500))


def _connect(place: Place, until: float) -> socket.socket:
    while True:
        left = until - time.monotonic()
        try:
            return socket.create_connection(place, timeout=max(0.1, min(5.0, left)))
        except OSError as error:
            if isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
                raise JoinError(_no_place(place, error)) from error
            if left <= 0:
                raise JoinError(
                    f"Process 0 did not listen at {place} within {JOIN_SECONDS.most} seconds "
                    f"({phrase(error)}); start it with the same --coordinator, or set "
                    f"{JOIN_SECONDS.variable} higher."
                ) from error
        time.sleep(_PAUSE)


def _no_place(place: Place, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return (
            f"The host {printable(place.host)!r} of --coordinator is not known ({phrase(error)})."
        )
    if error.errno == errno.EADDRINUSE:
        return (
            f"The port {place.port} of {place.host} is in use, by another program or another "
            "process 0; give another in --coordinator."
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            f"{place.host} is not an address of this machine; --coordinator names the machine of "
            "process 0."
        )
    return f"Process 0 cannot listen at {place}: {phrase(error)}."


def _read(link: socket.socket, rule: Rule) -> Any:
    """A line of ours that keeps a rule. Raises ValueError for anything else."""
    data = b""
    while not data.endswith(b"\n"):
        part = link.recv(_LONGEST)
        data += part
        if not part or len(data) > _LONGEST or not data.startswith(_GREETING[: len(data)]):
            raise ValueError("it is not ours")
    return parse_json(data.removeprefix(_GREETING), rule, "the line")

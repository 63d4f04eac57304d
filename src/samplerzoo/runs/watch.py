"""A watch over the processes of a run: when one is lost, the others end and say so.

Collective operations wait for a lost process, some of them for ever. So each process keeps a
connection to the first, over which both send signs of life. A connection that breaks, or is silent
for `PATIENCE` seconds, ends the process; when the first ends, so do all others.
"""

import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable

from .rendezvous import listen

PATIENCE = 20  # seconds
ALIVE, BYE = b".", b"q"
_TOKEN = 16  # bytes


class Watch:
    """Begins to watch; `close` ends it for this process, before it ends itself.

    The first process listens at `host`, by default at what its machine's name stands for.
    """

    def __init__(
        self,
        index: int,
        count: int,
        host: str | None,
        broadcast: Callable[[bytes], bytes],
    ):
        self.hint = "Begin again."
        self._sockets: list[socket.socket] = []
        self._closed = threading.Event()
        if index == 0:
            host = host or socket.gethostname()
            server = listen(host, 0, count)
            secret = secrets.token_bytes(_TOKEN)
            broadcast(secret + f"{server.getsockname()[1]} {host}".encode())
            self._go(self._welcome, server, secret)
        else:
            found = broadcast(b"")
            port, _, host = found[_TOKEN:].decode().partition(" ")
            try:
                link = socket.create_connection((host, int(port)), timeout=PATIENCE)
                link.sendall(found[:_TOKEN] + index.to_bytes(4))
                self._keep(link, 0)
            except OSError:
                pass  # JAX's own heartbeat, over the coordinator's port, has to do

    def close(self) -> None:
        """Tell the others that this process ends as it should."""
        self._closed.set()
        for link in self._sockets:
            try:
                link.sendall(BYE)
            except OSError:
                continue

    def _go(self, work: Callable, *arguments) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()

    def _welcome(self, server: socket.socket, secret: bytes) -> None:
        while True:
            link, _ = server.accept()
            link.settimeout(PATIENCE)
            try:
                greeting = link.recv(_TOKEN + 4, socket.MSG_WAITALL)
            except OSError:
                greeting = b""
            if secrets.compare_digest(greeting[:_TOKEN], secret):
                self._keep(link, int.from_bytes(greeting[_TOKEN:]))
            else:
                link.close()

    def _keep(self, link: socket.socket, other: int) -> None:
        self._sockets.append(link)
        self._go(self._beat, link)
        self._go(self._listen, link, other)

    def _beat(self, link: socket.socket) -> None:
        while not self._closed.wait(PATIENCE / 5):
            try:
                link.sendall(ALIVE)
            except OSError:
                return  # the listener ends the process

    def _listen(self, link: socket.socket, other: int) -> None:
        while True:
            try:
                received = link.recv(64)
            except OSError:
                received = b""
            if self._closed.is_set() or BYE in received:
                return
            if not received:
                self._lost(other)

    def _lost(self, other: int) -> None:
        print(f"\nError: process {other} of this run was lost. {self.hint}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)

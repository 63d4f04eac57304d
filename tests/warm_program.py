"""The program from a process that has imported its libraries, which a test can start in no time.

Each start is a fork of that process before JAX has begun any work: a process of its own, with its
own folder, environment, streams and exit status, which has saved the second of importing.
"""

import atexit
import contextlib
import functools
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

# What commands import when they are run, and what that imports.
LIBRARIES = ("samplerzoo.cli", "samplerzoo.runs.searching", "samplerzoo.reports")
MOST = 2**20  # bytes of a request
KILL = "SAMPLERZOO_TESTS_KILL"  # after so many seconds the program is no more


@functools.cache
def _server(environment: str) -> socket.socket:
    """Start the process that forks; it ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=json.loads(environment),
            stdin=subprocess.DEVNULL,
        )
    atexit.register(process.wait)
    atexit.register(ours.close)  # before the other: the last are called first
    return ours


def start(
    arguments: list[str], cwd: Path, environment: dict[str, str], seconds: float
) -> tuple[int, bytes, bytes]:
    """Run the program to its end; its exit status, and what it wrote on stdout and stderr."""
    asked = {"arguments": arguments, "cwd": str(cwd), "environment": environment}
    apart = {"PYTHONPATH", KILL}
    own = {name: value for name, value in environment.items() if name not in apart}
    server = _server(json.dumps(own, sort_keys=True))
    server.settimeout(seconds)
    with contextlib.ExitStack() as opened:
        files = [
            opened.enter_context(open(os.memfd_create(name), "r+b")) for name in ("out", "err")
        ]
        nothing = opened.enter_context(open(os.devnull, "rb"))
        streams = [nothing.fileno(), *(file.fileno() for file in files)]
        socket.send_fds(server, [json.dumps(asked).encode()], streams)
        code = int(server.recv(MOST))
        written = []
        for file in files:
            file.seek(0)
            written.append(file.read())
    return code, written[0], written[1]


def _serve(asking: socket.socket) -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    while True:
        request, streams, _, _ = socket.recv_fds(asking, MOST, 3)
        if not request:
            return
        child = os.fork()
        if child == 0:
            _become(json.loads(request), streams)
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        asking.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(asked: dict, streams: list[int]) -> None:
    """Turn this process into `python -m samplerzoo ARGUMENTS`, to its end."""
    code = 1
    try:
        for place, stream in enumerate(streams):
            os.dup2(stream, place)
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        paths = asked["environment"].get("PYTHONPATH", "").split(os.pathsep)
        sys.path[0:1] = [asked["cwd"], *filter(None, paths)]
        sys.argv = ["samplerzoo", *asked["arguments"]]
        if seconds := os.environ.pop(KILL, ""):
            signal.setitimer(signal.ITIMER_REAL, float(seconds))  # whose signal ends it at once
        from samplerzoo.cli import main

        main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))

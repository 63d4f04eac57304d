"""Processes that meet, or say in a sentence why they do not, and listen on one address alone."""

import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from cli_tools import ENVIRONMENT
from samplerzoo.runs.rendezvous import JoinError, Place, listen, meet, parse_place

JOIN = """
import json, sys
from samplerzoo.runs.rendezvous import JoinError, Place, meet
host, port, processes, process_id = sys.argv[1:]
try:
    meet(Place(host, int(port)), int(processes), int(process_id))
    print(json.dumps(None))
except JoinError as error:
    print(json.dumps(str(error)))
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def join(*members: tuple[int, int], port: int | None = None, seconds: int = 6) -> list[str | None]:
    """What processes say that were started with a count and a number each, and when they did."""
    port = port or free_port()
    words = [sys.executable, "-c", JOIN, "127.0.0.1", str(port)]
    environment = ENVIRONMENT | {"SAMPLERZOO_JOIN_SECONDS": str(seconds)}
    started = [
        subprocess.Popen([*words, *map(str, member)], env=environment, stdout=subprocess.PIPE)
        for member in members
    ]
    return [json.loads(process.communicate(timeout=60)[0]) for process in started]


def test_all_that_agree_begin():
    assert join((3, 0), (3, 1), (3, 2)) == [None] * 3
    assert join((1, 0)) == [None]


def test_the_port_is_free_afterwards():
    place = Place("127.0.0.1", free_port())
    first = threading.Thread(target=meet, args=(place, 2, 0))
    first.start()
    meet(place, 2, 1)
    first.join()
    with listen(*place, 1) as server:
        assert server.getsockname()[1] == place.port
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(place, timeout=2)


def test_it_does_not_matter_who_comes_first():
    assert join((2, 1), (2, 0)) == [None] * 2


def test_two_of_one_number():
    said = join((3, 0), (3, 1), (3, 1))
    assert set(said) == {"Two processes have --process-id 1; give each its own."}


@pytest.mark.parametrize("counts", [(2, 3), (3, 2), (4, 2)])
def test_counts_that_differ(counts):
    first, second = counts
    said = join((first, 0), (second, 1))
    assert set(said) == {
        f"Process 1 was started with --processes {second} and process 0 with --processes {first}; "
        "give the same number to all."
    }


def test_one_that_never_comes():
    said = join((3, 0), (3, 1), seconds=2)
    assert said[0] == said[1]
    assert said[0].startswith("Process 2 of 3 did not come within 2 seconds; start all of them")


def test_a_first_that_never_comes():
    (said,) = join((2, 1), seconds=2)
    assert "did not listen at 127.0.0.1:" in said
    assert "within 2 seconds (" in said


@pytest.fixture
def taken():
    """A port that another program listens at, and what it does with those who come."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_port_in_use(taken):
    (said,) = join((2, 0), port=taken.getsockname()[1])
    assert "is in use, by another program or another process 0; give another" in said


def test_two_first_processes():
    port = free_port()
    said = join((2, 0), (2, 0), port=port, seconds=3)
    assert any("is in use" in (text or "") for text in said)
    assert any("Process 1 of 2 did not come" in (text or "") for text in said)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\0" * 5000, None])
def test_another_program_at_the_port(taken, answer):
    """One that answers, hangs up, or says nothing at all."""

    def serve():
        link, _ = taken.accept()
        if answer is None:
            time.sleep(20)
        link.sendall(answer or b"")
        link.close()

    threading.Thread(target=serve, daemon=True).start()
    (said,) = join((2, 1), port=taken.getsockname()[1], seconds=2)
    assert said.startswith("What listens at 127.0.0.1:")
    assert "another program's." in said


@pytest.mark.parametrize(
    ("host", "word"),
    [("192.0.2.1", "is not an address of this machine"), ("no-such-host.invalid", "is not known")],
)
def test_places_that_are_not_here(host, word):
    with pytest.raises(JoinError, match=word):
        meet(Place(host, 45678), 2, 0)


def test_strangers_keep_nobody_waiting(monkeypatch):
    """Connections that say nothing, or something else, before and between the processes."""
    port = free_port()
    monkeypatch.setenv("SAMPLERZOO_JOIN_SECONDS", "20")
    first = threading.Thread(target=meet, args=(Place("127.0.0.1", port), 2, 0))
    first.start()
    time.sleep(0.3)
    strangers = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
    for stranger, words in zip(
        strangers, (b"GET / HTTP/1.1\n", b"\xff" * 99, b"", b"[]\n"), strict=False
    ):
        stranger.sendall(words)
    with closing(socket.create_connection(("127.0.0.1", port))) as odd:
        odd.sendall(b'samplerzoo/join/1 {"process_id": "1", "processes": 1e99}\n')
    begun = time.monotonic()
    meet(Place("127.0.0.1", port), 2, 1)
    first.join()
    assert time.monotonic() - begun < 10
    for stranger in strangers:
        stranger.close()


def test_only_one_address_is_listened_at():
    with listen("127.0.0.1", 0, 5) as server:
        port = server.getsockname()[1]
        assert server.getsockname()[0] == "127.0.0.1"
        with pytest.raises(OSError, match=r"refused|unreachable|assign|timed out"):
            socket.create_connection(("127.0.0.2", port), timeout=2)
    with listen("localhost", 0, 5) as server:
        assert server.getsockname()[0] in ("127.0.0.1", "::1")


def test_places():
    assert parse_place("node-1:8476") == Place("node-1", 8476)
    assert parse_place("[fe80::1]:80") == Place("fe80::1", 80)
    assert str(parse_place("[fe80::1]:80")) == "[fe80::1]:80"

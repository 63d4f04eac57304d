"""A server that answers in the Hub's name: other commits, paths for hashes, bombs, or never."""

import gzip
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hub_server
from hostile import Case, check_refusal, survive
from samplerzoo.hub import Address, parse
from samplerzoo.hub.fetching import download, is_plain, listing, pin

FILES = {"config.json": b"{}".ljust(1000), "weights.bin": bytes(1000), "README.md": b"# Card"}
OTHER = "f" * 40
MEGABYTE = bytes(2**20)


class Handler(hub_server.Handler):
    """The tests' own Hub, whose answers for some repositories are changed."""

    changes: dict[str, Callable]
    asked: str

    def do_GET(self) -> None:
        found = [name for name in self.changes if name in self.path]
        self.asked = found[0] if found else ""
        super().do_GET()

    do_HEAD = do_GET

    def answer(self, status: int, body: bytes | dict = b"", **headers: str) -> None:
        if not self.asked:
            return super().answer(status, body, **headers)
        change, self.asked = self.changes[self.asked], ""
        change(self, status, body, headers)


def with_headers(where: str = "HEAD", **more: str):
    """Answers with other headers to requests of one kind for files."""

    def change(handler: Handler, status: int, body: Any, headers: dict) -> None:
        if "/resolve/" in handler.path and handler.command == where:
            headers |= {key.replace("_", "-"): value for key, value in more.items()}
        handler.answer(status, body, **headers)

    return change


def told(change: Callable[[dict], Any]):
    """Answers with another listing."""

    def changed(handler: Handler, status: int, body: Any, headers: dict) -> None:
        if handler.path.startswith("/api/"):
            found = change(dict(body))
            body = found if isinstance(found, bytes) else json.dumps(found).encode()
        handler.answer(status, body, **headers)

    return changed


def busy(status: int, **headers: str):
    return lambda handler, *_: handler.answer(status, b"", **headers)


def endless(pause: float, size: int, start: bool = True, where: str = "GET", **headers: str):
    """An answer to requests for files that never ends: so many bytes after each pause."""

    def change(handler: Handler, status: int, body: Any, given: dict) -> None:
        if "/resolve/" not in handler.path or handler.command != where:
            return handler.answer(status, body, **given)
        handler.close_connection = True
        try:
            if start:
                handler.send_response(status)
                for name, value in (given | headers).items():
                    handler.send_header(name.replace("_", "-"), value)
                handler.end_headers()
            for _ in range(int(15 / pause)):
                time.sleep(pause)
                handler.wfile.write(bytes(size))
        except OSError:
            pass

    return change


def silent(handler: Handler, *_: Any) -> None:
    time.sleep(8)
    handler.close_connection = True


def fetch(name: str = "config.json") -> Callable[[Path], Path]:
    def read(folder: Path) -> Path:
        address = Address(f"evil/{folder.name}")
        return download(address, name, listing(address))

    return read


def look(folder: Path) -> object:
    return listing(Address(f"evil/{folder.name}"))


def pinned(folder: Path) -> object:
    return pin(Address(f"evil/{folder.name}"), ("config.json",))


def at_a_commit(folder: Path) -> object:
    return listing(Address(f"evil/{folder.name}", OTHER[:-1] + "e"))


def missing(folder: Path) -> object:
    return download(Address(f"evil/{folder.name}"), "missing.json")


NO_HASH, NO_COMMIT, LATE = "not a hash", "a commit of evil/", "or too slowly; run this again"
OTHER_COMMIT, BOMB, NOT_HUB = "was asked for", "MAX_DOWNLOAD_BYTES", "does not answer as the Hub"
EVIL: dict[str, tuple[Callable, Callable, str]] = {
    "etag-up": (with_headers(ETag='"../../../../../owned"'), fetch(), NO_HASH),
    "etag-root": (with_headers(ETag='"/tmp/samplerzoo-owned"'), fetch(), NO_HASH),
    "etag-dots": (with_headers(ETag='".."'), fetch(), NO_HASH),
    "etag-folder": (with_headers(ETag='"a/b"'), fetch(), NO_HASH),
    "etag-backslash": (with_headers(ETag='"..\\..\\owned"'), fetch(), NO_HASH),
    "etag-weak": (with_headers(ETag='W/"../owned"'), fetch(), NO_HASH),
    "etag-long": (with_headers(ETag=f'"{"a" * 4000}"'), fetch(), NO_HASH),
    "etag-linked": (with_headers(X_Linked_Etag='"../../owned"'), fetch("weights.bin"), NO_HASH),
    "etag-of-a-branch": (with_headers(ETag='"../../owned"'), pinned, NO_HASH),
    "commit-up": (with_headers(X_Repo_Commit="../../../owned"), fetch(), NO_COMMIT),
    "commit-branch": (with_headers(X_Repo_Commit="main"), pinned, NO_COMMIT),
    "commit-short": (with_headers(X_Repo_Commit="f" * 39), fetch(), NO_COMMIT),
    "commit-capitals": (with_headers(X_Repo_Commit="F" * 40), fetch(), NO_COMMIT),
    "commit-other": (with_headers(X_Repo_Commit=OTHER), fetch(), OTHER_COMMIT),
    "commit-other-get": (with_headers("GET", X_Repo_Commit=OTHER), fetch(), OTHER_COMMIT),
    "commit-of-nothing": (with_headers(X_Repo_Commit="../../owned"), missing, NO_COMMIT),
    "listed-branch": (told(lambda b: b | {"sha": "main"}), look, NOT_HUB),
    "listed-nothing": (told(lambda b: b | {"sha": None}), look, NOT_HUB),
    "listed-path": (told(lambda b: b | {"sha": "a/" * 20}), look, NOT_HUB),
    "listed-row": (told(lambda b: b | {"sha": ["f" * 40]}), look, NOT_HUB),
    "json-row": (told(lambda b: [b]), look, NOT_HUB),
    "json-text": (told(lambda b: b"<!DOCTYPE html>"), look, NOT_HUB),
    "json-deep": (told(lambda b: b'{"sha":' + b"[" * 10**6), look, NOT_HUB),
    "json-digits": (told(lambda b: b'{"sha": ' + b"9" * 10**5 + b"}"), look, NOT_HUB),
    "json-files": (told(lambda b: b | {"siblings": "config.json"}), look, NOT_HUB),
    "json-names": (told(lambda b: b | {"siblings": [{"rfilename": 3}]}), look, NOT_HUB),
    "json-sizes": (told(lambda b: b | {"siblings": [{"size": -1}]}), look, NOT_HUB),
    "json-card": (told(lambda b: b | {"cardData": [1]}), look, NOT_HUB),
    "json-surrogate": (told(lambda b: b | {"a": "\ud800"}), look, NOT_HUB),
    "json-bomb": (told(lambda b: b" " * 2**24 + b"{}"), look, BOMB),
    "json-packed": (
        lambda h, s, b, g: h.answer(s, gzip.compress(MEGABYTE * 64), Content_Encoding="gzip"),
        look,
        "packs its answer",
    ),
    "size-announced": (with_headers(Content_Length="1000000000000"), fetch(), BOMB),
    "size-linked": (with_headers(X_Linked_Size="99999999999999999999"), fetch(), BOMB),
    "size-endless": (endless(0.01, 2**20, Connection="close"), fetch(), "than it announced"),
    "size-of-weights": (
        endless(0.01, 2**20, Connection="close"),
        fetch("weights.bin"),
        "than it announced",
    ),
    "drip": (endless(0.5, 1), fetch(), LATE),
    "drip-of-weights": (endless(0.5, 1), fetch("weights.bin"), LATE),
    "drip-of-heads": (endless(0.5, 0, start=False, where="HEAD"), fetch(), "run this again"),
    "silent": (silent, look, "run this again"),
    "silent-file": (
        lambda h, s, b, g: silent(h) if "/resolve/" in h.path else h.answer(s, b, **g),
        fetch(),
        "run this again",
    ),
    "wait-a-day": (busy(429, Retry_After="86400"), look, "NEVER"),
    "wait-a-day-for-a-file": (
        lambda h, s, b, g: h.answer(
            *([429] if "/resolve/" in h.path else [s, b]),
            **({"Retry_After": "86400"} if "/resolve/" in h.path else g),
        ),
        fetch(),
        "429 and asks to come back in 24 hours",
    ),
    "wait-by-rate": (
        lambda h, s, b, g: (
            h.answer(429, RateLimit='"api";r=0;t=86400')
            if h.command == "HEAD"
            else h.answer(s, b, **g)
        ),
        fetch(),
        "asks to come back in 24 hours",
    ),
    "wait-for-ever": (
        lambda h, s, b, g: (
            h.answer(503, Retry_After="9" * 30) if "/resolve/" in h.path else h.answer(s, b, **g)
        ),
        fetch(),
        "503 and asks to come back in",
    ),
    "wait-again": (
        lambda h, s, b, g: (
            h.answer(429, Retry_After="1") if "/resolve/" in h.path else h.answer(s, b, **g)
        ),
        fetch(),
        LATE,
    ),
    "loop": (
        lambda h, s, b, g: (
            h.answer(302, Location=h.path) if "/resolve/" in h.path else h.answer(s, b, **g)
        ),
        fetch(),
        "evil/loop",
    ),
    "to-a-file": (
        lambda h, s, b, g: (
            h.answer(
                302,
                Location="file:///etc/passwd",
                ETag='"abc"',
                X_Repo_Commit=h.hub.repositories["evil/to-a-file"].main,
            )
            if "/resolve/" in h.path
            else h.answer(s, b, **g)
        ),
        fetch(),
        "evil/to-a-file",
    ),
    "other-commit": (lambda h, s, b, g: h.answer(s, b, **g), at_a_commit, "no revision"),
    "other-commit-listed": (
        lambda h, s, b, g: h.answer(200, {"sha": OTHER, "siblings": []}),
        at_a_commit,
        OTHER_COMMIT,
    ),
}
EVIL["wait-a-day"] = (busy(429, Retry_After="86400"), look, "429 and asks to come back in 24 hours")
CASES = {name: Case(lambda folder: None, read, word) for name, (_, read, word) in EVIL.items()}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    Handler.changes = {f"evil/{name}/": change for name, (change, _, _) in EVIL.items()}
    with hub_server.serve(Handler) as hub:
        for name in EVIL:
            hub.add(f"evil/{name}", FILES)
        variables = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(folder / "home" / "cache"),
            "HF_TOKEN": "",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "SAMPLERZOO_HUB_SECONDS": "3",
        }
        yield survive("test_hostile_hub", folder, CASES, variables=variables)
    written = {path for path in folder.rglob("*") if path.is_file() and "owned" in path.name}
    assert not written
    assert not Path("/tmp/samplerzoo-owned").exists()


@pytest.mark.parametrize("name", CASES)
def test_hostile_answers_are_refused_in_time(name, outcomes):
    kinds = ("ValueError", "LimitError", "HubError", "ConnectionError")
    check_refusal(outcomes[name], CASES[name].word, kinds=kinds)
    assert outcomes[name].seconds < 12


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../a",
        "a/../b",
        "/a",
        "a//b",
        "./a",
        "a\\..\\b\n",
        "a\x1b[0m",
        "\u202ea",
        "a/",
        "a" * 256,
    ],
)
def test_names_that_lead_elsewhere(name):
    assert not is_plain(name)
    with pytest.raises(ValueError, match="not the name of a file"):
        download(Address("a/b", OTHER), name)


@pytest.mark.parametrize("name", ["a", "unet/config.json", "a b.png", "ä.bin", ".gitattributes"])
def test_plain_names(name):
    assert is_plain(name)


@pytest.mark.parametrize(
    "revision",
    [
        "..",
        "../a",
        "a/../b",
        "/a",
        "a/",
        ".",
        "a\n",
        "a b",
        "\x1b[0m",
        "a" * 201,
        "a/./b",
        "-/..",
        "~",
    ],
)
def test_revisions_that_lead_elsewhere(revision):
    with pytest.raises(ValueError, match="must look like hf:owner/name") as caught:
        parse(f"hf:a/b@{revision}")
    assert str(caught.value).isprintable()


def test_other_users_of_the_client_are_left_alone(monkeypatch):
    """A session made by a user's own factory keeps its settings, and is checked all the same."""
    import huggingface_hub as hub

    from samplerzoo.hub.guard import HubError, guarded

    with hub_server.serve() as server:
        commit = server.add("a/b", FILES)
        library = __import__(type(hub.get_session()).__module__.partition(".")[0])
        own = library.Client(headers={"X-Mine": "yes"}, follow_redirects=True)
        hub.set_client_factory(lambda: own)
        try:
            address = f"{server.url}/a/b/resolve/main/config.json"
            with guarded("a/b", commit, 10**4):
                assert hub.get_session().get(address).request.headers["X-Mine"] == "yes"
            assert hub.get_session() is own
            with pytest.raises(HubError, match="was asked for"), guarded("a/b", OTHER, 10**4):
                hub.get_session().get(address)
            assert hub.get_session().get(address).status_code == 200
            assert os.environ.get("SAMPLERZOO_HUB_SECONDS") is None
        finally:
            hub.close_session()
            hub.set_client_factory(lambda: library.Client(follow_redirects=True, timeout=None))

"""A Hub on the loopback interface: enough of the Hugging Face Hub's API for its own client.

Repositories are dictionaries of files in memory; every commit keeps its files under its hash.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_" + "x" * 34  # of the shape of real ones, so that a leak of it can be searched for
LARGE = (".safetensors", ".bin", ".png")  # what the Hub stores as LFS: the ETag is a SHA-256


@dataclass
class Repository:
    """A repository: what each revision holds, and who may read it."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    main: str = ""
    card: dict = field(default_factory=dict)
    gated: bool = False
    private: bool = False
    damaged: bool = False  # large files arrive with their last byte changed

    def commit(self, files: dict[str, bytes], removed: Collection[str] = ()) -> str:
        """Add files to main's, remove others of them, and return the new commit's hash."""
        kept = self.commits.get(self.main, {}).items()
        files = {**{name: data for name, data in kept if name not in removed}, **files}
        text = "".join(f"{name} {etag(name, data)} " for name, data in sorted(files.items()))
        self.main = hashlib.sha1(f"{self.main} {text}".encode()).hexdigest()
        self.commits[self.main] = files
        return self.main


@dataclass
class Hub:
    """The state of the server, for tests to set up and look into."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    cuts: int = 0  # so many downloads of large files end in the middle

    def add(self, name: str, files: dict[str, bytes], **options) -> str:
        """A new repository with one commit, whose hash is returned."""
        self.repositories[name] = Repository(**options)
        return self.repositories[name].commit(files)


def etag(name: str, data: bytes) -> str:
    """What the Hub says of a file's content: SHA-256 of a large one, else git's own hash."""
    if name.endswith(LARGE):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_):
        pass

    def answer(self, status: int, body: bytes | dict | list = b"", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def error(self, status: int, code: str) -> None:
        self.answer(status, X_Error_Code=code, X_Error_Message=code)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_GET(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/models/"):
            tree = "/tree/" in path
            name, _, revision = path.removeprefix("/api/models/").partition(
                "/tree/" if tree else "/revision/"
            )
            file = None
        else:
            name, _, rest = path.removeprefix("/").partition("/resolve/")
            revision, _, file = rest.partition("/")
        repository = self.hub.repositories.get(name)
        allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repository is None or (repository.private and not allowed):
            return self.error(404 if allowed else 401, "RepoNotFound")
        commit = repository.main if revision in ("", "main") else revision
        if commit not in repository.commits:
            return self.error(404, "RevisionNotFound")
        if file is None:
            if tree:
                return self.answer(200, list_tree(repository, commit))
            return self.answer(200, describe(name, repository, commit))
        if repository.gated and not allowed:
            return self.error(401, "GatedRepo")
        if file not in repository.commits[commit]:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        self.send_file(file, repository.commits[commit][file], commit, repository.damaged)

    do_HEAD = do_GET

    def send_file(self, name: str, data: bytes, commit: str, damaged: bool) -> None:
        """A file, or the range of it that is asked for."""
        headers = {"ETag": f'"{etag(name, data)}"', "X-Repo-Commit": commit}
        large = name.endswith(LARGE) and self.command == "GET"
        if large and damaged:
            data = data[:-1] + bytes([data[-1] ^ 1])
        status, whole = 200, len(data)
        if span := self.headers.get("Range"):
            first, _, last = span.removeprefix("bytes=").partition("-")
            data = data[int(first) : int(last or whole) + 1]
            status = 206
            headers["Content-Range"] = f"bytes {first}-{int(first) + len(data) - 1}/{whole}"
        if large and self.hub.cuts:
            self.hub.cuts -= 1
            self.close_connection = True
            headers["Content-Length"] = str(len(data))
            data = data[: len(data) // 2]
        self.answer(status, data, **headers)

    def do_POST(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        path, body = urlsplit(self.path).path, self.body()
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.error(401, "Unauthorized")
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            if name in self.hub.repositories:
                return self.answer(409, {"error": "It exists", "url": f"{self.hub.url}/{name}"})
            private = wanted.get("visibility") == "private" or wanted.get("private") is True
            self.hub.add(name, {".gitattributes": b""}, private=private)
            return self.answer(200, {"url": f"{self.hub.url}/{name}"})
        if path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            for item in objects:
                item["actions"] = {"upload": {"href": f"{self.hub.url}/upload/{item['oid']}"}}
            return self.answer(200, {"transfer": "basic", "objects": objects})
        name, _, action = path.removeprefix("/api/models/").partition("/preupload/")
        if action:
            files = [item["path"] for item in json.loads(body)["files"]]
            modes = [
                {
                    "path": f,
                    "uploadMode": "lfs" if f.endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for f in files
            ]
            return self.answer(200, {"files": modes})
        name, _, _ = path.removeprefix("/api/models/").partition("/commit/")
        lines = [json.loads(line) for line in body.splitlines()]
        removed = {line["value"]["path"] for line in lines if line["key"] == "deletedFile"}
        oid = self.hub.repositories[name].commit(dict(self.files(lines)), removed)
        self.answer(
            200,
            {"success": True, "commitOid": oid, "commitUrl": f"{self.hub.url}/{name}/commit/{oid}"},
        )

    def files(self, lines: list[dict]) -> Iterator[tuple[str, bytes]]:
        """The files of a commit's lines; large ones were uploaded before."""
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                yield value["path"], base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                yield value["path"], self.hub.uploads[value["oid"]]

    def do_PUT(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        data = self.body()
        self.hub.uploads[hashlib.sha256(data).hexdigest()] = data
        self.answer(200)


def entry(path: str, data: bytes) -> dict:
    """A file as the API shows it."""
    found = {"rfilename": path, "size": len(data), "blobId": etag("", data)}
    if path.endswith(LARGE):
        found["lfs"] = {"sha256": etag(path, data), "size": len(data), "pointerSize": 128}
    return found


def list_tree(repository: Repository, commit: str) -> list[dict]:
    """All files of a commit, as the API lists them below a folder."""
    found = []
    for path, data in sorted(repository.commits[commit].items()):
        listed = {"type": "file", "path": path, "size": len(data), "oid": etag("", data)}
        if path.endswith(LARGE):
            listed["lfs"] = {"oid": etag(path, data), "size": len(data), "pointerSize": 128}
        found.append(listed)
    return found


def describe(name: str, repository: Repository, commit: str) -> dict:
    """A revision as the API shows it."""
    files = [entry(*item) for item in repository.commits[commit].items()]
    return {
        "id": name,
        "modelId": name,
        "sha": commit,
        "siblings": files,
        "tags": [],
        "private": repository.private,
        "gated": "auto" if repository.gated else False,
        "downloads": 0,
        "likes": 0,
        "cardData": repository.card,
    }


@contextmanager
def serve(handler: type[Handler] = Handler) -> Iterator[Hub]:
    """A running server."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("_", (handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

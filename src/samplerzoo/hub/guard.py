"""What may answer in the Hub's name: checked before the Hub's own client acts on it.

The client writes files by names that a server chooses, waits for as long as it is told to, and
reads for as long as something comes. So requests have a time limit, each and together, and answers
are looked at before they are used: the commit, the name of the content (ETag), the size. `guarded`
says what is allowed while it lasts; outside of it nothing changes for others who use the client,
but that a request without a time limit has one.
"""

import contextvars
import importlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..limits import DOWNLOAD_BYTES, HUB_SECONDS

REQUEST_SECONDS = 10.0  # without a sign of the server; the client's own limit where it has one
LEAST_SPEED = 2**13  # bytes a second, below which a download is not waited for
COMMIT = re.compile(r"[0-9a-f]{40}")
_CONTENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_BUSY = (408, 429, 500, 502, 503, 504)  # what the client tries again, after a while


class HubError(ConnectionError):
    """What answers in the Hub's name does not do as the Hub does, or takes too long."""


class Guard:
    """What is allowed of one operation.

    Args:
        name: What messages call the repository.
        commit: The commit that all answers must be of; None for any.
        most: How many bytes an answer may have; None for as many as are announced.
        announced: How many bytes the file has, by what the Hub said of it before, if it did.
    """

    def __init__(self, name: str, commit: str | None, most: int | None, announced: int | None):
        self._name, self._commit, self._most = name, commit, most
        self._begun, self._came = time.monotonic(), 0
        self._announced = announced

    def time_left(self) -> float:
        """Return the seconds left to wait; there are more where much has come already.

        Raises:
            HubError: Where there are none.
        """
        allowed = HUB_SECONDS.most + self._came / LEAST_SPEED
        left = self._begun + allowed - time.monotonic()
        if left <= 0:
            raise HubError(
                f"{_endpoint()} did not answer for {self._name} within {allowed:.0f} seconds, or "
                f"too slowly; run this again, or set {HUB_SECONDS.variable} higher."
            )
        return left

    def check_answer(self, response: Any) -> None:
        """Look at the head of an answer. Raises HubError or LimitError."""
        self.time_left()
        commit = response.headers.get("X-Repo-Commit")
        if commit is not None:
            check_commit(commit, self._commit, self._name)
        if response.request.method == "HEAD":
            self._check_file(response.headers, response.is_redirect)
        elif "Content-Encoding" in response.headers:
            raise HubError(
                f"{_endpoint()} packs its answer for {self._name}, which it was not asked to."
            )

    def _check_file(self, headers: Any, redirect: bool) -> None:
        """Look at what is told of a file before it is fetched, its name in the cache for one."""
        content = headers.get("X-Linked-Etag") or headers.get("ETag")
        if content is not None and not _CONTENT.fullmatch(content.removeprefix("W/").strip('"')):
            raise HubError(
                f"{_endpoint()} calls a file of {self._name} by a name that is not a hash; it is "
                "not fetched."
            )
        size = headers.get("X-Linked-Size") or ("" if redirect else headers.get("Content-Length"))
        size = _number(size) if size else None
        if size is not None:
            self._check_size(size, "A file")
        self._announced = size if self._announced is None else self._announced

    def count(self, new: int, all_of_it: int) -> None:
        """Take note of new bytes of an answer, and of how many it has. Raises as `guarded` does."""
        self._came += new
        self.time_left()
        self._check_size(all_of_it, "An answer")
        if self._announced is not None and all_of_it > self._announced:
            raise HubError(f"{_endpoint()} sends more of a file of {self._name} than it announced.")

    def _check_size(self, size: int, what: str) -> None:
        if self._most is not None and size > self._most:
            raise DOWNLOAD_BYTES.error(f"{what} of {self._name} has {size:,} bytes or more")


_guard: contextvars.ContextVar[Guard | None] = contextvars.ContextVar("guard", default=None)
_working: list[Guard] = []  # those of all threads


@contextmanager
def guarded(
    name: str, commit: str | None, most: int | None, announced: int | None = None
) -> Iterator[None]:
    """Check what the Hub's client gets in here.

    Args:
        name: What messages call the repository.
        commit: The commit that all answers must be of; None for any.
        most: How many bytes an answer may have; None for as many as are announced.
        announced: How many bytes the file has, by what the Hub said of it before, if it did.

    Raises:
        HubError: Where an answer is not as the Hub's are, or takes too long.
        LimitError: Where it is too large.
    """
    _install()
    guard = Guard(name, commit, most, announced)
    token = _guard.set(guard)
    _working.append(guard)
    try:
        yield
    finally:
        _working.remove(guard)
        _guard.reset(token)


def check_commit(found: object, wanted: str | None, name: str) -> str:
    """Return a commit that the Hub named, if it is one, and the one that was asked for.

    Raises:
        HubError: Where it is not.
    """
    if not isinstance(found, str) or not COMMIT.fullmatch(found):
        raise HubError(f"{_endpoint()} names a commit of {name} that is none; nothing was read.")
    if wanted is not None and found != wanted:
        raise HubError(
            f"{_endpoint()} answers with the commit {found[:12]} of {name}, where {wanted[:12]} "
            "was asked for; nothing was read."
        )
    return found


def _install() -> None:
    """Have the client's requests and answers looked at.

    The client makes a new session after some errors, by a factory that is ours then; a session that
    the user's own factory made keeps its settings.
    """
    from huggingface_hub import get_session, set_client_factory

    session = get_session()
    hooks = session.event_hooks
    if _look in hooks["response"]:
        return
    ours = {"request": [*hooks["request"], _prepare], "response": [*hooks["response"], _look]}
    makers = {hook.__module__.partition(".")[0] for hook in (*hooks["request"], *hooks["response"])}
    if makers == {"huggingface_hub"}:
        kind = type(session)
        set_client_factory(lambda: kind(event_hooks=ours, follow_redirects=True, timeout=None))
    else:
        session.event_hooks = ours


def _prepare(request: Any) -> None:
    """Give a request a time limit if it has none; refuse it where all have taken too long."""
    guard = _guard.get()
    most = guard.time_left() if guard else float("inf")
    given = request.extensions.get("timeout", {})
    parts = ("connect", "read", "write", "pool")
    limits = {part: min(given.get(part) or REQUEST_SECONDS, most) for part in parts}
    request.extensions = {**request.extensions, "timeout": limits}
    if guard:
        request.headers["Accept-Encoding"] = "identity"


def _look(response: Any) -> None:
    """Look at an answer before it is used, in whichever thread it came."""
    if not _working:
        return
    if response.status_code in _BUSY and (wait := _wait(response.headers)) > HUB_SECONDS.most:
        raise HubError(
            f"{_endpoint()} answered {response.status_code} and asks to come back in "
            f"{_duration(wait)}; run this again then."
        )
    if guard := _guard.get():
        guard.check_answer(response)
        response.stream = _counted(response.stream, guard)


def _wait(headers: Any) -> int:
    """The seconds that a server asks to wait."""
    from huggingface_hub.utils import parse_ratelimit_headers

    rate = parse_ratelimit_headers(headers)
    later = rate.reset_in_seconds if rate and rate.remaining == 0 else 0
    return max(later, _number(headers.get("Retry-After", "")) or 0)


def _number(text: str) -> int | None:
    """A whole number in a header, None for anything else; one of many digits counts as huge."""
    if not (text.isascii() and text.isdecimal()):
        return None
    return int(text) if len(text) < 16 else 10**16


def _duration(seconds: int) -> str:
    hours, minutes = min(seconds, 10**9) / 3600, seconds / 60
    return f"{hours:,.0f} hours" if hours >= 2 else f"{minutes:.0f} minutes"


def _counted(stream: Any, guard: Guard) -> Any:
    """A stream whose bytes are counted, of the class that the client's library asks for."""
    library = importlib.import_module(type(stream).__module__.partition(".")[0])

    class Counted(library.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            size = 0
            for part in stream:
                size += len(part)
                guard.count(len(part), size)
                yield part

        def close(self) -> None:
            stream.close()

    return Counted()


def _endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT

"""Names of what lies on the Hub."""

import re
from typing import NamedTuple

from ..wording import printable

PREFIX = "hf:"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
# A branch, tag or commit: the cache keeps a file by this name, so that no part of it may be "..".
_REVISION = re.compile(r"(?=.{1,200}$)(?!.*\.\.)[\w#+-][\w.#+-]*(/[\w#+-][\w.#+-]*)*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Address(NamedTuple):
    """A repository of models on the Hub, at a branch, tag or commit."""

    repository: str
    revision: str = "main"

    def __str__(self) -> str:
        return f"{PREFIX}{self.repository}@{self.revision}"

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which never changes."""
        return bool(_COMMIT.fullmatch(self.revision))


def parse(text: str) -> Address:
    """The address that `hf:owner/name` or `hf:owner/name@revision` stands for.

    Raises ValueError where the text does not look like that; the prefix may be absent.
    """
    name, at, revision = text.removeprefix(PREFIX).partition("@")
    if not _NAME.fullmatch(name) or (at and not _REVISION.fullmatch(revision)):
        raise ValueError(
            f"{printable(text)!r} must look like {PREFIX}owner/name or {PREFIX}owner/name@revision."
        )
    return Address(name, revision or "main")

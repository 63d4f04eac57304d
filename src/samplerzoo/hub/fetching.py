"""Files of repositories, through the Hub's own client and its cache."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from ..schema import FLAG, NAMES, TEXT, list_of, or_null, parse_json, record, text, whole
from ..wording import phrase, printable
from .addresses import Address
from .errors import explained
from .guard import COMMIT, HubError, check_commit

# What is read of a card, where they are texts.
CARD = ("license", "license_name", "license_link")
# How the names of weights end, whose size has no limit but the one that the Hub announces.
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Listing(NamedTuple):
    """What the Hub says of a repository at one commit: sizes in bytes by file, and its card."""

    address: Address
    sizes: dict[str, int]
    card: dict[str, str]
    private: bool


_SIZE = or_null(whole(0, 2**60))
_LISTING = record(
    {
        "sha": text(40, r"[0-9a-f]{40}"),
        "siblings": list_of(record({"rfilename": TEXT}, {"size": _SIZE})),
    },
    {"private": or_null(FLAG), "cardData": or_null(NAMES)},
)


def listing(address: Address) -> Listing:
    """Ask the Hub for a repository's files, before any of them is fetched.

    Raises:
        ValueError: Where there is nothing to see.
        ConnectionError: Where the Hub is out of reach, or does not answer as it should.
    """
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    revision = quote(address.revision, safe="")
    url = f"{constants.ENDPOINT}/api/models/{address.repository}/revision/{revision}"
    with explained(address):
        answer = get_session().get(url, params={"blobs": True}, headers=build_hf_headers())
        hf_raise_for_status(answer)
        try:
            found = parse_json(answer.content, _LISTING, "it")
        except ValueError as error:
            raise HubError(
                f"{constants.ENDPOINT} does not answer as the Hub does ({phrase(error)}); look at "
                "HF_ENDPOINT and at your proxy."
            ) from error
    asked = address.revision if address.pinned else None
    commit = check_commit(found["sha"], asked, address.repository)
    sizes = {file["rfilename"]: file.get("size") or 0 for file in found["siblings"]}
    card = found.get("cardData") or {}
    return Listing(
        Address(address.repository, commit),
        {name: size for name, size in sizes.items() if is_plain(name)},
        read_card(card),
        bool(found.get("private")),
    )


def read_card(card: Mapping[str, Any]) -> dict[str, str]:
    """Take from a card what is read of it, as a terminal and another card may show it."""
    return {key: printable(card[key]) for key in CARD if isinstance(card.get(key), str)}


def is_plain(name: str) -> bool:
    """Whether a name of a file in a repository leads to a place below its folder, and is short."""
    parts = name.split("/")
    return len(name) <= 255 and name == printable(name, 255) and not ({"", ".", ".."} & {*parts})


def pin(address: Address, some: Sequence[str]) -> Address:
    """The same at the commit that a branch or tag stands for now; without network, the last seen.

    Of the files `some`, the first that the repository has is fetched, which makes the cache
    remember the commit.
    """
    if address.pinned:
        return address
    try:
        found = listing(address)
    except ConnectionError:
        if not (files := cached(address, some)):
            raise
        return Address(address.repository, folder_of(files).name)
    for name in [name for name in some if name in found.sizes][:1]:
        download(address, name, found)
    return found.address


def cached(address: Address, names: Sequence[str]) -> dict[str, Path]:
    """Those of the files that are in the cache; makes no request."""
    from huggingface_hub import try_to_load_from_cache

    name, revision = address
    found = {n: try_to_load_from_cache(name, n, revision=revision) for n in names}
    return {n: Path(path) for n, path in found.items() if isinstance(path, str)}


def cached_files(address: Address) -> dict[str, Path]:
    """Find all files of a commit that are in the cache, by name; makes no request."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    name, revision = address
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return {}
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path for path in files}


def folder_of(files: dict[str, Path]) -> Path:
    """The folder, named by its commit, that fetched files of one repository lie in."""
    name, path = next(iter(files.items()))
    return path.parents[name.count("/")]


def download(
    address: Address, name: str, listed: Listing | None = None, weights: bool | None = None
) -> Path:
    """Fetch one file, or find it in the cache; a progress bar goes to a terminal's stderr.

    A lost connection is taken up where it broke.

    Args:
        address: The repository, at a commit unless `listed` says which.
        name: The file.
        listed: What the Hub said of the repository, with which the answer must agree.
        weights: Whether the file is weights; by default, whether its name ends as theirs do.

    Raises:
        ValueError: Where there is no such file, or it is not weights and too large.
        ConnectionError: Where the Hub is out of reach, is too slow, or answers with something else.
    """
    from huggingface_hub import hf_hub_download

    if not is_plain(name):
        raise ValueError(f"{printable(name)!r} is not the name of a file in a repository.")
    commit = listed.address.revision if listed else address.revision
    wanted = commit if COMMIT.fullmatch(commit) else None
    size = listed.sizes.get(name) if listed else None
    weights = name.endswith(WEIGHTS) if weights is None else weights
    with explained(address, wanted, weights, size):
        return Path(hf_hub_download(address.repository, name, revision=address.revision))


def check(path: Path) -> None:
    """Compare a cached file with its SHA-256, by which the cache calls large files.

    Raises ConnectionError, and removes the file, where they differ.
    """
    target = path.parent / os.readlink(path) if path.is_symlink() else path
    announced = target.name
    if target.parent.name != "blobs" or not _SHA256.fullmatch(announced):
        return
    with path.open("rb") as file:
        arrived = hashlib.file_digest(file, "sha256").hexdigest()
    if arrived != announced:
        target.unlink()
        path.unlink()
        raise ConnectionError(
            f"{path.name} arrived damaged: its SHA-256 is {arrived[:12]}... and should be "
            f"{announced[:12]}...; it was removed, run this again."
        )

"""Files of repositories, through the Hub's own client and its cache."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .errors import explained
from .reference import Reference

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Listing(NamedTuple):
    """What the Hub says of a repository at one commit: sizes in bytes by file, and its card."""

    reference: Reference
    sizes: dict[str, int]
    card: dict[str, Any]
    private: bool


def listing(reference: Reference) -> Listing:
    """Ask the Hub for a repository's files, before any of them is fetched.

    Raises ValueError where there is nothing to see, ConnectionError where the Hub is out of reach.
    """
    from huggingface_hub import HfApi

    with explained(reference):
        info = HfApi().model_info(
            reference.repository, revision=reference.revision, files_metadata=True
        )
    return Listing(
        Reference(reference.repository, info.sha or reference.revision),
        {file.rfilename: file.size or 0 for file in info.siblings or []},
        info.card_data.to_dict() if info.card_data else {},
        bool(info.private),
    )


def pin(reference: Reference, some: Sequence[str]) -> Reference:
    """The same at the commit that a branch or tag stands for now; without network, the last seen.

    Of the files `some`, the first that the repository has is fetched, which makes the cache
    remember the commit.
    """
    if reference.pinned:
        return reference
    try:
        found = listing(reference)
    except ConnectionError:
        if not (files := cached(reference, some)):
            raise
        return Reference(reference.repository, folder_of(files).name)
    for name in [name for name in some if name in found.sizes][:1]:
        download(reference, name)
    return found.reference


def cached(reference: Reference, names: Sequence[str]) -> dict[str, Path]:
    """Those of the files that are in the cache; makes no request."""
    from huggingface_hub import try_to_load_from_cache

    name, revision = reference
    found = {n: try_to_load_from_cache(name, n, revision=revision) for n in names}
    return {n: Path(path) for n, path in found.items() if isinstance(path, str)}


def cached_files(reference: Reference) -> dict[str, Path]:
    """Find all files of a commit that are in the cache, by name; makes no request."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    name, revision = reference
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


def download(reference: Reference, name: str) -> Path:
    """One file, from the cache if it is there; a progress bar goes to a terminal's stderr.

    A lost connection is taken up where it broke. Raises ConnectionError where that fails.
    """
    from huggingface_hub import hf_hub_download

    with explained(reference):
        return Path(hf_hub_download(reference.repository, name, revision=reference.revision))


def check(path: Path) -> None:
    """Compare a cached file with its SHA-256, by which the cache calls large files.

    Raises ConnectionError, and removes the file, where they differ.
    """
    if not path.is_symlink() or not _SHA256.fullmatch(announced := Path(os.readlink(path)).name):
        return
    with path.open("rb") as file:
        arrived = hashlib.file_digest(file, "sha256").hexdigest()
    if arrived != announced:
        (path.parent / os.readlink(path)).unlink()
        path.unlink()
        raise ConnectionError(
            f"{path.name} arrived damaged: its SHA-256 is {arrived[:12]}... and should be "
            f"{announced[:12]}...; it was removed, run this again."
        )

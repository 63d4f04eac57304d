"""Files of others, opened: only those that lie on a disk.

A device never ends, a named pipe never begins, and what lies in /proc is about this process: none
of them is data, whatever links lead there.
"""

import io
import os
import stat
from pathlib import Path

from .limits import TEXT_BYTES, Limit
from .wording import printable

_KERNEL = ("/proc", "/sys")  # what the kernel shows as files
_MOST_LINKS = 40  # as many as Linux follows
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def check_path(path: Path) -> None:
    """Refuse what is neither a regular file nor a folder.

    Args:
        path: A path to something that may be missing, which is left to whoever opens it.

    Raises:
        ValueError: Where the path leads to a device, a pipe or a socket, or through /proc or /sys.
    """
    if os.name == "posix" and _through_kernel(path):
        raise ValueError(
            f"{_named(path)} leads through /proc or /sys, where there are no data; give the path "
            "of a file or folder on disk."
        )
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise _not_regular(path)


def open_file(path: Path) -> io.BufferedReader:
    """Open a regular file to be read.

    Args:
        path: A path to it.

    Returns:
        The file, which whoever asked for it closes.

    Raises:
        ValueError: Where the path leads to anything else.
        OSError: Where it leads nowhere, or may not be read.
    """
    check_path(path)
    handle = os.open(path, _FLAGS)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        if stat.S_ISDIR(mode):
            raise ValueError(f"{_named(path)} is a folder where a file is needed.")
        raise _not_regular(path)
    return open(handle, "rb")


def read_file(path: Path, limit: Limit = TEXT_BYTES) -> bytes:
    """Read a regular file whole.

    Args:
        path: A path to it.
        limit: How large it may be.

    Raises:
        ValueError: Where the path leads to anything else, or the file is larger.
        OSError: Where it leads nowhere, or may not be read.
    """
    with open_file(path) as file:
        limit.check(os.fstat(file.fileno()).st_size, _named(path))
        data = file.read(limit.most + 1)
    limit.check(len(data), _named(path))
    return data


def _not_regular(path: Path) -> ValueError:
    return ValueError(f"{_named(path)} is not a regular file; only files and folders hold data.")


def _named(path: Path) -> str:
    return printable(str(path), 1000)


def _through_kernel(path: Path) -> bool:
    """Whether a path, or one that its links lead to, lies in /proc or /sys."""
    at, links = "/", 0
    todo = [*reversed((Path.cwd() / path).parts[1:])]
    while todo:
        part = todo.pop()
        at = os.path.dirname(at) if part == ".." else os.path.join(at, part)
        if at in _KERNEL:
            return True
        if not os.path.islink(at):
            continue
        links += 1
        if links > _MOST_LINKS:
            return False  # a loop, which leads nowhere
        target = Path(os.readlink(at))
        at = "/" if target.is_absolute() else os.path.dirname(at)
        todo += reversed(target.parts[1:] if target.is_absolute() else target.parts)
    return False

"""One process at a time: a lock that the system itself takes back when its holder dies."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..atomic import make_folder
from ..errors import RunError

try:
    import fcntl
except ImportError:  # Windows has none: there nothing keeps two commands apart
    fcntl = None  # type: ignore[assignment]

_PAUSE = 0.05  # seconds; somebody may look whether a lock is held, for a moment


@contextmanager
def only_one(path: str | Path, doing: str, *, wait: float = 1.0) -> Iterator[None]:
    """Hold a lock file.

    Args:
        path: the file; its text says who holds it. It stays where it is: deleting it could let two in.
        doing: what is done, for the message.
        wait: seconds to wait for whoever holds it.

    Raises:
        RunError: another process holds it still.
    """
    make_folder(Path(path).parent)
    with Path(path).open("a+", encoding="utf-8") as file:
        if fcntl is not None and not _take(file, fcntl.LOCK_EX, tries=max(1, round(wait / _PAUSE))):
            file.seek(0)
            raise RunError(f"{doing} is under way in another process ({file.read().strip()}).")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


@contextmanager
def in_use(path: str | Path) -> Iterator[Callable[[], bool]]:
    """Hold a lock file together with others; the function that is given asks whether nobody else does any more.

    Args:
        path: the file. Once the answer was yes, whoever comes waits until the context ends.
    """
    make_folder(Path(path).parent)
    with Path(path).open("a+", encoding="utf-8") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_SH)
        yield lambda: fcntl is None or _take(file, fcntl.LOCK_EX, tries=1)


def is_held(path: str | Path) -> bool:
    """Whether a process holds a lock file now."""
    if fcntl is None or not Path(path).is_file():
        return False
    with Path(path).open("r", encoding="utf-8") as file:
        return not _take(file, fcntl.LOCK_SH, tries=1)


def is_in_use(path: str | Path) -> bool:
    """Whether a process holds a lock file now, be it together with others (`in_use`)."""
    if fcntl is None or not Path(path).is_file():
        return False
    with Path(path).open("a", encoding="utf-8") as file:  # to lock it alone, NFS wants it open for writing
        return not _take(file, fcntl.LOCK_EX, tries=1)


def _take(file: IO[str], kind: int, tries: int) -> bool:
    for attempt in range(tries):
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except OSError:
            time.sleep(_PAUSE if attempt + 1 < tries else 0)
        else:
            return True
    return False

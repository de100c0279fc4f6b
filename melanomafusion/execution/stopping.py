"""A request to stop (SIGTERM): work that can save what it has done is given the time to."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# sysexits.h calls it EX_TEMPFAIL: nothing is wrong, run it again.
EXIT_STOPPED = 75


class Stopped(BaseException):
    """Somebody asked the process to stop; like KeyboardInterrupt, no `except Exception` takes it."""


class _Request:
    asked = False
    saves = False


def listen() -> None:
    """Have SIGTERM raise `Stopped` in the main thread, or be waited with inside `saving`."""
    signal.signal(signal.SIGTERM, _on_signal)


def asked() -> bool:
    """Whether to stop; inside `saving`, whoever asks saves and raises `Stopped`."""
    return _Request.asked


@contextmanager
def saving() -> Iterator[None]:
    """While work runs that looks at `asked` itself, now and then."""
    _Request.saves = True
    try:
        yield
    finally:
        _Request.saves = False
    if _Request.asked:
        raise Stopped


def _on_signal(number: int, frame: FrameType | None) -> None:
    del number, frame
    _Request.asked = True
    if not _Request.saves:
        raise Stopped

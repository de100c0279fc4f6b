"""The process side of a task: read the call from standard input, report events as lines of JSON."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
from typing import Any

from ..errors import MelanomaFusionError
from . import stopping

_PR_SET_PDEATHSIG = 1  # of Linux's prctl


def main() -> int:
    """Run one task; standard output carries events only, everything printed goes to standard error."""
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def report(event: dict[str, Any]) -> None:
        events.write(json.dumps(event) + "\n")

    call = json.loads(sys.stdin.read())
    stopping.listen()
    _die_with(call["parent"])
    module, _, name = call["function"].partition(":")
    try:
        value = getattr(importlib.import_module(module), name)(on_event=report, **call["arguments"])
    except MelanomaFusionError as error:
        report({"kind": "error", "type": type(error).__name__, "message": str(error)})
        return 1
    except stopping.Stopped:
        report({"kind": "stopped"})
        return stopping.EXIT_STOPPED
    report({"kind": "result", "value": value})
    return 0


def _die_with(parent: int) -> None:
    """Whoever kills the command kills this: started again, it must not meet what it left."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was killed before that
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())

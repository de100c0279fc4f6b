"""One task in a fresh Python process of its own: its events, its result, and what is said when it dies.

A process per fold: Keras keeps memory of every model a process has trained. Nothing is pickled: a task is the name of a
function and plain JSON arguments, so it works from scripts, notebooks and the shell alike.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import errors
from ..errors import MelanomaFusionError, RunError
from ..tensorflow_log import CHATTER
from . import stopping

Event = dict[str, Any]
_LAST_LINES = 15
TIME_TO_SAVE = 60.0  # seconds; Slurm gives 30 before it kills, Kubernetes too


class ProcessDied(RunError):
    """A process ended without saying why: killed, out of memory, a crash."""


@dataclass(frozen=True)
class Task:
    """One call in a process of its own.

    Attributes:
        name: for messages.
        function: "package.module:function"; it is called with `on_event` and the arguments.
        arguments: JSON values.
        log: file that receives everything the process prints.
        environment: variables of the process; those that are set already stay as they are.
    """

    name: str
    function: str
    arguments: dict[str, Any]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def run_task(
    task: Task,
    on_event: Callable[[Event], None] | None = None,
    *,
    on_start: Callable[[subprocess.Popen[str]], None] | None = None,
    share: Mapping[str, str] | None = None,
) -> Any:
    """Run one task and wait for it.

    Args:
        task: what to run.
        on_event: called with each event that the task reports.
        on_start: called with the process, so that it can be stopped from outside.
        share: variables that come before those that are set already.

    Returns:
        The task's result (a JSON value).

    Raises:
        MelanomaFusionError: what the task raised.
        ProcessDied: the process died otherwise; names its log and shows its last lines.
        Stopped: this process or that of the task was asked to stop; the task has saved what it could.
    """
    task.log.parent.mkdir(parents=True, exist_ok=True)
    call = json.dumps({"function": task.function, "arguments": task.arguments, "parent": os.getpid()})
    result: Any = None
    failure: Event | None = None
    finished = False
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **task.environment, **os.environ, **(share or {})}
    with task.log.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "melanomafusion.execution.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            env=environment,
        )
        if on_start:
            on_start(process)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with suppress(BrokenPipeError):  # it died at once; its exit code and log tell more
                process.stdin.write(call)
                process.stdin.close()
            for line in process.stdout:
                event = json.loads(line)
                if event["kind"] == "result":
                    result, finished = event["value"], True
                elif event["kind"] == "error":
                    failure = event
                elif event["kind"] == "stopped":
                    raise stopping.Stopped
                elif on_event:
                    on_event(event)
            code = process.wait()
        except stopping.Stopped:
            end(process)
            raise
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdout.close()
    if failure is not None:
        raise known_error(failure["type"])(failure["message"])
    if code != 0 or not finished:
        raise ProcessDied(f"{task.name} {_how_it_ended(code)}\n{_end_of(task.log)}")
    return result


def end(process: subprocess.Popen[str]) -> None:
    """Ask a process to save what it has and end; it is given the time."""
    process.terminate()
    try:
        process.wait(TIME_TO_SAVE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_of(log: Path) -> str:
    """The last lines of a log, without what TensorFlow says of itself whenever it is loaded."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    told = [line for line in lines if not CHATTER.match(line)][-_LAST_LINES:]
    return "\n".join([f"The end of {log}:", *told]) if told else f"Its log tells no more: {log}"


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}."
    if -code == signal.SIGKILL:
        return (
            "was killed (SIGKILL), as systems do when memory runs out: lower image_size, set batch_size=auto, or run "
            "fewer at once."
        )
    return f"was ended by signal {-code} ({signal.strsignal(-code)})."


def known_error(name: str) -> Callable[[str], MelanomaFusionError]:
    """What to raise for an error that another process told of by its type's name."""
    kind = getattr(errors, name, RunError)
    # A table error's message already holds its problems; it is handed on as it stands.
    return RunError if kind is errors.TableError else kind

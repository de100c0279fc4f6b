"""Run tasks on this machine, one after another or side by side, each in a fresh Python process.

A process per fold: Keras keeps memory of every model a process has trained. Nothing is pickled: a task is the name of a
function and plain JSON arguments, so it works from scripts, notebooks and the shell alike.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import errors
from ..errors import MelanomaFusionError, RunError

Event = dict[str, Any]
_LAST_LINES = 15


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


def run_tasks(tasks: Sequence[Task], on_event: Callable[[Event], None] | None = None) -> list[Any]:
    """Run tasks side by side, a process each, and wait for all of them.

    Args:
        tasks: what to run; as many processes at once as there are tasks.
        on_event: called with each event of any task, never twice at once.

    Returns:
        The results, in the order of the tasks.

    Raises:
        MelanomaFusionError: what a task raised, the first in order; the other tasks are waited for.
        RunError: a process died otherwise.
        KeyboardInterrupt: after all processes were stopped.
    """
    lock = threading.Lock()
    running: set[subprocess.Popen[str]] = set()
    stopped = threading.Event()

    def report(event: Event) -> None:
        if on_event:
            with lock:
                on_event(event)

    def started(process: subprocess.Popen[str]) -> None:
        running.add(process)
        if stopped.is_set():
            process.kill()

    with ThreadPoolExecutor(max(1, len(tasks))) as pool:
        futures = [pool.submit(run_task, task, report, on_start=started) for task in tasks]
        try:
            wait(futures)
        except BaseException:
            stopped.set()
            for process in running.copy():
                process.kill()
            raise
    return [future.result() for future in futures]


def run_task(
    task: Task,
    on_event: Callable[[Event], None] | None = None,
    *,
    on_start: Callable[[subprocess.Popen[str]], None] | None = None,
) -> Any:
    """Run one task and wait for it.

    Args:
        task: what to run.
        on_event: called with each event that the task reports.
        on_start: called with the process, so that it can be stopped from outside.

    Returns:
        The task's result (a JSON value).

    Raises:
        MelanomaFusionError: what the task raised.
        RunError: the process died otherwise; names its log and shows its last lines.
    """
    task.log.parent.mkdir(parents=True, exist_ok=True)
    call = json.dumps({"function": task.function, "arguments": task.arguments})
    result: Any = None
    failure: Event | None = None
    finished = False
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **task.environment, **os.environ}
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
                elif on_event:
                    on_event(event)
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdout.close()
    if failure is not None:
        raise _known_error(failure["type"])(failure["message"])
    if code != 0 or not finished:
        tail = "\n".join(task.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:])
        raise RunError(f"{task.name} ended with exit code {code}. The end of {task.log}:\n{tail}")
    return result


def _known_error(name: str) -> Callable[[str], MelanomaFusionError]:
    kind = getattr(errors, name, RunError)
    # A table error's message already holds its problems; it is handed on as it stands.
    return RunError if kind is errors.TableError else kind

"""Run tasks on this machine, one after another or side by side."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from ..errors import MelanomaFusionError, RunError
from . import stopping
from .shares import shares
from .task import Event, ProcessDied, Task, run_task


@dataclass(frozen=True)
class LocalExecutor:
    """Processes on this machine.

    Attributes:
        workers: so many at once, each with its share of the cores, and a GPU of its own where it can. Where fewer are
            left the shares stay: with other threads a task that goes on would end with other sums.

    Raises:
        RunError: workers is below 1.
    """

    workers: int = 1

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise RunError(f"workers is the number of folds trained at once. Received: workers={self.workers!r}")

    @property
    def per_machine(self) -> int:
        """Processes that share the memory of a machine."""
        return self.workers

    def run(
        self,
        tasks: Sequence[Task],
        on_event: Callable[[Event], None] | None = None,
        *,
        tries: int = 1,
        return_errors: bool = False,
    ) -> list[Any]:
        """Run tasks and wait for all of them; see `run_tasks`."""
        return run_tasks(tasks, on_event, at_once=self.workers, tries=tries, return_errors=return_errors)


def run_tasks(
    tasks: Sequence[Task],
    on_event: Callable[[Event], None] | None = None,
    *,
    at_once: int | None = None,
    tries: int = 1,
    return_errors: bool = False,
) -> list[Any]:
    """Run tasks side by side, a process each, and wait for all of them.

    Args:
        tasks: what to run.
        on_event: called with each event of any task, never twice at once.
        at_once: so many processes at once, each with its share of the cores and GPUs; all tasks without it, and nothing
            is shared out.
        tries: how often a task is begun whose process dies without saying why; a "warning" event tells of each.
        return_errors: have the `MelanomaFusionError` of a task stand in the place of its result.

    Returns:
        The results, in the order of the tasks.

    Raises:
        MelanomaFusionError: what a task raised, the first in order; the other tasks are waited for.
        ProcessDied: a process died otherwise.
        KeyboardInterrupt, Stopped: after all processes were stopped; with `Stopped` they saved what they could.
    """
    lock = threading.Lock()
    running: set[subprocess.Popen[str]] = set()
    stopped = threading.Event()
    count = min(at_once or len(tasks), len(tasks)) or 1
    free: SimpleQueue[dict[str, str]] = SimpleQueue()
    for share in shares(at_once)[:count] if at_once else [{}] * count:
        free.put(share)

    def report(event: Event) -> None:
        if on_event:
            with lock:
                on_event(event)

    def started(process: subprocess.Popen[str]) -> None:
        running.add(process)
        if stopped.is_set():
            process.kill()

    def run(task: Task) -> Any:
        share = free.get()
        try:
            for left in reversed(range(tries)):
                try:
                    return run_task(task, report, on_start=started, share=share)
                except ProcessDied as error:
                    if not left or stopped.is_set():
                        raise
                    report({"kind": "warning", "text": f"{str(error).splitlines()[0]} It is begun once more."})
        finally:
            free.put(share)

    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(run, task) for task in tasks]
        try:
            wait(futures)
        except BaseException as error:
            stopped.set()
            for future in futures:
                future.cancel()
            for process in running.copy():
                process.terminate() if isinstance(error, stopping.Stopped) else process.kill()
            raise
    return [_result(future, return_errors) for future in futures]


def _result(future: Future[Any], return_errors: bool) -> Any:
    error = future.exception()
    if return_errors and isinstance(error, MelanomaFusionError):
        return error
    return future.result()

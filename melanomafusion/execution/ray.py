"""Run tasks on a Ray cluster, with the same promises as on one machine: a process each, retries that go on, one report.

The nodes share the file system that the tasks' paths lie in, and have melanomafusion installed.
"""

from __future__ import annotations

import dataclasses
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from ..errors import MelanomaFusionError, RunError
from . import stopping
from .shares import threads
from .task import TIME_TO_SAVE, ProcessDied, Task, end, known_error, run_task

Event = dict[str, Any]
_POLL = 0.2  # seconds
_connecting = threading.Lock()  # members of a plan come at once


@dataclasses.dataclass(frozen=True)
class RayExecutor:
    """An existing cluster, and what of it a task gets.

    Attributes:
        address: "auto" (the cluster this machine belongs to), "ray://host:10001", or "local" for one on this machine
            that ends with the process.
        num_cpus: cores of a task.
        num_gpus: GPUs of a task; may be a fraction below 1.

    Raises:
        RunError: numbers that cannot be given to a task.
    """

    address: str = "auto"
    num_cpus: float = 1
    num_gpus: float = 0
    _cancelled: threading.Event = dataclasses.field(
        default_factory=threading.Event, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.num_cpus < 0:
            raise RunError(f"num_cpus is the number of cores of a task. Received: num_cpus={self.num_cpus!r}")
        if self.num_gpus < 0 or (self.num_gpus > 1 and self.num_gpus % 1):
            raise RunError(
                f"num_gpus is a share of one GPU, or a whole number of them. Received: num_gpus={self.num_gpus!r}"
            )

    @property
    def per_machine(self) -> int:
        """Processes that share the memory of a machine, at most.

        Raises:
            RunError: as `run`.
        """
        self._connect()
        return (
            max(
                int(min(cpus / self.num_cpus if self.num_cpus else 1, gpus / self.num_gpus if self.num_gpus else cpus))
                for cpus, gpus in self._nodes()
                if cpus >= self.num_cpus and gpus >= self.num_gpus
            )
            or 1
        )

    def cancel(self) -> None:
        """Have every `run` of this executor, in whatever thread, end its tasks, which save what they can."""
        self._cancelled.set()

    def run(
        self,
        tasks: Sequence[Task],
        on_event: Callable[[Event], None] | None = None,
        *,
        tries: int = 1,
        return_errors: bool = False,
    ) -> list[Any]:
        """Run tasks wherever the cluster has room, and wait for all of them; see `run_tasks`.

        Raises:
            MelanomaFusionError: what a task raised, the first in order.
            ProcessDied: a process or its node died, more often than `tries` allows.
            RunError: there is no cluster, or none of its nodes is large enough.
            KeyboardInterrupt, Stopped: once the tasks have ended; they saved what they could.
        """
        ray = self._connect()
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # On this very node: anywhere else, the events would be lost with a node that dies.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        events = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        remote = ray.remote(_run).options(
            num_cpus=self.num_cpus,
            num_gpus=self.num_gpus,
            max_retries=tries - 1,
            retry_exceptions=[ProcessDied],
            scheduling_strategy="SPREAD",
        )
        share = threads(int(max(1, self.num_cpus)))
        running = [remote.remote(dataclasses.asdict(task), events, share) for task in tasks]
        waiting = list(running)
        try:
            while waiting:
                _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=_POLL)
                _report(events, on_event)
                if self._cancelled.is_set():
                    raise stopping.Stopped
            _report(events, on_event)
        except BaseException:
            for reference in running:
                ray.cancel(reference)
            ray.wait(running, num_returns=len(running), timeout=TIME_TO_SAVE)  # they end with this process
            raise
        finally:
            events.shutdown(force=True)
        results = [_result(ray, task, reference) for task, reference in zip(tasks, running, strict=True)]
        if not return_errors:
            for result in results:
                if isinstance(result, MelanomaFusionError):
                    raise result
        return results

    def _connect(self) -> Any:
        try:
            import ray
        except ImportError:
            raise RunError('The executor "ray" needs Ray: pip install "melanomafusion[ray]".') from None
        with _connecting:
            if not ray.is_initialized():
                self._initialize(ray)
        sizes = self._nodes()
        if not any(cpus >= self.num_cpus and gpus >= self.num_gpus for cpus, gpus in sizes):
            there = "; ".join(f"{cpus:g} cores, {gpus:g} GPUs" for cpus, gpus in sizes)
            raise RunError(
                f"No node of the Ray cluster has {self.num_cpus:g} cores and {self.num_gpus:g} GPUs, so tasks would "
                f"wait for ever. Its nodes: {there}."
            )
        return ray

    def _initialize(self, ray: Any) -> None:
        try:
            _reach(self.address)
            on_terminate = signal.getsignal(signal.SIGTERM)
            ray.init(address=self.address, log_to_driver=False, configure_logging=False)
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, on_terminate)  # Ray puts its own there
        except (OSError, ValueError, RuntimeError, OverflowError) as error:
            raise RunError(
                f"No Ray cluster at {self.address!r} ({str(error).strip().splitlines()[0]}). Start one with "
                "`ray start --head` and `ray start --address HEAD:6379` on other nodes, or name another address."
            ) from None

    @staticmethod
    def _nodes() -> list[tuple[float, float]]:
        """Cores and GPUs of each node."""
        import ray

        nodes: Any = ray.nodes()  # type: ignore[no-untyped-call]
        return [(node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0)) for node in nodes if node["Alive"]]


def _reach(address: str) -> None:
    """Whether somebody listens there: Ray itself would wait for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=10).close()


def _run(task: dict[str, Any], events: Any, share: dict[str, str]) -> dict[str, Any]:
    """On a node: the task in a process of its own; errors that a user can put right come back as values."""
    try:
        return {"value": _run_and_save(Task(**task), events, share)}
    except ProcessDied:
        raise
    except MelanomaFusionError as error:
        return {"type": type(error).__name__, "message": str(error)}


def _run_and_save(task: Task, events: Any, share: dict[str, str]) -> Any:
    """As `run_task`; a task that Ray cancels is given time to save.

    Ray interrupts the main thread, which would hear of it with the task's next line only if it waited for lines itself.
    """
    processes: list[subprocess.Popen[str]] = []
    cancelled = threading.Event()

    def started(process: subprocess.Popen[str]) -> None:
        processes.append(process)
        if cancelled.is_set():
            process.terminate()

    # A cluster that was started in the background ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(run_task, task, events.put, on_start=started, share=share)
            try:
                while not wait([future], timeout=_POLL).done:
                    pass
            except KeyboardInterrupt:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                cancelled.set()
                for process in processes:
                    end(process)
                raise
    finally:
        signal.signal(signal.SIGINT, before)
    return future.result()


def _report(events: Any, on_event: Callable[[Event], None] | None) -> None:
    count = events.qsize()
    for event in events.get_nowait_batch(count) if count else []:
        if on_event:
            on_event(event)


def _result(ray: Any, task: Task, reference: Any) -> Any:
    try:
        found = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return ProcessDied(str(error.cause) if error.cause is not None else f"{task.name}: {error}")
    except ray.exceptions.RayError as error:
        return ProcessDied(f"{task.name} was lost with its node: {str(error).strip().splitlines()[0]}")
    return found["value"] if "value" in found else known_error(found["type"])(found["message"])

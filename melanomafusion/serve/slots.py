"""One worker slot per core and a short queue; who comes when both are full is told to come again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")
RETRY_AFTER = 2  # seconds


class Busy(Exception):
    """All slots are taken and the queue is full."""


class Slots:
    """Runs work in threads.

    Args:
        count: worked on at the same time.
        queue: that may wait.
    """

    def __init__(self, count: int, queue: int) -> None:
        self.count, self.queue = count, queue
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="slot")
        self._taken = 0

    @property
    def taken(self) -> int:
        """Worked on and waiting."""
        return self._taken

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do it in a slot.

        Raises:
            Busy: nothing is free, and the queue is full.
        """
        if self._taken >= self.count + self.queue:
            raise Busy
        self._taken += 1
        loop = asyncio.get_running_loop()
        future = self._pool.submit(work)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._give_back))
        return await asyncio.wrap_future(future)

    def _give_back(self) -> None:
        # When the work is done, not when its client goes: a thread cannot be stopped.
        self._taken -= 1

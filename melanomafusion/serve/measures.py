"""What Prometheus may ask: requests by path and status, seconds, and how full the slots are."""

from __future__ import annotations

import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from .slots import Slots

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)


class Measures:
    """Counters of one server."""

    def __init__(self, slots: Slots) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "melanomafusion_requests", "Requests by path and status.", ("path", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "melanomafusion_request_seconds", "Time to answer.", ("path",), buckets=_SECONDS, registry=self._registry
        )
        taken = Gauge("melanomafusion_slots_taken", "Requests worked on or waiting.", registry=self._registry)
        taken.set_function(lambda: slots.taken)

    def count(self, path: str, status: int, seconds: float) -> None:
        """Take in one request; paths must come of a fixed list, or memory would grow with what strangers ask for."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def as_text(self) -> bytes:
        """In Prometheus's format."""
        return generate_latest(self._registry)


class Counted:
    """ASGI middleware that counts requests to known paths.

    Args:
        app: to pass requests on to.
        measures: to count in.
        paths: that are told apart; all others count as "other".
    """

    def __init__(self, app: Any, measures: Measures, paths: frozenset[str]) -> None:
        self.app, self.measures, self.paths = app, measures, paths

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, and count it when its answer begins."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        path = scope["path"] if scope["path"] in self.paths else "other"

        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.measures.count(path, message["status"], time.perf_counter() - started)
            await send(message)

        await self.app(scope, receive, counted)

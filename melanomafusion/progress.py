"""A run's events as progress bars on a terminal, and as one line per fold elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class RunProgress:
    """Shows the events of `cross_validate` and `predict_run`; use as a context, pass as `on_event`.

    Args:
        console: where to.
        label: in front of every line, e.g. the recipe's name.
    """

    def __init__(self, console: Console, label: str) -> None:
        self.console, self.label = console, label
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.bars: dict[str, TaskID] = {}
        self.last: dict[str, Any] | None = None

    def __enter__(self) -> RunProgress:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish_fold()
        self.progress.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        """Show one event."""
        kind = event["kind"]
        if kind == "decode":
            self._bar("decode", f"{self.label}: images", event["done"], event["total"])
        elif kind == "bundle":
            self._bar("bundle", f"{self.label}: models", event["done"], event["total"])
        elif kind == "fold":
            self._finish_fold()
            self._bar("epochs", f"{self.label}: fold {event['fold']}, epochs", 0, event["epochs"])
            if not self.console.is_terminal:
                self.console.print(f"{self.label}: fold {event['fold']} …", highlight=False)
        elif kind == "batch":
            self._bar("batches", f"{self.label}: batches", event["done"], event["total"])
        elif kind == "epoch":
            self.last = event
            note = f"loss {event['loss']:.3f}, validation AUC {_figure(event['val_auc'])}"
            self._bar("epochs", f"{self.label}: fold {event['fold']}, epochs", event["epoch"], event["epochs"], note)
        elif kind == "note" and event.get("fold", 0) == 0:
            self.console.print(f"{self.label}: {event['text']}", highlight=False)

    def _bar(self, key: str, description: str, done: int, total: int, note: str = "") -> None:
        if key not in self.bars:
            self.bars[key] = self.progress.add_task(description, total=total, note=note)
        self.progress.update(self.bars[key], description=description, completed=done, total=total, note=note)

    def _finish_fold(self) -> None:
        if self.last is not None:
            self.console.print(
                f"{self.label}: fold {self.last['fold']} done, {self.last['epoch']} epochs, "
                f"inner validation AUC {_figure(self.last['val_auc'])}",
                highlight=False,
            )
            self.last = None


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"

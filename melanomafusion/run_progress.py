"""The progress of runs, shown on a terminal: bars where it is one, lines where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

OnEvent = Callable[[dict[str, Any]], None]


@contextmanager
def shown(on_event: OnEvent | None, label: str) -> Iterator[OnEvent]:
    """Where the events of a call go: to `on_event`, or without it to the terminal while the call lasts."""
    if on_event is not None:
        yield on_event
        return
    with RunProgress(Console(), label) as progress:
        yield progress


class RunProgress:
    """Shows the events of `cross_validate` and `predict_run`; use as a context, pass as `on_event`.

    Args:
        console: where to.
        label: in front of every line, e.g. the recipe's name.
        progress: bars shared with others; its own without it.
    """

    def __init__(self, console: Console, label: str, progress: Progress | None = None) -> None:
        self.console, self.label = console, label
        self.progress = progress or _bars(console)
        self.bars: dict[str, TaskID] = {}
        self.last: dict[int, dict[str, Any]] = {}  # epoch of each fold under way
        self.noted = False

    def __enter__(self) -> RunProgress:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            for fold in list(self.last):
                self._finish_fold(fold)
        self.progress.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        """Show one event."""
        kind = event["kind"]
        if kind == "decode":
            self._bar("decode", f"{self.label}: images", event["done"], event["total"])
        elif kind == "features":
            self._bar("features", f"{self.label}: features of images", event["done"], event["total"])
        elif kind == "bundle":
            self._bar("bundle", f"{self.label}: models", event["done"], event["total"])
        elif kind == "fold":
            self._bar(f"epochs {event['fold']}", f"{self.label}: fold {event['fold']}, epochs", 0, event["epochs"])
            if not self.console.is_terminal:
                self.console.print(f"{self.label}: fold {event['fold']} …", highlight=False)
        elif kind == "batch":
            self._bar(
                f"batches {event['fold']}",
                f"{self.label}: fold {event['fold']}, batches",
                event["done"],
                event["total"],
            )
        elif kind == "epoch":
            self.last[event["fold"]] = event
            note = f"loss {_figure(event['loss'])}"
            if "val_auc" in event:
                note += f", validation AUC {_figure(event['val_auc'])}"
            self._bar(
                f"epochs {event['fold']}",
                f"{self.label}: fold {event['fold']}, epochs",
                event["epoch"],
                event["epochs"],
                note,
            )
        elif kind == "fold_done":
            self._finish_fold(event["fold"], event)
        elif kind == "resumed":
            where = f" after batch {event['batch']}" if event["batch"] else ""
            self.console.print(
                f"{self.label}: fold {event['fold']} goes on in epoch {event['epoch']}{where}", highlight=False
            )
        elif kind == "warning":
            self.console.print(f"{self.label}: {event['text']}", highlight=False, markup=False)
        elif kind == "note" and not self.noted:  # the same for every fold but for the counts
            self.noted = True
            self.console.print(f"{self.label}: {event['text']}", highlight=False)

    def _bar(self, key: str, description: str, done: int, total: int, note: str = "") -> None:
        if key not in self.bars:
            self.bars[key] = self.progress.add_task(description, total=total, note=note)
        self.progress.update(self.bars[key], description=description, completed=done, total=total, note=note)

    def _finish_fold(self, fold: int, done: dict[str, Any] | None = None) -> None:
        for key in (f"epochs {fold}", f"batches {fold}"):
            if key in self.bars:
                self.progress.remove_task(self.bars.pop(key))
        last = self.last.pop(fold, None)
        if last is not None:
            watched = f", inner validation AUC {_figure(last['val_auc'])}" if "val_auc" in last else ""
            peaks = [
                f", {done[name] / 2**30:.1f} GiB of {where} at most"
                for name, where in (("peak_memory", "memory"), ("peak_gpu_memory", "GPU memory"))
                if done and name in done
            ]
            text = f"{self.label}: fold {fold} done, {last['epoch']} epochs{watched}{''.join(peaks)}"
            self.console.print(text, highlight=False)


class PlanProgress:
    """Shows the events of `train_plan`, all members in one view; use as a context, pass as `on_event`.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self.console, self.progress = console, _bars(console)
        self.runs: dict[str, RunProgress] = {}

    def __enter__(self) -> PlanProgress:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        """Show one event."""
        if event["kind"] == "member":
            gain = "" if event["gain"] is None else f", ensemble {event['ensemble_auc']:.4f} ({event['gain']:+.4f})"
            self.console.print(f"{event['member']}: AUC {event['auc']:.4f}{gain}", highlight=False, markup=False)
            return
        name = event["run"]
        if name not in self.runs:
            self.runs[name] = RunProgress(self.console, name, self.progress)
        self.runs[name](event)


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"

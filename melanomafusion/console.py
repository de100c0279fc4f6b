"""What people see on a terminal: the progress of a run, and tables of scores."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from .evaluation.intervals import auc_difference, auc_interval
from .evaluation.metrics import average_precision
from .predictions import Predictions


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
        self.noted = False

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
            note = f"loss {_figure(event['loss'])}, validation AUC {_figure(event['val_auc'])}"
            self._bar("epochs", f"{self.label}: fold {event['fold']}, epochs", event["epoch"], event["epochs"], note)
        elif kind == "note" and not self.noted:  # the same for every fold but for the counts
            self.noted = True
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


def print_scores(
    console: Console, members: dict[str, Predictions], *, as_json: bool = False, difference: bool = False
) -> None:
    """A row per member: AUC with its patient-bootstrap interval, average precision.

    Args:
        console: where to.
        members: name → oof or held_out predictions.
        as_json: print JSON instead of a table.
        difference: of two members, the paired difference too.
    """

    intervals = {name: auc_interval(member) for name, member in members.items()}
    gain = auc_difference(*members.values()) if difference else None
    if as_json:
        rows: dict[str, Any] = {
            name: {
                "auc": interval.estimate,
                "auc_interval": [interval.low, interval.high],
                "interval_cluster": interval.cluster,
                "average_precision": average_precision(members[name].targets, members[name].scores),
                "grouped_by": members[name].grouped_by,
            }
            for name, interval in intervals.items()
        }
        if gain:
            rows["difference"] = {"auc": gain.estimate, "auc_interval": [gain.low, gain.high]}
        console.print(json.dumps(rows, indent=2), markup=False, soft_wrap=True)
        return
    first = next(iter(intervals.values()))
    table = Table("", "records", "positives", "AUC", f"95 % interval over {first.cluster}s", "average precision")
    for name, interval in intervals.items():
        member = members[name]
        table.add_row(
            name,
            f"{len(member):,}",
            f"{int(member.targets.sum()):,}",
            f"{interval.estimate:.4f}",
            f"{interval.low:.4f} to {interval.high:.4f}",
            f"{average_precision(member.targets, member.scores):.4f}",
        )
    console.print(table)
    if gain:
        a, b = members
        console.print(f"{a} − {b}: AUC {gain.estimate:+.4f} ({gain.low:+.4f} to {gain.high:+.4f}), paired.")
    if any(member.image_level_split for member in members.values()):
        console.print("Image-level split: images of one patient may lie on both sides, so scores may be too high.")

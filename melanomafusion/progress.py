"""A progress bar for long work, silent where nobody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _Speed(ProgressColumn):
    """Steps per second, with their unit."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        unit = task.fields.get("unit", "")
        return Text("" if speed is None or not unit else f"{speed:,.0f} {unit}/s")


@contextmanager
def progress_bar(console: Console, label: str, *, unit: str = "") -> Iterator[Callable[[dict[str, Any]], None]]:
    """A bar for events with "done" and "total", and "what" where there are several things to do.

    Args:
        console: where to; nothing is shown unless it is a terminal.
        label: in front.
        unit: of the steps, e.g. "images": their number per second is shown.
    """
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        bar = progress.add_task(label, total=None, unit=unit)

        def show(event: dict[str, Any]) -> None:
            if "done" in event and "total" in event:
                description = f"{label}: {event['what']}" if "what" in event else label
                progress.update(bar, description=description, completed=event["done"], total=event["total"])

        yield show

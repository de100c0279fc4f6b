"""Callbacks of tensorflow-addons: progress bars drawn by tqdm."""

from __future__ import annotations

import time
from typing import Any

import keras

from ...errors import CompatError
from .replacements import missing


class TQDMProgressBar(keras.callbacks.Callback):
    """One bar for the epochs and one for the batches of each; use it with `fit(verbose=0)`.

    Args:
        metrics_separator: between metrics.
        overall_bar_format: of the bar of epochs, in tqdm's words.
        epoch_bar_format: of the bar of batches.
        metrics_format: of a metric's {name} and {value}.
        update_per_second: how often the bar of batches moves at most.
        leave_epoch_progress: whether finished bars of batches stay.
        leave_overall_progress: whether the finished bar of epochs stays.
        show_epoch_progress: whether there are bars of batches.
        show_overall_progress: whether there is a bar of epochs.
    """

    def __init__(
        self,
        metrics_separator: str = " - ",
        overall_bar_format: str = "{l_bar}{bar} {n_fmt}/{total_fmt} ETA: {remaining}s,  {rate_fmt}{postfix}",
        epoch_bar_format: str = "{n_fmt}/{total_fmt}{bar} ETA: {remaining}s - {desc}",
        metrics_format: str = "{name}: {value:0.4f}",
        update_per_second: int = 10,
        leave_epoch_progress: bool = True,
        leave_overall_progress: bool = True,
        show_epoch_progress: bool = True,
        show_overall_progress: bool = True,
    ) -> None:
        super().__init__()
        try:
            from tqdm.auto import tqdm
        except ImportError:
            raise CompatError("TQDMProgressBar draws with tqdm, which is not installed: pip install tqdm") from None
        self.tqdm = tqdm
        self.metrics_separator, self.metrics_format = metrics_separator, metrics_format
        self.overall_bar_format, self.epoch_bar_format = overall_bar_format, epoch_bar_format
        self.update_interval = 1 / update_per_second
        self.leave_epoch_progress, self.leave_overall_progress = leave_epoch_progress, leave_overall_progress
        self.show_epoch_progress, self.show_overall_progress = show_epoch_progress, show_overall_progress
        self.overall_bar: Any = None
        self.batch_bar: Any = None
        self.pending, self.drawn_at = 0, 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        """Open the bar of epochs."""
        if self.show_overall_progress:
            self.overall_bar = self._bar("Training", self.params["epochs"], "epochs", self.leave_overall_progress)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Open a bar of batches."""
        if self.show_epoch_progress:
            self.tqdm.write(f"Epoch {epoch + 1}/{self.params['epochs']}")
            self._open_batches(None)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move the bar of batches."""
        self._count(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Close the bar of batches with the epoch's metrics; move the bar of epochs."""
        self._close_batches(logs)
        if self.overall_bar is not None:
            self.overall_bar.update(1)

    def on_train_end(self, logs: Any = None) -> None:
        """Close the bar of epochs."""
        if self.overall_bar is not None:
            self.overall_bar.close()
            self.overall_bar = None

    def on_test_begin(self, logs: Any = None) -> None:
        """Open a bar, in `evaluate` alone."""
        if self.show_epoch_progress and self.batch_bar is None:
            self.evaluating = True
            self._open_batches("Evaluating")

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move it."""
        if getattr(self, "evaluating", False):
            self._count(logs)

    def on_test_end(self, logs: Any = None) -> None:
        """Close it."""
        if getattr(self, "evaluating", False):
            self.evaluating = False
            self._close_batches(logs)

    def format_metrics(self, logs: dict[str, Any] | None) -> str:
        """The metrics in one line."""
        pairs = (logs or {}).items()
        return self.metrics_separator.join(self.metrics_format.format(name=name, value=value) for name, value in pairs)

    def _bar(self, label: str | None, total: int | None, unit: str, leave: bool) -> Any:
        form = self.overall_bar_format if unit == "epochs" else self.epoch_bar_format
        return self.tqdm(desc=label, total=total, bar_format=form, leave=leave, dynamic_ncols=True, unit=unit)

    def _open_batches(self, label: str | None) -> None:
        self.pending, self.drawn_at = 0, time.monotonic()
        self.batch_bar = self._bar(label, self.params.get("steps"), "steps", self.leave_epoch_progress)

    def _count(self, logs: Any) -> None:
        self.pending += 1
        if self.batch_bar is not None and time.monotonic() - self.drawn_at >= self.update_interval:
            self._draw(logs)

    def _draw(self, logs: Any) -> None:
        self.batch_bar.set_description_str(self.format_metrics(logs), refresh=False)
        self.batch_bar.update(self.pending)
        self.pending, self.drawn_at = 0, time.monotonic()

    def _close_batches(self, logs: Any) -> None:
        if self.batch_bar is not None:
            self.batch_bar.mininterval = self.batch_bar.miniters = 0  # so that the last state is drawn
            self._draw(logs)
            self.batch_bar.close()
            self.batch_bar = None


def __getattr__(name: str) -> Any:
    raise missing("callbacks", name)

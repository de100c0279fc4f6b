"""Exact resume: a fold that was killed goes on as if nothing had happened, bit for bit on a CPU."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import keras

from ..errors import RunError
from ..execution import stopping
from .callbacks import BestEpoch, SeenScores
from .checkpoints import Checkpoints, State
from .progress import Arrays, put_callbacks, put_variables, take_callbacks, take_variables

_FORMAT = 2
_CALCULATES = ("melanomafusion", "keras", "tensorflow", "numpy")
# An epoch of a second is not worth a checkpoint of a second: writing takes at most this share of the time.
_SHARE = 0.02


@dataclass(frozen=True)
class Position:
    """A point of a training.

    Attributes:
        stage: number, from 1.
        first_epoch: epochs before the stage.
        epoch: epochs that are done.
        batch: batches of the next one that are done.
        stage_done: whether the stage has ended.
    """

    stage: int = 1
    first_epoch: int = 0
    epoch: int = 0
    batch: int = 0
    stage_done: bool = False


class Resume:
    """The progress of one fold: read when training starts, written as it goes on.

    Args:
        checkpoints: where it is kept.
        identity: recipe, data and so on (JSON values), which must be those that a checkpoint was written with.
        every_minutes: a checkpoint within an epoch after so long; None for the ends of epochs only.
        report: called with a "resumed" event and with notes on damaged checkpoints.

    Raises:
        RunError: the checkpoint was written with something else; names the differences.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        identity: dict[str, Any],
        every_minutes: float | None,
        report: Callable[[dict[str, Any]], None],
    ) -> None:
        self.checkpoints, self.every_minutes, self.report = checkpoints, every_minutes, report
        self.identity = {"format": _FORMAT, **identity, **{name: version(name) for name in _CALCULATES}}
        self.state: State | None = checkpoints.newest()
        self.seconds = 0.0
        self._started = time.monotonic()
        if self.state is not None:
            self._check(self.state.facts["identity"])
            self.seconds = float(self.state.facts["seconds"])

    @property
    def position(self) -> Position:
        """Where to begin."""
        return Position() if self.state is None else Position(**self.state.facts["position"])

    def put_back(self, model: keras.Model, best: BestEpoch, history: list[dict[str, Any]]) -> None:
        """Give the model its weights, and the best epoch and the history what they knew."""
        if self.state is None:
            return
        put_variables(self.state.arrays, "model", model.variables)
        put_callbacks(self.state.arrays, self.state.facts["callbacks"], [best])
        history[:] = self.state.facts["history"]
        at = self.position
        self.report({"kind": "resumed", "epoch": at.epoch + (not at.stage_done), "batch": at.batch})

    def write(self, arrays: Arrays, facts: dict[str, Any]) -> None:
        """Put a checkpoint down."""
        seconds = self.seconds + time.monotonic() - self._started
        self.checkpoints.write(arrays, {"identity": self.identity, "seconds": round(seconds, 3), **facts})

    def _check(self, then: dict[str, Any]) -> None:
        changed = [
            f"  {key}: {old!r} → {new!r}"
            for key in {**then, **self.identity}
            for old, new in _differences(key, then.get(key), self.identity.get(key))
        ]
        if changed:
            raise RunError(
                f"{self.checkpoints.folder} holds a training begun with something else:\n" + "\n".join(changed) + "\n"
                "Put that back to go on, or begin anew with --restart (restart=True)."
            )


class SaveProgress(keras.callbacks.Callback):
    """Writes checkpoints, and puts one back when `fit` begins; must come last among the callbacks.

    Args:
        resume: of the fold.
        whole: the model, of which a stage may train a part.
        seen: metric that keeps what the epoch has seen.
        callbacks: whose memory is kept.
        history: rows of the epochs so far.
        begin: where this process enters the stage.
        last_epoch: epochs before the stage and with it.
        steps: batches of an epoch.
    """

    def __init__(
        self,
        resume: Resume,
        whole: keras.Model,
        seen: SeenScores,
        callbacks: Sequence[keras.callbacks.Callback],
        history: list[dict[str, Any]],
        begin: Position,
        last_epoch: int,
        steps: int,
    ) -> None:
        super().__init__()
        self.resume, self.whole, self.seen, self.callbacks, self.history = resume, whole, seen, callbacks, history
        self.begin, self.last_epoch, self.steps = begin, last_epoch, steps
        self._pending = resume.state if resume.state is not None and begin == resume.position else None
        self._skipped = begin.batch
        self._epoch = 0
        self._written, self._cost = time.monotonic(), 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        """Put everything back; Keras's own callbacks have just forgotten what they knew."""
        if self._pending is not None:
            self._put(self._pending)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Within an epoch, the other callbacks have just begun a new one: put the middle of the old one back."""
        self._epoch = epoch
        if self._pending is not None and self._skipped:
            self._put(self._pending)
            put_variables(self._pending.arrays, "metrics", self._counts())
        self._pending = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save in the middle of a long epoch, or where somebody asks the process to stop."""
        done = self._skipped + batch + 1
        minutes = self.resume.every_minutes
        late = minutes is not None and time.monotonic() - self._written > max(60 * minutes, self._cost / _SHARE)
        if done < self.steps and (late or stopping.asked()):
            self._write(self._position(self._epoch, done))
            _stop_where_asked()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save, unless the last time was a moment ago."""
        self._skipped = 0
        if not math.isfinite(self.history[-1]["loss"]):
            return  # the stage fails; what was before stays
        ended = bool(self.model.stop_training) or epoch + 1 == self.last_epoch
        if ended or stopping.asked() or time.monotonic() - self._written >= self._cost / _SHARE:
            self._write(self._position(epoch + 1, 0, ended))
        _stop_where_asked()

    def carry_over(self) -> None:
        """Have the next `fit` of the same stage begin as the last one ended."""
        self._pending = State(*self._take(self._position(self._epoch + 1)))

    def _position(self, epoch: int, batch: int = 0, stage_done: bool = False) -> Position:
        return Position(self.begin.stage, self.begin.first_epoch, epoch, batch, stage_done)

    def _write(self, position: Position) -> None:
        started = time.monotonic()
        self.resume.write(*self._take(position))
        self._written = time.monotonic()
        self._cost = self._written - started

    def _take(self, position: Position) -> tuple[Arrays, dict[str, Any]]:
        arrays: Arrays = {}
        take_variables(arrays, "model", self.whole.variables)
        take_variables(arrays, "optimizer", self.model.optimizer.variables)
        if position.batch:
            take_variables(arrays, "metrics", self._counts())
        remembered = take_callbacks(arrays, self.callbacks)
        return arrays, {"position": asdict(position), "callbacks": remembered, "history": self.history}

    def _counts(self) -> list[Any]:
        # Not `metrics_variables`: those of compiled metrics are not among them before the first batch.
        (loss,) = (metric for metric in self.model.metrics if metric.name == "loss")
        return [*loss.variables, *self.seen.variables]

    def _put(self, state: State) -> None:
        put_variables(state.arrays, "model", self.whole.variables)
        if not self.model.optimizer.built:  # the optimizer of half precision would get its variables a second time
            self.model.optimizer.build(self.model.trainable_variables)
        put_variables(state.arrays, "optimizer", self.model.optimizer.variables)
        put_callbacks(state.arrays, state.facts["callbacks"], self.callbacks)


def _stop_where_asked() -> None:
    if stopping.asked():
        raise stopping.Stopped


def _differences(key: str, old: Any, new: Any) -> list[tuple[Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [({name: old.get(name)}, {name: new.get(name)}) for name in new if old.get(name) != new.get(name)]
    return [(old, new)] if old != new else []

"""What happens at the end of each epoch: exact scores, the best weights, the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..evaluation.decisions import threshold_metrics
from ..evaluation.metrics import average_precision, roc_auc
from ..images.epochs import EpochCounter

# Whether a monitor is better when higher; `mode` is given to Keras explicitly everywhere.
LAST_EPOCH = "last epoch"
MODES = {"val_auc": "max", "val_average_precision": "max", "val_loss": "min"}


class SeenScores(keras.metrics.Metric):
    """Keeps the logits and labels of all training records of an epoch, so that its AUC is exact rather than binned.

    Each device has a copy of its own, and to read them is to add them up: each writes into rows that the others leave.

    Args:
        batches: of an epoch.
        batch_size: records.
        outputs: of the model.
    """

    def __init__(self, batches: int, batch_size: int, outputs: int) -> None:
        super().__init__(name="seen")
        self.devices = tf.distribute.get_strategy().num_replicas_in_sync
        self.block = -(-batch_size // self.devices)  # rows of a batch on a device
        self.batches = batches
        rows = batches * self.block * self.devices
        self.logits = self.add_weight(shape=(rows, outputs), initializer="zeros", name="logits")
        self.labels = self.add_weight(shape=(rows, outputs), initializer="zeros", name="labels")
        self.written = self.add_weight(shape=(rows, 1), initializer="zeros", name="written")
        self.batch = self.add_weight(shape=(), initializer="zeros", name="batch")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Append a batch."""
        del sample_weight
        context = tf.distribute.get_replica_context()
        device = context.replica_id_in_sync_group if context is not None else 0
        batch = tf.convert_to_tensor(self.batch)
        first = (tf.cast(batch, tf.int32) * self.devices + device) * self.block
        rows = (first + tf.range(tf.shape(y_pred)[0]))[:, None]
        ones = tf.ones_like(rows, tf.float32)
        logits = y_pred[:, -self.logits.shape[-1] :]  # those that are scored stand last
        for store, values in ((self.logits, logits), (self.labels, y_true), (self.written, ones)):
            store.assign(tf.tensor_scatter_nd_update(tf.convert_to_tensor(store), rows, tf.cast(values, tf.float32)))
        self.batch.assign(batch + 1.0)

    def result(self) -> Any:
        """Share of the batches seen."""
        return tf.convert_to_tensor(self.batch) / (self.batches * self.devices)

    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """Logits and labels seen so far, (n, outputs) each."""
        rows = np.asarray(self.written)[:, 0] > 0
        return np.asarray(self.logits)[rows], np.asarray(self.labels)[rows]


class EpochScores(keras.callbacks.Callback):
    """Writes the exact scores of the epoch into Keras's logs; must come first among the callbacks.

    Training scores are those of the batches as they passed (with augmentation and dropout); validation scores are of
    the inner validation split, unweighted, so the two losses are not on one scale where training is weighted.

    Args:
        seen: metric that the model was compiled with.
        validation: (inputs, label) pipeline of the inner validation split, in order; None where there is none.
        labels: (n, 1) or (n, k) its labels.
        to_scores: logits (n, k) → scores (n,).
        is_positive: labels (n, k) → 0 or 1 (n,).
        loss: Keras loss of logits.
        counter: epoch counter of the training pipeline.
        history: rows are added to it.
        stage: number, from 1.
        on_epoch: called with each row.
    """

    def __init__(
        self,
        *,
        seen: SeenScores,
        validation: tf.data.Dataset | None,
        labels: np.ndarray | None,
        to_scores: Callable[[np.ndarray], np.ndarray],
        is_positive: Callable[[np.ndarray], np.ndarray],
        loss: keras.losses.Loss,
        counter: EpochCounter,
        history: list[dict[str, Any]],
        stage: int,
        on_epoch: Callable[[dict[str, Any]], None],
    ) -> None:
        super().__init__()
        self.seen, self.validation, self.labels = seen, validation, labels
        self.to_scores, self.is_positive, self.loss = to_scores, is_positive, loss
        self.counter, self.history, self.stage, self.on_epoch = counter, history, stage, on_epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Order and chance of the epoch follow from its number."""
        self.counter.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Score training and validation, and hand the row on."""
        logs = {} if logs is None else logs
        seen_logits, seen_labels = self.seen.seen()
        row: dict[str, Any] = {
            "stage": self.stage,
            "epoch": epoch + 1,
            "learning_rate": float(self.model.optimizer.learning_rate.numpy()),
            "loss": float(logs["loss"]),
            **_scores(self.is_positive(seen_labels), self.to_scores(seen_logits), ""),
        }
        if self.validation is not None and self.labels is not None:
            logits = np.asarray(self.model.predict(self.validation, verbose=0), dtype="float32")
            # Keras divides a loss by the number of devices wherever it is called.
            row["val_loss"] = float(self.loss(self.labels, logits)) * self.seen.devices
            scored = logits[:, -self.labels.shape[1] :]
            row |= _scores(self.is_positive(self.labels), self.to_scores(scored), "val_")
        logs.update({key: value for key, value in row.items() if key not in ("stage", "epoch")})
        if not math.isfinite(row["loss"]):
            self.model.stop_training = True
        self.history.append(row)
        self.on_epoch(row)


def _scores(targets: np.ndarray, scores: np.ndarray, prefix: str) -> dict[str, float]:
    finite = np.isfinite(scores).all()
    both = targets.min() != targets.max()
    values: dict[str, float] = {
        "auc": roc_auc(targets, scores) if both and finite else math.nan,
        "average_precision": average_precision(targets, scores) if both and finite else math.nan,
    }
    if finite:
        values |= threshold_metrics(targets, scores)
    return {prefix + name: value for name, value in values.items()}


class BestEpoch(keras.callbacks.Callback):
    """Remembers the weights of the best epoch, over all stages.

    Args:
        monitor: key of `MODES`; `LAST_EPOCH` where nothing is watched: every epoch is better than the one before.
        whole: the model whose weights are remembered, where stages train a part of it; the trained one without it.
    """

    def __init__(self, monitor: str, whole: keras.Model | None = None) -> None:
        super().__init__()
        self.whole = whole
        self.monitor, self.sign = monitor, -1.0 if MODES.get(monitor) == "min" else 1.0
        self.value, self.epoch = -math.inf, 0
        self.weights: list[np.ndarray] | None = None

    @property
    def best_value(self) -> float | None:
        """The monitor in the best epoch; None where nothing was watched or trained."""
        watched = self.monitor != LAST_EPOCH and self.epoch
        return self.sign * self.value if watched else None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the weights if this epoch is better than every one before."""
        value = float(epoch) if self.monitor == LAST_EPOCH else self.sign * float((logs or {})[self.monitor])
        if value > self.value:
            model = self.model if self.whole is None else self.whole
            self.value, self.epoch, self.weights = value, epoch + 1, model.get_weights()

    def restore(self, model: keras.Model) -> None:
        """Put the best weights back."""
        if self.weights is not None:
            model.set_weights(self.weights)


class AveragedWeights(keras.callbacks.Callback):
    """Shows the moving average of the weights at the end of each epoch, and trains on with the weights themselves.

    The average takes the weights in after the first step, every tenth one and the last of an epoch: neighbouring steps
    hardly differ, and Keras's own `use_ema`, which takes in every step, made training of MobileNetV2 an eighth slower.
    Copies are put back bit for bit. Must come before whatever scores or keeps the epoch's weights.

    Args:
        momentum: share of the average that stays at each step.
    """

    EVERY = 10

    def __init__(self, momentum: float) -> None:
        super().__init__()
        self.momentum, self.steps = momentum, 0
        self.average: list[np.ndarray] | None = None
        self.trained: list[np.ndarray] | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Put the weights back."""
        if self.trained is not None:
            self._show(self.trained)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Take the weights in, now and then."""
        self.steps += 1
        if self.average is None or self.steps == self.EVERY:
            self._take_in([np.array(variable) for variable in self.model.trainable_variables])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Show the average."""
        self.trained = [np.array(variable) for variable in self.model.trainable_variables]
        if self.steps:
            self._take_in(self.trained)
        assert self.average is not None
        self._show(self.average)

    def _take_in(self, weights: list[np.ndarray]) -> None:
        stays, self.steps = self.momentum**self.steps, 0
        before = weights if self.average is None else self.average
        self.average = [stays * old + (1 - stays) * new for old, new in zip(before, weights, strict=True)]

    def _show(self, weights: list[np.ndarray]) -> None:
        for variable, weight in zip(self.model.trainable_variables, weights, strict=True):
            variable.assign(weight)


class WarmupCosine(keras.callbacks.Callback):
    """Linear rise of the learning rate, then half a cosine to zero, set before each batch.

    Args:
        peak: rate at the end of the warm-up.
        steps: batches of the stage.
        warmup_steps: batches of the rise.
    """

    def __init__(self, peak: float, steps: int, warmup_steps: int) -> None:
        super().__init__()
        self.peak, self.steps, self.warmup_steps, self.step = peak, steps, warmup_steps, 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the rate of this batch."""
        if self.step < self.warmup_steps:
            rate = self.peak * (self.step + 1) / self.warmup_steps
        else:
            done = (self.step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
            rate = self.peak * 0.5 * (1.0 + math.cos(math.pi * done))
        self.model.optimizer.learning_rate = rate
        self.step += 1


class BatchProgress(keras.callbacks.Callback):
    """Reports progress within an epoch, at most about forty times.

    Args:
        steps: batches of an epoch.
        on_event: called with a "batch" event.
    """

    def __init__(self, steps: int, on_event: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self.steps, self.every, self.on_event = steps, max(1, steps // 40), on_event

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Report now and then."""
        if (batch + 1) % self.every == 0:
            self.on_event({"kind": "batch", "done": batch + 1, "total": self.steps})

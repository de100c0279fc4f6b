"""Metrics of tensorflow-addons: F1 and Cohen's kappa."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ...errors import CompatError
from .replacements import missing


@keras.saving.register_keras_serializable(package="Addons")
class F1Score(keras.metrics.F1Score):
    """Keras's F1 with the number of classes as first argument.

    Args:
        num_classes: outputs of the model.
        average: None (one per class), "micro", "macro" or "weighted".
        threshold: scores above it are positive; the largest of a record without it.
        name: of the metric.
        dtype: of the result.
    """

    def __init__(
        self,
        num_classes: int,
        average: str | None = None,
        threshold: float | None = None,
        name: str = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average=average, threshold=threshold, name=name, dtype=dtype)
        self.num_classes = num_classes

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Count a batch: (B, k) truth, (B, k) scores, (B,) weights."""
        shape = ops.shape(y_pred)
        if len(shape) != 2 or shape[-1] != self.num_classes:
            raise CompatError(f"F1Score of num_classes={self.num_classes} takes (B, {self.num_classes}), not {shape}.")
        return super().update_state(y_true, y_pred, sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        config.pop("beta", None)
        return {**config, "num_classes": self.num_classes}


@keras.saving.register_keras_serializable(package="Addons")
class CohenKappa(keras.metrics.Metric):
    """Agreement of predicted and true classes beyond chance, −1 … 1.

    A class outside 0 … num_classes − 1 makes the result NaN.

    Args:
        num_classes: 2 (scores above 0.5 are class 1) or more.
        name: of the metric.
        weightage: None, or "linear" or "quadratic" for ordered classes.
        sparse_labels: whether the truth is class numbers rather than one-hot rows (more than two classes).
        regression: whether the model returns class numbers, which are rounded.
        dtype: of the result.

    References:
        Cohen 1960, doi 10.1177/001316446002000104; weighted: Cohen 1968, doi 10.1037/h0026256.
    """

    def __init__(
        self,
        num_classes: int,
        name: str = "cohen_kappa",
        weightage: str | None = None,
        sparse_labels: bool = False,
        regression: bool = False,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if weightage not in {None, "linear", "quadratic"}:
            raise CompatError(f'weightage is None, "linear" or "quadratic". Received: weightage={weightage!r}')
        if num_classes < 2:
            raise CompatError(f"CohenKappa needs at least two classes. Received: num_classes={num_classes!r}")
        self.num_classes, self.weightage = int(num_classes), weightage
        self.sparse_labels, self.regression = sparse_labels, regression
        self.conf_mtx = self.add_weight(
            shape=(self.num_classes, self.num_classes), initializer="zeros", dtype="float32", name="conf_mtx"
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: truth (B,), (B, 1) or one-hot (B, k); predictions (B,), (B, 1) or (B, k)."""
        truth, found = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        if self.num_classes == 2:
            found = found > 0.5
        else:
            truth = truth if self.sparse_labels else ops.argmax(truth, axis=1)
            if len(found.shape) > 1:
                found = ops.round(ops.abs(found)) if self.regression else ops.argmax(found, axis=-1)
        rows = self._one_hot(truth)
        if sample_weight is not None:
            rows = rows * ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1))
        self.conf_mtx.assign_add(ops.matmul(ops.transpose(rows), self._one_hot(found)))

    def _one_hot(self, classes: Any) -> Any:
        classes = ops.reshape(ops.cast(classes, "int32"), (-1,))
        known = ops.logical_and(classes >= 0, classes < self.num_classes)
        rows = ops.one_hot(classes, self.num_classes, dtype="float32")
        # A class that cannot be would count nowhere and be missed by nobody.
        return ops.where(known[:, None], rows, float("nan"))

    def result(self) -> Any:
        """Kappa of all batches; 0 before the first."""
        numbers = ops.arange(self.num_classes, dtype="float32")
        distance = ops.abs(numbers[:, None] - numbers[None, :])
        weights = {None: ops.cast(distance > 0, "float32"), "linear": distance, "quadratic": distance**2}[
            self.weightage
        ]
        total = ops.sum(self.conf_mtx)
        chance = ops.outer(ops.sum(self.conf_mtx, axis=1), ops.sum(self.conf_mtx, axis=0)) / ops.maximum(total, 1e-30)
        kappa = 1.0 - ops.sum(weights * self.conf_mtx) / ops.sum(weights * chance)
        return ops.cast(ops.where(total == 0, 0.0, kappa), self.dtype)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        names = ("num_classes", "weightage", "sparse_labels", "regression")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def __getattr__(name: str) -> Any:
    raise missing("metrics", name)

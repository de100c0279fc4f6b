"""Operating thresholds: chosen on out-of-fold scores, scored on folds that did not choose them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import PredictionsError
from ..predictions import Predictions
from .checks import check_share
from .decisions import confusion_matrix, matrix_metrics
from .intervals import wilson_interval
from .metrics import roc_points

RULES = ("youden", "max_f1", "accuracy", "sensitivity", "specificity", "cost")


@dataclass(frozen=True)
class OperatingThreshold:
    """A threshold "score ≥ value" and what it does.

    Attributes:
        rule: how it was chosen, e.g. "sensitivity ≥ 0.95".
        value: the threshold, chosen on all records. Infinity calls nothing positive.
        matrix: (2, 2) [[tn, fp], [fn, tp]]; each record judged by the threshold that the other folds chose, where it
            was cross-fitted.
        cross_fitted: whether it was; False where the threshold was given, or chosen on these very records.
    """

    rule: str
    value: float
    matrix: np.ndarray
    cross_fitted: bool

    @property
    def metrics(self) -> dict[str, float]:
        """accuracy, balanced_accuracy, precision, recall, specificity, f1."""
        return matrix_metrics(self.matrix)

    @property
    def sensitivity(self) -> tuple[float, float, float]:
        """Estimate and Wilson interval (which takes records to be independent)."""
        return _share(self.matrix[1, 1], self.matrix[1].sum())

    @property
    def specificity(self) -> tuple[float, float, float]:
        """Estimate and Wilson interval (which takes records to be independent)."""
        return _share(self.matrix[0, 0], self.matrix[0].sum())

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON; a threshold of infinity is null."""
        return {
            "rule": self.rule,
            "threshold": self.value if np.isfinite(self.value) else None,
            "cross_fitted": self.cross_fitted,
            "confusion_matrix": self.matrix.tolist(),
            "sensitivity": list(self.sensitivity),
            "specificity": list(self.specificity),
            **{k: v for k, v in self.metrics.items() if k not in ("recall", "specificity")},
        }


def choose_threshold(targets: np.ndarray, scores: np.ndarray, rule: str = "youden", at: float | None = None) -> float:
    """Choose a threshold on these records.

    Args:
        targets: (n,) of 0 and 1.
        scores: (n,) finite numbers.
        rule: "youden" (highest sensitivity + specificity), "max_f1", "accuracy" (most records right), "sensitivity"
            (highest specificity among thresholds that reach `at`), "specificity" (highest sensitivity among those that
            reach `at`) or "cost" (lowest cost where a missed positive costs `at` times a false alarm).
        at: share within (0, 1), or the cost ratio above 0.

    Returns:
        The threshold "score ≥ t"; halfway between two scores, so that it lies on no record. Among equally good ones the
        highest.

    Raises:
        PredictionsError: unknown rule, or `at` missing, out of place or out of range.
    """
    if rule not in RULES:
        raise PredictionsError(f"rule is one of {', '.join(RULES)}. Received: rule={rule!r}")
    if (rule in ("youden", "max_f1", "accuracy")) != (at is None):
        raise PredictionsError(f"Rules sensitivity, specificity and cost take at=, the others do not. Received: {at=}")
    false, hits, thresholds = roc_points(targets, scores)
    positives = float(np.sum(targets))
    negatives = len(targets) - positives
    if rule == "youden":
        gain = hits - false
    elif rule == "max_f1":
        gain = 2 * hits * positives / (hits * positives + false * negatives + positives)
    elif rule == "accuracy":
        gain = hits * positives + (1 - false) * negatives
    elif rule == "cost":
        if not isinstance(at, (int, float)) or not 0 < at < np.inf:
            raise PredictionsError(f"A cost ratio is a number above 0. Received: at={at!r}")
        gain = -(at * (1 - hits) * positives + false * negatives)
    elif rule == "sensitivity":
        gain = np.where(hits >= check_share(at or 0.0, "at") - 1e-12, 1 - false, -1.0)
    else:
        gain = np.where(1 - false >= check_share(at or 0.0, "at") - 1e-12, hits, -1.0)
    best = int(np.argmax(gain >= gain.max() - 1e-12))
    if best == 0:
        return float("inf")
    if best + 1 == len(thresholds):
        return float(thresholds[best])
    high, low = float(thresholds[best]), float(thresholds[best + 1])
    middle = 0.5 * high + 0.5 * low
    return middle if low < middle <= high else high  # neighbours in the last bit have nothing between them


def operating_threshold(predictions: Predictions, rule: str = "youden", at: float | None = None) -> OperatingThreshold:
    """Choose a threshold by a rule and say what it does.

    Out-of-fold records are judged by the threshold that the other folds chose; the value returned is the one of all.

    Args:
        predictions: oof (held-out records must not choose: give them a number, `given_threshold`).
        rule, at: as for `choose_threshold`.

    Raises:
        PredictionsError: not out-of-fold, one class only outside a fold, or as `choose_threshold`. With a single fold
            nothing can be cross-fitted, and the result says so.
    """
    if predictions.kind != "oof":
        raise PredictionsError(
            f"{predictions.name} ({predictions.kind}): thresholds are chosen on out-of-fold predictions. Choose there "
            "and give the number (threshold=...)."
        )
    targets, scores = predictions.targets, predictions.scores
    folds = predictions.frame["fold"].to_numpy()
    value = choose_threshold(targets, scores, rule, at)
    matrix = np.zeros((2, 2), dtype="int64")
    names = np.unique(folds)
    for fold in names:
        inside = folds == fold
        others = ~inside if len(names) > 1 else inside
        if len(np.unique(targets[others])) < 2:
            raise PredictionsError(f"{predictions.name}: without fold {fold} there is one class only; no threshold.")
        matrix += confusion_matrix(
            targets[inside], scores[inside], choose_threshold(targets[others], scores[others], rule, at)
        )
    return OperatingThreshold(_words(rule, at), value, matrix, len(names) > 1)


def given_threshold(predictions: Predictions, value: float) -> OperatingThreshold:
    """What a threshold that was chosen elsewhere does.

    Raises:
        PredictionsError: not a number.
    """
    if not isinstance(value, (int, float, np.integer, np.floating)) or np.isnan(value):
        raise PredictionsError(f"A threshold is a number. Received: threshold={value!r}")
    matrix = confusion_matrix(predictions.targets, predictions.scores, float(value))
    return OperatingThreshold(f"given: {value:g}", float(value), matrix, False)


def _share(hits: int, count: int) -> tuple[float, float, float]:
    return (float(hits / count) if count else float("nan"), *wilson_interval(hits, count))


def _words(rule: str, at: float | None) -> str:
    at = at or 0.0
    return {
        "youden": "highest sensitivity + specificity (Youden)",
        "max_f1": "highest F1",
        "accuracy": "highest accuracy",
        "sensitivity": f"sensitivity ≥ {at:g}",
        "specificity": f"specificity ≥ {at:g}",
        "cost": f"a miss costs {at:g} false alarms",
    }[rule]

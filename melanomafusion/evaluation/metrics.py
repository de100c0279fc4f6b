"""Metrics of a binary score. Exact: no thresholds are binned."""

from __future__ import annotations

import numpy as np

from ..errors import PredictionsError


def roc_auc(targets: np.ndarray, scores: np.ndarray) -> float:
    """Exact area under the ROC curve: the share of (positive, negative) pairs ranked rightly, ties half.

    Sorts the negatives alone and looks the positives up, which is fast where positives are rare.

    Args:
        targets: (n,) of 0 and 1.
        scores: (n,) finite numbers, higher means more likely positive.

    Raises:
        PredictionsError: lengths differ, scores are not finite, or one class is absent.
    """
    targets, scores = _checked(targets, scores)
    positives, negatives = scores[targets == 1], np.sort(scores[targets == 0])
    below = np.searchsorted(negatives, positives, side="left")
    upto = np.searchsorted(negatives, positives, side="right")
    return float((below.sum() + upto.sum()) / (2.0 * len(positives) * len(negatives)))


def average_precision(targets: np.ndarray, scores: np.ndarray) -> float:
    """Average precision: precision at each distinct threshold, weighted by the recall it adds."""
    targets, scores = _checked(targets, scores)
    order = np.argsort(-scores, kind="stable")
    hits, ranked = np.cumsum(targets[order]), scores[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    precision, recall = hits[last] / (last + 1), hits[last] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def threshold_metrics(targets: np.ndarray, scores: np.ndarray, threshold: float = 0.5) -> dict[str, float]:
    """Accuracy, precision, recall and F1 of "score ≥ threshold". Precision is 0 where nothing is called positive."""
    targets, scores = _checked(targets, scores, both_classes=False)
    called = scores >= threshold
    hits = float(np.sum(called & (targets == 1)))
    positives, calls = float(targets.sum()), float(called.sum())
    return {
        "accuracy": float(np.mean(called == (targets == 1))),
        "precision": hits / calls if calls else 0.0,
        "recall": hits / positives if positives else 0.0,
        "f1": 2 * hits / (calls + positives) if calls + positives else 0.0,
    }


def _checked(targets: np.ndarray, scores: np.ndarray, both_classes: bool = True) -> tuple[np.ndarray, np.ndarray]:
    targets, scores = np.asarray(targets).ravel(), np.asarray(scores, dtype="float64").ravel()
    if len(targets) != len(scores) or not len(scores):
        raise PredictionsError(f"As many targets as scores, at least one. Received: {len(targets)} and {len(scores)}")
    if not np.isfinite(scores).all():
        raise PredictionsError(f"Score of row {int(np.flatnonzero(~np.isfinite(scores))[0])} is not finite.")
    if not np.isin(targets, (0, 1)).all():
        raise PredictionsError("Targets must be 0 or 1.")
    if both_classes and (targets.min() == targets.max()):
        raise PredictionsError(f"All {len(targets)} targets are {int(targets[0])}: nothing to rank.")
    return targets, scores

"""Decisions at a threshold: "score ≥ t" is called positive."""

from __future__ import annotations

import numpy as np

from .checks import check_binary, check_share


def confusion_matrix(targets: np.ndarray, scores: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Counts in scikit-learn's order.

    Returns:
        (2, 2) int64: [[true negatives, false positives], [false negatives, true positives]].
    """
    targets, scores = check_binary(targets, scores, both_classes=False)
    return np.bincount(2 * (targets == 1) + (scores >= threshold), minlength=4).reshape(2, 2)


def threshold_metrics(targets: np.ndarray, scores: np.ndarray, threshold: float = 0.5) -> dict[str, float]:
    """What a threshold decides.

    Args:
        targets: (n,) of 0 and 1.
        scores: (n,) finite numbers.
        threshold: "score ≥ threshold" is called positive.

    Returns:
        accuracy, balanced_accuracy, precision, recall, specificity, f1; precision and F1 are 0 where nothing is called
        positive, recall (specificity) is 0 where there are no positives (negatives).
    """
    return matrix_metrics(confusion_matrix(targets, scores, threshold))


def matrix_metrics(matrix: np.ndarray) -> dict[str, float]:
    """As `threshold_metrics`, from a confusion matrix."""
    (tn, fp), (fn, tp) = matrix.astype("float64")
    recall, specificity = _share(tp, tp + fn), _share(tn, tn + fp)
    present = [value for value, count in ((recall, tp + fn), (specificity, tn + fp)) if count]
    return {
        "accuracy": float((tp + tn) / matrix.sum()),
        "balanced_accuracy": float(np.mean(present)),
        "precision": _share(tp, tp + fp),
        "recall": recall,
        "specificity": specificity,
        "f1": _share(2 * tp, 2 * tp + fp + fn),
    }


def net_benefit(targets: np.ndarray, scores: np.ndarray, threshold: float) -> float:
    """Net benefit of treating where the probability is at least the threshold (Vickers and Elkin 2006).

    True positives count 1, false positives threshold / (1 − threshold); per record. Meaningful for calibrated
    probabilities. Treating none has 0. doi:10.1177/0272989X06295361

    Args:
        targets: (n,) of 0 and 1.
        scores: (n,) probabilities.
        threshold: within (0, 1).
    """
    check_share(threshold, "threshold")
    matrix = confusion_matrix(targets, scores, threshold)
    return float((matrix[1, 1] - matrix[0, 1] * threshold / (1 - threshold)) / matrix.sum())


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0

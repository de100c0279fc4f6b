"""What every metric asks of its input."""

from __future__ import annotations

import numpy as np

from ..errors import PredictionsError


def check_binary(
    targets: np.ndarray, scores: np.ndarray, *, both_classes: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Targets of 0 and 1 and finite scores of one length.

    Args:
        targets: (n,) of 0 and 1.
        scores: (n,) numbers.
        both_classes: a positive and a negative record are needed.

    Returns:
        (n,) targets, (n,) float64 scores.

    Raises:
        PredictionsError: lengths differ, scores are not finite, or one class is absent.
    """
    targets, scores = np.asarray(targets).ravel(), np.asarray(scores, dtype="float64").ravel()
    if len(targets) != len(scores) or not len(scores):
        raise PredictionsError(f"As many targets as scores, at least one. Received: {len(targets)} and {len(scores)}")
    if not np.isfinite(scores).all():
        raise PredictionsError(f"Score of row {int(np.flatnonzero(~np.isfinite(scores))[0])} is not finite.")
    positives = np.count_nonzero(targets == 1)
    if positives + np.count_nonzero(targets == 0) != len(targets):
        raise PredictionsError("Targets must be 0 or 1.")
    if both_classes and positives in (0, len(targets)):
        raise PredictionsError(f"All {len(targets)} targets are {int(targets[0])}: nothing to rank.")
    return targets, scores


def check_probabilities(targets: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `check_binary`, and scores within [0, 1].

    Raises:
        PredictionsError: a score lies outside.
    """
    targets, scores = check_binary(targets, scores, both_classes=False)
    outside = np.flatnonzero((scores < 0) | (scores > 1))
    if len(outside):
        raise PredictionsError(
            f"Scores within [0, 1] are needed; row {int(outside[0])} has {scores[outside[0]]:g} "
            f"({len(outside):,} such rows). Calibrate them first (Calibrator)."
        )
    return targets, scores


def check_share(value: float, name: str) -> float:
    """A number strictly between 0 and 1.

    Raises:
        PredictionsError: it is not.
    """
    if not isinstance(value, (int, float, np.integer, np.floating)) or not 0 < value < 1:
        raise PredictionsError(f"{name} lies between 0 and 1. Received: {name}={value!r}")
    return float(value)

"""What a search for weights maximises; higher is better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from ..evaluation.metrics import average_precision, pair_auc, partial_auc
from ..evaluation.probabilities import log_loss

Objective = Literal["auc", "partial_auc", "average_precision", "log_loss"]


def _auc(targets: np.ndarray, scores: np.ndarray) -> float:
    positive = targets == 1
    return pair_auc(scores[positive], scores[~positive])


def _partial_auc(targets: np.ndarray, scores: np.ndarray) -> float:
    return partial_auc(targets, scores, 0.8)


def _log_likelihood(targets: np.ndarray, scores: np.ndarray) -> float:
    # A mean of scores within [0, 1] can leave it by a rounding error.
    return -log_loss(targets, np.clip(scores, 0.0, 1.0))


OBJECTIVES: dict[Objective, Callable[[np.ndarray, np.ndarray], float]] = {
    "auc": _auc,
    "partial_auc": _partial_auc,
    "average_precision": average_precision,
    "log_loss": _log_likelihood,
}

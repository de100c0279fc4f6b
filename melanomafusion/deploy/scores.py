"""From logits to scores: one rule for training, prediction and every engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, log_expit, log_softmax, logsumexp, softmax

from ..recipes.recipe import Recipe


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Sigmoid of (n, 1) logits, softmax of (n, k) ones; float64."""
    logits = np.asarray(logits, dtype="float64")
    return np.asarray(expit(logits) if logits.shape[1] == 1 else softmax(logits, axis=1))


def scores_of(values: np.ndarray, recipe: Recipe) -> np.ndarray:
    """(n,) score of a record: the sigmoid, or the summed softmax of the recipe's positive classes."""
    if not recipe.classes:
        return values[:, 0]
    positive = [recipe.classes.index(name) for name in recipe.positive_classes]
    # A sum of shares may round to a little more than 1.
    return np.asarray(np.minimum(values[:, positive].sum(axis=1), 1.0))


def logits_of_mean(logits: Sequence[np.ndarray]) -> np.ndarray:
    """Logits of the mean of several models' probabilities: (n, 1) or (n, k) each → the same shape, float64."""
    values = np.asarray(logits, dtype="float64")
    if values.shape[2] == 1:
        return np.asarray(logsumexp(log_expit(values), axis=0) - logsumexp(log_expit(-values), axis=0))
    return np.asarray(logsumexp(log_softmax(values, axis=2), axis=0) - np.log(len(values)))

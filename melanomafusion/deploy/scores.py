"""From logits to scores: one rule for training, prediction and every engine."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, softmax

from ..recipes.recipe import Recipe


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Sigmoid of (n, 1) logits, softmax of (n, k) ones; float64."""
    logits = np.asarray(logits, dtype="float64")
    return np.asarray(expit(logits) if logits.shape[1] == 1 else softmax(logits, axis=1))


def scores_of(values: np.ndarray, recipe: Recipe) -> np.ndarray:
    """(n,) score of a record: the sigmoid, or the summed softmax of the recipe's positive classes."""
    if not recipe.classes:
        return values[:, 0]
    return np.asarray(values[:, [recipe.classes.index(name) for name in recipe.positive_classes]].sum(axis=1))

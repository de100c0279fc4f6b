"""The one number of a model's output that is explained, and its gradient with respect to the logits.

A binary model: its logit. A multi-class model: the logit of one class, or, for several classes taken together, the log
odds of their summed probability, log(p / (1 − p)). The score of a recipe with `positive_classes` is such a sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops
from scipy.special import logsumexp

from ..errors import MelanomaFusionError

Tensor = Any
ClassIndex = int | Sequence[int] | None

_FAR_BELOW = -1e9  # added to a logit, takes its class out of a softmax


def check_class_index(class_index: ClassIndex, n_outputs: int) -> None:
    """Refuse classes that the model does not have.

    Raises:
        MelanomaFusionError: not None for a binary model, no number of a class, all classes or none.
    """
    if class_index is None:
        return
    if n_outputs == 1:
        raise MelanomaFusionError(f"A binary model has one logit; leave class_index out. Received: {class_index!r}")
    several = isinstance(class_index, (list, tuple))
    numbers = list(class_index) if isinstance(class_index, (list, tuple)) else [class_index]
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in numbers)
    fits = whole and set(numbers) <= set(range(n_outputs)) and len(set(numbers)) == len(numbers)
    if not fits or (several and not 0 < len(numbers) < n_outputs):
        raise MelanomaFusionError(
            f"class_index is a class number from 0 to {n_outputs - 1}, or several but not all of them. "
            f"Received: class_index={class_index!r}"
        )


def explained_values(logits: np.ndarray, class_index: ClassIndex = None) -> np.ndarray:
    """The number that is explained.

    Args:
        logits: (n, 1) or (n, k).
        class_index: class number; several for the log odds of their summed probability; None for the logit of a binary
            model and, in each row, the predicted class of a multi-class one.

    Returns:
        (n,) float64.
    """
    logits = np.asarray(logits, dtype="float64")
    if logits.shape[1] == 1:
        return logits[:, 0]
    if class_index is None:
        return np.asarray(logits.max(axis=1))
    if isinstance(class_index, Sequence):
        inside = np.isin(np.arange(logits.shape[1]), list(class_index))
        return np.asarray(logsumexp(logits[:, inside], axis=1) - logsumexp(logits[:, ~inside], axis=1))
    return np.asarray(logits[:, class_index])


def explained_gradient(logits: Tensor, class_index: ClassIndex = None) -> Tensor:
    """Its gradient with respect to the logits, (B, k) float32; symbolic for symbolic logits."""
    logits = ops.cast(logits, "float32")
    count = logits.shape[-1]
    if count == 1:
        return ops.ones_like(logits)
    if class_index is None:
        return ops.one_hot(ops.argmax(logits, axis=-1), count, dtype="float32")
    chosen = np.zeros(count, dtype="float32")
    if not isinstance(class_index, Sequence):
        chosen[class_index] = 1.0
        return ops.zeros_like(logits) + chosen
    chosen[list(class_index)] = 1.0
    return ops.softmax(logits + _FAR_BELOW * (1 - chosen)) - ops.softmax(logits + _FAR_BELOW * chosen)

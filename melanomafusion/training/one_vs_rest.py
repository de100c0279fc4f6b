"""The loss of a model whose classes are each told from all others by a sigmoid of its own."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any
# Of a sigmoid so near to 1 the distance from 1 is still a float32, and so is the gradient.
_NEAREST_TO_ZERO = -1e-30


class OneVersusRestCrossentropy(keras.losses.Loss):  # type: ignore[misc]
    """Sum over the classes of their binary cross-entropies, from the logarithms of their sigmoids.

    Such a loss trained ResNets better than the softmax's (Wightman, Touvron and Jégou 2021, arXiv 2110.00476).

    Args:
        label_smoothing: 0 … 1; labels are drawn so far towards one half.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__(name="one_vs_rest_crossentropy")
        self.label_smoothing = label_smoothing

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """(B, k) labels 0 … 1 and (B, k) log σ(z) → (B,) losses."""
        wanted = ops.cast(y_true, y_pred.dtype) * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        others = ops.log(-ops.expm1(ops.minimum(y_pred, _NEAREST_TO_ZERO)))  # log (1 − σ(z))
        return -ops.sum(wanted * y_pred + (1.0 - wanted) * others, axis=-1)

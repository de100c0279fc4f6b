"""Losses of tensorflow-addons: the focal loss."""

from __future__ import annotations

from typing import Any

import keras

from ...errors import CompatError
from .replacements import missing


@keras.saving.register_keras_serializable(package="Addons")
def sigmoid_focal_crossentropy(
    y_true: Any, y_pred: Any, alpha: float = 0.25, gamma: float = 2.0, from_logits: bool = False
) -> Any:
    """Focal loss of each record, summed over its outputs (Keras's is their mean).

    Args:
        y_true: (B, k), 0 … 1.
        y_pred: (B, k), probabilities or logits.
        alpha: weight of positives, 1 − alpha of negatives; 0 for none.
        gamma: how much well-classified outputs count less.
        from_logits: whether `y_pred` are logits.

    Returns:
        (B,).

    References:
        Lin et al. 2017, arXiv 1708.02002.
    """
    if gamma < 0:
        raise CompatError(f"gamma must be at least 0. Received: gamma={gamma!r}")
    y_pred = keras.ops.convert_to_tensor(y_pred)
    mean = keras.losses.binary_focal_crossentropy(
        keras.ops.cast(y_true, y_pred.dtype),
        y_pred,
        apply_class_balancing=bool(alpha),
        alpha=alpha,
        gamma=gamma,
        from_logits=from_logits,
    )
    return mean * y_pred.shape[-1]


@keras.saving.register_keras_serializable(package="Addons")
class SigmoidFocalCrossEntropy(keras.losses.Loss):
    """`sigmoid_focal_crossentropy` for `compile`.

    Args:
        from_logits: whether the model returns logits.
        alpha: weight of positives.
        gamma: how much well-classified outputs count less.
        reduction: "none" as in tensorflow-addons, so that the gradients of a batch are summed (TensorFlow alone can
            train so); "sum_over_batch_size" (also "auto") for their mean, "sum".
        name: of the loss.
    """

    def __init__(
        self,
        from_logits: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        reduction: str | None = "none",
        name: str = "sigmoid_focal_crossentropy",
        **kwargs: Any,
    ) -> None:
        if gamma < 0:
            raise CompatError(f"gamma must be at least 0. Received: gamma={gamma!r}")
        super().__init__(name=name, reduction="sum_over_batch_size" if reduction == "auto" else reduction, **kwargs)
        self.from_logits, self.alpha, self.gamma = from_logits, alpha, gamma

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(B,)."""
        return sigmoid_focal_crossentropy(y_true, y_pred, self.alpha, self.gamma, self.from_logits)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        own = {"from_logits": self.from_logits, "alpha": self.alpha, "gamma": self.gamma}
        return {**super().get_config(), **own}


def __getattr__(name: str) -> Any:
    raise missing("losses", name)

"""Layers of our own: small, weights by name, and each with a gradient that can be written down."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ..errors import RecipeError

Tensor = Any


@keras.saving.register_keras_serializable("melanomafusion")
class GeneralisedMeanPooling2D(keras.layers.Layer):
    """mean(max(x, ε)^p)^(1/p) over a feature map: the average at p = 1, towards the maximum as p grows.

    p is one number for all channels and is learnt. Radenović, Tolias and Chum 2019, doi 10.1109/TPAMI.2018.2846566.

    Args:
        power: p at the start.
        epsilon: features below it count as it.
    """

    def __init__(self, power: float = 3.0, epsilon: float = 1e-6, **options: Any) -> None:
        super().__init__(**options)
        self.initial_power, self.epsilon = power, epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weight p."""
        del input_shape
        start = keras.initializers.Constant(self.initial_power)
        # A power of at least 1: below it the layer would prefer the weakest features. float32 under any policy.
        self.power = self.add_weight(
            shape=(), initializer=start, name="power", dtype="float32", constraint=AtLeastOne(), autocast=False
        )

    def call(self, inputs: Tensor) -> Tensor:
        """(B, h, w, C) → (B, C)."""
        raised = ops.power(ops.maximum(ops.cast(inputs, "float32"), self.epsilon), self.power)
        pooled = ops.power(ops.mean(raised, axis=(1, 2)), 1.0 / self.power)
        return ops.cast(pooled, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(B, h, w, C) → (B, C)."""
        return (input_shape[0], input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Arguments to build it anew."""
        return {**super().get_config(), "power": self.initial_power, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable("melanomafusion")
class AtLeastOne(keras.constraints.Constraint):
    """Weights of 1 or more."""

    def __call__(self, weight: Tensor) -> Tensor:
        """The weight, raised to 1 where it is below."""
        return ops.maximum(weight, 1.0)


@keras.saving.register_keras_serializable("melanomafusion")
class LogitDifference(keras.layers.Layer):
    """(B, 2) logits of benign and malignant → (B, 1) their difference.

    softmax(z)₁ = sigmoid(z₁ − z₀), and the cross-entropies are the same too, so a two-logit head is trained and read
    like any binary one.
    """

    def call(self, inputs: Tensor) -> Tensor:
        """z₁ − z₀."""
        return inputs[:, 1:] - inputs[:, :1]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(B, 2) → (B, 1)."""
        return (input_shape[0], 1)


@keras.saving.register_keras_serializable("melanomafusion")
class IsKnown(keras.layers.Layer):
    """1 for a record of which any metadata are known, 0 for one of which none are.

    Its weight `missing`, (D,) and not trained, is the encoded metadata of a record of which nothing is known.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weight; no encoded record is all zeros, so that all count as known until it is set."""
        self.missing = self.add_weight(
            shape=(input_shape[-1],), initializer="zeros", trainable=False, name="missing", autocast=False
        )

    def call(self, inputs: Tensor) -> Tensor:
        """(B, D) → (B, 1)."""
        away = ops.max(ops.abs(inputs - self.missing), axis=-1, keepdims=True)
        return ops.cast(away > 0, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(B, D) → (B, 1)."""
        return (input_shape[0], 1)


# Name → layer from a feature map (B, h, w, C) to features (B, C), named "pooling".
_POOLINGS = {"avg": keras.layers.GlobalAveragePooling2D, "gem": GeneralisedMeanPooling2D}


def get_pooling(name: str) -> keras.layers.Layer:
    """The pooling layer of that name.

    Raises:
        RecipeError: there is none.
    """
    if name not in _POOLINGS:
        raise RecipeError(f"Known kinds of pooling: {', '.join(_POOLINGS)}. Received: pooling={name!r}")
    return _POOLINGS[name](name="pooling")

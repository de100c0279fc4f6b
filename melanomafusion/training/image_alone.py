"""Training of additive fusion: the image's part learns to do without metadata, which learn what to add to it.

The model as it is trained has two sets of logits, those of the image alone and those with what the metadata add, and
the loss of both is summed. For "additive" the image's logits are constants towards the second, so the image's part gets
the gradients that it would get without any metadata, step by step. For "additive_joint" it learns from both, so that
its features serve records with metadata as well as those without.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any
# Kinds of fusion that are trained so, and whether the image's part learns from the fused outputs too.
TRAINED_WITH_BOTH = {"additive": False, "additive_joint": True}


def with_image_alone(model: keras.Model, fusion: str) -> keras.Model:
    """A model of the same layers with both outputs, (B, 2k): of the image alone, then the model's own.

    Args:
        model: from `build_fusion_model`, or its head on features.
        fusion: its kind; a model that is not trained so is given back as it is.
    """
    if fusion not in TRAINED_WITH_BOTH:
        return model
    tensor, behind = model.outputs[0], []
    while True:
        operation, index, _ = tensor._keras_history
        inputs = operation._inbound_nodes[index].input_tensors
        if operation.name == "fusion":
            break
        behind.append(operation)
        tensor = inputs[0]
    alone, added = inputs
    towards_fused = alone if TRAINED_WITH_BOTH[fusion] else _Constant()(alone)
    both = [alone, keras.layers.Add(name="fused_in_training", dtype="float32")([towards_fused, added])]
    for layer in reversed(behind):  # what makes outputs of logits
        both = [type(layer).from_config({**layer.get_config(), "name": None})(logits) for logits in both]
    return keras.Model(model.input, keras.layers.Concatenate(dtype="float32")(both), name=model.name)


class _Constant(keras.layers.Layer):  # type: ignore[misc]
    """The same values, without a gradient."""

    def call(self, inputs: Tensor) -> Tensor:
        """(B, k) → (B, k)."""
        return ops.stop_gradient(inputs)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(B, k) → (B, k)."""
        return input_shape


class LossOfBoth(keras.losses.Loss):  # type: ignore[misc]
    """Sum of a loss of the image's outputs and of the fused ones.

    Args:
        loss: of outputs (B, k).
    """

    def __init__(self, loss: keras.losses.Loss) -> None:
        super().__init__(name=f"{loss.name}_of_both")
        self.loss = loss

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """(B, k) labels and (B, 2k) outputs → (B,) losses."""
        width = y_pred.shape[-1] // 2
        return self.loss.call(y_true, y_pred[:, :width]) + self.loss.call(y_true, y_pred[:, width:])

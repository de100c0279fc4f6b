"""What a stage of training compiles: which weights learn, the model as it is trained, and the loss."""

from __future__ import annotations

from typing import Any

import keras

from ..recipes.recipe import Recipe
from ..recipes.stage import Stage
from .folded_norm import with_folded_norm
from .image_alone import TRAINED_WITH_BOTH, LossOfBoth, with_image_alone
from .micro_batches import in_parts
from .one_vs_rest import OneVersusRestCrossentropy


def as_trained(model: keras.Model, recipe: Recipe) -> keras.Model:
    """What is compiled and fitted: of the model's layers, which its training trains.

    Args:
        model: the whole one or its head on features, frozen as the stage wants it.
        recipe: whose stage it is.
    """
    model = with_folded_norm(model, recipe.backbone, frozen_statistics=recipe.freeze_batch_norm == "statistics")
    return in_parts(with_image_alone(model, recipe.fusion), recipe)


def build_loss(recipe: Recipe) -> keras.losses.Loss:
    """The recipe's loss, of the outputs of `as_trained`."""
    loss = _loss_of_logits(recipe)
    return LossOfBoth(loss) if recipe.fusion in TRAINED_WITH_BOTH else loss


def _loss_of_logits(recipe: Recipe) -> keras.losses.Loss:
    smoothing = recipe.label_smoothing
    if recipe.loss == "focal":
        return keras.losses.BinaryFocalCrossentropy(
            from_logits=True, gamma=recipe.focal_gamma, label_smoothing=smoothing
        )
    if recipe.loss == "categorical":
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    if recipe.loss == "one_vs_rest":
        return OneVersusRestCrossentropy(label_smoothing=smoothing)
    return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)


def set_trainable(model: keras.Model, recipe: Recipe, stage: Stage) -> list[Any]:
    """Freeze and thaw the backbone for a stage; the model must be compiled afterwards.

    Returns:
        Trainable variables of the backbone.
    """
    if not recipe.uses_images:
        return []
    backbone = model.get_layer(recipe.backbone)
    backbone.trainable = False  # TensorFlow drops an assignment of the same value, and True would then thaw nothing
    backbone.trainable = stage.trainable != "head"
    if stage.trainable == "top":
        for layer in backbone.layers[: round(len(backbone.layers) * (1 - stage.top_share))]:
            layer.trainable = False
    if recipe.freeze_batch_norm is True:
        for layer in backbone.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    return list(backbone.trainable_variables)

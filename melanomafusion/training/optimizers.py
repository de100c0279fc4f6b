"""Optimizers of a stage, with a learning rate of its own for the backbone."""

from __future__ import annotations

from typing import Any

import keras

from ..recipes.stage import Stage

_KINDS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}


def build_optimizer(stage: Stage, backbone_variables: list[Any]) -> keras.optimizers.Optimizer:
    """The stage's optimizer; steps of backbone variables are scaled to `backbone_learning_rate`.

    The rate is scaled inside the step rather than the gradient, because Adam's step does not grow with the gradient.

    Args:
        stage: names the optimizer and the rates.
        backbone_variables: trainable Keras variables of the backbone.
    """
    options: dict[str, Any] = {"learning_rate": stage.learning_rate}
    if stage.optimizer == "adamw":
        options["weight_decay"] = stage.weight_decay
    if stage.optimizer == "sgd":
        options["momentum"] = 0.9
    kind = _KINDS[stage.optimizer]
    if stage.backbone_learning_rate is None:
        return kind(**options)
    ratio = stage.backbone_learning_rate / stage.learning_rate
    # Keras hands the TensorFlow variable to the step, not its own wrapper; over several devices, the copy of one.
    slow = {id(variable) for variable in backbone_variables}
    for variable in backbone_variables:
        slow |= {id(variable.value), *(id(copy) for copy in getattr(variable.value, "values", ()))}

    class TwoRates(kind):  # type: ignore[valid-type,misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(gradient, variable, learning_rate * (ratio if id(variable) in slow else 1.0))

    return TwoRates(**options)

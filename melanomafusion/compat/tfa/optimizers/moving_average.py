"""Moving average of the weights. Keras's `use_ema` begins with the first step, this one with the weights before it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from .wrapper import WrappedOptimizer


@keras.saving.register_keras_serializable(package="Addons")
class MovingAverage(WrappedOptimizer):
    """Keeps an exponential moving average of the weights beside them; `assign_average_vars` puts it in their place.

    Args:
        optimizer: makes the steps; a Keras optimizer or its name.
        average_decay: share of the average that stays at each step.
        num_updates: limits the share to (1 + n) / (10 + n).
        start_step: first step that is averaged; before it the average is the weights.
        dynamic_decay: limits the share to (1 + n) / (10 + n) with n the steps since `start_step`.
        name: of the optimizer.
    """

    def __init__(
        self,
        optimizer: Any,
        average_decay: float = 0.99,
        num_updates: int | None = None,
        start_step: int = 0,
        dynamic_decay: bool = False,
        name: str = "MovingAverage",
    ) -> None:
        super().__init__(optimizer, name, "average")
        self.average_decay, self.num_updates = average_decay, num_updates
        self.start_step, self.dynamic_decay = start_step, dynamic_decay

    def after_step(self, variable: Any, shadow: Any, step: Any) -> None:
        """Average the weight in."""
        decay = self.average_decay
        if self.num_updates is not None:
            decay = min(decay, (1.0 + self.num_updates) / (10.0 + self.num_updates))
        since = ops.cast(step - self.start_step, "float32")
        if self.dynamic_decay:
            decay = ops.minimum(decay, (1.0 + since) / (10.0 + since))
        decay = ops.cast(ops.where(since < 0, 0.0, decay), variable.dtype)
        self.assign(shadow, shadow * decay + variable * (1.0 - decay))

    def assign_average_vars(self, var_list: Iterable[Any]) -> None:
        """Put the averages in place of those variables that have one (batch-norm statistics have none)."""
        wanted = {id(variable) for variable in var_list}
        for variable, shadow in zip(self._trainable_variables, self.shadows, strict=True):
            if id(variable) in wanted:
                variable.assign(shadow)

    def swap_weights(self) -> None:
        """Exchange weights and averages; twice gives what was."""
        for variable, shadow in zip(self._trainable_variables, self.shadows, strict=True):
            value = ops.copy(variable)
            variable.assign(shadow)
            shadow.assign(value)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        names = ("average_decay", "num_updates", "start_step", "dynamic_decay")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

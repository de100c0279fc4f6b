"""An optimizer around another one, which makes the steps and keeps learning rate, clipping and decay."""

from __future__ import annotations

from typing import Any

import keras

from ....errors import CompatError


class WrappedOptimizer(keras.optimizers.Optimizer):
    """Base of optimizers that do something after each step of another.

    Args:
        optimizer: a Keras optimizer or its name.
        name: of this one.
        shadow: name of the copy of each weight that this one keeps, which begins as the weight.
    """

    def __init__(self, optimizer: Any, name: str, shadow: str) -> None:
        if isinstance(optimizer, dict):
            optimizer = keras.optimizers.deserialize(optimizer)
        optimizer = keras.optimizers.get(optimizer)
        if optimizer.built:
            raise CompatError(f"{name} takes a new optimizer; this {type(optimizer).__name__} has trained already.")
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer, self.shadow_name = optimizer, shadow

    def build(self, variables: Any) -> None:
        """Build the inner optimizer and copy the weights."""
        if self.built:
            return
        super().build(variables)
        self.inner_optimizer.build(variables)
        self.shadows = self.add_optimizer_variables(variables, self.shadow_name)
        for shadow, variable in zip(self.shadows, variables, strict=True):
            shadow.assign(variable)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """A step of the inner optimizer, then `after_step` for every weight."""
        if not self.built:
            with keras.name_scope(self.name):
                self.build(list(trainable_variables))
        step = self.inner_optimizer.iterations + 0  # before it counts on
        self.inner_optimizer.apply(grads, trainable_variables)
        for variable, shadow in zip(self._trainable_variables, self.shadows, strict=True):
            self.after_step(variable, shadow, step)

    def after_step(self, variable: Any, shadow: Any, step: Any) -> None:
        """What to do with a weight and its copy after step `step` (the first is 0)."""
        raise NotImplementedError

    @property
    def variables(self) -> list[Any]:
        """Own variables, then those of the inner optimizer."""
        return self._variables + self.inner_optimizer.variables

    @property
    def iterations(self) -> Any:
        """Steps so far."""
        return self.inner_optimizer.iterations

    @property
    def learning_rate(self) -> Any:
        """Of the inner optimizer."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    def scale_loss(self, loss: Any) -> Any:
        """As the inner optimizer does."""
        return self.inner_optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list: Any) -> None:
        """As the inner optimizer does."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {"optimizer": keras.optimizers.serialize(self.inner_optimizer), "name": self.name}

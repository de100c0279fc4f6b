"""LAMB of tensorflow-addons: weight decay is part of the step that the trust ratio scales, which Keras's is not.

References:
    You et al. 2020, Large Batch Optimization for Deep Learning, arXiv 1904.00962.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from .arguments import matches, take_learning_rate


@keras.saving.register_keras_serializable(package="Addons")
class LAMB(keras.optimizers.Optimizer):
    """Adam's step, scaled per layer by the norm of the weights over the norm of the step.

    Args:
        learning_rate: a number or a schedule.
        beta_1: of the mean of gradients.
        beta_2: of the mean of their squares.
        epsilon: added to the root.
        weight_decay: share of a weight that is added to its step.
        exclude_from_weight_decay: regular expressions; weights whose name has a match do not decay.
        exclude_from_layer_adaptation: the same for the scaling; those of the decay without it.
        name: of the optimizer.
        **kwargs: of a Keras optimizer (`clipnorm`, …), and the old `lr`, `decay` and `weight_decay_rate`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        weight_decay: float = 0.0,
        exclude_from_weight_decay: Sequence[str] | None = None,
        exclude_from_layer_adaptation: Sequence[str] | None = None,
        name: str = "LAMB",
        **kwargs: Any,
    ) -> None:
        decay = kwargs.pop("weight_decay_rate", weight_decay)
        super().__init__(take_learning_rate(learning_rate, kwargs), name=name, **kwargs)
        self.step_decay = decay or 0.0
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.undecayed = list(exclude_from_weight_decay or ()) or None
        self.unscaled = list(exclude_from_layer_adaptation or ()) or self.undecayed

    def build(self, variables: Any) -> None:
        """Make the means of gradients and of their squares; find the weights that decay and that are scaled."""
        if self.built:
            return
        super().build(variables)
        self._means, self._squares = self.add_optimizer_variables(variables, ["m", "v"])
        self.decays = [not matches(variable, self.undecayed) for variable in variables]
        self.scales = [not matches(variable, self.unscaled) for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable."""
        dtype, index = variable.dtype, self._get_variable_index(variable)
        step = ops.cast(self.iterations + 1, dtype)
        gradient = ops.cast(gradient, dtype)
        mean, square = self._means[index], self._squares[index]
        self.assign(mean, self.beta_1 * mean + (1 - self.beta_1) * gradient)
        self.assign(square, self.beta_2 * square + (1 - self.beta_2) * ops.square(gradient))
        direction = mean / (1.0 - ops.power(ops.cast(self.beta_1, dtype), step))
        root = ops.sqrt(square / (1.0 - ops.power(ops.cast(self.beta_2, dtype), step)))
        change = direction / (root + self.epsilon)
        if self.decays[index]:
            change = change + self.step_decay * variable
        if self.scales[index]:
            weight_norm, step_norm = ops.norm(variable), ops.norm(change)
            usable = ops.logical_and(weight_norm > 0, step_norm > 0)
            change = change * ops.where(usable, weight_norm / ops.where(usable, step_norm, 1.0), 1.0)
        self.assign_sub(variable, ops.cast(learning_rate, dtype) * change)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "weight_decay": self.step_decay,
            "exclude_from_weight_decay": self.undecayed,
            "exclude_from_layer_adaptation": self.unscaled,
        }

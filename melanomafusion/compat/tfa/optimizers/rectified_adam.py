"""Rectified Adam: no adaptive step until the mean of squares is known well enough.

References:
    Liu et al. 2020, On the Variance of the Adaptive Learning Rate and Beyond, arXiv 1908.03265.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from .arguments import from_plain, plain_value, take_learning_rate, value_at

_OWN = ("beta_1", "beta_2", "epsilon", "amsgrad", "sma_threshold", "total_steps", "warmup_proportion", "min_lr")


@keras.saving.register_keras_serializable(package="Addons")
class RectifiedAdam(keras.optimizers.Optimizer):
    """Rectified Adam, with a linear warm-up and fall of the learning rate if `total_steps` is given.

    Args:
        learning_rate: a number or a schedule.
        beta_1: of the mean of gradients.
        beta_2: of the mean of their squares.
        epsilon: added to the root.
        weight_decay: a number, a schedule or a function; multiplied by the learning rate.
        amsgrad: whether the largest mean of squares counts.
        sma_threshold: length of the moving average from which steps are adaptive.
        total_steps: steps of rise and fall together; 0 for neither.
        warmup_proportion: share of them in which the rate rises.
        min_lr: rate at the end of the fall.
        name: of the optimizer.
        **kwargs: of a Keras optimizer (`clipnorm`, …), and the old `lr` and `decay`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: Any = 0.0,
        amsgrad: bool = False,
        sma_threshold: float = 5.0,
        total_steps: int = 0,
        warmup_proportion: float = 0.1,
        min_lr: float = 0.0,
        name: str = "RectifiedAdam",
        **kwargs: Any,
    ) -> None:
        super().__init__(take_learning_rate(learning_rate, kwargs), name=name, **kwargs)
        # Keras would decay at its own learning rate, not at the one of the warm-up.
        self.own_weight_decay = from_plain(weight_decay)
        self.beta_1, self.beta_2, self.epsilon, self.amsgrad = beta_1, beta_2, epsilon, amsgrad
        self.sma_threshold, self.total_steps = sma_threshold, total_steps
        self.warmup_proportion, self.min_lr = warmup_proportion, min_lr

    def build(self, variables: Any) -> None:
        """Make the means of gradients and of their squares."""
        if self.built:
            return
        super().build(variables)
        self._means, self._squares = self.add_optimizer_variables(variables, ["m", "v"])
        if self.amsgrad:
            self._largest = self.add_optimizer_variables(variables, "vhat")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable."""
        dtype, index = variable.dtype, self._get_variable_index(variable)
        step = ops.cast(self.iterations + 1, dtype)
        gradient = ops.cast(gradient, dtype)
        beta_1, beta_2 = ops.cast(self.beta_1, dtype), ops.cast(self.beta_2, dtype)
        mean, square = self._means[index], self._squares[index]
        self.assign(mean, beta_1 * mean + (1.0 - beta_1) * gradient)
        self.assign(square, beta_2 * square + (1.0 - beta_2) * ops.square(gradient))
        if self.amsgrad:
            self.assign(self._largest[index], ops.maximum(self._largest[index], square))
            square = self._largest[index]

        # The length is a small difference of large numbers: all in one type, or rounding shows in the fourth digit.
        power = ops.power(beta_2, step)
        longest = 2.0 / (1.0 - beta_2) - 1.0
        length = longest - 2.0 * step * power / (1.0 - power)
        adaptive = length >= self.sma_threshold
        # Below the threshold the root is not used, and must not be taken of a negative number.
        safe = ops.where(adaptive, length, longest)
        rectifier = ops.sqrt((safe - 4.0) / (longest - 4.0) * (safe - 2.0) / (longest - 2.0) * longest / safe)
        direction = mean / (1.0 - ops.power(beta_1, step))
        root = ops.sqrt(square / (1.0 - power)) + self.epsilon
        change = ops.where(adaptive, rectifier * direction / root, direction)
        change = change + ops.cast(value_at(self.own_weight_decay, self.iterations), dtype) * variable
        self.assign_sub(variable, self._warmed_up(ops.cast(learning_rate, dtype), step) * change)

    def _warmed_up(self, rate: Any, step: Any) -> Any:
        if not self.total_steps:
            return rate
        rise = self.total_steps * self.warmup_proportion
        fall = max(self.total_steps - rise, 1)
        falling = rate + (self.min_lr - rate) * ops.minimum(step - rise, fall) / fall
        return ops.where(step <= rise, rate * step / max(rise, 1e-9), falling)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        own = {name: getattr(self, name) for name in _OWN}
        return {**super().get_config(), "weight_decay": plain_value(self.own_weight_decay), **own}

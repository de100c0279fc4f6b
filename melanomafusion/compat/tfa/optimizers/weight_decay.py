"""AdamW and SGDW of tensorflow-addons: at each step a weight loses its own share, whatever the learning rate.

Keras multiplies `weight_decay` by the learning rate, so the same number decays a thousand times less at a rate of
0.001; and the decay here does not follow a learning rate that falls.

References:
    Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization, arXiv 1711.05101.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from .arguments import from_plain, matches, plain_value, take_learning_rate, value_at


class _DecoupledWeightDecay:
    """Takes weight_decay · weight off each weight before the step of the optimizer it is mixed into."""

    def _set_decay(self, weight_decay: Any, exclude: Sequence[str] | None) -> None:
        self.decoupled_weight_decay = from_plain(weight_decay)
        self.excluded_patterns = list(exclude) if exclude else None

    def build(self, variables: Any) -> None:
        """Find the weights that decay."""
        if not self.built:
            self.decays = [not matches(variable, self.excluded_patterns) for variable in variables]
        super().build(variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Decay, then the step."""
        if self.decays[self._get_variable_index(variable)]:
            share = ops.cast(value_at(self.decoupled_weight_decay, self.iterations), variable.dtype)
            self.assign_sub(variable, variable * share)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        config["weight_decay"] = plain_value(self.decoupled_weight_decay)
        return {**config, "exclude_from_weight_decay": self.excluded_patterns}


@keras.saving.register_keras_serializable(package="Addons")
class AdamW(_DecoupledWeightDecay, keras.optimizers.Adam):
    """Adam with decoupled weight decay.

    Args:
        weight_decay: share of a weight that each step takes off; a number, a schedule or a function.
        learning_rate: a number or a schedule.
        beta_1: of the mean of gradients.
        beta_2: of the mean of their squares.
        epsilon: added to the root.
        amsgrad: whether the largest mean of squares counts.
        name: of the optimizer.
        exclude_from_weight_decay: regular expressions; weights whose name has a match do not decay.
        **kwargs: of a Keras optimizer (`clipnorm`, …), and the old `lr` and `decay`.
    """

    def __init__(
        self,
        weight_decay: Any,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        name: str = "AdamW",
        exclude_from_weight_decay: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        rate = take_learning_rate(learning_rate, kwargs)
        super().__init__(rate, beta_1, beta_2, epsilon, amsgrad, name=name, **kwargs)
        self._set_decay(weight_decay, exclude_from_weight_decay)


@keras.saving.register_keras_serializable(package="Addons")
class SGDW(_DecoupledWeightDecay, keras.optimizers.SGD):
    """Gradient descent with momentum and decoupled weight decay.

    Args:
        weight_decay: share of a weight that each step takes off; a number, a schedule or a function.
        learning_rate: a number or a schedule.
        momentum: share of the last step that goes on.
        nesterov: whether the gradient counts twice (Nesterov's momentum).
        name: of the optimizer.
        exclude_from_weight_decay: regular expressions; weights whose name has a match do not decay.
        **kwargs: of a Keras optimizer (`clipnorm`, …), and the old `lr` and `decay`.
    """

    def __init__(
        self,
        weight_decay: Any,
        learning_rate: Any = 0.001,
        momentum: float = 0.0,
        nesterov: bool = False,
        name: str = "SGDW",
        exclude_from_weight_decay: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        rate = take_learning_rate(learning_rate, kwargs)
        super().__init__(rate, float(momentum), nesterov, name=name, **kwargs)
        self._set_decay(weight_decay, exclude_from_weight_decay)

"""Learning rates that go up and down between two bounds.

References:
    Smith 2017, Cyclical Learning Rates for Training Neural Networks, arXiv 1506.01186.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from ....errors import CompatError


@keras.saving.register_keras_serializable(package="Addons")
class CyclicalLearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """Triangles whose height a function scales.

    Args:
        initial_learning_rate: lower bound.
        maximal_learning_rate: upper bound.
        step_size: steps from one bound to the other.
        scale_fn: factor of the height, of the cycle (1, 2, …) or the step.
        scale_mode: "cycle", or "iterations" for the step.
        name: of the schedule.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        maximal_learning_rate: float,
        step_size: float,
        scale_fn: Callable[[Any], Any],
        scale_mode: str = "cycle",
        name: str = "CyclicalLearningRate",
    ) -> None:
        if step_size <= 0:
            raise CompatError(f"step_size must be above 0. Received: step_size={step_size!r}")
        self.initial_learning_rate = initial_learning_rate
        self.maximal_learning_rate = maximal_learning_rate
        self.step_size, self.scale_fn, self.scale_mode, self.name = step_size, scale_fn, scale_mode, name

    def __call__(self, step: Any) -> Any:
        """The rate at a step (the first is 0)."""
        step = ops.cast(step, "float32")
        cycle = ops.floor(1.0 + step / (2.0 * self.step_size))
        height = 1.0 - ops.abs(step / self.step_size - 2.0 * cycle + 1.0)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else step)
        span = self.maximal_learning_rate - self.initial_learning_rate
        return self.initial_learning_rate + span * ops.maximum(0.0, height) * scale

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        names = ("initial_learning_rate", "maximal_learning_rate", "step_size", "scale_mode", "name")
        return {**{name: getattr(self, name) for name in names}, "scale_fn": self.scale_fn}


class _KnownScale(CyclicalLearningRate):
    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor, which knows its function."""
        config = super().get_config()
        del config["scale_fn"]
        return config


@keras.saving.register_keras_serializable(package="Addons")
class TriangularCyclicalLearningRate(_KnownScale):
    """Triangles of one height; arguments as of `CyclicalLearningRate`."""

    def __init__(
        self,
        initial_learning_rate: float,
        maximal_learning_rate: float,
        step_size: float,
        scale_mode: str = "cycle",
        name: str = "TriangularCyclicalLearningRate",
    ) -> None:
        super().__init__(initial_learning_rate, maximal_learning_rate, step_size, lambda x: 1.0, scale_mode, name)


@keras.saving.register_keras_serializable(package="Addons")
class Triangular2CyclicalLearningRate(_KnownScale):
    """Triangles, each half as high as the one before; arguments as of `CyclicalLearningRate`."""

    def __init__(
        self,
        initial_learning_rate: float,
        maximal_learning_rate: float,
        step_size: float,
        scale_mode: str = "cycle",
        name: str = "Triangular2CyclicalLearningRate",
    ) -> None:
        def halved(x: Any) -> Any:
            return 1.0 / ops.power(2.0, x - 1.0)

        super().__init__(initial_learning_rate, maximal_learning_rate, step_size, halved, scale_mode, name)


@keras.saving.register_keras_serializable(package="Addons")
class ExponentialCyclicalLearningRate(_KnownScale):
    """Triangles whose height falls as gamma to the power of the step; arguments as of `CyclicalLearningRate`."""

    def __init__(
        self,
        initial_learning_rate: float,
        maximal_learning_rate: float,
        step_size: float,
        scale_mode: str = "iterations",
        gamma: float = 1.0,
        name: str = "ExponentialCyclicalLearningRate",
    ) -> None:
        def power(x: Any) -> Any:
            return ops.power(gamma, x)

        super().__init__(initial_learning_rate, maximal_learning_rate, step_size, power, scale_mode, name)
        self.gamma = gamma

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "gamma": self.gamma}

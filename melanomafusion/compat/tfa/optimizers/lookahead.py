"""Lookahead: k fast steps of another optimizer, then part of the way back to where they began.

References:
    Zhang et al. 2019, Lookahead Optimizer: k steps forward, 1 step back, arXiv 1907.08610.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ....errors import CompatError
from .wrapper import WrappedOptimizer


@keras.saving.register_keras_serializable(package="Addons")
class Lookahead(WrappedOptimizer):
    """Lookahead around a Keras optimizer; around `RectifiedAdam` it was called Ranger.

    Args:
        optimizer: makes the fast steps; a Keras optimizer or its name. Clipping and decay are set there.
        sync_period: fast steps between two slow ones.
        slow_step_size: how far the slow weights follow, 0 … 1.
        name: of the optimizer.
    """

    def __init__(
        self, optimizer: Any, sync_period: int = 6, slow_step_size: float = 0.5, name: str = "Lookahead"
    ) -> None:
        if sync_period < 1:
            raise CompatError(f"sync_period must be at least 1. Received: sync_period={sync_period!r}")
        super().__init__(optimizer, name, "slow")
        self.sync_period, self.slow_step_size = sync_period, slow_step_size

    def after_step(self, variable: Any, shadow: Any, step: Any) -> None:
        """Every `sync_period` steps both go to a point between them."""
        between = shadow + self.slow_step_size * (variable - shadow)
        meet = ops.equal((step + 1) % self.sync_period, 0)
        self.assign(shadow, ops.where(meet, between, shadow))
        self.assign(variable, ops.where(meet, between, variable))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "sync_period": self.sync_period, "slow_step_size": self.slow_step_size}

"""Layers of tensorflow-addons: GELU."""

from __future__ import annotations

from typing import Any

import keras

from .activations import gelu
from .replacements import missing


@keras.saving.register_keras_serializable(package="Addons")
class GELU(keras.layers.Layer):
    """Gaussian error linear unit as a layer; any shape.

    Args:
        approximate: by tanh.
    """

    def __init__(self, approximate: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.approximate = approximate
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """The same shape as `inputs`."""
        return gelu(inputs, self.approximate)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "approximate": self.approximate}


def __getattr__(name: str) -> Any:
    raise missing("layers", name)

"""Activations of tensorflow-addons: Keras has both, with another default."""

from __future__ import annotations

from typing import Any

import keras

from .replacements import missing


@keras.saving.register_keras_serializable(package="Addons")
def gelu(x: Any, approximate: bool = True) -> Any:
    """Gaussian error linear unit; approximated by tanh unless told otherwise, where Keras's is exact.

    References:
        Hendrycks and Gimpel 2016, arXiv 1606.08415.
    """
    return keras.activations.gelu(x, approximate=approximate)


@keras.saving.register_keras_serializable(package="Addons")
def mish(x: Any) -> Any:
    """x · tanh(softplus(x)).

    References:
        Misra 2019, arXiv 1908.08681.
    """
    return keras.activations.mish(x)


def __getattr__(name: str) -> Any:
    raise missing("activations", name)

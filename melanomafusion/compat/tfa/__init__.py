"""What melanoma notebooks used of tensorflow-addons, under its names and argument meanings, for Keras 3.

tensorflow-addons ended in May 2024 and cannot be imported beside Keras 3. Where Keras has the thing, it is used;
the rest is written here. `tests/peers` compares each with tensorflow-addons 0.23.0.

    from melanomafusion.compat import tfa      # instead of: import tensorflow_addons as tfa
"""

from typing import Any

from . import activations, callbacks, image, layers, losses, metrics, optimizers
from .replacements import missing

__all__ = ["activations", "callbacks", "image", "layers", "losses", "metrics", "optimizers"]


def __getattr__(name: str) -> Any:
    raise missing("", name)

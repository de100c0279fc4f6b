"""How the two branches become one vector of features: one function per kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from ..errors import RecipeError

Tensor = Any
Fusion = Callable[[Tensor | None, Tensor | None], Tensor]


def concat(image: Tensor, metadata: Tensor) -> Tensor:
    """Image features (B, F) beside metadata features (B, G): (B, F + G)."""
    return keras.layers.Concatenate(name="fusion")([image, metadata])


def image_only(image: Tensor, metadata: None) -> Tensor:
    """Image features alone, (B, F)."""
    del metadata
    return image


def metadata_only(image: None, metadata: Tensor) -> Tensor:
    """Metadata features alone, (B, G)."""
    del image
    return metadata


# Name → (function, takes the image, takes the metadata).
FUSIONS: dict[str, tuple[Fusion, bool, bool]] = {
    "concat": (concat, True, True),
    "image": (image_only, True, False),
    "metadata": (metadata_only, False, True),
}


def get_fusion(name: str) -> tuple[Fusion, bool, bool]:
    """Function, and whether it takes the image and the metadata.

    Raises:
        RecipeError: there is no fusion of that name.
    """
    if name not in FUSIONS:
        raise RecipeError(f"Known kinds of fusion: {', '.join(FUSIONS)}. Received: fusion={name!r}")
    return FUSIONS[name]

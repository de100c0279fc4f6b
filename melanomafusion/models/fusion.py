"""How the two branches become one: of their features, or, for "additive…", of their logits. One function per kind."""

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


def metanet(image: Tensor, metadata: Tensor) -> Tensor:
    """Metadata gate each image feature, (B, F): image · sigmoid(W₂ relu(W₁ metadata)).

    Li et al. 2020, "Fusing Metadata and Dermoscopy Images for Skin Disease Diagnosis", doi
    10.1109/ISBI45749.2020.9098645. A gate per channel commutes with average pooling, so it stands behind it.
    """
    width = image.shape[-1]
    gate = keras.layers.Dense(width, activation="relu", name="fusion_gate_hidden")(metadata)
    gate = keras.layers.Dense(width, activation="sigmoid", name="fusion_gate")(gate)
    return keras.layers.Multiply(name="fusion")([image, gate])


def metablock(image: Tensor, metadata: Tensor) -> Tensor:
    """Metadata scale and shift image features, (B, F): sigmoid(tanh(image · f(metadata)) + g(metadata)).

    f and g are each a linear map with batch norm. Pacheco and Krohling 2021, doi 10.1109/JBHI.2021.3062002.
    """
    width = image.shape[-1]
    scale, shift = (
        keras.layers.BatchNormalization(name=f"fusion_{word}_norm")(
            keras.layers.Dense(width, use_bias=False, name=f"fusion_{word}")(metadata)
        )
        for word in ("scale", "shift")
    )
    scaled = keras.layers.Multiply(name="fusion_scaled")([image, scale])
    scaled = keras.layers.Activation("tanh", name="fusion_tanh")(scaled)
    shifted = keras.layers.Add(name="fusion_shifted")([scaled, shift])
    return keras.layers.Activation("sigmoid", name="fusion")(shifted)


def additive(image: Tensor, metadata: Tensor) -> Tensor:
    """Logits of the image (B, k), and what the metadata add to them (B, k): (B, k).

    Training lets the metadata's part learn what is to be added, and the image's part to do without it: for "additive"
    as if there were no metadata, so that a record without any gets the logits of an image-only model; for
    "additive_joint" from records as they are too (`training/image_alone.py`).
    """
    return keras.layers.Add(name="fusion", dtype="float32")([image, metadata])


# Name → (function, takes the image, takes the metadata).
FUSIONS: dict[str, tuple[Fusion, bool, bool]] = {
    "concat": (concat, True, True),
    "metanet": (metanet, True, True),
    "metablock": (metablock, True, True),
    "additive": (additive, True, True),
    "additive_joint": (additive, True, True),
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

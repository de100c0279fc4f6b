"""`build_fusion_model`: image branch + metadata branch → fusion → head, a plain functional `keras.Model`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import keras

from ..errors import RecipeError
from .backbones import build_backbone, get_backbone
from .fusion import get_fusion
from .weights import load_backbone


def build_fusion_model(
    backbone: str = "efficientnet_b4",
    *,
    metadata_width: int = 0,
    image_size: int | None = None,
    fusion: str = "concat",
    weights: str | Path | None = "imagenet",
    metadata_units: Sequence[int] = (64, 32),
    dropout: float = 0.3,
    n_classes: int = 1,
) -> keras.Model:
    """Build a model of an image, of metadata, or of both.

    Args:
        backbone: name from `list_backbones()`; not used by fusion="metadata".
        metadata_width: number of encoded metadata columns (`encoder.width`); not used by fusion="image".
        image_size: side in pixels; the backbone's native size without it.
        fusion: "concat", "image" or "metadata".
        weights: of the backbone: "imagenet", None (random) or a file. All three compute the same function of
            the pixels.
        metadata_units: widths of the metadata branch's layers.
        dropout: rate on the metadata branch's layers and before the head.
        n_classes: 1 for a binary model (one logit), k ≥ 3 for k logits.

    Returns:
        Model with inputs `image` (B, H, H, 3) float32 0–255 and `metadata` (B, D) float32 (one of them for a
        single-branch model) and output logits (B, 1) or (B, k), float32 under any precision policy.

    Raises:
        RecipeError: unknown name or impossible size.
        WeightsError: the weights cannot be had or belong to another network.
    """
    combine, takes_image, takes_metadata = get_fusion(fusion)
    if takes_metadata and metadata_width < 1:
        raise RecipeError(f"fusion={fusion!r} needs metadata_width ≥ 1. Received: metadata_width={metadata_width!r}")
    if n_classes < 1 or n_classes == 2:
        raise RecipeError(f"n_classes is 1 (binary, one logit) or at least 3. Received: n_classes={n_classes!r}")
    inputs, image_features, metadata_features = {}, None, None
    if takes_image:
        row = get_backbone(backbone)
        size = image_size or row.native_size
        if size < 32:
            raise RecipeError(f"Images must be at least 32 pixels wide. Received: image_size={image_size!r}")
        inputs["image"] = keras.Input((size, size, 3), name="image", dtype="float32")
        x = keras.layers.Rescaling(row.normalisation.scale, row.normalisation.offset, name="normalisation")(
            inputs["image"]
        )
        network = build_backbone(row, size, partial(load_backbone, weights=weights))
        image_features = keras.layers.GlobalAveragePooling2D(name="pooling")(network(x))
    if takes_metadata:
        inputs["metadata"] = x = keras.Input((metadata_width,), name="metadata", dtype="float32")
        for i, units in enumerate(metadata_units, start=1):
            x = keras.layers.Dense(units, activation="swish", name=f"metadata_dense{i}")(x)
            x = keras.layers.Dropout(dropout, name=f"metadata_dropout{i}")(x)
        metadata_features = x
    features = combine(image_features, metadata_features)
    features = keras.layers.Dropout(dropout, name="head_dropout")(features)
    # float32: half-precision sigmoids underflow and make ties among the scores.
    logits = keras.layers.Dense(n_classes, name="head", dtype="float32")(features)
    return keras.Model(inputs, logits, name=f"{fusion}_{backbone}" if takes_image else "metadata")

"""`build_fusion_model`: image branch + metadata branch → fusion → head, a plain functional `keras.Model`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras

from ..errors import RecipeError
from .backbones import build_backbone, get_backbone
from .fusion import get_fusion
from .layers import LogitDifference, get_pooling
from .weights import load_backbone

Tensor = Any


def build_fusion_model(
    backbone: str = "efficientnet_b4",
    *,
    metadata_width: int = 0,
    image_size: int | None = None,
    fusion: str = "concat",
    weights: str | Path | None = "imagenet",
    metadata_units: Sequence[int] = (64, 32),
    metadata_batch_norm: bool = False,
    branch_dropout: float | None = None,
    pooling: str = "avg",
    head_units: Sequence[int] = (),
    dropout: float = 0.3,
    dropout_samples: int = 1,
    n_classes: int = 1,
    two_logits: bool = False,
) -> keras.Model:
    """Build a model of an image, of metadata, or of both.

    Args:
        backbone: name from `list_backbones()`; not used by fusion="metadata".
        metadata_width: number of encoded metadata columns (`encoder.width`); not used by fusion="image".
        image_size: side in pixels; the backbone's native size without it.
        fusion: "concat", "metanet", "metablock", "image" or "metadata" (`models/fusion.py`).
        weights: of the backbone: "imagenet", None (random) or a file. All three compute the same function of
            the pixels.
        metadata_units: widths of the metadata branch's layers; none gives the encoded metadata to the fusion.
        metadata_batch_norm: batch norm before each activation of the metadata branch.
        branch_dropout: rate on the metadata branch's layers; `dropout` where None.
        pooling: "avg", or "gem" (generalised mean, its power learnt).
        head_units: widths of ReLU layers between the fused features and the head.
        dropout: rate behind each of `head_units`, or of the fused features where there are none.
        dropout_samples: masks of that last dropout that are averaged. The head is linear, so this is the mean of the
            logits of as many heads that share their weights (multi-sample dropout, Inoue 2019, arXiv 1905.09788).
        n_classes: 1 for a binary model (one logit), k ≥ 3 for k logits.
        two_logits: a binary model has two logits, and their difference is its output.

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
    if two_logits and n_classes > 1:
        raise RecipeError(f"two_logits is for binary models. Received: n_classes={n_classes!r}")
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
        image_features = get_pooling(pooling)(network(x))
    if takes_metadata:
        inputs["metadata"] = keras.Input((metadata_width,), name="metadata", dtype="float32")
        metadata_features = _metadata_branch(
            inputs["metadata"],
            metadata_units,
            dropout if branch_dropout is None else branch_dropout,
            batch_norm=metadata_batch_norm,
        )
    features = combine(image_features, metadata_features)
    logits = _head(features, head_units, dropout, dropout_samples, 2 if two_logits else n_classes)
    if two_logits:
        logits = LogitDifference(name="logit_difference", dtype="float32")(logits)
    return keras.Model(inputs, logits, name=f"{fusion}_{backbone}" if takes_image else "metadata")


def divide_logits(model: keras.Model, temperature: float) -> None:
    """Divide the logits of a model of `build_fusion_model` by a temperature, in its head's weights.

    Args:
        model: changed in place.
        temperature: above 0.
    """
    head = model.get_layer("head")
    for variable in (head.kernel, head.bias):
        variable.assign(variable / temperature)


def _metadata_branch(x: Tensor, widths: Sequence[int], dropout: float, *, batch_norm: bool) -> Tensor:
    for i, units in enumerate(widths, start=1):
        # A bias before batch norm is taken out again; its gradient is rounding, along which Adam would wander.
        activation = None if batch_norm else "swish"
        x = keras.layers.Dense(units, activation=activation, use_bias=not batch_norm, name=f"metadata_dense{i}")(x)
        if batch_norm:
            x = keras.layers.BatchNormalization(name=f"metadata_norm{i}")(x)
            x = keras.layers.Activation("swish", name=f"metadata_activation{i}")(x)
        x = keras.layers.Dropout(dropout, name=f"metadata_dropout{i}")(x)
    return x


def _head(x: Tensor, widths: Sequence[int], dropout: float, samples: int, outputs: int) -> Tensor:
    for i, units in enumerate(widths, start=1):
        x = keras.layers.Dense(units, activation="relu", name=f"head_dense{i}")(x)
        if i < len(widths):
            x = keras.layers.Dropout(dropout, name=f"head_dropout{i}")(x)
    if samples > 1:
        masks = [keras.layers.Dropout(dropout, name=f"head_dropout_sample{i}")(x) for i in range(1, samples + 1)]
        x = keras.layers.Average(name="head_dropout")(masks)
    else:
        x = keras.layers.Dropout(dropout, name="head_dropout")(x)
    # float32: half-precision sigmoids underflow and make ties among the scores.
    return keras.layers.Dense(outputs, name="head", dtype="float32")(x)

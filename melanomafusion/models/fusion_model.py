"""`build_fusion_model`: image branch + metadata branch → fusion → head, a plain functional `keras.Model`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras

from ..errors import RecipeError
from .backbones import Backbone, build_backbone, get_backbone
from .fusion import additive, get_fusion
from .layers import IsKnown, LogitDifference, get_pooling
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
    one_vs_rest: bool = False,
    missing_metadata: Sequence[float] | None = None,
) -> keras.Model:
    """Build a model of an image, of metadata, or of both.

    Args:
        backbone: name from `list_backbones()`; not used by fusion="metadata".
        metadata_width: number of encoded metadata columns (`encoder.width`); not used by fusion="image".
        image_size: side in pixels; the backbone's native size without it.
        fusion: "concat", "metanet", "metablock", "additive", "additive_joint", "image" or "metadata"
            (`models/fusion.py`).
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
        one_vs_rest: a model of k classes has for each the logit of a binary model of it against all others, and gives
            the logarithms of their sigmoids: the softmax of its output is each sigmoid's share of their sum.
        missing_metadata: (D,) the encoded metadata of a record of which nothing is known (`encoder.missing_row()`), to
            which additive fusion adds nothing; without it that record is like any other.

    Returns:
        Model with inputs `image` (B, H, H, 3) float32 0–255 and `metadata` (B, D) float32 (one of them for a
        single-branch model) and output logits (B, 1) or (B, k), float32 under any precision policy.

    Raises:
        RecipeError: unknown name or impossible size.
        WeightsError: the weights cannot be had or belong to another network.
    """
    combine, takes_image, takes_metadata = get_fusion(fusion)
    _check_outputs(n_classes, two_logits, one_vs_rest)
    if takes_metadata and metadata_width < 1:
        raise RecipeError(f"fusion={fusion!r} needs metadata_width ≥ 1. Received: metadata_width={metadata_width!r}")
    outputs = 2 if two_logits else n_classes
    head = partial(_head, widths=head_units, dropout=dropout, samples=dropout_samples, outputs=outputs)
    inputs, image, metadata, adds = {}, None, None, combine is additive
    if takes_image:
        inputs["image"], image = _image_branch(get_backbone(backbone), image_size, weights, pooling)
    if adds:  # before the metadata branch, so that the image's part starts from the weights of an image-only model
        image = head(image)
    if takes_metadata:
        inputs["metadata"] = keras.Input((metadata_width,), name="metadata", dtype="float32")
        of_branch = dropout if branch_dropout is None else branch_dropout
        metadata = _metadata_branch(inputs["metadata"], metadata_units, of_branch, batch_norm=metadata_batch_norm)
    if adds:
        metadata = _added_logits(inputs["metadata"], metadata, outputs, missing_metadata)
    fused = combine(image, metadata)
    logits = fused if adds else head(fused)
    if two_logits:
        logits = LogitDifference(name="logit_difference", dtype="float32")(logits)
    if one_vs_rest:
        logits = keras.layers.Activation("log_sigmoid", name="one_vs_rest", dtype="float32")(logits)
    return keras.Model(inputs, logits, name=f"{fusion}_{backbone}" if takes_image else "metadata")


def divide_logits(model: keras.Model, temperature: float) -> None:
    """Divide the logits of a model of `build_fusion_model` by a temperature, in the weights they are made with.

    Args:
        model: changed in place.
        temperature: above 0.
    """
    for layer in model.layers:
        if layer.name in ("head", "added_logits"):
            for variable in layer.weights:
                variable.assign(variable / temperature)


def _check_outputs(n_classes: int, two_logits: bool, one_vs_rest: bool) -> None:
    if n_classes < 1 or n_classes == 2:
        raise RecipeError(f"n_classes is 1 (binary, one logit) or at least 3. Received: n_classes={n_classes!r}")
    if two_logits and n_classes > 1:
        raise RecipeError(f"two_logits is for binary models. Received: n_classes={n_classes!r}")
    if one_vs_rest and n_classes == 1:
        raise RecipeError(f"one_vs_rest is for models of several classes. Received: n_classes={n_classes!r}")


def _image_branch(row: Backbone, image_size: int | None, weights: str | Path | None, pooling: str) -> tuple[Any, Any]:
    """Its input and the pooled features, (B, F)."""
    size = image_size or row.native_size
    if size < 32:
        raise RecipeError(f"Images must be at least 32 pixels wide. Received: image_size={image_size!r}")
    image = keras.Input((size, size, 3), name="image", dtype="float32")
    x = keras.layers.Rescaling(row.normalisation.scale, row.normalisation.offset, name="normalisation")(image)
    network = build_backbone(row, size, partial(load_backbone, weights=weights))
    return image, get_pooling(pooling)(network(x))


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


def _added_logits(metadata: Tensor, features: Tensor, outputs: int, missing: Sequence[float] | None) -> Tensor:
    """What the metadata add to the image's logits, (B, k): nothing at first, nor where no metadata are known."""
    is_known = IsKnown(name="is_known", dtype="float32")
    known = is_known(metadata)
    if missing is not None:
        is_known.missing.assign(missing)
    added = keras.layers.Dense(outputs, kernel_initializer="zeros", name="added_logits", dtype="float32")(features)
    return keras.layers.Multiply(name="added_if_known", dtype="float32")([added, known])

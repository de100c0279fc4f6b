"""Images and encoded metadata as the inputs of a model; what cannot be meant is refused."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from ..errors import ImageError, MelanomaFusionError, MetadataError


def model_inputs(model: keras.Model, image: Any, metadata: Any) -> tuple[dict[str, np.ndarray], bool]:
    """Check one record or a batch, and make a batch of it.

    Args:
        model: from `build_fusion_model`.
        image: (H, H, 3) or (B, H, H, 3), 0–255, as `ImageSpec.load` gives it; None for a metadata-only model.
        metadata: (D,) or (B, D) from `MetadataEncoder.transform`; None for an image-only model.

    Returns:
        The inputs by name, float32, and whether it was one record.

    Raises:
        ImageError, MetadataError: an input is missing, not asked for, of another shape, not finite or out of range.
    """
    wanted = model.input
    if not isinstance(wanted, dict):
        raise MelanomaFusionError("Expected a model of build_fusion_model, with inputs by name.")
    given = {"image": image, "metadata": metadata}
    kinds: dict[str, type[MelanomaFusionError]] = {"image": ImageError, "metadata": MetadataError}
    inputs: dict[str, np.ndarray] = {}
    single = []
    for name, value in given.items():
        if (value is None) == (name in wanted):
            advice = "needs" if value is None else "takes no"
            more = " (encoder.missing_row() where nothing is known)" if value is None and name == "metadata" else ""
            raise kinds[name](f"The model {model.name!r} {advice} {name}{more}. Received: {name}={_shown(value)}")
        if value is not None:
            inputs[name], one = _batch(value, tuple(wanted[name].shape[1:]), name, kinds[name])
            single.append(one)
    sizes = {name: len(value) for name, value in inputs.items()}
    if len(set(sizes.values())) > 1 or len(set(single)) > 1:
        raise MetadataError(f"One row of metadata for each image. Received: {sizes}")
    if "image" in inputs:
        _check_pixels(inputs["image"], np.asarray(image).dtype)
    return inputs, single[0]


def _batch(value: Any, shape: tuple[int, ...], name: str, error: type[MelanomaFusionError]) -> tuple[np.ndarray, bool]:
    try:
        batch = np.asarray(value)
        if batch.dtype.kind not in "uif":
            raise ValueError(f"numbers of type {batch.dtype}")
        batch = batch.astype("float32")
    except (ValueError, TypeError) as reason:
        raise error(f"{name} is an array of numbers. Received: {_shown(value)} ({reason})") from None
    one = batch.ndim == len(shape)
    batch = batch[None] if one else batch
    if batch.shape[1:] != shape or not len(batch):
        raise error(f"{name} is {shape}, or a batch of such. Received: {np.asarray(value).shape}")
    if not np.isfinite(batch).all():
        raise error(f"{name} holds {int((~np.isfinite(batch)).sum()):,} values that are not finite.")
    return batch, one


def _check_pixels(pixels: np.ndarray, dtype: np.dtype) -> None:
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 255:
        raise ImageError(f"Pixels are 0–255. Received: {low:g} to {high:g}")
    if dtype.kind == "f" and 0 < high <= 1:
        raise ImageError(
            f"Pixels are 0–255, the model scales them itself. Received: 0 to {high:g}; give 255 times that"
        )


def _shown(value: Any) -> str:
    if value is None or isinstance(value, (str, int, float)):
        return repr(value)[:80]
    return f"{type(value).__name__} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__

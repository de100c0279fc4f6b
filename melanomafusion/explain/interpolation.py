"""From the cells of a feature map to the pixels of an image, with NumPy alone."""

from __future__ import annotations

import numpy as np


def interpolation(centres: np.ndarray, size: int) -> np.ndarray:
    """(size, h) float32: weights by which `size` pixels are interpolated linearly between h cells.

    Beyond the first and the last centre their cell counts alone.

    Args:
        centres: (h,) pixels, where the cells lie.
        size: pixels.
    """
    cells = len(centres)
    place = np.interp(np.arange(size), centres, np.arange(cells))
    return np.maximum(0.0, 1.0 - np.abs(place[:, None] - np.arange(cells)[None, :])).astype("float32")


def heatmap_of(signed_map: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(h, h) signed → (size, size) float32 in 0–1: the positive part at image size, over its highest value.

    What `gradcam.heatmap` does with `keras.ops`, for those who have no Keras at hand.

    Args:
        signed_map: of one image.
        weights: (size, h) from `interpolation`.
    """
    resized = weights @ np.maximum(signed_map, 0.0).astype("float32") @ weights.T
    return np.asarray(resized / max(float(resized.max()), 1e-30), dtype="float32")

"""Colour and texture of an image as numbers, without segmentation and without a network.

References:
    Haralick, Shanmugam and Dinstein 1973, doi 10.1109/TSMC.1973.4309314 (co-occurrence); Ojala, Pietikäinen and Mäenpää
    2002, doi 10.1109/TPAMI.2002.1017623 (local binary patterns).
"""

from __future__ import annotations

from math import ceil, cos, floor, pi, sin

import cv2
import numpy as np

from ..errors import ImageError

CHANNELS = ("red", "green", "blue", "hue", "saturation", "value", "lightness", "a", "b")
MOMENTS = ("mean", "deviation", "skew")
BINS = 16
LEVELS = 32
DISTANCES = (1, 2, 4)
PROPERTIES = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation", "entropy")
PATTERNS = ((8, 1), (16, 2), (24, 3))  # (points on the circle, its radius in pixels)
LEAST_SIZE = 8

FEATURE_NAMES: tuple[str, ...] = (
    *(f"{channel} {moment}" for channel in CHANNELS for moment in MOMENTS),
    *(f"{channel} bin {number}" for channel in CHANNELS for number in range(BINS)),
    *(f"{name} at {distance}" for distance in DISTANCES for name in PROPERTIES),
    *(f"pattern {number} of {points} at {radius}" for points, radius in PATTERNS for number in range(points + 2)),
)


def handcrafted_features(image: np.ndarray) -> np.ndarray:
    """Colour and texture of one image.

    Colour: mean, deviation and skew, and a histogram of 16 bins, of each channel of RGB, HSV and CIELAB, scaled to
    [0, 1]. Texture of the grey image: properties of the co-occurrence matrix (32 levels, symmetric, the mean of four
    directions) at 1, 2 and 4 pixels, and shares of rotation-invariant uniform local binary patterns.

    Args:
        image: (H, W, 3) uint8 RGB, at least 8 pixels each way. Texture is in pixels, so compare images of one size.

    Returns:
        (D,) float32, named by `FEATURE_NAMES`.

    Raises:
        ImageError: not such an array.
    """
    shape: tuple[int, ...] = getattr(image, "shape", ())
    if len(shape) != 3 or shape[2] != 3 or min(shape[:2]) < LEAST_SIZE or image.dtype != np.uint8:
        kind = f"{shape} {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(f"An image is (H, W, 3) uint8 with H and W at least {LEAST_SIZE}. Received: {kind}")
    image = np.ascontiguousarray(image)
    channels = _channels(image)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.concatenate(
        [
            _moments(channels).ravel(),
            _histograms(channels).ravel(),
            *(_co_occurrence(grey, distance) for distance in DISTANCES),
            *(_local_binary_patterns(grey, points, radius) for points, radius in PATTERNS),
        ]
    ).astype("float32")


def _channels(image: np.ndarray) -> np.ndarray:
    """(9, n) float64 in [0, 1]: RGB, HSV, Lab."""
    rgb = image.astype("float32") / 255
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV) / (360, 1, 1)
    # Half a turn: skin is red, where the hue starts and ends, and a mean across that seam would be green.
    hsv[..., 0] = (hsv[..., 0] + 0.5) % 1
    lab = (cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB) + np.array([0, 128, 128])) / (100, 255, 255)
    stacked = np.concatenate([rgb.astype("float64"), hsv, lab], axis=2)
    return np.asarray(stacked.reshape(-1, 9).T.clip(0, 1))


def _moments(channels: np.ndarray) -> np.ndarray:
    """(c, n) → (c, 3): mean, standard deviation, skew (0 for one colour)."""
    mean = channels.mean(axis=1)
    centred = channels - mean[:, None]
    squared = centred**2
    deviation = np.sqrt(squared.mean(axis=1))
    # A constant channel has a deviation of rounding noise.
    known = np.where(deviation > 1e-9, deviation, np.inf)
    return np.stack([mean, deviation, (squared * centred).mean(axis=1) / known**3], axis=1)


def _histograms(channels: np.ndarray) -> np.ndarray:
    """(c, n) in [0, 1] → (c, 16) shares; each row sums to 1."""
    count, pixels = channels.shape
    place = np.minimum((channels * BINS).astype("int64"), BINS - 1) + BINS * np.arange(count)[:, None]
    return np.asarray(np.bincount(place.ravel(), minlength=count * BINS).reshape(count, BINS) / pixels)


def _co_occurrence(grey: np.ndarray, distance: int) -> np.ndarray:
    """(H, W) uint8 → (6,): `PROPERTIES`, each the mean over 0°, 45°, 90° and 135°."""
    levels = grey.astype("int64") * LEVELS // 256
    steps = ((0, distance), (distance, distance), (distance, 0), (distance, -distance))
    return np.asarray(np.mean([_properties(_pairs(levels, *step)) for step in steps], axis=0))


def _pairs(levels: np.ndarray, down: int, right: int) -> np.ndarray:
    """(32, 32): share of pixel pairs a step apart that have these two levels, in either order."""
    height, width = levels.shape
    first = levels[: height - down, max(0, -right) : width - max(0, right)]
    second = levels[down:, max(0, right) : width + min(0, right)]
    counts = np.bincount((first * LEVELS + second).ravel(), minlength=LEVELS**2).reshape(LEVELS, LEVELS)
    return np.asarray((counts + counts.T) / (2 * first.size))


def _properties(matrix: np.ndarray) -> list[float]:
    """`PROPERTIES` of a symmetric co-occurrence matrix; the correlation of one single level is 1."""
    level = np.arange(LEVELS)
    gap = np.abs(level[:, None] - level)
    margin = matrix.sum(axis=0)
    centred = level - margin @ level
    variance = margin @ centred**2
    filled = matrix[matrix > 0]
    return [
        float((matrix * gap**2).sum()),
        float((matrix * gap).sum()),
        float((matrix / (1 + gap**2)).sum()),
        float(np.sqrt((filled**2).sum())),
        float(centred @ matrix @ centred / variance) if variance > 1e-12 else 1.0,
        float(-(filled * np.log(filled)).sum()),
    ]


def _local_binary_patterns(grey: np.ndarray, points: int, radius: int) -> np.ndarray:
    """(H, W) uint8 → (points + 2,) shares: uniform patterns by their number of ones, and all others.

    Pixels nearer to the border than the radius have no whole circle and are left out.
    """
    values = grey.astype("float64")
    # Interpolation of equal grey levels gives them back up to rounding.
    centre = values[radius:-radius, radius:-radius] - 1e-9
    bits = [_on_circle(values, radius, 2 * pi * k / points) >= centre for k in range(points)]
    ones, changes = np.zeros(centre.shape, dtype="uint8"), np.zeros(centre.shape, dtype="uint8")
    for number, bit in enumerate(bits):
        ones += bit
        changes += bit != bits[number - 1]
    pattern = np.where(changes <= 2, ones, points + 1)
    return np.bincount(pattern.ravel(), minlength=points + 2) / pattern.size


def _on_circle(values: np.ndarray, radius: int, angle: float) -> np.ndarray:
    """Grey level at that point of the circle around each inner pixel, bilinear."""
    height, width = (side - 2 * radius for side in values.shape)
    down, right = round(-radius * sin(angle), 5), round(radius * cos(angle), 5)
    parts = []
    for row in {floor(down), ceil(down)}:
        for column in {floor(right), ceil(right)}:
            weight = (1 - abs(down - row)) * (1 - abs(right - column))
            top, left = radius + row, radius + column
            parts.append(weight * values[top : top + height, left : left + width])
    return np.asarray(sum(parts))

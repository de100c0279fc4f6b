"""Random things in front of the lesion: holes, patches of noise, hair."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Cutout:
    """A black square; it may reach over the edge.

    Args:
        side: of the square, as a share of the image's side.

    References:
        DeVries, Taylor 2017, arXiv 1708.04552.
    """

    side: float = 0.375

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Black out a square."""
        height, width = image.shape[:2]
        half_height, half_width = round(self.side * height / 2), round(self.side * width / 2)
        middle_row, middle_column = int(rng.integers(height)), int(rng.integers(width))
        image = image.copy()
        image[
            max(0, middle_row - half_height) : middle_row + half_height,
            max(0, middle_column - half_width) : middle_column + half_width,
        ] = 0
        return image


@dataclass(frozen=True)
class Erasing:
    """A rectangle of noise.

    Args:
        area: least and greatest share of the image's area.
        ratio: least and greatest width to height.

    References:
        Zhong et al. 2020, Random erasing, arXiv 1708.04896.
    """

    area: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Cover a rectangle."""
        height, width = image.shape[:2]
        area, ratio = rng.uniform(*self.area), np.exp(rng.uniform(*np.log(self.ratio)))
        cut_width = max(1, min(width, round(width * np.sqrt(area * ratio))))
        cut_height = max(1, min(height, round(height * np.sqrt(area / ratio))))
        left = int(rng.integers(width - cut_width + 1))
        top = int(rng.integers(height - cut_height + 1))
        image = image.copy()
        image[top : top + cut_height, left : left + cut_width] = rng.integers(
            256, size=(cut_height, cut_width, image.shape[2]), dtype="uint8"
        )
        return image


@dataclass(frozen=True)
class Hair:
    """Dark, thin, bent hairs.

    Args:
        most: their number is drawn from 0 to this.
    """

    most: int = 8

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw hairs."""
        height, width = image.shape[:2]
        image = np.ascontiguousarray(image).copy()
        along = np.linspace(0.0, 1.0, 24)[:, None]
        for _ in range(int(rng.integers(self.most + 1))):
            start, bend, end = rng.uniform(-0.1, 1.1, (3, 2)) * (width, height)
            # A quadratic Bézier curve; coordinates in sixteenths of a pixel.
            curve = (1 - along) ** 2 * start + 2 * along * (1 - along) * bend + along**2 * end
            colour = tuple(int(level) for level in rng.integers((10, 5, 0), (60, 45, 40)))
            points = np.rint(curve * 16).astype("int32")
            thickness = 1 + int(rng.integers(1 + max(width, height) // 256))
            cv2.polylines(image, [points], False, colour, thickness, cv2.LINE_AA, shift=4)
        return image

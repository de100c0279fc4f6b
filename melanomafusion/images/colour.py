"""Random changes of what pixels hold: light and colour, blur, noise, local contrast."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class ColourJitter:
    """Brightness, contrast, saturation and hue, in one pass over the pixels (all four are linear in them).

    Args:
        brightness, contrast, saturation: factors within 1 ± the value.
        hue: turned by up to so many degrees to either side.
    """

    brightness: float = 0.15
    contrast: float = 0.15
    saturation: float = 0.15
    hue: float = 0.0

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change the colours of an image."""
        light, range_, colour, turn = rng.uniform(-1.0, 1.0, 4).tolist()
        brightness, contrast = 1 + self.brightness * light, 1 + self.contrast * range_
        # Plain numbers: small arrays cost more than the pass over a small image.
        own = brightness * contrast * (1 + self.saturation * colour)
        grey = (
            -brightness * contrast * self.saturation * colour / 3
        )  # what colour loses goes to the mean of the channels
        shift = brightness * (1 - contrast) * sum(cv2.mean(image)[:3]) / 3
        matrix = [[own * part + grey for part in row] + [shift] for row in _hue_turn(math.radians(self.hue * turn))]
        return np.asarray(cv2.transform(image, np.array(matrix, dtype="float32")))


def _hue_turn(angle: float) -> tuple[tuple[float, float, float], ...]:
    """3 × 3 rotation about the grey axis."""
    same = (1 + 2 * math.cos(angle)) / 3
    back, forth = ((1 - math.cos(angle)) / 3 + sign * math.sin(angle) / math.sqrt(3) for sign in (-1, 1))
    return ((same, back, forth), (forth, same, back), (back, forth, same))


@dataclass(frozen=True)
class BrightnessContrast:
    """Brightness added and contrast multiplied, as albumentations names them.

    Args:
        brightness: up to this share of 255 to either side.
        contrast: factor within 1 ± the value.
    """

    brightness: float = 0.2
    contrast: float = 0.2

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change the light of an image."""
        factor, shift = 1 + rng.uniform(-self.contrast, self.contrast), rng.uniform(-self.brightness, self.brightness)
        table = np.clip(np.rint(np.arange(256) * factor + 255 * shift), 0, 255).astype("uint8")
        return cv2.LUT(image, table)


@dataclass(frozen=True)
class HueSaturationValue:
    """Hue, saturation and value shifted.

    Args:
        hue: up to so many half degrees (0 … 180) to either side.
        saturation, value: up to so many of 255 to either side.
    """

    hue: float = 10.0
    saturation: float = 20.0
    value: float = 10.0

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change the colours of an image."""
        shifts = rng.uniform(-1.0, 1.0, 3) * (self.hue, self.saturation, self.value)
        levels = np.arange(256)
        tables = [np.mod(levels + round(shifts[0]), 180)]
        tables += [np.clip(levels + round(shift), 0, 255) for shift in shifts[1:]]
        table = np.stack(tables, axis=-1).astype("uint8")[None]
        hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), table)
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


@dataclass(frozen=True)
class Clahe:
    """Local contrast evened out (contrast-limited adaptive histogram equalisation of the lightness).

    Args:
        clip: the limit is drawn from 1 to this.
        tiles: in each direction.
    """

    clip: float = 4.0
    tiles: int = 8

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change the contrast of an image."""
        lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
        equaliser = cv2.createCLAHE(float(rng.uniform(1.0, self.clip)), (self.tiles, self.tiles))
        lab[..., 0] = equaliser.apply(np.ascontiguousarray(lab[..., 0]))
        return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


@dataclass(frozen=True)
class GaussianBlur:
    """Out of focus.

    Args:
        limit: the kernel's side is an odd number from 3 to this, in pixels.
    """

    limit: int = 5

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Blur an image."""
        side = _odd_side(rng, self.limit)
        return cv2.GaussianBlur(image, (side, side), 0)


@dataclass(frozen=True)
class MedianBlur:
    """The median of the neighbourhood.

    Args:
        limit: the neighbourhood's side is an odd number from 3 to this, in pixels.
    """

    limit: int = 5

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Blur an image."""
        return cv2.medianBlur(image, _odd_side(rng, self.limit))


@dataclass(frozen=True)
class MotionBlur:
    """Blurred along a line of any direction.

    Args:
        limit: the line's length is an odd number from 3 to this, in pixels.
    """

    limit: int = 5

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Blur an image."""
        side = _odd_side(rng, self.limit)
        centre, angle = (side - 1) / 2, rng.uniform(0.0, np.pi)
        end = centre * np.array([np.cos(angle), np.sin(angle)])
        ends = [(round(centre + sign * end[0]), round(centre + sign * end[1])) for sign in (-1, 1)]
        kernel = cv2.line(np.zeros((side, side), "uint8"), ends[0], ends[1], color=1).astype("float32")
        return cv2.filter2D(image, -1, kernel / kernel.sum())


@dataclass(frozen=True)
class GaussianNoise:
    """Normal noise, another for each pixel and channel.

    Args:
        variance: least and greatest, in grey levels².
    """

    variance: tuple[float, float] = (5.0, 30.0)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add noise to an image."""
        deviation = np.sqrt(rng.uniform(*self.variance))
        noise = rng.standard_normal(image.shape, dtype="float32") * np.float32(deviation)
        return np.asarray(np.clip(np.rint(image + noise), 0, 255), dtype="uint8")


def _odd_side(rng: np.random.Generator, limit: int) -> int:
    """From 3 to the limit; 1, which changes nothing, where that is smaller."""
    if limit < 3:
        return 1
    return 3 + 2 * int(rng.integers((limit - 3) // 2 + 1))

"""Random changes of where pixels lie: turns, mirrorings, affine and perspective maps, crops, lens-like distortions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from .augment import VIEWS

Border = Literal["reflect", "black"]
_BORDERS = {"reflect": cv2.BORDER_REFLECT_101, "black": cv2.BORDER_CONSTANT}


@dataclass(frozen=True)
class Dihedral:
    """One of the eight turns and mirrorings of a square image, each as likely."""

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Turn or mirror an image."""
        view = int(rng.integers(VIEWS))
        # The same as `dihedral_view`, several times faster than copying a strided view.
        if view & 1:
            image = cv2.transpose(image)
        if view & 6:
            image = cv2.flip(image, {2: 0, 4: 1, 6: -1}[view & 6])
        return image


@dataclass(frozen=True)
class Flip:
    """Mirrored top to bottom and left to right, each with a probability.

    Args:
        vertical, horizontal: 0 … 1.
    """

    vertical: float = 0.5
    horizontal: float = 0.5

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Mirror an image, or leave it."""
        down, across = rng.random() < self.vertical, rng.random() < self.horizontal
        if not (down or across):
            return image
        return cv2.flip(image, -1 if down and across else 0 if down else 1)


@dataclass(frozen=True)
class Affine:
    """Rotation, zoom and shift about the centre, in one bilinear resampling.

    Args:
        rotation: up to so many degrees to either side.
        zoom: the scale lies within 1 ± zoom.
        shift: up to this share of the side, in both directions.
        border: what comes in from outside: "reflect" or "black".
    """

    rotation: float = 15.0
    zoom: float = 0.1
    shift: float = 0.1
    border: Border = "reflect"

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Move an image."""
        height, width = image.shape[:2]
        angle, scale, right, down = rng.uniform(-1.0, 1.0, 4) * (self.rotation, self.zoom, self.shift, self.shift)
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0 + scale)
        matrix[:, 2] += (right * width, down * height)
        return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=_BORDERS[self.border])


@dataclass(frozen=True)
class Perspective:
    """Seen from aside: each corner moves inwards by up to a share of the side.

    Args:
        amount: 0 … 0.5.
    """

    amount: float = 0.1

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Warp an image."""
        height, width = image.shape[:2]
        corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], dtype="float32")
        inwards = rng.uniform(0.0, self.amount, (4, 2)) * (1 - 2 * corners)
        side = np.array([width - 1, height - 1])
        moved = ((corners + inwards) * side).astype("float32")
        matrix = cv2.getPerspectiveTransform(moved, (corners * side).astype("float32"))
        return cv2.warpPerspective(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)


@dataclass(frozen=True)
class ResizedCrop:
    """A part of the image, resized to the whole.

    Args:
        area: least and greatest share of the image's area.
        ratio: least and greatest width to height.
    """

    area: tuple[float, float] = (0.6, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Cut and resize an image."""
        height, width = image.shape[:2]
        area = rng.uniform(*self.area)
        ratio = np.exp(rng.uniform(*np.log(self.ratio)))
        cut_width = max(1, min(width, round(width * np.sqrt(area * ratio))))
        cut_height = max(1, min(height, round(height * np.sqrt(area / ratio))))
        left = int(rng.integers(width - cut_width + 1))
        top = int(rng.integers(height - cut_height + 1))
        cut = image[top : top + cut_height, left : left + cut_width]
        return cv2.resize(cut, (width, height), interpolation=cv2.INTER_LINEAR)


@dataclass(frozen=True)
class OpticalDistortion:
    """Barrel or pincushion, as of a lens.

    Args:
        limit: of the distortion coefficient, to either side.
    """

    limit: float = 1.0

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Warp an image."""
        height, width = image.shape[:2]
        strength, right, down = rng.uniform(-self.limit, self.limit), *rng.uniform(-0.5, 0.5, 2)
        camera = np.array([[width, 0, width * 0.5 + right], [0, height, height * 0.5 + down], [0, 0, 1]], "float32")
        coefficients = np.array([strength, strength, 0, 0, 0], dtype="float32")
        across, along = cv2.initUndistortRectifyMap(
            camera, coefficients, np.eye(3, dtype="float32"), camera, (width, height), cv2.CV_32FC1
        )
        return cv2.remap(image, across, along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


@dataclass(frozen=True)
class GridDistortion:
    """A grid whose columns and rows become wider and narrower.

    Args:
        steps: cells in each direction.
        limit: a cell's share of the side changes by up to this factor.
    """

    steps: int = 5
    limit: float = 0.3

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Warp an image."""
        height, width = image.shape[:2]
        maps = []
        for side in (width, height):
            cells = 1.0 + rng.uniform(-self.limit, self.limit, self.steps)
            edges = np.concatenate([[0.0], np.cumsum(cells) / cells.sum()]) * (side - 1)
            maps.append(np.interp(np.arange(side), np.linspace(0, side - 1, self.steps + 1), edges).astype("float32"))
        across, along = np.meshgrid(*maps)
        return cv2.remap(image, across, along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


@dataclass(frozen=True)
class ElasticDistortion:
    """Every pixel moves a little, its neighbours with it.

    Args:
        alpha: standard deviation of the movement in pixels.
        smoothness: standard deviation of the smoothing, as a share of the side.

    References:
        Simard, Steinkraus, Platt 2003, doi 10.1109/ICDAR.2003.1227801.
    """

    alpha: float = 3.0
    smoothness: float = 0.08

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Warp an image."""
        height, width = image.shape[:2]
        # A coarse field made smooth by cubic interpolation: the same look as blurring a full one, far cheaper.
        cells = max(3, round(1 / (2 * self.smoothness)) + 1)
        field = rng.normal(scale=self.alpha, size=(cells, cells, 2)).astype("float32")
        moves = cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
        down, right = np.mgrid[0:height, 0:width].astype("float32")
        across, along = right + moves[..., 0], down + moves[..., 1]
        return cv2.remap(image, across, along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)

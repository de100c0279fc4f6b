"""Batches of images as NumPy arrays: loaded, augmented and written into memory that is used again and again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from threading import Lock

import cv2
import numpy as np

from .augment import Augmentation, dihedral_view, record_generator
from .pixels import Pixels

_ALIGNMENT = 64  # bytes; TensorFlow takes an array so aligned without a copy
# References to memory that nobody uses: the list, the loop's name and getrefcount's own argument.
_UNUSED = 3
_KEPT = 8  # two in the making, two waiting, a few in the model; the last batch of an epoch has a size of its own


class Buffers:
    """Float arrays that are handed out again once nobody refers to them any more.

    A batch of 32 images at 256² is 25 MB of float32; fresh memory of that size costs the system more time than
    filling it.
    """

    def __init__(self) -> None:
        # The arrays that own the memory: NumPy makes every view, and every view of a view, refer to its owner.
        self._owners: list[np.ndarray] = []
        self._lock = Lock()

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array of that shape, float32, contents undefined."""
        size = 4 * int(np.prod(shape)) + _ALIGNMENT
        with self._lock:
            for owner in self._owners:
                if owner.size == size and sys.getrefcount(owner) == _UNUSED:
                    return _aligned(owner, shape)
        fresh = np.empty(size, dtype="uint8")
        with self._lock:
            if len(self._owners) >= _KEPT:  # of pipelines that are gone
                self._owners = [owner for owner in self._owners if owner.size == size]
            if len(self._owners) < _KEPT:  # whoever collects batches has them from fresh memory, which goes with them
                self._owners.append(fresh)
        return _aligned(fresh, shape)


def _aligned(owner: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    start = -owner.ctypes.data % _ALIGNMENT
    size = owner.size - _ALIGNMENT
    return owner[start : start + size].view("float32").reshape(shape)


# One for the process: TensorFlow never lets go of a function that a pipeline has called, nor of what belongs to it.
_BUFFERS = Buffers()


class ImageBatches:
    """Loads batches of a data set's images.

    Args:
        pixels: where the images come from.
        names: (n,) image names; rows refer to them.
    """

    def __init__(self, pixels: Pixels, names: Sequence[str]) -> None:
        self.pixels, self.names = pixels, names

    def load(self, rows: np.ndarray, view: int = 0) -> np.ndarray:
        """Images as they are, or all seen in one of the eight views.

        Args:
            rows: (B,) row numbers.
            view: 0 … 7.

        Returns:
            (B, H, H, 3) float32, 0–255.
        """
        batch = self._empty(len(rows))
        for place, row in enumerate(rows):
            batch[place] = dihedral_view(self.pixels.load(self.names[row]), view)
        return batch

    def augmented(
        self,
        rows: np.ndarray,
        repeats: np.ndarray,
        epoch: int,
        seed: int,
        augmentation: Augmentation,
        size: int | None = None,
    ) -> np.ndarray:
        """Images changed by chance that follows from (seed, epoch, row, repeat) alone.

        Args:
            rows: (B,) row numbers.
            repeats: (B,) how often the row came before in the epoch.
            epoch: from 0.
            seed: of the run.
            augmentation: (image uint8, generator) → image uint8.
            size: side to which the images are then reduced; as they are without it.

        Returns:
            (B, H, H, 3) float32, 0–255.
        """
        batch = self._empty(len(rows), size)
        for place, (row, repeat) in enumerate(zip(rows.tolist(), repeats.tolist(), strict=True)):
            image = self.pixels.load(self.names[row])
            image = augmentation(image, record_generator(seed, epoch, row, repeat))
            batch[place] = image if len(image) == batch.shape[1] else _reduced(image, batch.shape[1])
        return batch

    def _empty(self, count: int, size: int | None = None) -> np.ndarray:
        size = size or self.pixels.spec.size
        return _BUFFERS.take((count, size, size, 3))


def _reduced(image: np.ndarray, size: int) -> np.ndarray:
    """A square image with fewer pixels, each the mean of what it covers: nothing is aliased."""
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)

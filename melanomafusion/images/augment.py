"""Random changes of training images: what an augmentation is, and how several make one.

An augmentation is any function (image (H, W, 3) uint8, numpy Generator) → (H, W, 3) uint8. The generator follows from
(seed, epoch, record) alone, so any image of any epoch can be made again by itself; a function of the user's own is used
in the same way as those of `geometry.py`, `colour.py` and `occlusion.py`, which `policies.py` puts together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ImageError

Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]
VIEWS = 8


@dataclass(frozen=True)
class Compose:
    """One after another.

    Args:
        steps: augmentations.
    """

    steps: Sequence[Augmentation]

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change an image."""
        for step in self.steps:
            image = step(image, rng)
        return image


@dataclass(frozen=True)
class Sometimes:
    """With a probability, one of some augmentations, each as likely as the others.

    Args:
        probability: 0 … 1.
        choices: augmentations.
    """

    probability: float
    choices: Sequence[Augmentation]

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change an image, or leave it."""
        if rng.random() >= self.probability:
            return image
        return self.choices[int(rng.integers(len(self.choices)))](image, rng)


@dataclass(frozen=True)
class RandAugment:
    """Some augmentations drawn anew for each image, with repetition.

    Args:
        choices: augmentations, each at one fixed strength.
        count: how many are applied.

    References:
        Cubuk et al. 2020, RandAugment, arXiv 1909.13719.
    """

    choices: Sequence[Augmentation]
    count: int = 2

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change an image."""
        for choice in rng.integers(len(self.choices), size=self.count):
            image = self.choices[int(choice)](image, rng)
        return image


@dataclass(frozen=True)
class UserFunction:
    """A function of the user's own: it may change its image in place, and what it gives back is looked at.

    Args:
        function: (image (H, W, 3) uint8, numpy Generator) → image of the same shape and type.
    """

    function: Augmentation

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change an image.

        Raises:
            ImageError: the function gave back another shape or type.
        """
        result = self.function(image.copy(), rng)
        if not isinstance(result, np.ndarray) or result.shape != image.shape or result.dtype != image.dtype:
            found = f"{result.dtype} {result.shape}" if isinstance(result, np.ndarray) else type(result).__name__
            raise ImageError(
                f"An augmentation gives back {image.dtype} {image.shape}, as it got. {self.function!r} gave {found}."
            )
        return result


def record_generator(seed: int, epoch: int, record: int, repeat: int = 0) -> np.random.Generator:
    """The chance of one record in one epoch; nothing else goes into it.

    Args:
        seed: of the run, at least 0.
        epoch: from 0.
        record: its row in the data set.
        repeat: how often it came before in the epoch (oversampling).
    """
    # A counter-based generator is made in 20 µs, a tenth of what augmenting a small image takes.
    key = np.array([seed % 2**32 << 32 | epoch, record << 24 | repeat], dtype="uint64")
    return np.random.Generator(np.random.Philox(key=key))


def dihedral_view(image: np.ndarray, view: int) -> np.ndarray:
    """One of the eight turns and mirrorings of a square, view 0 … 7; view 0 is the image itself.

    Args:
        image: (H, H, 3).
        view: bit 0 transposes, bit 1 mirrors top to bottom, bit 2 left to right.
    """
    if view & 1:
        image = image.transpose(1, 0, 2)
    if view & 2:
        image = image[::-1]
    if view & 4:
        image = image[:, ::-1]
    return image

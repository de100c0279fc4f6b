"""Mixup and CutMix: two records of a batch made into one, with the label and the weight that belong to it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import RecipeError


@dataclass(frozen=True)
class Mixing:
    """How records of a batch are mixed.

    Args:
        mixup: parameter of the Beta distribution of the shares; 0 for none.
        cutmix: the same for CutMix; where both are given, each batch takes one of them by chance.

    Raises:
        RecipeError: below 0, or no finite number.

    References:
        Zhang et al. 2018, mixup, arXiv 1710.09412. Yun et al. 2019, CutMix, arXiv 1905.04899.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("mixup", self.mixup), ("cutmix", self.cutmix)):
            if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise RecipeError(f"{name} must be a finite number of at least 0. Received: {name}={value!r}")

    def __bool__(self) -> bool:
        return bool(self.mixup or self.cutmix)

    def mix(
        self,
        images: np.ndarray,
        metadata: np.ndarray,
        labels: np.ndarray,
        weights: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Mix each record with another of the batch.

        The loss is linear in the label, so λ·w₁·loss(y₁) + (1 − λ)·w₂·loss(y₂) is one record of weight
        λ·w₁ + (1 − λ)·w₂ and of label (λ·w₁·y₁ + (1 − λ)·w₂·y₂) / that weight: class weights keep their meaning.

        Args:
            images: (B, H, W, 3) float32, changed in place.
            metadata: (B, D) float32.
            labels: (B, k) float32.
            weights: (B,) float32.
            rng: of the batch.

        Returns:
            Images, metadata, labels and weights.
        """
        count = len(labels)
        other = rng.permutation(count)
        cut = bool(self.cutmix) and (not self.mixup or rng.random() < 0.5)
        alpha = self.cutmix if cut else self.mixup
        share = rng.beta(alpha, alpha, count).astype("float32")  # of the record itself
        if cut:
            share = _cut(images, other, share, rng)
        elif images.size:
            _blend(images, other, share)
        own, given = share * weights, (1 - share) * weights[other]
        total = own + given
        column = share[:, None]
        return (
            images,
            column * metadata + (1 - column) * metadata[other],
            (own[:, None] * labels + given[:, None] * labels[other]) / total[:, None],
            total,
        )


def _blend(images: np.ndarray, other: np.ndarray, share: np.ndarray) -> None:
    before = images.copy()
    for row, source in enumerate(other):
        images[row] *= share[row]
        images[row] += (1 - share[row]) * before[source]


def _cut(images: np.ndarray, other: np.ndarray, share: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put a rectangle of the other image in; the share that is left of each record, exact to the pixel."""
    before = images.copy()
    height, width = images.shape[1:3]
    left_over = np.ones_like(share)
    for row, source in enumerate(other):
        side = np.sqrt(1 - share[row])
        cut_height, cut_width = round(height * float(side)), round(width * float(side))
        top = int(rng.integers(height - cut_height + 1))
        left = int(rng.integers(width - cut_width + 1))
        box = (row, slice(top, top + cut_height), slice(left, left + cut_width))
        images[box] = before[(source, *box[1:])]
        left_over[row] = 1 - cut_height * cut_width / (height * width)
    return left_over

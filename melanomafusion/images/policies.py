"""Augmentation policies by name, as recipes know them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import RecipeError
from .augment import Augmentation, Compose, RandAugment, Sometimes, UserFunction
from .colour import (
    BrightnessContrast,
    Clahe,
    ColourJitter,
    GaussianBlur,
    GaussianNoise,
    HueSaturationValue,
    MedianBlur,
    MotionBlur,
)
from .geometry import (
    Affine,
    Dihedral,
    ElasticDistortion,
    GridDistortion,
    OpticalDistortion,
    Perspective,
    ResizedCrop,
)
from .occlusion import Cutout, Erasing, Hair


def unchanged(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image as it is."""
    del rng
    return image


def light() -> Augmentation:
    """One of the eight turns and mirrorings; brightness, contrast and saturation within ±15 %."""
    return Compose((Dihedral(), ColourJitter(0.15, 0.15, 0.15)))


def medium() -> Augmentation:
    """Light, with a random crop or a small rotation, zoom and shift, hue, hair and a hole."""
    return Compose(
        (
            Dihedral(),
            Sometimes(0.7, (Affine(15, 0.1, 0.1), ResizedCrop((0.6, 1.0)), Perspective(0.1))),
            ColourJitter(0.2, 0.2, 0.2, hue=8),
            Sometimes(0.3, (Hair(),)),
            Sometimes(0.3, (Cutout(0.25), Erasing((0.02, 0.1)))),
        )
    )


def geometric() -> Augmentation:
    """Turns and mirrorings, rotation up to 20°, zoom and shift up to a fifth; colours stay as they are."""
    return Compose((Dihedral(), Affine(20, 0.2, 0.2)))


def geometric_brightness() -> Augmentation:
    """Turns and mirrorings, rotation up to 20°, zoom up to a fifth, brightness within ±20 %."""
    return Compose((Dihedral(), Affine(20, 0.2, 0.0), ColourJitter(0.2, 0.0, 0.0)))


def winner_2020() -> Augmentation:
    """The policy of the SIIM-ISIC 2020 first place, its steps and probabilities (Ha, Liu, Liu 2020, arXiv 2010.05351).

    Written anew on OpenCV: distributions within a step (of blur sides or distortions) follow the description, not the
    original library bit by bit.
    """
    return Compose(
        (
            Dihedral(),  # transpose, vertical and horizontal flip, 0.5 each
            Sometimes(0.75, (BrightnessContrast(0.2, 0.2),)),
            Sometimes(0.7, (MotionBlur(5), MedianBlur(5), GaussianBlur(5), GaussianNoise((5.0, 30.0)))),
            Sometimes(0.7, (OpticalDistortion(1.0), GridDistortion(5, 1.0), ElasticDistortion(3.0))),
            Sometimes(0.7, (Clahe(4.0),)),
            Sometimes(0.5, (HueSaturationValue(10, 20, 10),)),
            Sometimes(0.85, (Affine(15, 0.1, 0.1, border="black"),)),
            Sometimes(0.7, (Cutout(0.375),)),
        )
    )


def rand_augment() -> Augmentation:
    """Two of twelve changes, drawn anew for each image; our own steps, so that each follows from the record's seed."""
    return RandAugment(
        (
            unchanged,
            Dihedral(),
            Affine(30, 0.0, 0.0),
            Affine(0, 0.0, 0.2),
            Affine(0, 0.3, 0.0),
            Perspective(0.15),
            ColourJitter(0.4, 0.0, 0.0),
            ColourJitter(0.0, 0.4, 0.0),
            ColourJitter(0.0, 0.0, 0.6),
            ColourJitter(0.0, 0.0, 0.0, hue=15),
            Clahe(3.0),
            GaussianBlur(5),
        ),
        count=2,
    )


def menezes() -> Augmentation:
    """The steps of `menezes-efficientnetb3`: crop, turns, rotation, perspective, colour, two random steps, erasing.

    `rand_augment` stands in for AutoAugment's ImageNet policy.
    """
    return Compose(
        (
            ResizedCrop((0.7, 1.0)),
            Dihedral(),
            Affine(30, 0.0, 0.0),
            Sometimes(0.5, (Perspective(0.2),)),
            ColourJitter(0.2, 0.2, 0.2, hue=8),
            rand_augment(),
            Sometimes(0.5, (Erasing((0.02, 0.2)),)),
        )
    )


POLICIES: dict[str, Callable[[], Augmentation]] = {
    "none": lambda: unchanged,
    "light": light,
    "medium": medium,
    "geometric": geometric,
    "geometric-brightness": geometric_brightness,
    "winner-2020": winner_2020,
    "rand-augment": rand_augment,
    "menezes": menezes,
}


def get_policy(augmentation: str | Augmentation) -> Augmentation:
    """The policy of that name; a function of the user's own is taken as one.

    Raises:
        RecipeError: there is none.
    """
    if callable(augmentation):
        return UserFunction(augmentation)
    if augmentation not in list(POLICIES):
        raise RecipeError(f"Known augmentations: {', '.join(POLICIES)}. Received: augmentation={augmentation!r}")
    return POLICIES[augmentation]()

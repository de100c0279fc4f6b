"""Random changes of training images, seeded per record and epoch, so that any batch can be made again alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from ..errors import RecipeError

Policy = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
VIEWS = 8


def none(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """The image as it is."""
    del seed
    return image


def light(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """One of the eight turns and mirrorings of a square; brightness, contrast and saturation within ±15 %.

    Args:
        image: (H, H, 3) float32, 0–255.
        seed: (2,) int32.

    Returns:
        (H, H, 3) float32, 0–255.
    """
    chance = tf.random.stateless_uniform((6,), seed)
    image = tf.cond(chance[0] < 0.5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    image = tf.cond(chance[1] < 0.5, lambda: tf.reverse(image, (0,)), lambda: image)
    image = tf.cond(chance[2] < 0.5, lambda: tf.reverse(image, (1,)), lambda: image)
    brightness, contrast, saturation = tf.unstack(1.0 + 0.15 * (2.0 * chance[3:] - 1.0))
    grey = tf.reduce_mean(image, axis=-1, keepdims=True)
    image = grey + saturation * (image - grey)
    mean = tf.reduce_mean(image)
    image = brightness * (mean + contrast * (image - mean))
    return tf.clip_by_value(image, 0.0, 255.0)


POLICIES: dict[str, Policy] = {"none": none, "light": light}


def get_policy(name: str) -> Policy:
    """The policy of that name.

    Raises:
        RecipeError: there is none.
    """
    if name not in POLICIES:
        raise RecipeError(f"Known augmentations: {', '.join(POLICIES)}. Received: augmentation={name!r}")
    return POLICIES[name]


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

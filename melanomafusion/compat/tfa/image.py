"""Image functions of tensorflow-addons: rotation and cutout, for batches in a pipeline."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from ...errors import CompatError
from .replacements import missing


def rotate(
    images: Any,
    angles: Any,
    interpolation: str = "nearest",
    fill_mode: str = "constant",
    name: str | None = None,
    fill_value: float = 0.0,
) -> Any:
    """Rotate images counterclockwise about their centre.

    Args:
        images: (B, H, W, C), (H, W, C) or (H, W).
        angles: radians; one, or (B,).
        interpolation: "nearest" or "bilinear".
        fill_mode: "constant", "nearest", "reflect" or "wrap": what comes in from outside.
        name: not used.
        fill_value: of "constant".

    Returns:
        Shape and type of `images`.
    """
    del name
    images = ops.convert_to_tensor(images)
    rank = len(images.shape)
    if rank not in {2, 3, 4}:
        raise CompatError(f"rotate takes (B, H, W, C), (H, W, C) or (H, W). Received: shape {tuple(images.shape)}")
    batch = images[None, :, :, None] if rank == 2 else images[None] if rank == 3 else images
    shape = ops.shape(batch)
    bottom, right = (ops.cast(side, "float32") - 1.0 for side in shape[1:3])
    angles = ops.reshape(ops.cast(angles, "float32"), (-1,))
    cos, sin, zero = ops.cos(angles), ops.sin(angles), ops.zeros_like(angles)
    across = (right - (cos * right - sin * bottom)) / 2.0
    down = (bottom - (sin * right + cos * bottom)) / 2.0
    transforms = ops.stack([cos, -sin, across, sin, cos, down, zero, zero], axis=1)
    # One angle for all: the operation wants a row for each image.
    transforms = ops.broadcast_to(transforms, (shape[0], 8))
    turned = ops.image.affine_transform(
        batch, transforms, interpolation, fill_mode, fill_value, data_format="channels_last"
    )
    return turned[0, :, :, 0] if rank == 2 else turned[0] if rank == 3 else turned


def cutout(images: Any, mask_size: Any, offset: Any = (0, 0), constant_values: float = 0) -> Any:
    """Fill a rectangle of each image.

    Args:
        images: (B, H, W, C).
        mask_size: height and width in pixels, or one number for both; even.
        offset: row and column of the centre; (2,) for all images or (B, 2).
        constant_values: filled in.

    Returns:
        Shape and type of `images`.

    References:
        DeVries and Taylor 2017, arXiv 1708.04552.
    """
    images = ops.convert_to_tensor(images)
    height, width = _half_sizes(images, mask_size)
    offset = ops.reshape(ops.cast(offset, "int32"), (-1, 2))
    inside = (
        _near(images.shape[1], offset[:, 0], height)[:, :, None] & _near(images.shape[2], offset[:, 1], width)[:, None]
    )
    return ops.where(inside[..., None], ops.cast(constant_values, images.dtype), images)


def random_cutout(images: Any, mask_size: Any, constant_values: float = 0, seed: int | None = None) -> Any:
    """Fill a rectangle at a random place of each image, never over its edge.

    Args:
        images: (B, H, W, C).
        mask_size: height and width in pixels, or one number for both; even.
        constant_values: filled in.
        seed: of the places; calls with the same seed go on in one sequence.

    Returns:
        Shape and type of `images`.
    """
    images = ops.convert_to_tensor(images)
    halves, count = _half_sizes(images, mask_size), ops.shape(images)[0]
    generator = _generator(seed)
    centres = []
    for half, side in zip(halves, images.shape[1:3], strict=True):
        if 2 * half >= side:
            centres.append(ops.full((count,), side // 2, dtype="int32"))
        else:
            centres.append(keras.random.randint((count,), half, side - half, dtype="int32", seed=generator))
    return cutout(images, (2 * halves[0], 2 * halves[1]), ops.stack(centres, axis=1), constant_values)


@functools.cache
def _generator(seed: int | None) -> keras.random.SeedGenerator:
    return keras.random.SeedGenerator(seed)


def _half_sizes(images: Any, mask_size: Any) -> tuple[int, int]:
    if len(images.shape) != 4:
        raise CompatError(f"cutout takes (B, H, W, C). Received: shape {tuple(images.shape)}")
    sizes = np.broadcast_to(np.asarray(mask_size), (2,))
    if (sizes % 2).any() or (sizes < 0).any():
        raise CompatError(f"mask_size must be even. Received: mask_size={mask_size!r}")
    return int(sizes[0]) // 2, int(sizes[1]) // 2


def _near(side: int, centres: Any, half: int) -> Any:
    """(B, side): whether a row or column is within half a mask of the centre."""
    places = ops.arange(side, dtype="int32")[None]
    return (places >= centres[:, None] - half) & (places < centres[:, None] + half)


def __getattr__(name: str) -> Any:
    raise missing("image", name)

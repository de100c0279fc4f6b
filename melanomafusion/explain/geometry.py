"""Where in the image the cells of a feature map lie.

A strided layer that pads an even picture on one side only, as "same" does, moves what it sees by half a pixel; over the
five such layers of a MobileNet or an EfficientNet this adds up to half a cell, 16 pixels of the image. A heat map that
is merely stretched to the size of the image lies so much too high and too far to the left.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from ..errors import MelanomaFusionError

Tensor = Any

_WINDOWS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
)


def cell_centres(feature_map: Tensor) -> np.ndarray:
    """Centre of the field that each row of a feature map sees; columns are alike.

    Args:
        feature_map: symbolic, (B, h, w, C), of a network of square images.

    Returns:
        (h,) pixels of the image, the first pixel's centre at 0.

    Raises:
        MelanomaFusionError: a layer on the way changes the size in a way that is not known here.

    References:
        Araujo, Norris and Sim 2019, Computing receptive fields of convolutional neural networks, doi
        10.23915/distill.00021.
    """
    first, step = 0.0, 1.0  # centre of the first cell, and from cell to cell
    for layer, before, after in reversed(_way_to_the_image(feature_map)):
        if isinstance(layer, _WINDOWS):
            width, stride, pad = _window(layer, before.shape[1])
            first += ((width - 1) / 2 - pad) * step
            step *= stride
        elif isinstance(layer, keras.layers.ZeroPadding2D):
            first -= layer.padding[0][0] * step
        elif before.shape[1] != after.shape[1]:
            raise MelanomaFusionError(
                f"Layer {layer.name!r} ({type(layer).__name__}) changes the size of the feature map in a way that heat "
                "maps do not follow."
            )
    return first + step * np.arange(feature_map.shape[1])


def _way_to_the_image(tensor: Tensor) -> list[tuple[Any, Tensor, Tensor]]:
    """(layer, its input, its output) from a tensor back to the input, through nested models."""
    way: list[tuple[Any, Tensor, Tensor]] = []
    while True:
        layer, index, position = tensor._keras_history
        node = layer._inbound_nodes[index]
        if node.is_input:
            return way
        # Where branches meet, the largest: a gate over channels has one cell.
        before = max((x for x in node.input_tensors if len(x.shape) == 4), key=lambda x: x.shape[1])
        if isinstance(layer, keras.Model):
            way += _way_to_the_image(layer.outputs[position])
        else:
            way.append((layer, before, tensor))
        tensor = before


def _window(layer: Any, size: int) -> tuple[int, int, int]:
    """Width with dilation, stride, and padding before the first pixel."""
    pooling = hasattr(layer, "pool_size")
    width = layer.pool_size[0] if pooling else (layer.kernel_size[0] - 1) * layer.dilation_rate[0] + 1
    stride = layer.strides[0]
    if layer.padding == "valid":
        return width, stride, 0
    return width, stride, max((-(-size // stride) - 1) * stride + width - size, 0) // 2

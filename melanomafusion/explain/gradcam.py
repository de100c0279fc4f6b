"""Heat maps: where in the image the evidence for a model's output lies, through both branches of a fused model."""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from ..errors import MelanomaFusionError
from .geometry import cell_centres
from .gradients import feature_map_of, gradient
from .inputs import model_inputs
from .interpolation import interpolation
from .outputs import ClassIndex, check_class_index, explained_gradient

Tensor = Any
Method = Literal["gradcam", "hirescam"]
METHODS: tuple[Method, ...] = ("gradcam", "hirescam")

_AT_ONCE = 16  # images in memory at once


def gradcam(
    model: keras.Model,
    image: Any,
    metadata: Any = None,
    *,
    method: Method = "gradcam",
    class_index: ClassIndex = None,
    signed: bool = False,
) -> np.ndarray:
    """Heat map of an image, or of each image of a batch.

    Args:
        model: from `build_fusion_model`, with an image branch.
        image: (H, H, 3) or (B, H, H, 3), 0–255.
        metadata: (D,) or (B, D), encoded; `encoder.missing_row()` where nothing is known. None for an image-only model.
        method: "gradcam", or "hirescam" (see Notes).
        class_index: for a multi-class model: a class, or several for their summed probability; the predicted class
            where None.
        signed: give the map as it is computed, at the resolution of the feature map: positive where the image raises
            the output, negative where it lowers it.

    Returns:
        (H, H) or (B, H, H) float32 in 0–1: the positive part at image size, interpolated between the places that the
        cells of the feature map see, divided by its highest value; all 0 where nothing in the image raises the output.
        So a map shows places, not how strong the evidence is. With
        signed=True (h, w) or (B, h, w) float32.

    Raises:
        MelanomaFusionError: a model, an image, metadata or a class that cannot be meant.

    Notes:
        With A the feature map and g its gradient, Grad-CAM sums A over the channels weighted by the mean of g over the
        map; HiResCAM sums g · A, place by place. Behind average pooling g is the same everywhere and the two are one;
        behind generalised-mean pooling they differ, and HiResCAM alone shows the places that the model used.

    References:
        Selvaraju et al. 2017, Grad-CAM, arXiv 1610.02391. Draelos and Carin 2020, HiResCAM, arXiv 2011.08891.
    """
    explaining = build_gradcam_model(model, method=method, class_index=class_index, signed=signed)
    inputs, one = model_inputs(model, image, metadata)
    count = len(inputs["image"])
    maps = []
    for start in range(0, count, _AT_ONCE):
        batch = {name: values[start : start + _AT_ONCE] for name, values in inputs.items()}
        maps.append(ops.convert_to_numpy(explaining(batch, training=False)[1]))
    result = np.concatenate(maps)
    return result[0] if one else result


def build_gradcam_model(
    model: keras.Model, *, method: Method = "gradcam", class_index: ClassIndex = None, signed: bool = False
) -> keras.Model:
    """The model with its heat map as a second output; the layers and weights are those of the model itself.

    Args:
        model, method, class_index, signed: as for `gradcam`.

    Returns:
        Functional model of the same inputs with outputs (logits, heat map), float32. The map is (B, H, H), or (B, h, w)
        where signed. It holds no automatic differentiation, so it runs on any Keras backend and can be exported.

    Raises:
        MelanomaFusionError: as for `gradcam`.
    """
    if method not in METHODS:
        raise MelanomaFusionError(f"method is one of {', '.join(METHODS)}. Received: method={method!r}")
    features = feature_map_of(model)
    logits = model.output
    check_class_index(class_index, logits.shape[-1])
    slope = gradient(logits, features, explained_gradient(logits, class_index))
    values = ops.cast(features, "float32")
    if method == "gradcam":
        # A product of matrices: in an ONNX graph a third of the time of multiplying and adding up.
        slope = ops.mean(slope, axis=(1, 2), keepdims=True)
        result = ops.squeeze(ops.matmul(values, ops.swapaxes(slope, 2, 3)), axis=-1)
    else:
        result = ops.sum(slope * values, axis=-1)
    if not signed:
        result = heatmap(result, image_weights(model))
    return keras.Model(model.input, (logits, result), name=f"{model.name}_{method}")


def image_weights(model: keras.Model) -> np.ndarray:
    """(H, h) float32: how the rows (and columns) at image size are interpolated between those of the feature map."""
    return interpolation(cell_centres(feature_map_of(model)), model.input["image"].shape[1])


def heatmap(signed_map: Tensor, weights: np.ndarray) -> Tensor:
    """(B, h, h) signed → (B, H, H) in 0–1: the positive part at image size, over its highest value.

    Args:
        signed_map: symbolic or not.
        weights: (H, h) from `image_weights`.
    """
    # Two products instead of a resize, whose edges and offsets differ between backends and formats.
    resized = ops.matmul(ops.matmul(weights, ops.relu(signed_map)), weights.T)
    highest = ops.max(resized, axis=(1, 2), keepdims=True)
    return resized / ops.maximum(highest, 1e-30)

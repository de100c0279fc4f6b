"""From trained Keras models to one ONNX graph: uint8 pixels and encoded metadata in, scores and heat map out.

The heat map is Grad-CAM with the gradient written down (`explain/gradients.py`), so it is a part of the graph like any
layer. Several models (the folds of a run) make one graph whose scores are their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..recipes.recipe import Recipe
from .onnx_conversion import converted

if TYPE_CHECKING:
    import keras

_EPSILON = 1e-7  # keeps a float32 score from 0 and 1, where log odds have no value
Tensor = Any


def onnx_graph(models: Sequence[keras.Model], matrices: Sequence[np.ndarray | None], recipe: Recipe) -> Any:
    """Write down what the models compute together.

    Args:
        models: of one recipe.
        matrices: for each model (W, D), which makes the metadata of the graph's input those that this model was trained
            on; None where they are the same.
        recipe: of the models.

    Returns:
        `onnx.ModelProto` with inputs `image` (B, H, H, 3) uint8 and `metadata` (B, W) float32 (one of them for a
        single-branch model), and outputs `logit` (B, 1) or (B, k), `score` (B,), `class_scores` (B, k) of a multi-class
        model, and where there is an image branch `heatmap` (B, H, H) in 0–1 and `signed_map` (B, h, h), which it is
        made of.
    """
    import tensorflow as tf

    inputs = models[0].input
    shapes = {name: tensor.shape for name, tensor in inputs.items()}
    if matrices[0] is not None:
        shapes["metadata"] = (None, len(matrices[0]))
    types = {"image": tf.uint8, "metadata": tf.float32}
    signature = [tf.TensorSpec(shape, types[name], name=name) for name, shape in shapes.items()]
    compute = _together(models, matrices, recipe)

    def run(*tensors: Tensor) -> dict[str, Tensor]:
        return compute({name: tf.cast(x, tf.float32) for name, x in zip(shapes, tensors, strict=True)})

    return converted(run, signature)


def _together(
    models: Sequence[keras.Model], matrices: Sequence[np.ndarray | None], recipe: Recipe
) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """A function of float32 inputs by name that gives the outputs by name."""
    from ..explain.explanation import class_index_of
    from ..explain.gradcam import build_gradcam_model, heatmap, image_weights

    explained = class_index_of(recipe)
    if recipe.uses_images:
        weights = image_weights(models[0])
        parts = [build_gradcam_model(model, class_index=explained, signed=True) for model in models]
    else:
        parts = list(models)

    def compute(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        found = []
        for part, matrix in zip(parts, matrices, strict=True):
            given = inputs if matrix is None else {**inputs, "metadata": inputs["metadata"] @ matrix.astype("float32")}
            found.append(part(given, training=False))
        if not recipe.uses_images:
            return _scores(found, recipe)
        logits, maps = zip(*found, strict=True)
        mean = sum(maps) / len(maps)
        return {**_scores(list(logits), recipe), "heatmap": heatmap(mean, weights), "signed_map": mean}

    return compute


def _scores(logits: list[Tensor], recipe: Recipe) -> dict[str, Tensor]:
    """Logits and scores, the mean over the models; the logits of several are those of their mean."""
    from keras import ops

    probabilities = [ops.softmax(x) if recipe.classes else ops.sigmoid(x) for x in logits]
    mean = sum(probabilities) / len(probabilities)
    kept = ops.clip(mean, _EPSILON, 1 - _EPSILON)
    together = ops.log(kept) if recipe.classes else ops.log(kept) - ops.log(1 - kept)
    outputs = {"logit": logits[0] if len(logits) == 1 else together}
    if not recipe.classes:
        return {**outputs, "score": mean[:, 0]}
    positive = np.isin(recipe.classes, recipe.positive_classes).astype("float32")
    return {**outputs, "score": ops.sum(mean * positive, axis=-1), "class_scores": mean}

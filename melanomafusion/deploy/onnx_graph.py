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

    from ..evaluation.calibration import Calibrator
    from .encodings import Translation

Tensor = Any


def onnx_graph(
    models: Sequence[keras.Model],
    recipe: Recipe,
    *,
    translations: Sequence[Translation] | None = None,
    calibrator: Calibrator | None = None,
) -> Any:
    """Write down what the models compute together.

    Args:
        models: of one recipe.
        recipe: of the models.
        translations: for each model, from the metadata of the graph's input to those it was trained on; the same
            without it.
        calibrator: from the score to a probability.

    Returns:
        `onnx.ModelProto` with inputs `image` (B, H, H, 3) uint8 and `metadata` (B, W) float32 (one of them for a
        single-branch model), and outputs `logit` (B, 1) or (B, k), `score` (B,), `probability` (B,) with a calibrator,
        `class_scores` (B, k) of a multi-class model, and where there is an image branch `heatmap` (B, H, H) in 0–1 and
        `signed_map` (B, h, h), which it is made of.
    """
    return converted(*traceable(models, recipe, translations=translations, calibrator=calibrator))


def traceable(
    models: Sequence[keras.Model],
    recipe: Recipe,
    *,
    translations: Sequence[Translation] | None = None,
    calibrator: Calibrator | None = None,
) -> tuple[Callable[..., dict[str, Tensor]], list[Any]]:
    """What `onnx_graph` writes down, as a function of tensors and a `tf.TensorSpec` for each of them."""
    import tensorflow as tf

    inputs = models[0].input
    shapes = {name: tensor.shape for name, tensor in inputs.items()}
    if translations:
        shapes["metadata"] = (None, len(translations[0].matrix))
    types = {"image": tf.uint8, "metadata": tf.float32}
    signature = [tf.TensorSpec(shape, types[name], name=name) for name, shape in shapes.items()]
    changes: list[Translation | None] = [*translations] if translations else [None] * len(models)
    compute = _together(models, recipe, changes, calibrator)

    def run(*tensors: Tensor) -> dict[str, Tensor]:
        return compute({name: tf.cast(x, tf.float32) for name, x in zip(shapes, tensors, strict=True)})

    return run, signature


def _together(
    models: Sequence[keras.Model],
    recipe: Recipe,
    translations: Sequence[Translation | None],
    calibrator: Calibrator | None,
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
        for model, change in zip(parts, translations, strict=True):
            given = dict(inputs)
            if change is not None:
                given["metadata"] = inputs["metadata"] @ change.matrix.astype("float32") + change.shift.astype(
                    "float32"
                )
            found.append(model(given, training=False))
        if not recipe.uses_images:
            return _scores(found, recipe, calibrator)
        logits, maps = zip(*found, strict=True)
        mean = sum(maps) / len(maps)
        return {**_scores(list(logits), recipe, calibrator), "heatmap": heatmap(mean, weights), "signed_map": mean}

    return compute


def _scores(logits: list[Tensor], recipe: Recipe, calibrator: Calibrator | None) -> dict[str, Tensor]:
    """Logits and scores, the mean over the models; the logits of several are those of their mean."""
    from keras import ops

    if not recipe.classes:
        inside = _mean_of_logs([-ops.softplus(-x) for x in logits])
        outside = _mean_of_logs([-ops.softplus(x) for x in logits])
        together = logits[0] if len(logits) == 1 else inside - outside
        odds = together[:, 0]
        score = ops.sigmoid(odds)
        outputs = {"logit": together, "score": score}
    else:
        together = _mean_of_logs([ops.log_softmax(x) for x in logits])
        values = ops.softmax(together)
        positive = np.isin(recipe.classes, recipe.positive_classes)
        score = ops.sum(values * positive.astype("float32"), axis=-1)
        outputs = {"logit": logits[0] if len(logits) == 1 else together, "score": score, "class_scores": values}
        inside = ops.logsumexp(ops.take(together, np.flatnonzero(positive), axis=-1), axis=-1)
        outside = ops.logsumexp(ops.take(together, np.flatnonzero(~positive), axis=-1), axis=-1)
        odds = inside - outside
    if calibrator is not None:
        outputs["probability"] = _probability(score, odds, calibrator)
    return outputs


def _mean_of_logs(values: list[Tensor]) -> Tensor:
    """log(mean(exp)) over the models: exact also where a score is so near 0 or 1 that float32 could not tell."""
    from keras import ops

    return values[0] if len(values) == 1 else ops.logsumexp(ops.stack(values), axis=0) - np.log(len(values))


def _probability(score: Tensor, odds: Tensor, calibrator: Calibrator) -> Tensor:
    """What `Calibrator.transform` computes; a step function as a sum of ramps."""
    from keras import ops

    line = calibrator.line
    if line is not None:
        return ops.sigmoid(line[0] + line[1] * odds)
    places, values = calibrator.steps
    starts, widths = places[:-1].astype("float32"), np.maximum(np.diff(places), 1e-12).astype("float32")
    climbed = ops.clip((score[:, None] - starts) / widths, 0.0, 1.0)  # how far up each step, 0–1
    return float(values[0]) + ops.sum(climbed * np.diff(values).astype("float32"), axis=-1)

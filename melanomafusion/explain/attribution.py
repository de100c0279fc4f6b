"""What the image and each metadata field add to a model's output: exact Shapley values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from ..data.metadata import MetadataEncoder
from ..errors import MelanomaFusionError, MetadataError
from .gradients import POOLING
from .inputs import model_inputs
from .outputs import ClassIndex, check_class_index, explained_values

IMAGE = "image"
_AT_ONCE = 256  # coalitions through the head at once


@dataclass(frozen=True)
class Attribution:
    """How an output came about, in log odds (for a class of a multi-class model: in units of its logit).

    Attributes:
        contributions: "image" and each field that is present → its Shapley value. Their sum is `output - baseline`.
        baseline: the output with no metadata given and with `blank_image` for the image.
        output: the output of the record as it is.
    """

    contributions: dict[str, float]
    baseline: float
    output: float


def attribute(
    model: keras.Model,
    encoder: MetadataEncoder | None,
    *,
    image: Any = None,
    metadata: Any = None,
    class_index: ClassIndex = None,
) -> Attribution:
    """Shapley values of the image and of each metadata field that is present, exact: every coalition is computed.

    A field left out is shown as the encoder shows a missing one, which the model knows from training. An image left out
    is shown as `blank_image`.

    Args:
        model: from `build_fusion_model`.
        encoder: that encoded the metadata; None for an image-only model.
        image: (H, H, 3), 0–255; None for a metadata-only model.
        metadata: (D,) encoded; None for an image-only model.
        class_index: as for `gradcam`; the class predicted for the record where None.

    Raises:
        MelanomaFusionError: an input that the model does not take, or more than one record.

    Notes:
        The Shapley value of a part is the mean of what it adds, over all orders in which the parts can be put in; it is
        the one division of the difference that treats like parts alike and sums up (Shapley 1953, doi
        10.1515/9781400881970-018; Lundberg and Lee 2017, arXiv 1705.07874). A record with f fields takes 2^(f+1) passes
        of the head and two of the backbone.
    """
    inputs, one = model_inputs(model, image, metadata)
    if not one:
        raise MelanomaFusionError("attribute explains one record: an image (H, H, 3), metadata (D,).")
    check_class_index(class_index, model.output_shape[-1])
    if (encoder is None) != ("metadata" not in inputs):
        raise MelanomaFusionError("Give the encoder with the metadata, and only with them.")
    if encoder is not None and encoder.width != inputs["metadata"].shape[1]:
        raise MetadataError(
            f"The encoder has {encoder.width} columns, the model {inputs['metadata'].shape[1]}: it is another model's."
        )
    parts = [IMAGE] if "image" in inputs else []
    if encoder is not None:
        parts += _present(encoder, inputs["metadata"][0])
    coalitions = _coalitions(len(parts))
    values = _values_of(model, inputs, encoder, parts, coalitions, class_index)
    contributions = dict(zip(parts, map(float, shapley_values(values)), strict=True))
    return Attribution(contributions, float(values[0]), float(values[-1]))


def blank_image(image: np.ndarray) -> np.ndarray:
    """What stands for an image left out: its mean colour everywhere, (H, H, 3) or (B, H, H, 3) float32.

    It has neither a lesion nor any structure, but keeps brightness and tint, which come from skin, lamp and camera:
    those are in the baseline, not in the image's contribution. A blurred image would still show the size and colour of
    the lesion, which are evidence; black or grey is farther from any photograph. No model is trained on flat images, so
    what it says of one, and with it the division between baseline and image, is a convention.
    """
    mean = np.asarray(image, dtype="float32").mean(axis=(-3, -2), keepdims=True)
    return np.asarray(np.ones(np.shape(image), dtype="float32") * mean)


def shapley_values(values: np.ndarray) -> np.ndarray:
    """Shapley values of n players.

    Args:
        values: (2^n,) of each coalition; bit i of its number says whether player i is in it.

    Returns:
        (n,) float64.
    """
    values = np.asarray(values, dtype="float64")
    count = len(values).bit_length() - 1
    numbers = np.arange(len(values))
    sizes = np.bitwise_count(numbers)
    result = np.zeros(count)
    for player in range(count):
        without = numbers[(numbers >> player) & 1 == 0]
        size = sizes[without]
        weight = np.array([1 / (count * math.comb(count - 1, int(s))) for s in size])
        result[player] = np.sum(weight * (values[without | (1 << player)] - values[without]))
    return result


def _present(encoder: MetadataEncoder, encoded: np.ndarray) -> list[str]:
    """Fields whose columns are not those of a missing one."""
    missing = encoder.missing_row()
    return [name for name, columns in encoder.slices.items() if not np.array_equal(encoded[columns], missing[columns])]


def _coalitions(count: int) -> np.ndarray:
    """(2^n, n) bool: who is in, by number of the coalition."""
    return np.asarray((np.arange(2**count)[:, None] >> np.arange(count)[None, :]) & 1 == 1)


def _values_of(
    model: keras.Model,
    inputs: dict[str, np.ndarray],
    encoder: MetadataEncoder | None,
    parts: list[str],
    coalitions: np.ndarray,
    class_index: ClassIndex,
) -> np.ndarray:
    """(2^n,) float64: the output for each coalition. The backbone sees the two images once each."""
    wanted, head_inputs, columns = model.input, [], []
    if IMAGE in inputs:
        features = model.get_layer(POOLING).output
        both = np.concatenate([blank_image(inputs[IMAGE]), inputs[IMAGE]])
        pooled = ops.convert_to_numpy(keras.Model(wanted[IMAGE], features)(both, training=False))
        head_inputs.append(features)
        columns.append(pooled[coalitions[:, 0].astype(int)])
    if encoder is not None:
        shown = np.repeat(encoder.missing_row()[None], len(coalitions), axis=0)
        for i, name in enumerate(parts):
            if name != IMAGE:
                where = encoder.slices[name]
                shown[coalitions[:, i], where] = inputs["metadata"][0, where]
        head_inputs.append(wanted["metadata"])
        columns.append(shown)
    head = keras.Model(head_inputs, model.output)
    batches = ([column[i : i + _AT_ONCE] for column in columns] for i in range(0, len(coalitions), _AT_ONCE))
    logits = np.concatenate([ops.convert_to_numpy(head(batch, training=False)) for batch in batches])
    if class_index is None and logits.shape[1] > 1:
        class_index = int(np.argmax(logits[-1]))
    return explained_values(np.asarray(logits), class_index)

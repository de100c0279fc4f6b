"""A head trained on the features of a frozen backbone: one pass over the images instead of one in each epoch.

While the backbone is frozen and images are not augmented, each epoch would compute the same features again. They are
computed once, kept on disk, and what stands behind them (metadata branch, fusion, head) is trained on them. Its layers
are the model's own, so the model has the trained weights without a copy.

Plain training differs in one thing: it leaves the dropout inside a frozen EfficientNet (stochastic depth) switched on.
Here the whole backbone runs as it does in prediction.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from ..data.dataset import Dataset
from ..data.metadata import MetadataEncoder
from ..images.pipeline import inference_pipeline
from ..images.pixels import Pixels
from ..images.spec import ImageSpec
from ..recipes.recipe import Recipe
from ..recipes.stage import Stage
from .feature_store import Features, FeatureStore, image_identities

_FORMAT = 1
# Images per part of the store: 42 MB of the widest backbone, and what a killed pass has to do again.
_PART = 4096


def trains_on_features(recipe: Recipe, stage: Stage) -> bool:
    """Whether every epoch of a stage sees the same features: the backbone frozen, the images as they are."""
    frozen = recipe.uses_images and stage.trainable == "head"
    as_they_are = recipe.augmentation_of(stage) == "none" and not (recipe.mixup or recipe.cutmix)
    return frozen and as_they_are and recipe.image_size_of(stage) == recipe.image_size


def build_head(model: keras.Model) -> keras.Model:
    """What stands behind the pooled features, made of the model's own layers.

    Args:
        model: from `build_fusion_model`, with an image branch.

    Returns:
        Model of features (B, width), or of (features, metadata (B, D)) where there is a metadata branch, with the
        model's logits.
    """
    pooled = model.get_layer("pooling").output
    metadata = [tensor for name, tensor in model.input.items() if name != "image"]
    return keras.Model((pooled, *metadata) if metadata else pooled, model.output, name="head_of_" + model.name)


def frozen_features(
    model: keras.Model,
    dataset: Dataset,
    *,
    backbone: str,
    spec: ImageSpec,
    pixels: Pixels | None,
    folder: str | Path,
    batch_size: int,
    report: Callable[[dict[str, Any]], None],
) -> Features:
    """Pooled features of every record, from disk where they are known, else computed in one pass and kept.

    Args:
        model: from `build_fusion_model`, with the weights that stay frozen.
        dataset: records with images.
        backbone: its name.
        spec: image size.
        pixels: decoded images; None decodes files.
        folder: where features are kept, shared by folds and runs: in it, a folder for each backbone with its weights,
            image spec and precision. A record is known by the path, size and time of its image file.
        batch_size: images.
        report: called with "features" events.

    Raises:
        ImageError: image files are gone.
        OutputError: the features cannot be written.
    """
    extractor = keras.Model(model.input["image"], model.get_layer("pooling").output)
    store = FeatureStore(Path(folder) / _key(model, extractor, backbone, spec), extractor.output.shape[-1])
    images = image_identities(dataset)
    missing = store.lacks(images)
    compute = _computation(extractor)
    for start in range(0, len(missing), _PART):
        rows = missing[start : start + _PART]
        part = dataset.select(dataset.image_names[rows])
        features = np.empty((len(rows), store.width), dtype="float32")
        done = 0
        for inputs, *_ in inference_pipeline(part, None, spec, batch_size=batch_size, pixels=pixels):
            batch = compute(inputs["image"]).numpy()
            features[done : done + len(batch)] = batch
            done += len(batch)
            report({"kind": "features", "done": start + done, "total": len(missing)})
        store.add([images[row] for row in rows], features)
    return store.read(images)


def _key(model: keras.Model, extractor: keras.Model, backbone: str, spec: ImageSpec) -> str:
    """SHA-256 of all that the features of an image follow from, but for the image."""
    normalisation = model.get_layer("normalisation")
    facts = {
        "format": _FORMAT,
        "backbone": backbone,
        "normalisation": [np.asarray(normalisation.scale).tolist(), np.asarray(normalisation.offset).tolist()],
        "image": spec.to_json(),
        "precision": extractor.dtype_policy.name,
        "shapes": [list(weights.shape) for weights in extractor.weights],
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for weights in extractor.weights:
        digest.update(np.asarray(weights.numpy()).tobytes())
    return digest.hexdigest()


def _computation(extractor: keras.Model) -> Callable[[Any], Any]:
    """Images (B, H, H, 3) → features, in inference mode. No XLA: see `train_stages`."""
    signature = [tf.TensorSpec((None, *extractor.input.shape[1:]), tf.float32)]

    @tf.function(input_signature=signature, jit_compile=False)  # type: ignore[untyped-decorator]
    def compute(images: Any) -> Any:
        return extractor(images, training=False)

    return compute  # type: ignore[no-any-return]


class RowEncoder:
    """An encoder whose last column is the record's row, by which a batch finds its features.

    So order, weights, labels and metadata dropout are those that `training_pipeline` gives with images, draw for draw.

    Args:
        encoder: fitted; None for an image-only model.
    """

    def __init__(self, encoder: MetadataEncoder | None) -> None:
        self.encoder = encoder

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        """(n, D + 1) float32; rows up to 16,777,216 are exact."""
        rows = np.arange(len(frame), dtype="float32")[:, None]
        return rows if self.encoder is None else np.hstack([self.encoder.transform(frame), rows])

    def drop_fields(
        self, encoded: np.ndarray, rate: float, rng: np.random.Generator, together: float = 0.0
    ) -> np.ndarray:
        """Metadata dropout of all columns but the last."""
        if self.encoder is None:
            return encoded
        return np.hstack([self.encoder.drop_fields(encoded[:, :-1], rate, rng, together), encoded[:, -1:]])


def attach_features(pipeline: tf.data.Dataset, features: Features, *, metadata: bool) -> tf.data.Dataset:
    """Turn the metadata and rows of a `RowEncoder`'s pipeline into the inputs of `build_head`'s model.

    Args:
        pipeline: of ({"metadata": (B, D + 1)}, …), made without images.
        features: of the data set the pipeline was made of.
        metadata: whether the model has a metadata branch.
    """

    def take(rows: np.ndarray) -> np.ndarray:
        return features.take(rows.astype("int64"))

    def to_example(inputs: dict[str, Any], *rest: Any) -> tuple[Any, ...]:
        columns = inputs["metadata"]
        found = tf.numpy_function(take, [columns[:, -1]], tf.float32, stateful=False)
        found = tf.ensure_shape(found, (None, features.width))
        return ((found, columns[:, :-1]) if metadata else found, *rest)

    return pipeline.map(to_example, num_parallel_calls=1, deterministic=True).prefetch(2)

"""tf.data pipelines: one for training, one for everything else.

Both give {"image": (B, H, H, 3) float32 0–255, "metadata": (B, D) float32}, with one key only for a single-branch
model. Order and chance of a training epoch follow from (seed, epoch) alone, those of a record from (seed, epoch,
its place in the order of the epoch).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from ..data.dataset import Dataset
from ..data.imbalance import Imbalance, epoch_rows, sample_weights
from ..data.metadata import MetadataEncoder
from ..errors import MelanomaFusionError, RecipeError
from .augment import dihedral_view, get_policy
from .pixels import Pixels, undecoded_pixels
from .spec import ImageSpec

_IMBALANCE: dict[str | None, Imbalance] = {
    "balanced": "class_weight",
    "oversample": "oversample",
    None: "none",
}


class EpochCounter:
    """Number of the epoch that the next pass over a training pipeline is; counts up by itself.

    Set `epoch` to make a certain epoch again.
    """

    def __init__(self, epoch: int = 0) -> None:
        self.epoch = epoch

    def take(self) -> int:
        """The epoch, counted up for the next pass."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        return epoch


def training_pipeline(
    dataset: Dataset,
    encoder: MetadataEncoder | None,
    spec: ImageSpec | None,
    *,
    batch_size: int = 32,
    class_weight: str | None = None,
    oversample_to: float = 0.2,
    augmentation: str = "light",
    metadata_dropout: float = 0.0,
    labels: np.ndarray | None = None,
    seed: int = 0,
    pixels: Pixels | None = None,
    counter: EpochCounter | None = None,
) -> tf.data.Dataset:
    """Shuffled, augmented batches for `model.fit`; one pass is one epoch, and each pass is another one.

    Args:
        dataset: training records.
        encoder: fitted on training rows; None for a model without a metadata branch.
        spec: image size; None for a model without an image branch.
        batch_size: records per batch; the last batch of an epoch may be smaller.
        class_weight: "balanced" (sample weights of mean 1), "oversample" (positives repeated), or None.
        oversample_to: share of positives in an epoch, for "oversample".
        augmentation: "light" or "none".
        metadata_dropout: probability that a field of a record is shown as missing.
        labels: (n,) class numbers of a multi-class model; the data set's targets without it.
        seed: of order, augmentation and metadata dropout.
        pixels: decoded images (`open_pixels`); files are decoded in each epoch without it.
        counter: whose epoch comes next.

    Returns:
        Pipeline of (inputs, labels (B, 1) or one-hot (B, k) float32, sample weights (B,) float32).

    Raises:
        RecipeError: unknown class_weight or augmentation; neither encoder nor spec.
    """
    if class_weight not in _IMBALANCE:
        raise RecipeError(f'class_weight is "balanced", "oversample" or None. Received: class_weight={class_weight!r}')
    _check_inputs(encoder, spec)
    policy = get_policy(augmentation)
    counter = counter or EpochCounter()
    y = dataset.targets if labels is None else np.asarray(labels)
    weights = sample_weights(y, _IMBALANCE[class_weight])
    rows = epoch_rows(y, _IMBALANCE[class_weight], oversample_to)
    shaped = _shaped_labels(y, None if labels is None else int(y.max()) + 1)
    encoded = encoder.transform(dataset.frame) if encoder else np.zeros((len(dataset), 0), "float32")

    def one_epoch() -> Iterator[tuple[np.ndarray, ...]]:
        epoch = counter.take()
        rng = np.random.default_rng((seed, epoch))
        order = rng.permutation(rows)
        metadata = encoder.drop_fields(encoded, metadata_dropout, rng) if encoder and metadata_dropout else encoded
        # An oversampled record comes several times in an epoch; its place in the order makes each look different.
        seeds = np.column_stack([np.full(len(order), seed * 100_003 + epoch), np.arange(len(order))]).astype("int32")
        yield order, metadata[order], shaped[order], weights[order], seeds

    signature = (
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None, encoded.shape[1]), tf.float32),
        tf.TensorSpec((None, shaped.shape[1]), tf.float32),
        tf.TensorSpec((None,), tf.float32),
        tf.TensorSpec((None, 2), tf.int32),
    )
    records = tf.data.Dataset.from_generator(one_epoch, output_signature=signature).flat_map(
        lambda *arrays: tf.data.Dataset.from_tensor_slices(arrays)
    )
    load = _image_loader(dataset, spec, pixels)

    def to_example(row: Any, metadata: Any, label: Any, weight: Any, record_seed: Any) -> tuple[Any, Any, Any]:
        inputs = {}
        if load is not None:
            inputs["image"] = policy(load(row), record_seed)
        if encoder is not None:
            inputs["metadata"] = metadata
        return inputs, label, weight

    # Map before batch: augmenting single images in parallel is several times faster than whole float batches.
    batches = records.map(to_example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).batch(batch_size)
    steps = -(-len(rows) // batch_size)
    return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(tf.data.AUTOTUNE)


def inference_pipeline(
    dataset: Dataset,
    encoder: MetadataEncoder | None,
    spec: ImageSpec | None,
    *,
    batch_size: int = 32,
    view: int = 0,
    pixels: Pixels | None = None,
) -> tf.data.Dataset:
    """Batches in the order of the table, never shuffled or changed, for `predict` and `evaluate`.

    Args:
        dataset: records, with or without targets.
        encoder: None for a model without a metadata branch.
        spec: None for a model without an image branch.
        batch_size: records per batch.
        view: one of the eight turns and mirrorings (0 = as it is), for test-time augmentation.
        pixels: decoded images; files are decoded without it.

    Returns:
        Pipeline of (inputs, targets (B, 1) float32), or of (inputs,) where the records have no target.
    """
    _check_inputs(encoder, spec)
    columns: dict[str, Any] = {"row": np.arange(len(dataset), dtype="int64")}
    if encoder is not None:
        columns["metadata"] = encoder.transform(dataset.frame)
    if dataset.has_target:
        columns["target"] = dataset.targets.astype("float32")[:, None]
    load = _image_loader(dataset, spec, pixels, view)

    def to_example(record: dict[str, Any]) -> tuple[Any, ...]:
        inputs = {}
        if load is not None:
            inputs["image"] = load(record["row"])
        if encoder is not None:
            inputs["metadata"] = record["metadata"]
        return (inputs, record["target"]) if "target" in record else (inputs,)

    records = tf.data.Dataset.from_tensor_slices(columns)
    batches = records.map(to_example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).batch(batch_size)
    return batches.prefetch(tf.data.AUTOTUNE)


def _check_inputs(encoder: MetadataEncoder | None, spec: ImageSpec | None) -> None:
    if encoder is None and spec is None:
        raise RecipeError("A pipeline needs an encoder (metadata), a spec (images), or both. Received: neither")


def _shaped_labels(y: np.ndarray, n_classes: int | None) -> np.ndarray:
    return y[:, None].astype("float32") if n_classes is None else np.eye(n_classes, dtype="float32")[y]


def _image_loader(dataset: Dataset, spec: ImageSpec | None, pixels: Pixels | None, view: int = 0) -> Any:
    if spec is None:
        return None
    source = pixels or undecoded_pixels(dataset, spec)
    names = [str(name) for name in dataset.image_names]
    shape = (spec.size, spec.size, 3)
    if source.spec != spec:
        raise MelanomaFusionError(f"The pixels were decoded at {source.spec.size}, the pipeline wants {spec.size}.")

    def read(row: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(dihedral_view(source.load(names[int(row)]), view))

    def load(row: tf.Tensor) -> tf.Tensor:
        image = tf.numpy_function(read, [row], tf.uint8, stateful=False)
        return tf.cast(tf.ensure_shape(image, shape), tf.float32)

    return load

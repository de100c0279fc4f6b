"""tf.data pipelines: one for training, one for everything else.

Both give {"image": (B, H, H, 3) float32 0–255, "metadata": (B, D) float32}, with one key only for a single-branch
model. Order and chance of a training epoch follow from (seed, epoch) alone, those of a record from (seed, epoch,
record), so any batch can be made again alone. tf.data keeps batches coming while the model computes; a batch is made in
NumPy and OpenCV, which release Python's lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from ..data.dataset import Dataset
from ..data.imbalance import Imbalance, epoch_rows, sample_weights
from ..data.metadata import MetadataEncoder
from ..errors import MelanomaFusionError, RecipeError
from .augment import Augmentation
from .batches import ImageBatches
from .mixing import Mixing
from .pixels import Pixels, undecoded_pixels
from .policies import get_policy
from .spec import ImageSpec

_PARALLEL = 2  # batches at once: one process has one Python lock, more only wait for it

_IMBALANCE: dict[str | None, Imbalance] = {
    "balanced": "class_weight",
    "oversample": "oversample",
    None: "none",
}
_NO_IMAGES = np.zeros((0,), dtype="float32")


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
    source_weights: Mapping[str, float] | None = None,
    source_sampling: Mapping[str, float] | None = None,
    augmentation: str | Augmentation = "light",
    mixup: float = 0.0,
    cutmix: float = 0.0,
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
        source_weights: source → factor of its records' weights; sources not named have 1.
        source_sampling: source → records drawn in an epoch, as a multiple of its records; sources not named have 1.
        augmentation: "none", "light", "medium", "winner-2020", "rand-augment", or a function (image (H, H, 3) uint8,
            numpy Generator) → image.
        mixup: parameter of the Beta distribution by which records of a batch are mixed; 0 for none.
        cutmix: the same for rectangles cut from one image into another.
        metadata_dropout: probability that a field of a record is shown as missing.
        labels: (n,) class numbers of a multi-class model; the data set's targets without it.
        seed: of order, augmentation, mixing and metadata dropout.
        pixels: decoded images (`open_pixels`); files are decoded in each epoch without it.
        counter: whose epoch comes next.

    Returns:
        Pipeline of (inputs, labels (B, 1) or one-hot (B, k) float32, sample weights (B,) float32).

    Raises:
        RecipeError: a value that cannot work; neither encoder nor spec.
    """
    if class_weight not in _IMBALANCE:
        raise RecipeError(f'class_weight is "balanced", "oversample" or None. Received: class_weight={class_weight!r}')
    _check_inputs(encoder, spec)
    policy, mixing = get_policy(augmentation), Mixing(mixup, cutmix)
    counter = counter or EpochCounter()
    imbalance = _IMBALANCE[class_weight]
    y = dataset.targets if labels is None else np.asarray(labels)
    sources = dataset.frame["source"].to_numpy()
    weights = sample_weights(y, imbalance, sources=sources, source_weights=source_weights or None)
    shaped = _shaped_labels(y, None if labels is None else int(y.max()) + 1)
    encoded = encoder.transform(dataset.frame) if encoder else np.zeros((len(dataset), 0), "float32")
    images = _image_batches(dataset, spec, pixels)

    def rows_of(rng: np.random.Generator) -> np.ndarray:
        return epoch_rows(
            y, imbalance, oversample_to, sources=sources, source_sampling=source_sampling or None, rng=rng
        )

    def one_epoch() -> Iterator[tuple[np.ndarray, ...]]:
        epoch = counter.take()
        rng = np.random.default_rng((seed, epoch))
        order = rng.permutation(rows_of(rng))
        metadata = encoder.drop_fields(encoded, metadata_dropout, rng) if encoder and metadata_dropout else encoded
        epochs = np.full(len(order), epoch)
        yield order, _repeats(order), epochs, metadata[order], shaped[order], weights[order]

    def make_batch(
        rows: np.ndarray, repeats: np.ndarray, epochs: np.ndarray, *others: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        epoch = int(epochs[0])
        batch = _NO_IMAGES if images is None else images.augmented(rows, repeats, epoch, seed, policy)
        if mixing and len(rows) > 1:
            return mixing.mix(batch, *others, rng=np.random.default_rng((seed, epoch, int(rows[0]), int(repeats[0]))))
        return (batch, *others)

    signature = (
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None, encoded.shape[1]), tf.float32),
        tf.TensorSpec((None, shaped.shape[1]), tf.float32),
        tf.TensorSpec((None,), tf.float32),
    )
    shapes = [spec_of.shape for spec_of in signature[3:]]

    def to_batch(*arrays: tf.Tensor) -> tuple[Any, Any, Any]:
        made = tf.numpy_function(make_batch, arrays, [tf.float32] * 4, stateful=False)
        metadata, label, weight = (tf.ensure_shape(value, shape) for value, shape in zip(made[1:], shapes, strict=True))
        return _inputs(made[0], metadata, encoder, spec), label, weight

    records = tf.data.Dataset.from_generator(one_epoch, output_signature=signature).flat_map(
        lambda *arrays: tf.data.Dataset.from_tensor_slices(arrays)
    )
    steps = -(-len(rows_of(np.random.default_rng(seed))) // batch_size)
    batches = records.batch(batch_size).map(to_batch, num_parallel_calls=_PARALLEL, deterministic=True)
    return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)


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
    images = _image_batches(dataset, spec, pixels)

    def to_batch(records: dict[str, Any]) -> tuple[Any, ...]:
        batch = None
        if images is not None:
            batch = tf.numpy_function(
                lambda rows: images.load(rows, view), [records["row"]], tf.float32, stateful=False
            )
        inputs = _inputs(batch, records.get("metadata"), encoder, spec)
        return (inputs, records["target"]) if "target" in records else (inputs,)

    records = tf.data.Dataset.from_tensor_slices(columns).batch(batch_size)
    return records.map(to_batch, num_parallel_calls=_PARALLEL, deterministic=True).prefetch(2)


def _check_inputs(encoder: MetadataEncoder | None, spec: ImageSpec | None) -> None:
    if encoder is None and spec is None:
        raise RecipeError("A pipeline needs an encoder (metadata), a spec (images), or both. Received: neither")


def _inputs(images: Any, metadata: Any, encoder: MetadataEncoder | None, spec: ImageSpec | None) -> dict[str, Any]:
    inputs = {}
    if spec is not None:
        inputs["image"] = tf.ensure_shape(images, (None, spec.size, spec.size, 3))
    if encoder is not None:
        inputs["metadata"] = metadata
    return inputs


def _repeats(rows: np.ndarray) -> np.ndarray:
    """(n,) how often each row came before: an oversampled record looks different each time."""
    by_row = np.argsort(rows, kind="stable")
    ordered = rows[by_row]
    first = np.r_[0, np.flatnonzero(np.diff(ordered)) + 1]
    repeats = np.empty(len(rows), dtype="int64")
    repeats[by_row] = np.arange(len(rows)) - np.repeat(first, np.diff(np.r_[first, len(rows)]))
    return repeats


def _shaped_labels(y: np.ndarray, n_classes: int | None) -> np.ndarray:
    return y[:, None].astype("float32") if n_classes is None else np.eye(n_classes, dtype="float32")[y]


def _image_batches(dataset: Dataset, spec: ImageSpec | None, pixels: Pixels | None) -> ImageBatches | None:
    if spec is None:
        return None
    source = pixels or undecoded_pixels(dataset, spec)
    if source.spec != spec:
        raise MelanomaFusionError(f"The pixels were decoded at {source.spec.size}, the pipeline wants {spec.size}.")
    return ImageBatches(source, [str(name) for name in dataset.image_names])

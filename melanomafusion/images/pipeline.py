"""tf.data pipelines: one for training, one for everything else.

Both give {"image": (B, H, H, 3) float32 0–255, "metadata": (B, D) float32}, with one key only for a single-branch
model. Order and chance of a training epoch follow from (seed, epoch) alone, those of a record from (seed, epoch,
record), so any batch can be made again alone. tf.data keeps batches coming while the model computes; a batch is made in
NumPy and OpenCV, which release Python's lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from ..data.dataset import Dataset
from ..data.imbalance import Imbalance, sample_weights
from ..data.metadata import MetadataEncoder
from ..errors import MelanomaFusionError, RecipeError
from .augment import Augmentation
from .batches import ImageBatches
from .epochs import EpochCounter, Epochs, check_labels, check_numbers
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
    image_size: int | None = None,
    augmentation: str | Augmentation = "light",
    mixup: float = 0.0,
    cutmix: float = 0.0,
    metadata_dropout: float = 0.0,
    modality_dropout: float = 0.0,
    labels: np.ndarray | None = None,
    seed: int = 0,
    pixels: Pixels | None = None,
    counter: EpochCounter | None = None,
    first_batch: int = 0,
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
        image_size: side to which images are reduced once they are augmented; that of `spec` without it.
        augmentation: a name from `images/policies.py` ("none", "light", "medium", …), or a function (image (H, H, 3)
            uint8, numpy Generator) → image.
        mixup: parameter of the Beta distribution by which records of a batch are mixed; 0 for none.
        cutmix: the same for rectangles cut from one image into another.
        metadata_dropout: probability that a field of a record is shown as missing.
        modality_dropout: probability that all fields of a record are shown as missing.
        labels: (n,) class numbers of a multi-class model, 0 … k−1, the last among them; the targets without it.
        seed: of order, augmentation, mixing and metadata dropout.
        pixels: decoded images (`open_pixels`); files are decoded in each epoch without it.
        counter: whose epoch comes next.
        first_batch: batches at the beginning of each epoch that are left out, and not made.

    Returns:
        Pipeline of (inputs, labels (B, 1) or one-hot (B, k) float32, sample weights (B,) float32).

    Raises:
        RecipeError: a value that cannot work; neither encoder nor spec.
    """
    _check_inputs(encoder, spec)
    if class_weight not in list(_IMBALANCE):
        raise RecipeError(f'class_weight is "balanced", "oversample" or None. Received: class_weight={class_weight!r}')
    if cutmix and spec is None:
        raise RecipeError(f"cutmix cuts images, and this pipeline has none (spec=None). Received: cutmix={cutmix!r}")
    check_numbers(
        batch_size=batch_size, seed=seed, metadata_dropout=metadata_dropout, modality_dropout=modality_dropout
    )
    check_labels(labels, len(dataset))
    policy, mixing = get_policy(augmentation), Mixing(mixup, cutmix)
    imbalance = _IMBALANCE[class_weight]
    y = dataset.targets if labels is None else np.asarray(labels)
    sources = dataset.frame["source"].to_numpy()
    epochs = Epochs(
        targets=y,
        labels=_shaped_labels(y, None if labels is None else int(y.max()) + 1),
        weights=sample_weights(y, imbalance, sources=sources, source_weights=source_weights or None),
        metadata=encoder.transform(dataset.frame) if encoder else np.zeros((len(dataset), 0), "float32"),
        encoder=encoder,
        metadata_dropout=metadata_dropout,
        modality_dropout=modality_dropout,
        imbalance=imbalance,
        oversample_to=oversample_to,
        sources=sources,
        source_sampling=source_sampling,
        seed=seed,
        counter=counter or EpochCounter(),
        left_out=first_batch * batch_size,
    )
    images, size = _image_batches(dataset, spec, pixels), _reduced_size(image_size, spec)

    def make_batch(rows: np.ndarray, repeats: np.ndarray, epoch: np.ndarray, *others: np.ndarray) -> Any:
        number = int(epoch[0])
        batch = _NO_IMAGES if images is None else images.augmented(rows, repeats, number, seed, policy, size)
        if mixing and len(rows) > 1:
            return mixing.mix(
                batch, *others, rng=np.random.default_rng((seed, number, int(rows[0]), int(repeats[0]), 1))
            )
        return (batch, *others)

    def to_batch(*arrays: tf.Tensor) -> tuple[Any, Any, Any]:
        made = tf.numpy_function(make_batch, arrays, [tf.float32] * 4, stateful=False)
        others = [tf.ensure_shape(values, given.shape) for values, given in zip(made[1:], arrays[3:], strict=True)]
        return _inputs(made[0], others[0], encoder, size), others[1], others[2]

    batches = _records(epochs).batch(batch_size).map(to_batch, num_parallel_calls=_PARALLEL, deterministic=True)
    steps = -(-len(epochs) // batch_size)
    return _untuned(batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2))


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
        inputs = _inputs(batch, records.get("metadata"), encoder, spec.size if spec else None)
        return (inputs, records["target"]) if "target" in records else (inputs,)

    records = tf.data.Dataset.from_tensor_slices(columns).batch(batch_size)
    return _untuned(records.map(to_batch, num_parallel_calls=_PARALLEL, deterministic=True).prefetch(2))


def _untuned(pipeline: tf.data.Dataset) -> tf.data.Dataset:
    """Without the thread that tunes pipelines: there is nothing to tune in ours, and a pass is not over before that
    thread wakes up, which it does ever less often. Epochs of 45 s took 75 s (TensorFlow 2.21).
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return pipeline.with_options(options)


def _check_inputs(encoder: MetadataEncoder | None, spec: ImageSpec | None) -> None:
    if encoder is None and spec is None:
        raise RecipeError("A pipeline needs an encoder (metadata), a spec (images), or both. Received: neither")


def _reduced_size(image_size: int | None, spec: ImageSpec | None) -> int | None:
    if image_size is None:
        return spec.size if spec else None
    if spec is None or type(image_size) is not int or not 8 <= image_size <= spec.size:
        known = "no images" if spec is None else f"images of {spec.size} pixels"
        raise RecipeError(
            f"image_size reduces images, to 8 pixels at least. Received: image_size={image_size!r}, {known}"
        )
    return image_size


def _inputs(images: Any, metadata: Any, encoder: MetadataEncoder | None, size: int | None) -> dict[str, Any]:
    inputs = {}
    if size is not None:
        inputs["image"] = tf.ensure_shape(images, (None, size, size, 3))
    if encoder is not None:
        inputs["metadata"] = metadata
    return inputs


def _records(epochs: Epochs) -> tf.data.Dataset:
    """The records of an epoch one by one; each pass draws the next epoch."""
    columns = (
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None, epochs.metadata.shape[1]), tf.float32),
        tf.TensorSpec((None, epochs.labels.shape[1]), tf.float32),
        tf.TensorSpec((None,), tf.float32),
    )

    def draw(_: tf.Tensor) -> tf.data.Dataset:
        drawn = tf.numpy_function(epochs.draw, [], [column.dtype for column in columns])
        return tf.data.Dataset.from_tensor_slices(
            tuple(tf.ensure_shape(values, column.shape) for values, column in zip(drawn, columns, strict=True))
        )

    # Not from_generator: it makes the system's allocator give memory back at every turn, which costs half the speed.
    return tf.data.Dataset.range(1).flat_map(draw)


def _shaped_labels(y: np.ndarray, n_classes: int | None) -> np.ndarray:
    return y[:, None].astype("float32") if n_classes is None else np.eye(n_classes, dtype="float32")[y]


def _image_batches(dataset: Dataset, spec: ImageSpec | None, pixels: Pixels | None) -> ImageBatches | None:
    if spec is None:
        return None
    source = pixels or undecoded_pixels(dataset, spec)
    if source.spec != spec:
        raise MelanomaFusionError(f"The pixels were decoded at {source.spec.size}, the pipeline wants {spec.size}.")
    return ImageBatches(source, [str(name) for name in dataset.image_names])

"""Chance in training: any image of any epoch can be made again alone, mixed batches too, and kept batches stay."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from melanomafusion.data.dataset import Dataset
from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.errors import RecipeError
from melanomafusion.images import pipeline as pipeline_module
from melanomafusion.images.augment import record_generator
from melanomafusion.images.pipeline import EpochCounter, inference_pipeline, training_pipeline
from melanomafusion.images.pixels import Pixels
from melanomafusion.images.policies import get_policy
from melanomafusion.images.spec import ImageSpec
from melanomafusion.testing import make_records

SIZE = 16
SPEC = ImageSpec(SIZE)
COUNT = 40
POSITIVES = 4
NUMBERS = np.arange(COUNT)  # as labels: a one-hot row tells which record it is


@pytest.fixture(scope="module")
def dataset():
    """Forty records without files, the first four positive."""
    frame = make_records(20, rng=np.random.default_rng(0))[0].head(COUNT)
    return Dataset(
        frame.assign(target=(NUMBERS < POSITIVES).astype(int), lesion_id=None, source="synthetic", path=None)
    )


@pytest.fixture(scope="module")
def encoder(dataset):
    return MetadataEncoder().fit(dataset.frame)


@pytest.fixture(scope="module")
def images():
    """(40, 16, 16, 3) uint8, read only as pixels kept on disk are."""
    array = np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3), dtype="uint8")
    array.flags.writeable = False
    return array


@pytest.fixture(scope="module")
def pixels(dataset, images):
    return Pixels(SPEC, {name: row for row, name in enumerate(dataset.image_names)}, images)


def epoch(pipeline):
    """All batches of one pass, each (inputs, labels, weights), put together."""
    batches = list(pipeline.as_numpy_iterator())
    inputs = {key: np.concatenate([batch[0][key] for batch in batches]) for key in batches[0][0]}
    return inputs, *(np.concatenate(parts) for parts in list(zip(*batches, strict=True))[1:])


def same(a, b):
    return all(np.array_equal(a[0][key], b[0][key]) for key in a[0]) and all(
        np.array_equal(x, y) for x, y in zip(a[1:], b[1:], strict=True)
    )


def alone(images, policy, seed, epoch, row, repeat=0):
    """One augmented image, made without any pipeline."""
    return get_policy(policy)(images[row], record_generator(seed, epoch, row, repeat))


@pytest.mark.parametrize("policy", ["light", "medium", "winner-2020", "rand-augment"])
@pytest.mark.parametrize(("batch_size", "at_once"), [(1, 1), (7, 4), (64, 2)])
def test_any_image_can_be_made_again_alone(dataset, images, monkeypatch, policy, batch_size, at_once, pixels):
    monkeypatch.setattr(pipeline_module, "_PARALLEL", at_once)
    shown, labels, _ = epoch(
        training_pipeline(
            dataset,
            None,
            SPEC,
            pixels=pixels,
            batch_size=batch_size,
            augmentation=policy,
            labels=NUMBERS,
            seed=11,
            counter=EpochCounter(3),
        )
    )
    for image, row in zip(shown["image"], labels.argmax(axis=1), strict=True):
        np.testing.assert_array_equal(image, alone(images, policy, 11, 3, int(row)))


def test_folds_may_be_trained_in_any_order_or_at_once(dataset, encoder, pixels):
    parts = [dataset.select(np.arange(COUNT) % 2 == fold) for fold in range(2)]

    def build(fold):
        return training_pipeline(
            parts[fold], encoder, SPEC, pixels=pixels, batch_size=3, augmentation="medium", metadata_dropout=0.2
        )

    first = [epoch(build(fold)) for fold in (0, 1)]
    second = [epoch(build(fold)) for fold in (1, 0)][::-1]
    both = list(zip(build(0).as_numpy_iterator(), build(1).as_numpy_iterator(), strict=True))
    for fold in range(2):
        assert same(first[fold], second[fold])
        at_once = np.concatenate([pair[fold][0]["image"] for pair in both])
        np.testing.assert_array_equal(at_once, first[fold][0]["image"])


def test_batches_that_are_kept_stay_as_they_were(dataset, images, pixels):
    options = {"batch_size": 3, "augmentation": "medium", "labels": NUMBERS}
    pipeline = training_pipeline(dataset, None, SPEC, pixels=pixels, **options)
    kept = []
    for number in range(4):
        for inputs, labels, _ in pipeline:  # as tensors, parts of tensors and arrays that share their memory
            rows = tf.argmax(labels, axis=1).numpy()
            whole = inputs["image"]
            look = [whole, whole[1:], whole.numpy(), whole._numpy()[::-1]][len(kept) % 4]
            kept.append((number, [rows, rows[1:], rows, rows[::-1]][len(kept) % 4], look))
    for number, rows, look in kept:
        for row, image in zip(rows, np.asarray(look), strict=True):
            np.testing.assert_array_equal(image, alone(images, "medium", 0, number, int(row)))


@pytest.mark.parametrize(("build", "batch_size"), [(training_pipeline, 39), (inference_pipeline, 38)])
def test_memory_of_pipelines_that_are_gone_is_used_again(dataset, pixels, build, batch_size, monkeypatch):
    made, empty = [], np.empty

    def seen(*shape, **options):
        array = empty(*shape, **options)
        if array.nbytes >= 4 * pixels.array[:batch_size].nbytes:
            made.append(weakref.ref(array))
        return array

    monkeypatch.setattr(np, "empty", seen)
    for _ in range(8):  # as many as there are views at prediction
        for _batch in build(dataset, None, SPEC, pixels=pixels, batch_size=batch_size):
            pass
    del _batch
    gc.collect()
    assert sum(array() is not None for array in made) <= 4


def test_two_passes_over_one_pipeline_at_the_same_time_do_not_meet(dataset, images, pixels):
    pipeline = training_pipeline(dataset, None, SPEC, pixels=pixels, batch_size=4, labels=NUMBERS)
    passes = [iter(pipeline), iter(pipeline)]
    seen = [[], []]
    for _ in range(10):
        for number in (0, 1):
            seen[number].append(next(passes[number]))
    for number in (0, 1):
        for inputs, labels, _ in seen[number]:
            for image, row in zip(inputs["image"].numpy(), labels.numpy().argmax(axis=1), strict=True):
                np.testing.assert_array_equal(image, alone(images, "light", 0, number, int(row)))


def test_each_copy_of_an_oversampled_record_can_be_made_again_alone(dataset, images, pixels):
    pipeline = training_pipeline(
        dataset, None, SPEC, pixels=pixels, class_weight="oversample", oversample_to=0.5, batch_size=5
    )
    copies = (COUNT - POSITIVES) // POSITIVES
    wanted = [
        alone(images, "light", 0, 0, row, repeat).astype("float32").tobytes()
        for row in range(COUNT)
        for repeat in range(copies if row < POSITIVES else 1)
    ]
    assert sorted(image.tobytes() for image in epoch(pipeline)[0]["image"]) == sorted(wanted)


@pytest.mark.parametrize("mixing", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_mixed_batches_follow_from_seed_and_epoch_alone(dataset, encoder, mixing, pixels):
    options = {"batch_size": 8, "class_weight": "balanced", **mixing}
    counter = EpochCounter()
    pipeline = training_pipeline(dataset, encoder, SPEC, pixels=pixels, counter=counter, **options)
    passes = [epoch(pipeline) for _ in range(3)]
    counter.epoch = 1
    assert same(epoch(pipeline), passes[1])
    assert same(
        epoch(training_pipeline(dataset, encoder, SPEC, pixels=pixels, counter=EpochCounter(2), **options)), passes[2]
    )
    assert not same(passes[1], passes[2])
    other = epoch(training_pipeline(dataset, encoder, SPEC, pixels=pixels, seed=1, **options))
    assert not same(other, passes[0])


def test_mixed_records_are_two_records_in_image_metadata_and_label(dataset, encoder, images, pixels):
    pipeline = training_pipeline(
        dataset, encoder, SPEC, pixels=pixels, batch_size=8, augmentation="none", mixup=1.0, labels=NUMBERS
    )
    inputs, labels, weights = epoch(pipeline)
    assert ((labels > 0).sum(axis=1) <= 2).all()
    assert ((labels > 0.01) & (labels < 0.99)).any()
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(labels @ images.reshape(COUNT, -1), inputs["image"].reshape(COUNT, -1), atol=0.01)
    np.testing.assert_allclose(labels @ encoder.transform(dataset.frame), inputs["metadata"], atol=1e-5)
    np.testing.assert_allclose(weights, 1, atol=1e-5)


@pytest.mark.parametrize("mixing", [{"mixup": 0.4}, {"cutmix": 1.0}])
def test_a_last_batch_of_one_is_not_mixed(dataset, encoder, images, mixing, pixels):
    pipeline = training_pipeline(dataset, encoder, SPEC, pixels=pixels, batch_size=13, labels=NUMBERS, **mixing)
    inputs, labels, weights = list(pipeline.as_numpy_iterator())[-1]
    assert weights.tolist() == [1]
    assert sorted(set(labels[0])) == [0, 1]
    row = int(labels[0].argmax())
    np.testing.assert_array_equal(inputs["image"][0], alone(images, "light", 0, 0, row))
    np.testing.assert_array_equal(inputs["metadata"][0], encoder.transform(dataset.frame)[row])


def test_single_branches_are_mixed_too(dataset, encoder, pixels):
    images = epoch(training_pipeline(dataset, None, SPEC, pixels=pixels, cutmix=1.0, labels=NUMBERS))
    assert set(images[0]) == {"image"}
    assert images[1].max(axis=1).min() < 1
    metadata = epoch(training_pipeline(dataset, encoder, None, mixup=1.0, labels=NUMBERS))
    assert set(metadata[0]) == {"metadata"}
    np.testing.assert_allclose(metadata[1] @ encoder.transform(dataset.frame), metadata[0]["metadata"], atol=1e-5)


def test_cutmix_without_images_is_refused(dataset, encoder):
    with pytest.raises(RecipeError, match="cutmix"):
        training_pipeline(dataset, encoder, None, cutmix=1.0)


def test_a_function_of_the_users_own_augments(dataset, images, pixels):
    def turned(image, rng):
        image[0, 0] = rng.integers(256)
        return image[::-1]

    inputs, labels, _ = epoch(
        training_pipeline(
            dataset, None, SPEC, pixels=pixels, augmentation=turned, labels=NUMBERS, counter=EpochCounter(2)
        )
    )
    for image, row in zip(inputs["image"], labels.argmax(axis=1), strict=True):
        wanted = images[row].copy()
        wanted[0, 0] = record_generator(0, 2, int(row)).integers(256)
        np.testing.assert_array_equal(image, wanted[::-1])


def test_a_function_that_gives_something_else_is_named(dataset, pixels):
    def halve(image, rng):
        del rng
        return image[::2]

    with pytest.raises(tf.errors.OpError, match=r"halve.*gave uint8 \(8, 16, 3\)"):
        epoch(training_pipeline(dataset, None, SPEC, pixels=pixels, augmentation=halve))

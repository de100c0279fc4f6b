"""Pipelines: which records come, in what order, and what follows from the seed."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

from melanomafusion.data.dataset import Dataset
from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.errors import MelanomaFusionError, RecipeError
from melanomafusion.images.augment import dihedral_view
from melanomafusion.images.pipeline import EpochCounter, inference_pipeline, training_pipeline
from melanomafusion.images.pixels import decode_images, open_pixels, undecoded_pixels
from melanomafusion.images.spec import ImageSpec
from melanomafusion.models.fusion_model import build_fusion_model
from melanomafusion.testing import make_records

SIZE = 16
SPEC = ImageSpec(SIZE)
COUNT = 40
POSITIVES = 4


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Forty records, the first four positive; the corner pixel of an image is the record's row."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    frame = make_records(20, rng=rng)[0].head(COUNT)
    frame = frame.assign(target=(np.arange(COUNT) < POSITIVES).astype(int), lesion_id=None, source="synthetic")
    frame["path"] = [str(folder / f"{name}.png") for name in frame["image_name"]]
    for row, path in enumerate(frame["path"]):
        pixels = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        pixels[0, 0] = row
        Image.fromarray(pixels).save(path)
    return Dataset(frame)


@pytest.fixture(scope="module")
def encoder(dataset):
    return MetadataEncoder().fit(dataset.frame)


@pytest.fixture(scope="module")
def images(dataset):
    """(40, 16, 16, 3) float32."""
    return np.stack([SPEC.load(path) for path in dataset.frame["path"]]).astype("float32")


def epoch(pipeline):
    """All batches of one pass, each (inputs, labels, weights), put together."""
    batches = list(pipeline.as_numpy_iterator())
    inputs = {key: np.concatenate([batch[0][key] for batch in batches]) for key in batches[0][0]}
    return inputs, *(np.concatenate(parts) for parts in list(zip(*batches, strict=True))[1:])


def rows_of(inputs):
    return inputs["image"][:, 0, 0, 0].astype(int)


def same(a, b):
    return all(np.array_equal(a[0][key], b[0][key]) for key in a[0]) and all(
        np.array_equal(x, y) for x, y in zip(a[1:], b[1:], strict=True)
    )


def test_training_gives_every_record_once_per_epoch_with_its_own_data(dataset, encoder, images):
    pipeline = training_pipeline(dataset, encoder, SPEC, batch_size=16, augmentation="none")
    inputs, labels, weights = epoch(pipeline)
    rows = rows_of(inputs)
    assert sorted(rows) == list(range(COUNT))
    assert list(rows) != list(range(COUNT))
    np.testing.assert_array_equal(inputs["image"], images[rows])
    np.testing.assert_array_equal(inputs["metadata"], encoder.transform(dataset.frame)[rows])
    np.testing.assert_array_equal(labels, dataset.targets[rows][:, None])
    np.testing.assert_array_equal(weights, np.ones(COUNT))


def test_shapes_and_types_are_those_of_the_model(dataset, encoder):
    inputs, labels, weights = next(training_pipeline(dataset, encoder, SPEC, batch_size=8).as_numpy_iterator())
    assert set(inputs) == {"image", "metadata"}
    assert inputs["image"].shape == (8, SIZE, SIZE, 3)
    assert inputs["metadata"].shape == (8, encoder.width)
    assert labels.shape == (8, 1)
    assert weights.shape == (8,)
    assert {a.dtype for a in (*inputs.values(), labels, weights)} == {np.dtype("float32")}


def test_each_pass_is_another_epoch(dataset, encoder):
    pipeline = training_pipeline(dataset, encoder, SPEC, augmentation="none")
    first, second = epoch(pipeline), epoch(pipeline)
    assert list(rows_of(first[0])) != list(rows_of(second[0]))
    assert sorted(rows_of(first[0])) == sorted(rows_of(second[0]))


def test_batches_follow_from_seed_and_epoch_alone(dataset, encoder):
    counter = EpochCounter()
    options = {"metadata_dropout": 0.3, "class_weight": "balanced", "batch_size": 16}
    pipeline = training_pipeline(dataset, encoder, SPEC, counter=counter, **options)
    passes = [epoch(pipeline) for _ in range(3)]
    assert counter.epoch == 3
    counter.epoch = 1
    assert same(epoch(pipeline), passes[1])
    again = training_pipeline(dataset, encoder, SPEC, counter=EpochCounter(2), **options)
    assert same(epoch(again), passes[2])
    assert not same(passes[1], passes[2])


@pytest.mark.parametrize("first_batch", [1, 2])
def test_a_pipeline_may_begin_within_an_epoch_with_the_batches_of_the_whole_one(dataset, encoder, first_batch):
    options = {"metadata_dropout": 0.3, "class_weight": "oversample", "mixup": 0.4, "cutmix": 0.4, "batch_size": 16}
    whole = list(training_pipeline(dataset, encoder, SPEC, counter=EpochCounter(4), **options))
    rest = training_pipeline(dataset, encoder, SPEC, counter=EpochCounter(4), first_batch=first_batch, **options)
    assert int(rest.cardinality()) == len(whole) - first_batch
    for ours, theirs in zip(rest, whole[first_batch:], strict=True):
        for one, other in zip(tf.nest.flatten(ours), tf.nest.flatten(theirs), strict=True):
            np.testing.assert_array_equal(one, other)


def test_pictures_of_a_record_change_from_epoch_to_epoch(dataset):
    pipeline = training_pipeline(dataset, None, SPEC, augmentation="light")
    first, second = epoch(pipeline)[0]["image"], epoch(pipeline)[0]["image"]
    assert not {image.tobytes() for image in first} & {image.tobytes() for image in second}


def test_images_are_reduced_once_they_are_augmented_and_nothing_else_changes(dataset, encoder):
    options = {"batch_size": 8, "augmentation": "medium", "seed": 3}
    images, *others = epoch(training_pipeline(dataset, encoder, SPEC, **options))
    reduced, *same = epoch(training_pipeline(dataset, encoder, SPEC, image_size=SIZE // 2, **options))
    halves = images["image"].reshape(-1, SIZE // 2, 2, SIZE // 2, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(reduced["image"], halves, atol=0.51)  # rounded to whole grey levels
    np.testing.assert_array_equal(reduced["metadata"], images["metadata"])
    for ours, theirs in zip(same, others, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_another_seed_gives_another_order_and_other_pictures(dataset, encoder):
    plain = [epoch(training_pipeline(dataset, encoder, SPEC, augmentation="none", seed=s)) for s in (0, 1)]
    assert list(rows_of(plain[0][0])) != list(rows_of(plain[1][0]))
    light = [epoch(training_pipeline(dataset, None, SPEC, seed=s))[0]["image"] for s in (0, 1)]
    assert not {image.tobytes() for image in light[0]} & {image.tobytes() for image in light[1]}


def test_balanced_weights_have_mean_one_and_equal_sums_per_class(dataset):
    encoder = MetadataEncoder(["age"]).fit(dataset.frame)
    _, labels, weights = epoch(training_pipeline(dataset, encoder, None, class_weight="balanced"))
    positive = labels[:, 0] == 1
    assert weights.mean() == pytest.approx(1, abs=1e-6)
    assert weights[positive].sum() == pytest.approx(weights[~positive].sum(), rel=1e-6)
    assert len(set(weights[positive])) == len(set(weights[~positive])) == 1


def test_oversampling_reaches_its_share_and_keeps_every_record(dataset, images):
    pipeline = training_pipeline(
        dataset, None, SPEC, class_weight="oversample", oversample_to=0.4, augmentation="none", batch_size=7
    )
    inputs, labels, weights = epoch(pipeline)
    rows = rows_of(inputs)
    assert labels.mean() == pytest.approx(0.4, abs=0.01)
    assert set(rows) == set(range(COUNT))
    assert (np.bincount(rows)[POSITIVES:] == 1).all()
    assert np.ptp(np.bincount(rows)[:POSITIVES]) <= 1
    np.testing.assert_array_equal(inputs["image"], images[rows])
    np.testing.assert_array_equal(weights, 1)
    assert pipeline.cardinality().numpy() == -(-len(rows) // 7)


def test_copies_of_an_oversampled_record_look_different(dataset):
    pipeline = training_pipeline(dataset, None, SPEC, class_weight="oversample", oversample_to=0.5)
    images = epoch(pipeline)[0]["image"]
    assert len({image.tobytes() for image in images}) == len(images) == 2 * (COUNT - POSITIVES)


def test_metadata_dropout_shows_fields_as_missing_in_training_only(dataset, encoder):
    encoded, missing = encoder.transform(dataset.frame), encoder.missing_row()
    inputs = epoch(training_pipeline(dataset, encoder, SPEC, augmentation="none", metadata_dropout=0.5))[0]
    own = encoded[rows_of(inputs)]
    gone = {name: (inputs["metadata"][:, s] == missing[s]).all(axis=1) for name, s in encoder.slices.items()}
    for name, columns in encoder.slices.items():
        np.testing.assert_array_equal(inputs["metadata"][~gone[name], columns], own[~gone[name], columns])
    assert 0.3 < np.mean(list(gone.values())) < 0.75
    shown = epoch(inference_pipeline(dataset, encoder, None))[0]["metadata"]
    np.testing.assert_array_equal(shown, encoded)


def test_modality_dropout_shows_all_fields_of_a_record_as_missing_or_none(dataset, encoder):
    dataset = dataset.with_columns(age_approx=np.full(len(dataset), 50.0))  # no record lacks all fields by itself
    own, missing = encoder.transform(dataset.frame), encoder.missing_row()
    pipeline = training_pipeline(dataset, encoder, SPEC, augmentation="none", modality_dropout=0.5)
    shares = []
    for _ in range(8):
        inputs = epoch(pipeline)[0]
        gone = (inputs["metadata"] == missing).all(axis=1)
        np.testing.assert_array_equal(inputs["metadata"][~gone], own[rows_of(inputs)][~gone])
        shares.append(gone.mean())
    assert abs(np.mean(shares) - 0.5) < 0.15


def test_metadata_dropout_differs_between_epochs(dataset, encoder):
    pipeline = training_pipeline(dataset, encoder, SPEC, augmentation="none", metadata_dropout=0.5)
    first, second = (epoch(pipeline)[0] for _ in range(2))
    in_order = [inputs["metadata"][np.argsort(rows_of(inputs))] for inputs in (first, second)]
    assert not np.array_equal(*in_order)


def test_a_model_learns_from_training_and_predicts_in_the_order_of_the_table(dataset, encoder):
    keras.utils.set_random_seed(0)
    spec = ImageSpec(32)
    model = build_fusion_model("tiny", metadata_width=encoder.width, image_size=32, weights=None)
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True), run_eagerly=True)
    counter = EpochCounter()
    training = training_pipeline(
        dataset, encoder, spec, batch_size=16, class_weight="balanced", mixup=0.2, counter=counter
    )
    ordered = inference_pipeline(dataset, encoder, spec, batch_size=16)
    history = model.fit(training, validation_data=ordered, epochs=3, shuffle=False, verbose=0).history
    assert counter.epoch == 3
    assert np.isfinite(history["loss"]).all()
    inputs, _ = epoch(ordered)
    np.testing.assert_allclose(model.predict(ordered, verbose=0), model.predict_on_batch(inputs), rtol=1e-4, atol=1e-4)


def test_inference_keeps_the_order_of_the_table(dataset, encoder, images):
    pipeline = inference_pipeline(dataset, encoder, SPEC, batch_size=7)
    for _ in range(2):
        inputs, targets = epoch(pipeline)
        np.testing.assert_array_equal(inputs["image"], images)
        np.testing.assert_array_equal(inputs["metadata"], encoder.transform(dataset.frame))
        np.testing.assert_array_equal(targets, dataset.targets[:, None])
    assert pipeline.cardinality().numpy() == 6


def test_inference_follows_a_table_in_another_order(dataset, images):
    order = np.random.default_rng(1).permutation(COUNT)
    shuffled = dataset.select(dataset.image_names[order])
    np.testing.assert_array_equal(epoch(inference_pipeline(shuffled, None, SPEC))[0]["image"], images[order])


def test_inference_without_targets_gives_inputs_alone(dataset, encoder):
    unlabelled = dataset.with_columns(target=pd.array([None] * COUNT, dtype="Int64"))
    batch = next(inference_pipeline(unlabelled, encoder, SPEC).as_numpy_iterator())
    assert len(batch) == 1
    assert set(batch[0]) == {"image", "metadata"}


@pytest.mark.parametrize("view", range(8))
def test_inference_shows_the_wanted_view(dataset, images, view):
    shown = epoch(inference_pipeline(dataset, None, SPEC, view=view))[0]["image"]
    np.testing.assert_array_equal(shown, [dihedral_view(image, view) for image in images])


@pytest.mark.parametrize("build", [training_pipeline, inference_pipeline])
def test_single_branch_pipelines_have_one_key(dataset, encoder, build):
    assert set(next(build(dataset, encoder, None).as_numpy_iterator())[0]) == {"metadata"}
    assert set(next(build(dataset, None, SPEC).as_numpy_iterator())[0]) == {"image"}


@pytest.mark.parametrize("build", [training_pipeline, inference_pipeline])
def test_a_pipeline_of_nothing_is_refused(dataset, build):
    with pytest.raises(RecipeError, match="needs an encoder"):
        build(dataset, None, None)


def test_metadata_pipeline_reads_no_image(dataset, encoder):
    nowhere = dataset.with_columns(path="nowhere.jpg")
    assert len(epoch(training_pipeline(nowhere, encoder, None))[1]) == COUNT


def test_class_numbers_become_one_hot_rows(dataset, encoder):
    numbers = np.arange(COUNT) % 3
    inputs, labels, weights = epoch(
        training_pipeline(dataset, encoder, SPEC, augmentation="none", labels=numbers, class_weight="balanced")
    )
    np.testing.assert_array_equal(labels, np.eye(3)[numbers[rows_of(inputs)]])
    assert weights.mean() == pytest.approx(1, abs=1e-6)


def test_cardinality_is_the_number_of_batches(dataset, encoder):
    pipeline = training_pipeline(dataset, encoder, None, batch_size=16)
    sizes = [len(labels) for _, labels, _ in pipeline.as_numpy_iterator()]
    assert sizes == [16, 16, 8]
    assert pipeline.cardinality().numpy() == 3


def test_kept_and_undecoded_pixels_give_the_same_batches(dataset, tmp_path):
    decode_images(dataset, SPEC, tmp_path)
    kept = open_pixels(dataset, SPEC, tmp_path)
    first, second, third = (
        epoch(training_pipeline(dataset, None, SPEC, pixels=pixels))
        for pixels in (kept, undecoded_pixels(dataset, SPEC), None)
    )
    assert same(first, second)
    assert same(first, third)


def test_pixels_of_a_larger_data_set_serve_its_parts(dataset, images, tmp_path):
    decode_images(dataset, SPEC, tmp_path)
    part = dataset.select(np.arange(COUNT) % 3 == 1)
    shown = epoch(inference_pipeline(part, None, SPEC, pixels=open_pixels(dataset, SPEC, tmp_path)))[0]["image"]
    np.testing.assert_array_equal(shown, images[1::3])


def test_pixels_of_another_size_are_refused(dataset):
    with pytest.raises(MelanomaFusionError, match="decoded at 32, the pipeline wants 16"):
        training_pipeline(dataset, None, SPEC, pixels=undecoded_pixels(dataset, ImageSpec(32)))


@pytest.mark.parametrize("image_size", [SIZE + 1, 7, 0, -8, 8.5, "8", True])
def test_a_size_to_which_images_cannot_be_reduced_is_refused(dataset, image_size):
    with pytest.raises(RecipeError, match=r"reduces images.*Received: image_size=.*images of 16 pixels"):
        training_pipeline(dataset, None, SPEC, image_size=image_size)


@pytest.mark.parametrize("option", [{"class_weight": "class_weight"}, {"augmentation": "heavy"}])
def test_unknown_options_are_refused(dataset, encoder, option):
    with pytest.raises(RecipeError, match="Received"):
        training_pipeline(dataset, encoder, SPEC, **option)


@pytest.mark.parametrize(
    "option",
    [
        {"batch_size": 0},
        {"batch_size": -1},
        {"batch_size": 2.5},
        {"labels": [0, 1, 2]},
        {"labels": [-1, 0, 1, 2] * 10},
        {"labels": [True, False] * 20},
        {"labels": [0.0, 1.0] * 20},
        {"metadata_dropout": 2.0},
        {"modality_dropout": -0.1},
        {"seed": -1},
        {"augmentation": ["light"]},
        {"class_weight": ["balanced"]},
        {"image_size": 8},
    ],
    ids=str,
)
def test_values_that_cannot_work_are_refused_before_the_first_batch(dataset, encoder, option):
    with pytest.raises(RecipeError, match="Received"):
        training_pipeline(dataset, encoder, None, **option)

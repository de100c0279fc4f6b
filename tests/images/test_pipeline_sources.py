"""The same batches whatever holds the images; and what the sources of records change in an epoch."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from melanomafusion.data.containers import locator
from melanomafusion.data.dataset import Dataset
from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.errors import RecipeError
from melanomafusion.images.augment import record_generator
from melanomafusion.images.pipeline import EpochCounter, inference_pipeline, training_pipeline
from melanomafusion.images.pixels import decode_images, open_pixels
from melanomafusion.images.policies import get_policy
from melanomafusion.images.prepare import prepare
from melanomafusion.images.prepared import image_spec, load_prepared
from melanomafusion.images.spec import ImageSpec
from melanomafusion.testing import make_records, paint_lesion

SIZE = 16
COUNT = 30
FIRST = np.arange(COUNT) < 20  # of source "one"; the rest are of source "two"
NUMBERS = np.arange(COUNT)  # as labels: a one-hot row tells which record it is


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Thirty records of two sources, three of ten positive, JPEG files of 40 × 30 pixels."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    frame = make_records(15, rng=rng)[0].head(COUNT)
    frame = frame.assign(target=(NUMBERS % 10 < 3).astype(int), lesion_id=None, source=np.where(FIRST, "one", "two"))
    frame["path"] = [str(folder / f"{name}.jpg") for name in frame["image_name"]]
    for path in frame["path"]:
        Image.fromarray(paint_lesion(float(rng.normal()), 40, rng)[:30]).save(path, quality=95)
    return Dataset(frame)


@pytest.fixture(scope="module")
def shards(dataset, tmp_path_factory):
    """Folder of the same images prepared without loss."""
    folder = tmp_path_factory.mktemp("prepared") / "shards"
    prepare(dataset, folder, image_size=SIZE, quality=None, shard_size=7, workers=1)
    return folder


@pytest.fixture(scope="module")
def tfrecords(dataset, tmp_path_factory):
    """The same images in two TFRecords, in another order than the table's."""
    folder = tmp_path_factory.mktemp("tfrecords")
    paths = dict(zip(dataset.image_names, dataset.frame["path"], strict=True))
    for name in ("b", "a"):
        part = [image_name for number, image_name in enumerate(reversed(paths)) if (number % 2 == 0) == (name == "a")]
        with tf.io.TFRecordWriter(str(folder / f"{name}.tfrec")) as writer:
            for row, image_name in enumerate(part):
                with open(paths[image_name], "rb") as file:
                    value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[file.read()]))
                example = tf.train.Example(features=tf.train.Features(feature={"image": value}))
                writer.write(example.SerializeToString())
                paths[image_name] = locator(folder / f"{name}.tfrec", row)
    return dataset.with_columns(path=[paths[name] for name in dataset.image_names])


def epoch(pipeline):
    """All batches of one pass, each (inputs, labels, weights), put together."""
    batches = list(pipeline.as_numpy_iterator())
    inputs = {key: np.concatenate([batch[0][key] for batch in batches]) for key in batches[0][0]}
    return inputs, *(np.concatenate(parts) for parts in list(zip(*batches, strict=True))[1:])


def rows_of(batches):
    return batches[1].argmax(axis=1)


def both(dataset, spec, **options):
    """Images of a training epoch, of the next one, and of inference."""
    training = training_pipeline(dataset, None, spec, batch_size=8, augmentation="medium", cutmix=1.0, **options)
    ordered = inference_pipeline(dataset, None, spec, batch_size=8, **options)
    return [epoch(pipeline)[0]["image"] for pipeline in (training, training, ordered)]


def test_files_shards_decoded_pixels_and_tfrecords_give_the_same_batches(dataset, shards, tfrecords, tmp_path):
    raw = ImageSpec(SIZE)
    prepared = load_prepared(shards)
    spec = image_spec(prepared, SIZE)
    wanted = both(dataset, raw)
    assert not np.array_equal(wanted[0], wanted[1])
    decode_images(prepared, spec, tmp_path)
    found = {
        "TFRecords": both(tfrecords, raw),
        "shards": both(prepared, spec),
        "files prepared in memory": both(dataset, spec),
        "decoded shards": both(prepared, spec, pixels=open_pixels(prepared, spec, tmp_path)),
    }
    for holder, images in found.items():
        for one, other in zip(images, wanted, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=holder)


def test_shards_in_another_order_follow_the_table(shards):
    prepared = load_prepared(shards)
    spec = image_spec(prepared, SIZE)
    order = np.random.default_rng(1).permutation(COUNT)
    shown = epoch(inference_pipeline(prepared.select(prepared.image_names[order]), None, spec))[0]["image"]
    np.testing.assert_array_equal(shown, epoch(inference_pipeline(prepared, None, spec))[0]["image"][order])


@pytest.mark.parametrize("build", [training_pipeline, inference_pipeline])
@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_an_image_that_breaks_in_the_middle_of_an_epoch_is_named(dataset, tmp_path, build, content):
    paths = list(dataset.frame["path"])
    broken = tmp_path / "broken.jpg"
    with open(paths[17], "rb") as file:
        whole = file.read()
    broken.write_bytes(whole)
    paths[17] = str(broken)
    pipeline = build(dataset.with_columns(path=paths), None, ImageSpec(SIZE), batch_size=4)
    assert len(epoch(pipeline)[0]["image"]) == COUNT
    if content is None:
        broken.unlink()
    else:
        broken.write_bytes(content or whole[:200])
    with pytest.raises(tf.errors.OpError, match=r"ImageError: .*broken\.jpg"):
        epoch(pipeline)


def test_source_weights_are_factors_and_keep_the_mean(dataset):
    encoder = MetadataEncoder().fit(dataset.frame)
    pipeline = training_pipeline(dataset, encoder, None, labels=NUMBERS, source_weights={"two": 0.25})
    batches = epoch(pipeline)
    weights = batches[2][np.argsort(rows_of(batches))]
    assert weights.mean() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(weights[FIRST], 30 / 22.5, rtol=1e-6)
    np.testing.assert_allclose(weights[~FIRST], 0.25 * 30 / 22.5, rtol=1e-6)


def test_source_weights_and_class_weights_are_multiplied(dataset):
    encoder = MetadataEncoder().fit(dataset.frame)
    _, labels, weights = epoch(
        training_pipeline(dataset, encoder, None, class_weight="balanced", source_weights={"one": 3.0})
    )
    # Nine positives of thirty: 30 / (2 · 9) against 30 / (2 · 21); three times that for source "one".
    values = {positive: sorted(set(np.round(weights[labels[:, 0] == positive], 5))) for positive in (0, 1)}
    for low, high in values.values():
        assert high / low == pytest.approx(3, rel=1e-4)
    assert values[1][0] / values[0][0] == pytest.approx(21 / 9, rel=1e-4)
    assert weights.mean() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("share", "of_one"), [(0.5, 10), (2.0, 40), (1.5, 30), (0.1, 2)])
def test_source_sampling_draws_that_many_records_of_a_source(dataset, share, of_one):
    encoder = MetadataEncoder().fit(dataset.frame)
    is_two = (~FIRST).astype(int)  # as class numbers
    pipeline = training_pipeline(dataset, encoder, None, labels=is_two, batch_size=4, source_sampling={"one": share})
    for _ in range(3):
        batches = list(pipeline.as_numpy_iterator())
        found = np.concatenate([labels for _, labels, _ in batches]).sum(axis=0)
        assert found.tolist() == [of_one, 10]
        assert len(batches) == pipeline.cardinality().numpy() == -(-(of_one + 10) // 4)


def test_sampled_records_change_from_epoch_to_epoch_and_follow_from_the_seed(dataset):
    encoder = MetadataEncoder().fit(dataset.frame)
    options = {"labels": (NUMBERS % 10 < 3).astype(int), "source_sampling": {"one": 0.5}}

    def metadata(**more):
        return epoch(training_pipeline(dataset, encoder, None, **options, **more))[0]["metadata"]

    def rows(values):
        return sorted(map(tuple, values))

    pipeline = training_pipeline(dataset, encoder, None, **options)
    passes = [epoch(pipeline)[0]["metadata"] for _ in range(3)]
    assert len({str(rows(values)) for values in passes}) == 3
    np.testing.assert_array_equal(metadata(counter=EpochCounter(2)), passes[2])
    assert rows(metadata(seed=1)) != rows(passes[0])


def test_copies_of_a_sampled_record_look_different_and_can_be_made_again_alone(dataset):
    spec = ImageSpec(SIZE)
    images = epoch(training_pipeline(dataset, None, spec, source_sampling={"one": 2.0}))[0]["image"]
    decoded = [spec.load(path) for path in dataset.frame["path"]]
    wanted = [
        get_policy("light")(decoded[row], record_generator(0, 0, row, repeat)).astype("float32").tobytes()
        for row in range(COUNT)
        for repeat in range(2 if FIRST[row] else 1)
    ]
    assert len(set(wanted)) == 50
    assert sorted(image.tobytes() for image in images) == sorted(wanted)


@pytest.mark.parametrize("share", [0.5, 0.3, 1.7])
def test_sampling_and_oversampling_give_every_epoch_the_same_number_of_batches(dataset, share):
    encoder = MetadataEncoder().fit(dataset.frame)
    pipeline = training_pipeline(
        dataset,
        encoder,
        None,
        batch_size=1,
        class_weight="oversample",
        oversample_to=0.45,
        source_sampling={"one": share, "two": 0.5},
    )
    for _ in range(4):
        labels = epoch(pipeline)[1]
        assert len(labels) == pipeline.cardinality().numpy()
        assert labels.mean() == pytest.approx(0.45, abs=0.04)


@pytest.mark.parametrize("option", ["source_weights", "source_sampling"])
@pytest.mark.parametrize("values", [{"three": 1.0}, {"one": 0.0}, {"one": -1.0}, {"one": float("nan")}, {"one": "2"}])
def test_impossible_sources_are_refused_before_the_first_batch(dataset, option, values):
    encoder = MetadataEncoder().fit(dataset.frame)
    with pytest.raises(RecipeError, match=option):
        training_pipeline(dataset, encoder, None, **{option: values})


def test_no_sources_named_is_as_if_there_were_none(dataset):
    encoder = MetadataEncoder().fit(dataset.frame)
    plain, empty = (
        epoch(training_pipeline(dataset, encoder, None, **options))
        for options in ({}, {"source_weights": {}, "source_sampling": {}})
    )
    for one, other in zip(plain[1:], empty[1:], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(plain[0]["metadata"], empty[0]["metadata"])


def test_images_held_as_png_in_a_tfrecord_are_read(dataset, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype="uint8")
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[out.getvalue()]))
    with tf.io.TFRecordWriter(str(tmp_path / "x.tfrec")) as writer:
        writer.write(tf.train.Example(features=tf.train.Features(feature={"image": value})).SerializeToString())
    one = dataset.select(NUMBERS < 1).with_columns(path=[locator(tmp_path / "x.tfrec", 0)])
    shown = epoch(inference_pipeline(one, None, ImageSpec(SIZE)))[0]["image"]
    np.testing.assert_array_equal(shown[0], picture)

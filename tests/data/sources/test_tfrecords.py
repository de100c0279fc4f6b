"""The competition's TFRecords, written by TensorFlow: joined with their table, and their pixels."""

import io

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

from melanomafusion.data.containers import read_image_bytes
from melanomafusion.data.folds import assign_folds
from melanomafusion.data.sources.catalogue import load_source
from melanomafusion.data.sources.tfrecords import load_tfrecords
from melanomafusion.errors import TableError
from melanomafusion.images.spec import ImageSpec


def jpeg(number, size=32):
    pixels = np.full((size, size, 3), (number * 37 % 256, number * 11 % 256, 128), dtype="uint8")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def feature(value):
    if isinstance(value, float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    values = value if isinstance(value, list) else [value]
    return tf.train.Feature(
        bytes_list=tf.train.BytesList(value=[v if isinstance(v, bytes) else v.encode() for v in values])
    )


def write_shard(path, records):
    path.parent.mkdir(exist_ok=True, parents=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            features = {name: feature(value) for name, value in record.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def coded(number):
    """A record as Kaggle published it: codes for all but the name."""
    return {
        "image": jpeg(number),
        "image_name": f"ISIC_{number:07d}",
        "patient_id": number // 2,
        "sex": number % 2,
        "age_approx": 45,
        "anatom_site_general_challenge": 3,
        "diagnosis": 1,
        "target": int(number % 3 == 0),
    }


def worded(number):
    """The same with words."""
    return {
        "image": jpeg(number),
        "image_name": f"ISIC_{number:07d}",
        "patient_id": f"IP_{number // 2}",
        "sex": ["female", "male", ""][number % 3],
        "age_approx": 45.0,
        "anatom_site_general_challenge": "torso",
        "diagnosis": "melanoma" if number % 3 == 0 else "unknown",
        "target": int(number % 3 == 0),
    }


def table(numbers):
    return pd.DataFrame(
        {
            "image_name": [f"ISIC_{k:07d}" for k in numbers],
            "patient_id": [f"IP_{k // 2}" for k in numbers],
            "sex": ["female"] * len(numbers),
            "age_approx": ["45.0"] * len(numbers),
            "anatom_site_general_challenge": ["torso"] * len(numbers),
            "target": [int(k % 3 == 0) for k in numbers],
        }
    )


@pytest.fixture
def shards(tmp_path):
    """Two shards of four coded records each, and train.csv in another order."""
    write_shard(tmp_path / "tfrecords" / "train00-4.tfrec", [coded(k) for k in range(4)])
    write_shard(tmp_path / "tfrecords" / "train01-4.tfrec", [coded(k) for k in range(4, 8)])
    table(range(8)).iloc[::-1].to_csv(tmp_path / "train.csv", index=False)
    return tmp_path


def rewrite(root, change):
    frame = pd.read_csv(root / "train.csv", dtype=str)
    change(frame).to_csv(root / "train.csv", index=False)


def test_codes_take_their_metadata_from_the_table(shards):
    data = load_tfrecords(shards, table=shards / "train.csv")
    frame = data.frame.set_index("image_name").sort_index()
    assert len(frame) == 8
    assert frame["patient_id"].tolist() == [f"IP_{k // 2}" for k in range(8)]
    assert frame["target"].tolist() == [int(k % 3 == 0) for k in range(8)]
    assert frame["tfrecord"].tolist() == [0] * 4 + [1] * 4
    assert frame["tfrecord"].dtype == "int64"
    assert set(frame["source"]) == {"tfrecords"}
    # Rows in the order of the table, each with its own image.
    assert data.image_names[0] == "ISIC_0000007"
    for name, path in zip(data.image_names, data.frame["path"], strict=True):
        assert read_image_bytes(path) == jpeg(int(name[-7:]))


def test_the_pixels_are_those_of_the_encoded_image(shards):
    data = load_tfrecords(shards, table=shards / "train.csv")
    for name, path in zip(data.image_names, data.frame["path"], strict=True):
        expected = np.asarray(Image.open(io.BytesIO(jpeg(int(name[-7:])))), dtype="float32")
        np.testing.assert_array_equal(ImageSpec(32).load(path), expected)


def test_folds_can_be_made_of_shards(shards):
    folds = assign_folds(load_tfrecords(shards, table=shards / "train.csv"), 2, group="tfrecord").frame
    assert folds.groupby("tfrecord")["fold"].nunique().tolist() == [1, 1]


def test_words_need_no_table(tmp_path):
    write_shard(tmp_path / "train00-6.tfrec", [worded(k) for k in range(6)])
    frame = load_tfrecords(tmp_path, source="siim-isic-2020").frame
    assert frame["image_name"].tolist() == [f"ISIC_{k:07d}" for k in range(6)]
    assert frame["sex"].fillna("-").tolist() == ["female", "male", "-"] * 2
    assert frame["age_approx"].tolist() == [45.0] * 6
    assert frame["patient_id"].tolist() == [f"IP_{k // 2}" for k in range(6)]
    assert frame["target"].tolist() == [1, 0, 0] * 2
    assert set(frame["source"]) == {"siim-isic-2020"}


def test_test_shards_hold_images_and_names(tmp_path):
    write_shard(tmp_path / "test00-2.tfrec", [{"image": jpeg(k), "image_name": f"t{k}"} for k in range(2)])
    write_shard(tmp_path / "train00-1.tfrec", [worded(0)])
    data = load_tfrecords(tmp_path, split="test")
    assert data.image_names.tolist() == ["t0", "t1"]
    assert not data.has_target


def test_codes_without_a_table_are_refused_with_what_to_do(shards):
    with pytest.raises(TableError, match=r"table='train.csv'") as caught:
        load_tfrecords(shards)
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "patient_id",
        "sex",
        "age_approx",
        "anatom_site_general_challenge",
        "diagnosis",
    ]


def test_rows_without_image_and_images_without_row_are_refused_unless_told(shards):
    table([*range(6), 20, 21]).to_csv(shards / "train.csv", index=False)
    with pytest.raises(TableError) as caught:
        load_tfrecords(shards, table=shards / "train.csv")
    assert caught.value.problems == [
        "2 of 8 rows have no image: ISIC_0000020, ISIC_0000021",
        "2 of 8 images have no row: ISIC_0000006, ISIC_0000007",
    ]
    options = {"table": shards / "train.csv", "missing_images": "drop", "extra_images": "ignore"}
    assert len(load_tfrecords(shards, **options)) == 6
    for option in ("missing_images", "extra_images"):
        with pytest.raises(TableError, match="1 problem"):
            load_tfrecords(shards, **{**options, option: "error"})
        with pytest.raises(TableError, match="expected one of"):
            load_tfrecords(shards, **{**options, option: "nonsense"})


def test_a_target_that_differs_from_the_table_is_refused_by_row(shards):
    rewrite(shards, lambda frame: frame.assign(target=["1", *frame["target"][1:]]))
    with pytest.raises(TableError) as caught:
        load_tfrecords(shards, table=shards / "train.csv")
    assert caught.value.problems == ["row 2: ISIC_0000007 has target 1, in the shards 0"]


def test_a_count_that_the_name_does_not_promise_is_refused(shards):
    path = shards / "tfrecords" / "train01-4.tfrec"
    path.rename(path.with_name("train01-5.tfrec"))
    with pytest.raises(TableError, match=r"train01-5.tfrec: its name promises 5 records; it holds 4"):
        load_tfrecords(shards, table=shards / "train.csv")


def test_all_damaged_shards_are_told_at_once(shards):
    for name in ("train00-4.tfrec", "train01-4.tfrec"):
        path = shards / "tfrecords" / name
        path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(TableError) as caught:
        load_tfrecords(shards, table=shards / "train.csv")
    assert len(caught.value.problems) == 2
    assert all("torn: 7 bytes" in problem for problem in caught.value.problems)


def test_an_image_that_stands_twice_is_refused(tmp_path):
    write_shard(tmp_path / "train00-2.tfrec", [coded(0), coded(0)])
    table([0]).to_csv(tmp_path / "train.csv", index=False)
    with pytest.raises(TableError, match=r"tfrec#1: image_name 'ISIC_0000000' stands already"):
        load_tfrecords(tmp_path, table=tmp_path / "train.csv")
    write_shard(tmp_path / "train00-2.tfrec", [worded(0), worded(0)])
    with pytest.raises(TableError, match="stands already"):
        load_tfrecords(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_name": 7}, r"image_name is \[7\]; expected text"),
        ({"image_name": b"\xff\xfe"}, "image_name is no UTF-8 text"),
        ({"sex": ["male", "female"]}, "sex has 2 values; expected one"),
        ({"sex": b"\xff"}, "sex is no UTF-8 text"),
        ({"sex": "robot"}, "'robot'; expected one of female, male"),
        ({"target": 2}, "target: '2'"),
        ({"age_approx": 400.0}, "age_approx: '400.0'"),
    ],
)
def test_values_that_cannot_be_are_refused(tmp_path, change, message):
    write_shard(tmp_path / "train00-2.tfrec", [worded(0), {**worded(1), **change}])
    with pytest.raises(TableError, match=message):
        load_tfrecords(tmp_path)


def test_records_without_a_name_are_refused(tmp_path):
    record = worded(0)
    del record["image_name"]
    write_shard(tmp_path / "train00-1.tfrec", [record])
    with pytest.raises(TableError, match=r"tfrec#0: image_name is \[\]; expected text"):
        load_tfrecords(tmp_path)


def test_a_folder_without_shards_is_refused_with_what_was_expected(tmp_path):
    (tmp_path / "train-old.tfrec").write_bytes(b"")
    (tmp_path / "ld_train00-519.tfrec").write_bytes(b"")
    with pytest.raises(TableError, match=r"no shards found: the folder has none"):
        load_tfrecords(tmp_path)
    with pytest.raises(TableError, match="does not exist"):
        load_tfrecords(tmp_path / "nowhere")
    with pytest.raises(TableError, match="expected train or test"):
        load_tfrecords(tmp_path, split="valid")


def test_two_shards_of_one_number_are_refused(tmp_path):
    write_shard(tmp_path / "train00-1.tfrec", [worded(0)])
    write_shard(tmp_path / "train0-1.tfrec", [worded(1)])
    with pytest.raises(TableError, match="number 0 stands twice"):
        load_tfrecords(tmp_path)


def test_a_table_without_names_or_of_other_images_is_refused(shards, tmp_path):
    (tmp_path / "other.csv").write_text("id,target\n1,0\n")
    with pytest.raises(TableError, match="column image_name is missing"):
        load_tfrecords(shards, table=tmp_path / "other.csv")
    table([50, 51]).to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(TableError, match="none of its rows has an image"):
        load_tfrecords(shards, table=tmp_path / "other.csv", missing_images="drop", extra_images="ignore")


def test_by_name_the_table_beside_the_shards_is_taken(shards):
    assert len(load_source("tfrecords", shards)) == 8
    assert len(load_source("tfrecords", shards, image_folder=shards / "tfrecords")) == 8
    with pytest.raises(TableError, match="takes the shards"):
        load_source("tfrecords", shards, with_images=False)

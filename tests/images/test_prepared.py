"""Prepared folders read back: records in order, altered shards found, and no model on pictures of two kinds."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from melanomafusion.data.containers import read_image_bytes
from melanomafusion.data.schema import COLUMNS
from melanomafusion.errors import ImageError
from melanomafusion.images.pipeline import inference_pipeline, training_pipeline
from melanomafusion.images.pixels import decode_images, open_pixels
from melanomafusion.images.preparation import Preparation
from melanomafusion.images.prepare import prepare
from melanomafusion.images.prepared import Prepared, check_spec, image_spec, load_prepared, preparation_of
from melanomafusion.images.spec import ImageSpec

SMALL = Preparation(16)


@pytest.fixture
def dataset(make_dataset, tmp_path):
    """Ten raw records."""
    return make_dataset(tmp_path / "raw")


@pytest.fixture
def folder(dataset, tmp_path, in_process):
    """They, prepared at 16 in shards of four."""
    return prepare(dataset, tmp_path / "out", image_size=16, shard_size=4).path


def test_records_come_back_in_their_order_with_their_metadata(dataset, folder):
    raw, loaded = dataset.frame, load_prepared(folder).frame
    for column in COLUMNS:
        if column != "path":
            pd.testing.assert_series_equal(loaded[column], raw[column], check_dtype=False)
    assert list(loaded)[: len(COLUMNS)] == list(COLUMNS)
    assert {"width", "height", "file_bytes", "source_sha256"} <= set(loaded)


def test_each_record_points_at_its_own_image(dataset, folder):
    for raw, path in zip(dataset.frame["path"], load_prepared(folder).frame["path"], strict=True):
        assert read_image_bytes(path) == SMALL.encode(raw)


def test_targets_and_missing_values_stay_what_they_were(make_dataset, tmp_path, in_process):
    ages = [None, 0.0, 5.0, np.nan]
    data = make_dataset(tmp_path / "raw", 4, sex=["female", None, "male", None], age_approx=ages)
    loaded = load_prepared(prepare(data, tmp_path / "out", image_size=16, shard_size=2).path)
    assert loaded.targets.tolist() == data.targets.tolist()
    assert loaded.frame["age_approx"].isna().tolist() == [True, False, False, True]
    assert loaded.frame["age_approx"][1] == 0
    assert loaded.frame["sex"].isna().tolist() == [False, True, False, True]


def test_shards_without_any_row_are_passed_over(make_dataset, tmp_path, in_process):
    data = make_dataset(tmp_path / "raw", 6)
    for path in data.frame["path"][:3]:
        open(path, "wb").close()
    loaded = load_prepared(prepare(data, tmp_path / "out", image_size=16, shard_size=3).path)
    assert loaded.frame["image_name"].tolist() == ["i003", "i004", "i005"]


def test_a_folder_without_any_record_is_refused(make_dataset, tmp_path, in_process):
    data = make_dataset(tmp_path / "raw", {f"{name}.jpg": b"" for name in "abc"})
    made = prepare(data, tmp_path / "out", image_size=16)
    with pytest.raises(ImageError, match="all 3 images were refused"):
        load_prepared(made.path)


def test_an_unfinished_folder_is_refused_with_the_way_on(folder):
    (folder / "prepared.json").unlink()
    for call in (Prepared.read, load_prepared):
        with pytest.raises(ImageError, match=r"no prepared\.json.*goes on where it stopped"):
            call(folder)


@pytest.mark.parametrize("place", ["nowhere", "prepared.json"])
def test_what_is_no_folder_is_refused(folder, place):
    with pytest.raises(ImageError, match=place):
        load_prepared(folder / place)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"format": 2}', '{"format": 1}', '{"format": 1, "preparation": {}}', "\0"]
)
def test_a_damaged_summary_is_refused(folder, text):
    (folder / "prepared.json").write_text(text)
    with pytest.raises(ImageError, match=r"prepared\.json|preparation"):
        load_prepared(folder)


def test_a_summary_that_is_no_text_is_refused(folder):
    (folder / "prepared.json").write_bytes(b"\xff\xfe\0")
    with pytest.raises(ImageError, match="damaged"):
        load_prepared(folder)


def test_all_altered_shards_are_named_at_once(folder):
    (folder / "shard-00000.parquet").unlink()
    with open(folder / "shard-00002.parquet", "ab") as file:
        file.write(b"more")
    with pytest.raises(ImageError) as error:
        load_prepared(folder)
    for part in ("shard-00000.parquet", "No such file", "shard-00002.parquet", "bytes", "Prepare it again"):
        assert part in str(error.value)
    assert "shard-00001" not in str(error.value)


def test_a_shard_of_the_right_length_that_is_no_parquet_is_named(folder):
    path = folder / "shard-00001.parquet"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(ImageError, match="shard-00001"):
        load_prepared(folder)


def test_a_shard_replaced_by_another_is_named(folder):
    shutil.copy(folder / "shard-00002.parquet", folder / "shard-00000.parquet")
    with pytest.raises(ImageError, match=r"shard-00000\.parquet: [\d,]+ bytes, [\d,]+ were written"):
        load_prepared(folder)


def test_a_moved_folder_is_read_where_it_is(folder, tmp_path):
    before = [read_image_bytes(path) for path in load_prepared(folder).frame["path"]]
    shutil.move(folder, tmp_path / "größe #1.parquet")
    assert [read_image_bytes(path) for path in load_prepared(tmp_path / "größe #1.parquet").frame["path"]] == before


def test_the_preparation_is_known_of_shards_and_not_of_raw_files(dataset, folder):
    assert preparation_of(load_prepared(folder)) == SMALL
    assert preparation_of(dataset) is None
    assert preparation_of(dataset.with_columns(path=None)) is None


def test_a_folder_prepared_anew_is_known_anew(dataset, folder):
    assert preparation_of(load_prepared(folder)).size == 16
    prepare(dataset, folder, image_size=32, shard_size=4, restart=True)
    assert preparation_of(load_prepared(folder)).size == 32


def test_shards_without_their_summary_are_refused(folder, tmp_path):
    data = load_prepared(folder)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere)
    (elsewhere / "prepared.json").unlink()
    moved = data.with_columns(path=data.frame["path"].str.replace(str(folder), str(elsewhere), regex=False))
    with pytest.raises(ImageError, match=r"no prepared\.json"):
        preparation_of(moved)


def test_images_prepared_in_two_ways_are_refused_in_one_data_set(make_dataset, folder, tmp_path, in_process):
    other = make_dataset(tmp_path / "raw2", 3)
    other = other.with_columns(image_name=["x", "y", "z"], source="other")
    large = load_prepared(prepare(other, tmp_path / "large", image_size=32).path)
    both = load_prepared(folder).concat(large)
    with pytest.raises(ImageError) as error:
        preparation_of(both)
    for part in (str(folder), str(tmp_path / "large"), "size=16", "size=32"):
        assert part in str(error.value)


def test_two_folders_prepared_in_one_way_are_one(make_dataset, folder, tmp_path, in_process):
    other = make_dataset(tmp_path / "raw2", 3).with_columns(image_name=["x", "y", "z"], source="other")
    more = load_prepared(prepare(other, tmp_path / "more", image_size=16).path)
    assert preparation_of(load_prepared(folder).concat(more)) == SMALL


def test_raw_files_beside_prepared_ones_give_the_pixels_of_prepared_ones(dataset, folder):
    prepared = load_prepared(folder)
    first = prepared.select(np.arange(10) < 4)
    rest = dataset.select(np.arange(10) >= 4).with_columns(source="raw")
    both = first.concat(rest)
    assert len(both) == 10
    assert preparation_of(both) == SMALL
    spec = image_spec(both, 16)
    shown = np.concatenate([batch["image"] for (batch, _) in inference_pipeline(both, None, spec).as_numpy_iterator()])
    wanted = np.stack([spec.load(path) for path in prepared.frame["path"]])
    np.testing.assert_array_equal(shown, wanted)


def test_the_spec_of_a_data_set_knows_how_it_was_prepared(dataset, folder):
    assert image_spec(load_prepared(folder), 16) == ImageSpec(16, SMALL)
    assert image_spec(dataset, 16) == ImageSpec(16)


@pytest.mark.parametrize(
    "spec", [ImageSpec(16), ImageSpec(16, Preparation(32)), ImageSpec(16, Preparation(16, quality=90))]
)
def test_a_spec_that_does_not_know_the_preparation_is_refused_everywhere(folder, tmp_path, spec):
    data = load_prepared(folder)
    for call in (
        lambda: check_spec(data, spec),
        lambda: training_pipeline(data, None, spec),
        lambda: inference_pipeline(data, None, spec),
        lambda: decode_images(data, spec, tmp_path / "pixels"),
    ):
        with pytest.raises(ImageError, match=r"A new model takes image_spec\(dataset, 16\)"):
            call()
    assert not (tmp_path / "pixels").exists()


def test_the_right_spec_is_taken_and_raw_files_take_any(dataset, folder):
    check_spec(load_prepared(folder), ImageSpec(16, SMALL))
    check_spec(load_prepared(folder), ImageSpec(8, SMALL))
    check_spec(dataset, ImageSpec(16))
    check_spec(dataset, ImageSpec(16, SMALL))


def test_batches_of_shards_are_those_of_the_raw_files_prepared_in_memory(dataset, folder, tmp_path):
    prepared = load_prepared(folder)
    spec = image_spec(prepared, 16)
    decode_images(prepared, spec, tmp_path / "pixels")
    sources = [(dataset, None), (prepared, None), (prepared, open_pixels(prepared, spec, tmp_path / "pixels"))]
    batches = [
        list(training_pipeline(data, None, spec, batch_size=4, pixels=pixels).as_numpy_iterator())
        for data, pixels in sources
    ]
    for other in batches[1:]:
        for one, two in zip(batches[0], other, strict=True):
            np.testing.assert_array_equal(one[0]["image"], two[0]["image"])
            np.testing.assert_array_equal(one[1], two[1])


def test_the_summary_counts_what_lies_in_the_folder(folder):
    made = Prepared.read(folder)
    content = json.loads((folder / "prepared.json").read_text())
    assert content["records"] == made.records == 10
    assert content["preparation"] == SMALL.to_dict()
    assert made.bytes == sum(path.stat().st_size for path in folder.glob("*.parquet"))

"""One shard: a pure function of its records and the preparation, laid out so that others can read it."""

import hashlib
import io
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from melanomafusion.errors import ImageError, OutputError
from melanomafusion.images.preparation import Preparation
from melanomafusion.images.shard import FILE_COLUMNS, prepare_shard, write_shard

SMALL = Preparation(16)


@pytest.fixture
def records(make_dataset, tmp_path):
    """Ten sound records as an Arrow table."""
    return pa.Table.from_pandas(make_dataset(tmp_path / "raw").frame, preserve_index=False)


@pytest.fixture
def mixed(make_dataset, tmp_path, damaged_files):
    """Damaged, odd and sound records, and the names of those that can be used."""
    files = {name: content for name, (content, _) in damaged_files.items()}
    usable = [name.rpartition(".")[0] for name, (_, sound) in damaged_files.items() if sound]
    return pa.Table.from_pandas(make_dataset(tmp_path / "mixed", files).frame, preserve_index=False), usable


def test_a_row_holds_the_metadata_and_the_prepared_image(records):
    shard, refused = prepare_shard(records, SMALL)
    assert refused == []
    assert shard["image_name"].to_pylist() == records["image_name"].to_pylist()
    assert shard["age_approx"].to_pylist() == records["age_approx"].to_pylist()
    assert "path" not in shard.column_names
    for path, image in zip(records["path"].to_pylist(), shard["image"].to_pylist(), strict=True):
        assert image == {"bytes": SMALL.encode(path), "path": os.path.basename(path)}


def test_the_columns_of_the_file_speak_of_the_original(records):
    rows = prepare_shard(records, SMALL)[0].to_pylist()
    for number, (row, path) in enumerate(zip(rows, records["path"].to_pylist(), strict=True)):
        with open(path, "rb") as file:
            content = file.read()
        assert (row["width"], row["height"]) == (44, 30 + number)
        assert row["file_bytes"] == len(content)
        assert row["source_sha256"] == hashlib.sha256(content).hexdigest()


def test_a_column_of_the_table_wins_over_one_of_the_file(records):
    own = records.append_column("width", pa.array(range(10)))
    shard, _ = prepare_shard(own, SMALL)
    assert shard["width"].to_pylist() == list(range(10))
    assert shard.column_names.count("width") == 1


def test_a_column_of_the_table_named_image_is_refused(records):
    with pytest.raises(ImageError, match="image"):
        prepare_shard(records.append_column("image", pa.array(["mine"] * 10)), SMALL)


def test_images_that_cannot_be_used_are_listed_with_their_reason_and_the_others_kept(mixed):
    table, usable = mixed
    shard, refused = prepare_shard(table, SMALL)
    assert shard["image_name"].to_pylist() == usable
    assert [entry["image_name"] for entry in refused] == [
        name for name in table["image_name"].to_pylist() if name not in usable
    ]
    for entry in refused:
        assert set(entry) == {"image_name", "path", "reason"}
        assert entry["reason"].startswith(entry["path"])
        assert len(entry["reason"]) > len(entry["path"]) + 10
    for content in shard["image"].to_pylist():
        with Image.open(io.BytesIO(content["bytes"])) as image:
            assert (image.size, image.mode) == ((16, 16), "RGB")


def test_a_missing_file_and_a_folder_in_its_place_are_listed(records, tmp_path):
    paths = records["path"].to_pylist()
    os.remove(paths[2])
    os.remove(paths[5])
    os.mkdir(paths[5])
    shard, refused = prepare_shard(records, SMALL)
    assert [entry["image_name"] for entry in refused] == ["i002", "i005"]
    assert "no such file" in refused[0]["reason"]
    assert "cannot be read" in refused[1]["reason"]
    assert len(shard) == 8


def test_every_image_is_counted_refused_or_not(mixed):
    calls = []
    prepare_shard(mixed[0], SMALL, lambda: calls.append(1))
    assert len(calls) == len(mixed[0])


def test_a_shard_of_refused_images_alone_has_the_same_columns_and_no_row(records, tmp_path):
    whole, _ = prepare_shard(records, SMALL)
    nowhere = records.set_column(records.column_names.index("path"), "path", pa.array(["nowhere.jpg"] * 10))
    shard, refused = prepare_shard(nowhere, SMALL)
    assert (len(shard), len(refused)) == (0, 10)
    assert shard.schema.equals(whole.schema)
    write_shard(shard, tmp_path / "none.parquet")
    assert len(pd.read_parquet(tmp_path / "none.parquet")) == 0


def test_a_slice_of_the_records_gives_that_slice_of_the_shard(records):
    whole, _ = prepare_shard(records, SMALL)
    part, _ = prepare_shard(records.slice(3, 4), SMALL)
    assert part.to_pylist() == whole.slice(3, 4).to_pylist()


def test_names_with_folders_in_them_give_no_folders(records):
    named = records.set_column(0, "image_name", pa.array([f"a/b/größe {row}" for row in range(10)]))
    assert prepare_shard(named, SMALL)[0]["image"].to_pylist()[3]["path"] == "a_b_größe 3.jpg"


def test_images_of_shards_can_be_prepared_again(records, tmp_path):
    shard, _ = prepare_shard(records, Preparation(32, quality=None))
    write_shard(shard, tmp_path / "first.parquet")
    paths = pa.array([f"{tmp_path}/first.parquet#{row}" for row in range(10)])
    again, refused = prepare_shard(records.set_column(records.column_names.index("path"), "path", paths), SMALL)
    assert refused == []
    for first, second in zip(shard["image"].to_pylist(), again["image"].to_pylist(), strict=True):
        assert second["bytes"] == SMALL.encode(first["bytes"])


@pytest.mark.parametrize("quality", [95, None])
def test_the_same_records_give_the_same_bytes(records, tmp_path, quality):
    digests = []
    for name in ("a", "b"):
        shard, _ = prepare_shard(records, Preparation(16, quality=quality))
        digests.append(write_shard(shard, tmp_path / f"{name}.parquet"))
    content = (tmp_path / "a.parquet").read_bytes()
    assert content == (tmp_path / "b.parquet").read_bytes()
    assert digests == [hashlib.sha256(content).hexdigest()] * 2


def test_images_lie_in_the_file_as_they_are_and_metadata_in_words(records, tmp_path):
    shard, _ = prepare_shard(pa.concat_tables([records] * 15), SMALL)
    write_shard(shard, tmp_path / "a.parquet")
    content, metadata = (tmp_path / "a.parquet").read_bytes(), pq.read_metadata(tmp_path / "a.parquet")
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [64, 64, 22]
    for image in shard["image"].to_pylist():
        assert image["bytes"] in content
    columns = {metadata.row_group(0).column(i).path_in_schema: metadata.row_group(0).column(i) for i in range(20)
               if i < metadata.num_columns}  # fmt: skip
    assert "RLE_DICTIONARY" not in columns["image.bytes"].encodings
    assert {column.compression for column in columns.values()} == {"UNCOMPRESSED"}
    assert not columns["image.bytes"].is_stats_set


def test_pandas_reads_a_shard_as_it_is(records, tmp_path):
    shard, _ = prepare_shard(records, SMALL)
    write_shard(shard, tmp_path / "a.parquet")
    frame = pd.read_parquet(tmp_path / "a.parquet")
    assert list(frame["image_name"]) == records["image_name"].to_pylist()
    assert set(FILE_COLUMNS) <= set(frame)
    with Image.open(io.BytesIO(frame["image"][0]["bytes"])) as image:
        assert np.asarray(image).shape == (16, 16, 3)


def test_a_shard_that_cannot_be_written_leaves_nothing(records, tmp_path):
    shard, _ = prepare_shard(records, SMALL)
    (tmp_path / "a.parquet" / "in the way").mkdir(parents=True)
    with pytest.raises(OutputError, match="Cannot write"):
        write_shard(shard, tmp_path / "a.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "raw"]

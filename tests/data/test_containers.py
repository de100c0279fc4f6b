"""Images in files, shards and TFRecords: the bytes of the right one, or a word on what is wrong."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from melanomafusion.data.containers import locator, read_image_bytes, split_locator, stored_bytes
from melanomafusion.errors import ImageError

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
READERS = [read_image_bytes, stored_bytes]


def write(path, images, **options):
    """A shard of these bytes, laid out as `prepare` does unless told otherwise."""
    column = pa.array([{"bytes": image, "path": "a.jpg"} for image in images], IMAGE)
    table = pa.table({"image_name": [f"i{row}" for row in range(len(images))], "image": column})
    layout = {"compression": "none", "use_dictionary": ["image_name"], "write_statistics": False, "row_group_size": 4}
    pq.write_table(table, path, **(layout | options))
    return path


@pytest.fixture
def images():
    """Eleven byte strings; some equal, one the beginning of the next, one inside another."""
    rng = np.random.default_rng(0)
    some = [rng.bytes(int(length)) for length in rng.integers(50, 900, 7)]
    return [some[0], some[0], some[1][:30], some[1], some[2], some[2][5:40], b"x", some[3], some[0], some[4], some[5]]


def test_every_row_gives_its_own_bytes_in_any_order(tmp_path, images):
    shard = write(tmp_path / "a.parquet", images)
    for row in np.random.default_rng(1).permutation(len(images)):
        assert read_image_bytes(locator(shard, row)) == images[row]
        assert stored_bytes(locator(shard, row)) == len(images[row])


def test_a_file_of_its_own_gives_its_bytes(tmp_path):
    path = tmp_path / "größe #1.jpg"
    path.write_bytes(b"content")
    for name in (path, str(path)):
        assert read_image_bytes(name) == b"content"
        assert stored_bytes(name) == 7


@given(
    folder=st.text(st.characters(blacklist_characters="\0\n\r", blacklist_categories=["Cs"]), min_size=1, max_size=20),
    suffix=st.sampled_from(["parquet", "tfrec", "tfrecord"]),
    row=st.integers(0, 10**9),
)
def test_a_locator_is_split_into_what_it_was_made_of(folder, suffix, row):
    container = f"{folder}/a.{suffix}"
    assert split_locator(locator(container, row)) == (container, row)


@pytest.mark.parametrize(
    "path",
    ["", "#3", "a.jpg", "a.csv#3", "a.parquet", "a.parquet#", "a.parquet#x", "a.parquet#-1", "a.parquet#1.5",
     ".parquet#1", "a.PARQUET#1", "a.parquet#1/b.jpg"],
)  # fmt: skip
def test_other_paths_are_files_of_their_own(path):
    assert split_locator(path) is None


def test_the_last_mark_counts():
    assert split_locator("a.parquet#1/b.tfrec#2") == ("a.parquet#1/b.tfrec", 2)


@pytest.mark.parametrize("row", [11, 12, 10**12])
def test_a_row_out_of_range_is_refused(tmp_path, images, row):
    shard = write(tmp_path / "a.parquet", images)
    with pytest.raises(ImageError, match=f"11 images; there is no row {row}"):
        read_image_bytes(locator(shard, row))
    with pytest.raises(ImageError, match=rf"a\.parquet#{row}"):
        stored_bytes(locator(shard, row))


def test_a_shard_without_any_row_has_no_row_0(tmp_path):
    shard = write(tmp_path / "a.parquet", [])
    with pytest.raises(ImageError, match="0 images; there is no row 0"):
        read_image_bytes(locator(shard, 0))


@pytest.mark.parametrize("compression", ["zstd", "gzip", "snappy"])
@pytest.mark.parametrize("read", READERS)
def test_a_compressed_shard_is_refused(tmp_path, read, compression):
    shard = write(tmp_path / "a.parquet", [b"the same word " * 40, b"another word " * 40], compression=compression)
    with pytest.raises(ImageError, match="image 0 is compressed"):
        read(locator(shard, 0))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "table",
    [
        pa.table({"image_name": ["a"]}),
        pa.table({"image": pa.array([b"abc"])}),
        pa.table({"image": pa.array([{"path": "a"}])}),
        pa.table({"image": ["a"]}),
    ],
    ids=["no image", "bare bytes", "no bytes", "text"],
)
def test_a_parquet_of_something_else_is_refused(tmp_path, read, table):
    pq.write_table(table, tmp_path / "a.parquet", compression="none")
    with pytest.raises(ImageError, match=r"a\.parquet: not a shard of prepared images"):
        read(f"{tmp_path}/a.parquet#0")


@pytest.mark.parametrize("read", READERS)
def test_a_row_without_bytes_is_refused(tmp_path, read):
    shard = write(tmp_path / "a.parquet", [b"abc", None, b"def"])
    with pytest.raises(ImageError):
        read(locator(shard, 1))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("content", [b"", b"PAR1", b"image_name,target\n", bytes(5000), b"PAR1" + bytes(200) + b"PAR1"])
def test_what_is_no_parquet_is_refused(tmp_path, read, content):
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.parquet"):
        read(f"{tmp_path}/a.parquet#0")


@pytest.mark.parametrize("read", READERS)
def test_a_folder_with_the_name_of_a_shard_is_refused(tmp_path, read):
    (tmp_path / "a.parquet").mkdir()
    with pytest.raises(ImageError, match=r"a\.parquet#0: cannot be read"):
        read(f"{tmp_path}/a.parquet#0")


@pytest.mark.parametrize("path", ["nowhere.jpg", "nowhere.parquet#0", "nowhere/a.parquet#0", "nowhere.tfrec#0"])
def test_what_is_not_there_is_named(tmp_path, path):
    with pytest.raises(ImageError) as error:
        read_image_bytes(tmp_path / path)
    assert str(error.value) == f"{tmp_path / path}: there is no such file."
    with pytest.raises(ImageError, match="No such file"):
        stored_bytes(tmp_path / path)


def test_a_folder_in_place_of_a_file_is_named(tmp_path):
    with pytest.raises(ImageError, match="cannot be read"):
        read_image_bytes(tmp_path)


def test_an_impossible_path_is_an_image_error():
    with pytest.raises(ImageError):
        read_image_bytes("a\0b.jpg")


def test_a_shard_written_anew_is_scanned_anew(tmp_path, images):
    shard = write(tmp_path / "a.parquet", images)
    assert read_image_bytes(locator(shard, 0)) == images[0]
    write(shard, images[::-1])
    os.utime(shard, ns=(1, 1))
    for row, image in enumerate(images[::-1]):
        assert read_image_bytes(locator(shard, row)) == image
    write(shard, images[:2])
    with pytest.raises(ImageError, match="holds 2 images"):
        read_image_bytes(locator(shard, 5))


def test_a_shard_that_goes_away_after_its_scan_is_missed(tmp_path, images):
    shard = write(tmp_path / "a.parquet", images)
    read_image_bytes(locator(shard, 0))
    shard.unlink()
    with pytest.raises(ImageError, match="no such file"):
        read_image_bytes(locator(shard, 1))


def test_an_image_is_one_read_after_the_scan(tmp_path, images, monkeypatch):
    shard = write(tmp_path / "a.parquet", images)
    read_image_bytes(locator(shard, 3))

    def never(*_, **__):
        raise AssertionError("scanned again")

    monkeypatch.setattr(pq, "ParquetFile", never)
    assert read_image_bytes(locator(shard, 9)) == images[9]

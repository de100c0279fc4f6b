"""The join of table and images is verified both ways; no default drops a row."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.data.join import find_first, index_images, join_images
from melanomafusion.errors import TableError


def rows(*names):
    return pd.DataFrame({"image_name": list(names), "target": range(len(names))})


def folder_of(path, *files):
    path.mkdir(parents=True, exist_ok=True)
    for name in files:
        (path / name).write_bytes(b"")
    return path


def test_each_row_gets_the_path_of_its_own_image(tmp_path):
    folder = folder_of(tmp_path / "images", "b.jpg", "a.PNG", "c.jpeg")
    joined = join_images(rows("c", "a", "b"), [folder])
    assert joined["image_name"].tolist() == ["c", "a", "b"]
    assert [Path(path).name for path in joined["path"]] == ["c.jpeg", "a.PNG", "b.jpg"]
    assert joined["target"].tolist() == [0, 1, 2]


def test_rows_without_image_are_counted_and_the_first_few_named(tmp_path):
    folder = folder_of(tmp_path / "images", "i0.jpg")
    with pytest.raises(TableError) as caught:
        join_images(rows(*(f"i{n}" for n in range(9))), [folder])
    assert caught.value.problems == ["8 of 9 rows have no image: i1, i2, i3, i4, i5, …"]
    assert 'missing_images="drop"' in str(caught.value)
    assert str(folder) in str(caught.value)


def test_images_without_row_are_counted_and_the_first_few_named(tmp_path):
    folder = folder_of(tmp_path / "images", *(f"i{n}.jpg" for n in range(9)))
    with pytest.raises(TableError) as caught:
        join_images(rows("i0"), [folder])
    assert caught.value.problems == ["8 of 9 images have no row: i1, i2, i3, i4, i5, …"]
    assert 'extra_images="ignore"' in str(caught.value)


def test_both_directions_are_reported_at_once(tmp_path):
    folder = folder_of(tmp_path / "images", "a.jpg", "x.jpg")
    with pytest.raises(TableError) as caught:
        join_images(rows("a", "b"), [folder])
    assert caught.value.problems == ["1 of 2 rows have no image: b", "1 of 2 images have no row: x"]


def test_drop_leaves_out_rows_without_image_and_only_those(tmp_path):
    folder = folder_of(tmp_path / "images", "a.jpg", "c.jpg")
    joined = join_images(rows("a", "b", "c"), [folder], missing_images="drop")
    assert joined["image_name"].tolist() == ["a", "c"]
    assert joined["target"].tolist() == [0, 2]
    assert joined.index.tolist() == [0, 1]


def test_ignore_leaves_images_without_row_alone(tmp_path):
    folder = folder_of(tmp_path / "images", "a.jpg", "x.jpg")
    joined = join_images(rows("a"), [folder], extra_images="ignore")
    assert joined["image_name"].tolist() == ["a"]
    assert (folder / "x.jpg").exists()


def test_each_permission_covers_its_own_direction_only(tmp_path):
    folder = folder_of(tmp_path / "images", "a.jpg", "x.jpg")
    with pytest.raises(TableError, match="1 of 2 images have no row: x"):
        join_images(rows("a", "b"), [folder], missing_images="drop")
    with pytest.raises(TableError, match="1 of 2 rows have no image: b"):
        join_images(rows("a", "b"), [folder], extra_images="ignore")


def test_a_join_that_keeps_no_row_is_refused_even_where_rows_may_be_dropped(tmp_path):
    folder = folder_of(tmp_path / "images", "x.jpg")
    with pytest.raises(TableError, match="none of the 2 rows has an image"):
        join_images(rows("a", "b"), [folder], missing_images="drop", extra_images="ignore")


@pytest.mark.parametrize("options", [{"missing_images": "ignore"}, {"extra_images": "drop"}, {"missing_images": None}])
def test_an_unknown_permission_is_refused(tmp_path, options):
    folder = folder_of(tmp_path / "images", "a.jpg")
    with pytest.raises(TableError, match="expected one of"):
        join_images(rows("a"), [folder], **options)


def test_a_folder_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(TableError, match="no such folder of images") as caught:
        join_images(rows("a"), [tmp_path / "nowhere"])
    assert str(tmp_path / "nowhere") in str(caught.value)


def test_two_files_of_one_image_are_refused_by_both_paths(tmp_path):
    one = folder_of(tmp_path / "one", "a.jpg", "b.jpg")
    two = folder_of(tmp_path / "two", "a.png", "c.jpg")
    with pytest.raises(TableError) as caught:
        index_images([one, two])
    (problem,) = caught.value.problems
    assert str(one / "a.jpg") in problem
    assert str(two / "a.png") in problem


def test_other_files_and_hidden_files_are_passed_over(tmp_path):
    folder = folder_of(tmp_path / "images", "a.jpg", "notes.txt", ".b.jpg", ".jpg", "c.jpg.part")
    assert list(index_images([folder])) == ["a"]


def test_names_with_points_lose_only_the_suffix(tmp_path):
    assert list(index_images([folder_of(tmp_path / "images", "a.b.jpg")])) == ["a.b"]


@settings(max_examples=30, deadline=None, database=None)
@given(st.sets(st.integers(0, 12), min_size=1), st.sets(st.integers(0, 12), min_size=1))
def test_a_row_is_never_lost_silently(tmp_path_factory, in_table, on_disk):
    folder = folder_of(tmp_path_factory.mktemp("images"), *(f"i{n}.jpg" for n in on_disk))
    table = rows(*(f"i{n}" for n in sorted(in_table)))
    if in_table == on_disk:
        assert len(join_images(table, [folder])) == len(in_table)
    else:
        with pytest.raises(TableError) as caught:
            join_images(table, [folder])
        text = "\n".join(caught.value.problems)
        assert ("have no image" in text) == bool(in_table - on_disk)
        assert ("have no row" in text) == bool(on_disk - in_table)
    if in_table & on_disk:
        joined = join_images(table, [folder], missing_images="drop", extra_images="ignore")
        assert set(joined["image_name"]) == {f"i{n}" for n in in_table & on_disk}


def test_the_first_layout_that_exists_is_found(tmp_path):
    (tmp_path / "two").mkdir()
    (tmp_path / "three").mkdir()
    assert find_first(tmp_path, ("one", "two", "three"), "folder") == tmp_path / "two"


def test_a_layout_that_is_not_there_is_refused_with_all_that_was_looked_for(tmp_path):
    with pytest.raises(TableError, match=r"no table found.*has none of: one\.csv, two\.csv"):
        find_first(tmp_path, ("one.csv", "two.csv"), "table")
    with pytest.raises(TableError, match="does not exist"):
        find_first(tmp_path / "nowhere", ("one.csv",), "table")

"""`prepare`: what it writes, when it works anew and when not; a folder of others is left alone."""

import os
import random
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from melanomafusion.data.dataset import Dataset
from melanomafusion.errors import ImageError, MelanomaFusionError, OutputError
from melanomafusion.execution import local
from melanomafusion.images import prepare as module
from melanomafusion.images.prepare import prepare
from melanomafusion.images.prepared import load_prepared

SMALL = {"image_size": 16, "shard_size": 4, "workers": 2}
FINISHED = {"preparation.json", "prepared.json"}


def contents(folder):
    """Name → bytes of every file of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def dataset(make_dataset, tmp_path):
    """Ten records: two full shards and a half."""
    return make_dataset(tmp_path / "raw")


@pytest.fixture
def finished(dataset, tmp_path, in_process):
    """A finished folder, and what was in it."""
    prepare(dataset, tmp_path / "out", **SMALL)
    in_process.clear()
    return contents(tmp_path / "out")


def test_a_finished_folder_holds_shards_and_two_notes(dataset, tmp_path, in_process):
    made = prepare(dataset, tmp_path / "out", **SMALL)
    names = {f"shard-0000{number}.parquet" for number in range(3)}
    assert set(os.listdir(tmp_path / "out")) == names | FINISHED
    assert [shard["records"] for shard in made.shards] == [4, 4, 2]
    assert (made.records, made.refused) == (10, [])
    assert made.bytes == sum((tmp_path / "out" / name).stat().st_size for name in names)


def test_other_processes_give_the_bytes_of_this_one_whatever_their_number(dataset, tmp_path, finished, monkeypatch):
    monkeypatch.setattr(module, "run_tasks", local.run_tasks)
    for workers in (1, 3):
        prepare(dataset, tmp_path / f"out{workers}", **{**SMALL, "workers": workers})
        assert contents(tmp_path / f"out{workers}") == finished


@pytest.mark.parametrize("seed", range(3))
def test_the_order_in_which_shards_are_made_does_not_matter(dataset, tmp_path, finished, monkeypatch, seed):
    def run_shuffled(tasks, on_event):
        shards = [shard for task in tasks for shard in task.arguments["shards"]]
        random.Random(seed).shuffle(shards)
        module.write_shards(on_event=on_event, **{**tasks[0].arguments, "shards": shards})

    monkeypatch.setattr(module, "run_tasks", run_shuffled)
    prepare(dataset, tmp_path / "other", **SMALL)
    assert contents(tmp_path / "other") == finished


@pytest.mark.parametrize("shard_size", [1, 3, 10, 256])
def test_the_size_of_shards_changes_no_image(dataset, tmp_path, finished, shard_size):
    prepare(dataset, tmp_path / "other", **{**SMALL, "shard_size": shard_size})
    images = [
        [
            image["bytes"]
            for path in sorted((tmp_path / name).glob("*.parquet"))
            for image in pd.read_parquet(path)["image"]
        ]
        for name in ("out", "other")
    ]
    assert images[0] == images[1]


def test_more_workers_than_shards_are_not_started(dataset, tmp_path, in_process):
    prepare(dataset, tmp_path / "out", **{**SMALL, "workers": 9})
    assert len(in_process) == 3


def test_progress_counts_all_images_and_never_backwards(dataset, tmp_path, in_process):
    events = []
    prepare(dataset, tmp_path / "out", **SMALL, on_event=events.append)
    done = [event["done"] for event in events]
    assert done == sorted(done)
    assert {event["total"] for event in events} == {10}
    assert done[-1] == 10


def test_progress_of_a_second_start_begins_where_the_first_stopped(dataset, tmp_path, finished):
    (tmp_path / "out" / "shard-00001.parquet").unlink()
    events = []
    prepare(dataset, tmp_path / "out", **SMALL, on_event=events.append)
    assert [event["done"] for event in events][-1] == 10
    assert events[0]["done"] >= 6


def test_a_second_run_with_nothing_to_do_makes_no_shard_and_starts_no_process(dataset, tmp_path, finished, monkeypatch):
    def never(*_, **__):
        raise AssertionError("nothing was to be done")

    for name in ("run_tasks", "prepare_shard", "write_shard", "write_note", "write_summary"):
        monkeypatch.setattr(module, name, never)
    monkeypatch.setattr(subprocess, "Popen", never)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.parquet")}
    assert prepare(dataset, tmp_path / "out", **SMALL).records == 10
    assert contents(tmp_path / "out") == finished
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_source_that_changed_makes_its_shard_anew_and_no_other(dataset, tmp_path, finished, encoded, in_process):
    path = Path(dataset.frame["path"][5])
    path.write_bytes(encoded(np.full((50, 50, 3), 77, np.uint8)))
    os.utime(path, ns=(1, 1))
    before = {path.name: path.stat().st_ino for path in (tmp_path / "out").glob("*.parquet")}
    prepare(dataset, tmp_path / "out", **SMALL)
    assert [number for task in in_process for number, _ in task.arguments["shards"]] == [1]
    after = contents(tmp_path / "out")
    assert {name for name in after if after[name] != finished[name]} == {"shard-00001.parquet", "prepared.json"}
    assert {path.name for path in (tmp_path / "out").glob("*.parquet") if path.stat().st_ino != before[path.name]} == {
        "shard-00001.parquet"
    }
    assert load_prepared(tmp_path / "out").frame["width"].tolist()[5] == 50
    fresh = tmp_path / "fresh"
    prepare(dataset, fresh, **SMALL)
    assert contents(fresh) == after


@pytest.mark.parametrize("change", ["time", "size"])
def test_a_source_is_looked_at_by_size_and_time(dataset, tmp_path, finished, in_process, change):
    path = Path(dataset.frame["path"][0])
    status = path.stat()
    if change == "size":
        path.write_bytes(path.read_bytes() + b"\0")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    else:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    prepare(dataset, tmp_path / "out", **SMALL)
    assert [number for task in in_process for number, _ in task.arguments["shards"]] == [0]


def test_metadata_that_changed_makes_its_shard_anew_and_no_other(dataset, tmp_path, finished, in_process):
    ages = dataset.frame["age_approx"].where(dataset.frame.index != 9, 85.0)
    prepare(dataset.with_columns(age_approx=ages), tmp_path / "out", **SMALL)
    assert [number for task in in_process for number, _ in task.arguments["shards"]] == [2]
    assert load_prepared(tmp_path / "out").frame["age_approx"].tolist() == ages.tolist()


def test_other_records_are_refused_unless_told_to_begin_anew(dataset, tmp_path, finished):
    few = dataset.select(np.arange(10) < 7)
    with pytest.raises(OutputError, match=r"other records.*restart"):
        prepare(few, tmp_path / "out", **SMALL)
    assert contents(tmp_path / "out") == finished
    prepare(few, tmp_path / "out", **SMALL, restart=True)
    prepare(few, tmp_path / "fresh", **SMALL)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_records_in_another_order_are_other_records(dataset, tmp_path, finished):
    with pytest.raises(OutputError, match="other records"):
        prepare(dataset.select(dataset.image_names[::-1]), tmp_path / "out", **SMALL)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"image_size": 32}, "size 16 → 32"),
        ({"mode": "centre-crop"}, "mode resize → centre-crop"),
        ({"quality": None}, "quality 95 → None"),
        ({"crop_border": True}, "crop_border False → True"),
        ({"colour_constancy": True}, "colour_constancy False → True"),
        ({"shard_size": 5}, "shard_size 4 → 5"),
    ],
)
def test_another_preparation_is_refused_with_both_values(dataset, tmp_path, finished, other, words):
    with pytest.raises(OutputError) as error:
        prepare(dataset, tmp_path / "out", **{**SMALL, **other})
    assert words in str(error.value)
    assert "other records" not in str(error.value)
    assert contents(tmp_path / "out") == finished
    prepare(dataset, tmp_path / "out", **{**SMALL, **other}, restart=True)
    prepare(dataset, tmp_path / "fresh", **{**SMALL, **other})
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("file", ["thesis.docx", "shard-00000.parquet", "prepared.json"])
def test_a_folder_of_something_else_is_refused_untouched(dataset, tmp_path, in_process, file, restart):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / file).write_text("mine")
    with pytest.raises(OutputError, match="not empty and holds no prepared images"):
        prepare(dataset, tmp_path / "out", **SMALL, restart=restart)
    assert contents(tmp_path / "out") == {file: b"mine"}
    assert in_process == []


@pytest.mark.parametrize("restart", [False, True])
def test_a_preparation_json_of_something_else_is_no_claim(dataset, tmp_path, in_process, restart):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "preparation.json").write_text('{"preparation": "of slides"}')
    (tmp_path / "out" / "shard-00000.parquet").write_text("mine")
    before = contents(tmp_path / "out")
    try:
        prepare(dataset, tmp_path / "out", **SMALL, restart=restart)
    except OutputError:
        assert contents(tmp_path / "out") == before
    else:
        raise TypeError("a foreign shard was deleted")


def test_a_file_in_place_of_the_folder_is_refused(dataset, tmp_path, in_process):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        prepare(dataset, tmp_path / "out", **SMALL)
    assert (tmp_path / "out").read_text() == "mine"


def test_an_empty_folder_and_a_path_of_several_new_folders_are_taken(dataset, tmp_path, in_process):
    (tmp_path / "empty").mkdir()
    assert prepare(dataset, tmp_path / "empty", **SMALL).records == 10
    assert prepare(dataset, str(tmp_path / "a" / "b [c]" / "größe"), **SMALL).records == 10


def test_ten_damaged_files_are_listed_and_the_others_converted(make_dataset, damaged_files, tmp_path, in_process):
    files = {name: content for name, (content, _) in damaged_files.items()}
    made = prepare(make_dataset(tmp_path / "raw", files), tmp_path / "out", **SMALL)
    bad = [name for name, (_, sound) in damaged_files.items() if not sound]
    assert len(bad) >= 9
    assert [Path(entry["path"]).name for entry in made.refused] == bad
    assert made.records == len(files) - len(bad)
    loaded = load_prepared(tmp_path / "out")
    assert sorted([*loaded.image_names, *(entry["image_name"] for entry in made.refused)]) == sorted(
        name.rpartition(".")[0] for name in files
    )
    for entry in made.refused:
        assert entry["reason"].startswith(entry["path"])
        assert (tmp_path / "out" / entry["shard"]).is_file()


def test_a_refused_file_that_was_mended_is_taken_in(make_dataset, tmp_path, encoded, in_process):
    files = {"a.jpg": b"", "b.jpg": encoded(np.zeros((20, 20, 3), np.uint8))}
    dataset = make_dataset(tmp_path / "raw", files)
    assert prepare(dataset, tmp_path / "out", **SMALL).records == 1
    assert prepare(dataset, tmp_path / "out", **SMALL).refused[0]["image_name"] == "a"
    (tmp_path / "raw" / "a.jpg").write_bytes(files["b.jpg"])
    made = prepare(dataset, tmp_path / "out", **SMALL)
    assert (made.records, made.refused) == (2, [])


def test_a_file_that_went_away_is_listed_by_the_next_run(dataset, tmp_path, finished):
    os.remove(dataset.frame["path"][0])
    made = prepare(dataset, tmp_path / "out", **SMALL)
    assert made.records == 9
    assert "no such file" in made.refused[0]["reason"]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"image_size": 7}, "8 to 4096"),
        ({"image_size": "16"}, "8 to 4096"),
        ({"mode": "crop"}, "'crop'"),
        ({"quality": 101}, "1 to 100"),
        ({"shard_size": 0}, "shard_size=0"),
        ({"shard_size": 2.5}, "shard_size=2.5"),
        ({"workers": -1}, "workers=-1"),
        ({"workers": "two"}, "workers='two'"),
    ],
)
def test_impossible_values_are_refused_before_anything_is_made(dataset, tmp_path, in_process, option, words):
    with pytest.raises(ImageError) as error:
        prepare(dataset, tmp_path / "out", **{**SMALL, **option})
    assert words in str(error.value)
    assert not (tmp_path / "out").exists()


def test_records_without_images_are_refused(dataset, tmp_path, in_process):
    holes = dataset.with_columns(path=dataset.frame["path"].where(dataset.frame.index != 4))
    with pytest.raises(ImageError, match=r"1 of 10 records have no image, e\.g\. i004"):
        prepare(holes, tmp_path / "out", **SMALL)
    with pytest.raises(ImageError, match="0 of 0 records"):
        prepare(dataset.select([False] * 10), tmp_path / "out", **SMALL)
    assert not (tmp_path / "out").exists()


def test_prepared_images_are_not_prepared_twice(dataset, tmp_path, finished):
    with pytest.raises(ImageError, match="prepared already"):
        prepare(load_prepared(tmp_path / "out"), tmp_path / "twice", **SMALL)
    assert not (tmp_path / "twice").exists()


def test_a_column_of_text_and_numbers_is_refused_by_name(dataset, tmp_path, in_process):
    with pytest.raises(MelanomaFusionError, match="note"):
        prepare(dataset.with_columns(note=["text", 2] * 5), tmp_path / "out", **SMALL)


def test_folds_and_columns_of_ones_own_go_into_the_shards(dataset, tmp_path, in_process):
    own = dataset.with_columns(fold=np.arange(10) % 3, grouped_by="record", scar=["yes", None] * 5)
    prepare(own, tmp_path / "out", **SMALL)
    loaded = load_prepared(tmp_path / "out").frame
    for column in ("fold", "grouped_by", "scar"):
        pd.testing.assert_series_equal(loaded[column], own.frame[column], check_dtype=False)


def test_a_table_with_a_strange_index_is_prepared_in_its_order(dataset, tmp_path, finished):
    turned = Dataset(dataset.frame.set_index(np.arange(10)[::-1]))
    prepare(turned, tmp_path / "turned", **SMALL)
    assert contents(tmp_path / "turned") == finished

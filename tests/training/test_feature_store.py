"""Features on disk: whole parts or none, each image by its own identity, any order of reading."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.data.containers import locator
from melanomafusion.data.dataset import Dataset
from melanomafusion.data.schema import COLUMNS
from melanomafusion.errors import ImageError, OutputError
from melanomafusion.training.feature_store import FeatureStore, image_identities


def features_of(images, width=4):
    """A row that follows from the name."""
    return np.array([[len(image) + int(image) * 10 + i for i in range(width)] for image in images], dtype="float32")


@pytest.fixture
def store(tmp_path):
    store = FeatureStore(tmp_path / "features", 4)
    store.add(["1", "2", "3"], features_of(["1", "2", "3"]))
    return store


def dataset(paths):
    table = pd.DataFrame({"image_name": [f"img_{i}" for i in range(len(paths))], "path": [str(path) for path in paths]})
    return Dataset(table.reindex(columns=list(COLUMNS)))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=9, unique=True), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_whatever_was_added_in_whatever_parts_is_read_in_any_order(tmp_path_factory, parts, random):
    folder = tmp_path_factory.mktemp("store") / "features"
    for part in parts:
        FeatureStore(folder, 4).add([str(i) for i in part], features_of([str(i) for i in part]))
    wanted = [str(i) for i in {i for part in parts for i in part}]
    random.shuffle(wanted)
    found = FeatureStore(folder, 4).read(wanted)
    rows = np.array([random.randrange(len(wanted)) for _ in range(20)])
    assert len(found) == len(wanted)
    np.testing.assert_array_equal(found.take(rows), features_of(wanted)[rows])


def test_what_is_lacking_is_named_by_its_place(store):
    assert store.lacks(["9", "2", "1", "8"]) == [0, 3]
    assert FeatureStore(store.folder, 4).lacks(["3", "2", "1"]) == []
    assert FeatureStore(store.folder / "elsewhere", 4).lacks(["1"]) == [0]


def test_features_stay_on_disk_as_float32(store):
    store.add(["7"], np.ones((1, 4), dtype="float64"))
    found = store.read(["7", "1"])
    assert all(isinstance(part, np.memmap) for part in found.parts)
    assert found.take(np.arange(2)).dtype == np.float32
    assert found.width == 4


def test_features_of_another_width_are_not_taken(store):
    assert FeatureStore(store.folder, 5).lacks(["1"]) == [0]


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(["features.npy", "images.json"]), st.floats(0, 0.999))
def test_a_part_cut_off_anywhere_counts_as_not_there(tmp_path_factory, name, share):
    folder = tmp_path_factory.mktemp("store") / "features"
    FeatureStore(folder, 4).add(["1", "2"], features_of(["1", "2"]))
    file = next(folder.glob(f"*/{name}"))
    whole = file.read_bytes()
    cut = min(int(len(whole) * share), len(whole.rstrip()) - 1)
    file.write_bytes(whole[:cut])
    store = FeatureStore(folder, 4)
    assert store.lacks(["1", "2"]) == [0, 1]
    store.add(["1", "2"], features_of(["1", "2"]))
    np.testing.assert_array_equal(FeatureStore(folder, 4).read(["2", "1"]).take(np.arange(2)), features_of(["2", "1"]))


@pytest.mark.parametrize("content", [b"", b"{}", b"[1, 2, 3]", b'[["1"], ["2"], ["3"]]', b'["1", "2"]', b"\xff\xfe"])
def test_a_part_with_strange_names_counts_as_not_there(store, content):
    next(store.folder.glob("*/images.json")).write_bytes(content)
    assert FeatureStore(store.folder, 4).lacks(["1", "2", "3"]) == [0, 1, 2]


@pytest.mark.parametrize(
    "array", [np.zeros((3, 4)), np.zeros(3, "float32"), np.array(1.0, "float32"), np.array([{}] * 3, dtype=object)]
)
def test_a_part_with_a_strange_array_counts_as_not_there(store, array):
    np.save(next(store.folder.glob("*/features.npy")), array, allow_pickle=True)
    assert FeatureStore(store.folder, 4).lacks(["1", "2", "3"]) == [0, 1, 2]


def test_a_part_that_was_being_written_is_not_taken(store):
    part = next(store.folder.glob("part-*"))
    part.rename(store.folder / f".{part.name}.0a1b2c3d.part")
    assert FeatureStore(store.folder, 4).lacks(["1"]) == [0]


def test_runs_side_by_side_may_add_the_same_images(tmp_path):
    images = [str(i) for i in range(20)]

    def run(_):
        store = FeatureStore(tmp_path / "features", 4)
        store.add(images, features_of(images))
        return store.read(images).take(np.arange(20))

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(run, range(40)):
            np.testing.assert_array_equal(found, features_of(images))


def test_killed_at_any_moment_every_part_that_is_there_is_whole(tmp_path):
    code = (
        "import sys, numpy as np; from melanomafusion.training.feature_store import FeatureStore\n"
        "store = FeatureStore(sys.argv[1], 20000); start = int(sys.argv[2])\n"
        "for n in range(start, start + 10000):\n"
        "    store.add([str(n * 50 + i) for i in range(50)], np.full((50, 20000), n, dtype='float32'))\n"
    )
    parts = 0
    for kill, delay in enumerate((0.01, 0.07)):
        arguments = [sys.executable, "-c", code, str(tmp_path / "features"), str(kill * 10_000)]
        with subprocess.Popen(arguments) as process:
            while len(list((tmp_path / "features").glob("part-*"))) == parts and process.poll() is None:
                time.sleep(0.001)
            time.sleep(delay)
            os.kill(process.pid, signal.SIGKILL)
        store = FeatureStore(tmp_path / "features", 20000)
        known = [str(i) for n in (0, 10_000) for i in range(n * 50, n * 50 + 5000) if not store.lacks([str(i)])]
        found = store.read(known)
        assert len(found.parts) > parts
        parts = len(found.parts)
        assert len(known) == 50 * parts
        for row, name in enumerate(known):
            assert found.parts[found.part[row]][found.row[row], 0] == int(name) // 50
            assert found.parts[found.part[row]][found.row[row], -1] == int(name) // 50


def test_a_folder_that_cannot_be_written_to_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write"):
        FeatureStore(tmp_path / "file" / "features", 4).add(["1"], features_of(["1"]))


def test_an_image_is_known_by_its_path_size_and_time(tmp_path):
    paths = [tmp_path / name for name in ("a.jpg", "b.jpg", "größe µ.jpg")]
    for path in paths:
        path.write_bytes(b"123")
        os.utime(path, ns=(10**18, 10**18))
    before = image_identities(dataset(paths))
    assert len(set(before)) == 3
    assert image_identities(dataset(paths[::-1])) == before[::-1]

    paths[0].write_bytes(b"1234")
    os.utime(paths[0], ns=(10**18, 10**18))
    os.utime(paths[1], ns=(10**18, 10**18 + 1))
    after = image_identities(dataset(paths))
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, False, True]


def test_an_image_is_the_same_from_another_working_folder(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"123")
    absolute = image_identities(dataset([tmp_path / "a.jpg"]))
    monkeypatch.chdir(tmp_path)
    assert image_identities(dataset(["a.jpg"])) == absolute


def test_images_in_a_container_are_known_by_their_row(tmp_path):
    shard = tmp_path / "part.parquet"
    shard.write_bytes(b"123")
    records = dataset([locator(shard, row) for row in range(3)])
    assert len(set(image_identities(records))) == 3
    again = image_identities(records)
    shard.write_bytes(b"1234")
    assert not set(again) & set(image_identities(records))


def test_images_that_are_gone_are_counted_and_named(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"123")
    records = dataset([tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "c\0.jpg"])
    with pytest.raises(ImageError, match=r'2 of 3 images cannot be found any more, e\.g\. img_1.*augmentation="light"'):
        image_identities(records)

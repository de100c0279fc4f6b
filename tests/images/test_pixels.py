"""Decoding once: every bad file is found, and the kept pixels are those of the files."""

import shutil
from collections import namedtuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from melanomafusion.data.dataset import Dataset
from melanomafusion.data.schema import COLUMNS
from melanomafusion.errors import ImageError, OutputError
from melanomafusion.images.pixels import bad_images_message, decode_images, open_pixels, undecoded_pixels
from melanomafusion.images.spec import ImageSpec

SPEC = ImageSpec(16)
COUNT = 60


@pytest.fixture
def dataset(tmp_path):
    """Sixty records with images of different sizes."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: [None] * COUNT for name in COLUMNS}, dtype=object)
    frame["image_name"] = [f"image{i:02d}" for i in range(COUNT)]
    frame["path"] = [str(tmp_path / "images" / f"image{i:02d}.png") for i in range(COUNT)]
    (tmp_path / "images").mkdir()
    for i, path in enumerate(frame["path"]):
        Image.fromarray(rng.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8)).save(path)
    return Dataset(frame)


def full_disk(folder):
    del folder
    return namedtuple("Usage", "total used free")(1000, 900, 100)


def damage(dataset, *rows):
    for row in rows:
        path = dataset.frame["path"].iloc[row]
        with open(path, "rb") as file:
            content = file.read()
        with open(path, "wb") as file:
            file.write(content[: len(content) // 2])
    return [str(dataset.image_names[row]) for row in rows]


def test_kept_pixels_are_those_of_the_files(dataset, tmp_path):
    assert decode_images(dataset, SPEC, tmp_path / "out") == {}
    pixels = open_pixels(dataset, SPEC, tmp_path / "out")
    assert pixels.array.shape == (COUNT, 16, 16, 3)
    for name, path in zip(dataset.image_names, dataset.frame["path"], strict=True):
        np.testing.assert_array_equal(pixels.load(name), SPEC.load(path))


def test_pixels_are_found_by_name_not_by_place(dataset, tmp_path):
    decode_images(dataset, SPEC, tmp_path / "out")
    pixels = open_pixels(dataset, SPEC, tmp_path / "out")
    name, path = dataset.image_names[7], dataset.frame["path"].iloc[7]
    np.testing.assert_array_equal(pixels.load(name), undecoded_pixels(dataset, SPEC).load(name))
    np.testing.assert_array_equal(pixels.load(name), SPEC.load(path))
    with pytest.raises(KeyError):
        pixels.load("a stranger")


@pytest.mark.parametrize("workers", [1, 2])
def test_every_bad_file_is_reported_with_its_reason(dataset, tmp_path, workers):
    names = damage(dataset, 0, 3, 31, COUNT - 1)
    bad = decode_images(dataset, SPEC, tmp_path / "out", workers=workers)
    assert sorted(bad) == names
    for name, reason in bad.items():
        assert f"{name}.png" in reason
        assert "damaged" in reason


def test_good_files_are_kept_beside_bad_ones(dataset, tmp_path):
    damage(dataset, 3)
    decode_images(dataset, SPEC, tmp_path / "out")
    pixels = open_pixels(dataset, SPEC, tmp_path / "out")
    np.testing.assert_array_equal(pixels.load("image04"), SPEC.load(dataset.frame["path"].iloc[4]))


def test_progress_ends_with_all_images(dataset, tmp_path):
    seen = []
    decode_images(dataset, SPEC, tmp_path / "out", on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(50, COUNT), (COUNT, COUNT)]


def test_full_disk_falls_back_to_decoding_on_the_fly(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", full_disk)
    assert decode_images(dataset, SPEC, tmp_path / "out") == {}
    pixels = open_pixels(dataset, SPEC, tmp_path / "out")
    assert pixels.array is None
    for name, path in zip(dataset.image_names, dataset.frame["path"], strict=True):
        np.testing.assert_array_equal(pixels.load(name), SPEC.load(path))


def test_full_disk_still_finds_bad_files(dataset, tmp_path, monkeypatch):
    names = damage(dataset, 2, 5)
    monkeypatch.setattr(shutil, "disk_usage", full_disk)
    assert sorted(decode_images(dataset, SPEC, tmp_path / "out")) == names


def test_pixels_of_another_size_are_refused(dataset, tmp_path):
    decode_images(dataset, SPEC, tmp_path / "out")
    with pytest.raises(ImageError, match="another size"):
        open_pixels(dataset, ImageSpec(17), tmp_path / "out")


def test_pixels_open_for_some_of_the_records_and_are_refused_for_others(dataset, tmp_path):
    few = dataset.select(np.arange(COUNT) < 59)
    decode_images(few, SPEC, tmp_path / "out")
    some = few.select(np.arange(59) > 50)
    name = str(some.image_names[-1])
    pixels = open_pixels(some, SPEC, tmp_path / "out")
    np.testing.assert_array_equal(pixels.load(name), SPEC.load(some.frame["path"].iloc[-1]))
    with pytest.raises(ImageError, match="other records"):
        open_pixels(dataset, SPEC, tmp_path / "out")


def test_records_without_an_image_are_refused(dataset, tmp_path):
    holes = dataset.with_columns(path=dataset.frame["path"].where(dataset.frame.index != 4))
    for call in (lambda: decode_images(holes, SPEC, tmp_path / "out"), lambda: undecoded_pixels(holes, SPEC)):
        with pytest.raises(ImageError, match=r"1 of 60 records have no image, e\.g\. image04"):
            call()


def test_second_decoding_replaces_the_first(dataset, tmp_path):
    decode_images(dataset, SPEC, tmp_path / "out")
    few = dataset.select(np.arange(COUNT) < 5)
    decode_images(few, SPEC, tmp_path / "out")
    assert open_pixels(few, SPEC, tmp_path / "out").array.shape[0] == 5
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"pixels.npy", "image_names.json"}


def test_a_folder_in_the_way_is_an_output_error(dataset, tmp_path):
    (tmp_path / "out" / "pixels.npy" / "inside").mkdir(parents=True)
    with pytest.raises(OutputError, match="Cannot write"):
        decode_images(dataset, SPEC, tmp_path / "out")


def test_message_of_bad_images_counts_all_and_names_some():
    message = bad_images_message({f"image{i:02d}": f"reason {i}" for i in range(25)}, 100)
    assert "25 of 100 images cannot be used" in message
    assert "image00: reason 0" in message
    assert "… and 5 more" in message
    assert 'on_bad_image="skip"' in message


def test_pixels_of_another_data_set_of_the_same_length_are_refused(tmp_path):
    frame = pd.DataFrame({name: [None] * 3 for name in COLUMNS}, dtype=object)
    frame["image_name"] = ["a", "b", "c"]
    frame["path"] = [str(tmp_path / f"{name}.png") for name in "abc"]
    for level, path in enumerate(frame["path"]):
        Image.fromarray(np.full((20, 20, 3), 50 * level, np.uint8)).save(path)
    spec = ImageSpec(16)
    decode_images(Dataset(frame), spec, tmp_path / "out")
    turned = Dataset(frame.iloc[::-1])
    try:
        pixels = open_pixels(turned, spec, tmp_path / "out")
    except ImageError:
        return
    np.testing.assert_array_equal(pixels.load("a"), spec.load(frame["path"][0]))

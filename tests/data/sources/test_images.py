"""A folder of images without anything else: records to predict."""

import pytest

from melanomafusion.data.sources.catalogue import load_source
from melanomafusion.data.sources.images import load_images
from melanomafusion.errors import TableError


def test_every_image_below_the_folder_is_a_record_without_target_or_metadata(tmp_path):
    for name in ("b.JPG", "a.png", "deep/er/c.jpeg", ".hidden.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    data = load_images(tmp_path)
    assert data.image_names.tolist() == ["a", "b", "deep/er/c"]
    assert data.frame["path"].tolist() == [str(tmp_path / name) for name in ("a.png", "b.JPG", "deep/er/c.jpeg")]
    assert not data.has_target
    assert data.frame[["sex", "age_approx", "anatom_site_general_challenge", "patient_id"]].isna().all(axis=None)


def test_no_folder_no_images_or_two_of_one_name_are_refused(tmp_path):
    with pytest.raises(TableError, match="no such folder"):
        load_images(tmp_path / "nowhere")
    with pytest.raises(TableError, match="no images"):
        load_images(tmp_path)
    for name in ("a.jpg", "a.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(TableError, match="a"):
        load_images(tmp_path)


def test_by_name_it_is_for_predicting_only(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    assert len(load_source("images", tmp_path, split="test")) == 1
    with pytest.raises(TableError, match="no targets to train on"):
        load_source("images", tmp_path)
    with pytest.raises(TableError, match="no table"):
        load_source("images", tmp_path, split="test", extra_images="ignore")


@pytest.mark.parametrize("source", ["siim-isic-2020", "isic-2019", "images", "csv"])
def test_what_is_positive_is_asked_only_where_a_source_leaves_it_open(tmp_path, source):
    with pytest.raises(TableError, match="own target"):
        load_source(source, tmp_path, positive=["melanoma"])

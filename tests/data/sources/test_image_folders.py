"""A folder per class, with or without splits above it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.data.folds import assign_folds
from melanomafusion.data.sources.image_folders import load_image_folders
from melanomafusion.errors import TableError


def make(root, counts):
    """`counts`: class folder (with a split above it or not) → number of images, each of its own content."""
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for k in range(count):
            (root / folder / f"{k:03d}.jpg").write_bytes(f"{folder}/{k}".encode())
    return root


def test_two_class_folders(tmp_path):
    data = load_image_folders(make(tmp_path, {"malignant": 2, "benign": 3}))
    frame = data.frame
    assert data.image_names.tolist() == ["benign/000", "benign/001", "benign/002", "malignant/000", "malignant/001"]
    assert data.targets.tolist() == [0, 0, 0, 1, 1]
    assert frame["path"].iloc[3] == str(tmp_path / "malignant" / "000.jpg")
    assert frame["class_folder"].tolist() == ["benign"] * 3 + ["malignant"] * 2
    # Benign and malignant are no diagnoses.
    assert frame["diagnosis"].isna().all()
    assert frame["split"].isna().all()
    assert set(frame["source"]) == {"image-folders"}


def test_three_class_folders_below_the_published_splits(tmp_path):
    counts = {
        f"{split}/{name}": n
        for split, n in (("train", 4), ("valid", 2), ("test", 3))
        for name in ("melanoma", "nevus", "seborrheic_keratosis")
    }
    data = load_image_folders(make(tmp_path, counts))
    frame = data.frame
    assert frame["split"].value_counts().to_dict() == {"train": 12, "test": 9, "valid": 6}
    assert frame.groupby("class_folder")["diagnosis"].unique().str[0].to_dict() == {
        "melanoma": "melanoma",
        "nevus": "nevus",
        "seborrheic_keratosis": "BKL",
    }
    assert data.targets.sum() == 9
    assert set(frame.loc[data.targets == 1, "class_folder"]) == {"melanoma"}
    assert "train/nevus/000" in data.image_names


@pytest.mark.parametrize("name", ["val", "validation", "Valid"])
def test_validation_folders_of_other_names_are_valid(tmp_path, name):
    data = load_image_folders(make(tmp_path, {f"{name}/melanoma": 1, "train/nevus": 1}))
    assert data.frame["split"].tolist() == (["valid", "train"] if name == "Valid" else ["train", "valid"])


def test_positive_folders_can_be_named_in_any_case(tmp_path):
    data = load_image_folders(make(tmp_path, {"MEL": 1, "BCC": 1, "NV": 2}), positive=("mel", "bcc"))
    assert dict(zip(data.image_names, data.targets, strict=True)) == {
        "BCC/000": 1,
        "MEL/000": 1,
        "NV/000": 0,
        "NV/001": 0,
    }
    assert set(data.frame["diagnosis"]) == {"BCC", "melanoma", "nevus"}


def test_other_files_are_passed_over(tmp_path):
    make(tmp_path, {"melanoma": 1, "nevus": 1})
    (tmp_path / "readme.txt").write_text("x")
    (tmp_path / "nevus" / ".hidden.jpg").write_bytes(b"")
    (tmp_path / "nevus" / "Thumbs.db").write_bytes(b"")
    assert len(load_image_folders(tmp_path)) == 2


def test_one_class_only_is_refused_with_the_folders_found(tmp_path):
    with pytest.raises(TableError, match="class folders naevi, warts: none or all of them are positive"):
        load_image_folders(make(tmp_path, {"naevi": 1, "warts": 1}))
    with pytest.raises(TableError, match="none or all of them are positive"):
        load_image_folders(tmp_path, positive=("naevi", "warts"))


@pytest.mark.parametrize("stray", ["stray.jpg", "a/b/stray.jpg", "train/stray.jpg", "train/a/b/stray.jpg"])
def test_an_image_outside_a_class_folder_is_refused_by_name(tmp_path, stray):
    make(tmp_path, {"melanoma": 1, "nevus": 1})
    path = tmp_path / stray
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    with pytest.raises(TableError, match=f"{stray} does not lie in a class folder"):
        load_image_folders(tmp_path)


def test_a_folder_that_is_empty_or_not_there_is_refused(tmp_path):
    with pytest.raises(TableError, match="no images"):
        load_image_folders(tmp_path)
    with pytest.raises(TableError, match="there is no such folder"):
        load_image_folders(tmp_path / "nowhere")


def test_one_image_in_two_formats_is_refused_by_name(tmp_path):
    make(tmp_path, {"melanoma": 1, "nevus": 1})
    (tmp_path / "nevus" / "000.png").write_bytes(b"")
    with pytest.raises(TableError, match="'nevus/000' stands already"):
        load_image_folders(tmp_path)


def test_counts_split_anew_in_exact_numbers_and_in_proportion(tmp_path):
    make(tmp_path, {"melanoma": 37, "nevus": 137, "seborrheic_keratosis": 26})
    counts = {"train": 140, "valid": 30, "test": 30}
    data = load_image_folders(tmp_path, counts=counts)
    assert data.frame["split"].value_counts().to_dict() == counts
    positives = data.frame.groupby("split")["target"].sum()
    for split, count in counts.items():
        assert abs(positives[split] - 37 * count / 200) <= 1


def test_a_new_split_depends_on_names_and_seed_alone(tmp_path):
    make(tmp_path, {"melanoma": 17, "nevus": 43})
    counts = {"train": 40, "valid": 10, "test": 10}
    one, same, other = (load_image_folders(tmp_path, counts=counts, seed=seed).frame for seed in (1, 1, 2))
    assert one["split"].tolist() == same["split"].tolist()
    assert one["split"].tolist() != other["split"].tolist()
    # A record's split has nothing to do with the place of the folder.
    copy = load_image_folders(make(tmp_path / "copy", {"melanoma": 17, "nevus": 43}), counts=counts, seed=1).frame
    assert copy["split"].tolist() == one["split"].tolist()


@pytest.mark.parametrize("counts", [{"train": 3}, {"train": 5}, {"train": 2, "test": 3}, {"train": 4, "test": 0}])
def test_counts_that_do_not_add_up_are_refused_with_both_sums(tmp_path, counts):
    make(tmp_path, {"melanoma": 2, "nevus": 2})
    with pytest.raises(TableError, match=f"add up to {sum(counts.values())}; 4 images were found"):
        load_image_folders(tmp_path, counts=counts)


@settings(max_examples=15, deadline=None, database=None)
@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_counts_are_always_met_exactly(tmp_path_factory, melanomas, nevi, data):
    root = make(tmp_path_factory.mktemp("folders"), {"melanoma": melanomas, "nevus": nevi})
    train = data.draw(st.integers(1, melanomas + nevi - 1))
    counts = {"train": train, "test": melanomas + nevi - train}
    frame = load_image_folders(root, counts=counts, seed=data.draw(st.integers(0, 3))).frame
    assert frame["split"].value_counts().to_dict() == counts


def test_folds_keep_exact_copies_together(tmp_path):
    make(tmp_path, {"train/melanoma": 9, "train/nevus": 9, "test/melanoma": 2, "test/nevus": 2})
    twin = tmp_path / "test" / "melanoma" / "001.jpg"
    twin.write_bytes((tmp_path / "train" / "melanoma" / "004.jpg").read_bytes())
    for seed in range(4):
        folded = assign_folds(load_image_folders(tmp_path), 3, seed=seed).frame.set_index("image_name")
        assert folded.loc["test/melanoma/001", "fold"] == folded.loc["train/melanoma/004", "fold"]
        assert set(folded["grouped_by"]) == {"record and its exact copies"}

"""A data set's own split as folds: test is held out, valid chooses, and what is no such split is refused."""

import pandas as pd
import pytest

from melanomafusion.data.dataset import Dataset
from melanomafusion.data.fold_files import read_folds, write_folds
from melanomafusion.data.folds import PUBLISHED_SPLIT, published_split
from melanomafusion.data.schema import COLUMNS
from melanomafusion.errors import FoldError


def dataset(split, targets=None, **columns):
    """Records with these words in the column `split`, positives and negatives in turn."""
    n = len(split)
    table = pd.DataFrame({name: pd.Series([None] * n, dtype="str") for name in COLUMNS})
    table["image_name"] = [f"i{k:03d}" for k in range(n)]
    table["target"] = pd.Series(targets if targets is not None else [k % 2 for k in range(n)], dtype="Int8")
    table["source"] = "synthetic"
    for name, values in columns.items():
        table[name] = pd.Series(values, dtype="str")
    return Dataset(table.assign(split=pd.Series(split, dtype="str")))


SPLIT = ["train"] * 6 + ["valid"] * 2 + ["test"] * 4


def test_test_is_held_out_and_the_rest_is_to_train():
    split = published_split(dataset(SPLIT))
    assert split.frame["fold"].tolist() == [1] * 8 + [0] * 4
    assert split.frame["fold"].dtype == "int64"
    assert set(split.frame["grouped_by"]) == {PUBLISHED_SPLIT} == {"published split"}
    train, held_out = split.held_out(0)
    assert set(train.frame["split"]) == {"train", "valid"}
    assert set(held_out.frame["split"]) == {"test"}


def test_a_split_without_validation_records_is_fine():
    assert published_split(dataset(["train"] * 4 + ["test"] * 2)).frame["fold"].tolist() == [1] * 4 + [0] * 2


def test_the_data_set_given_stays_without_folds():
    data = dataset(SPLIT)
    published_split(data)
    assert "fold" not in data.frame


def test_no_column_split_is_refused_with_what_makes_one():
    frame = dataset(SPLIT).frame.drop(columns="split")
    with pytest.raises(FoldError, match=r"no column split; load_image_folders makes one"):
        published_split(Dataset(frame))


@pytest.mark.parametrize(
    ("split", "found"),
    [
        ([*SPLIT, "holdout"], r"train \(6\), test \(4\), valid \(2\), holdout \(1\)"),
        ([*SPLIT, "Train"], r"Train \(1\)"),
        ([*SPLIT, "val"], r"val \(1\)"),
        ([*SPLIT, None], r"nan \(1\)"),
        ([None] * 4, r"nan \(4\)"),
        (["train"] * 4, r"train \(4\)"),
        (["test"] * 4, r"test \(4\)"),
        (["valid", "valid", "test", "test"], r"valid \(2\), test \(2\)"),
        (["train", "train", "valid", "valid"], r"train \(2\), valid \(2\)"),
    ],
)
def test_other_words_and_holes_are_refused_with_their_counts(split, found):
    with pytest.raises(FoldError, match=rf"has train and test, and perhaps valid, for every record\. Found: .*{found}"):
        published_split(dataset(split))


def test_an_empty_data_set_is_refused():
    with pytest.raises(FoldError):
        published_split(dataset([]))


@pytest.mark.parametrize(("bare", "fold"), [("test", 0), ("train", 1)])
def test_a_split_without_positives_is_refused(bare, fold):
    split = ["train"] * 4 + ["test"] * 4
    with pytest.raises(FoldError, match=f"Fold {fold} has no positive record"):
        published_split(dataset(split, targets=[int(word != bare) for word in split]))


@pytest.mark.parametrize("column", ["patient_id", "lesion_id"])
def test_a_patient_or_lesion_on_both_sides_is_refused_by_name(column):
    with pytest.raises(FoldError, match=rf"{column} stand in several folds: p1"):
        published_split(dataset(["train", "train", "test", "test"], **{column: ["p0", "p1", "p1", "p2"]}))


def test_the_split_survives_the_file_of_folds(tmp_path):
    split = published_split(dataset(SPLIT))
    write_folds(split, tmp_path / "folds.csv")
    again = read_folds(dataset(SPLIT), tmp_path / "folds.csv")
    pd.testing.assert_series_equal(again.frame["fold"], split.frame["fold"])
    assert set(again.frame["grouped_by"]) == {PUBLISHED_SPLIT}

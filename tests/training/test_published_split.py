"""Training on a data set's own split: valid chooses the epoch and the threshold, test is scored once."""

import numpy as np
import pandas as pd
import pytest

import melanomafusion as mf
from melanomafusion.data.folds import published_split
from melanomafusion.errors import RunError
from melanomafusion.training.checks import check_run, inner_split

RECIPE = mf.get_recipe("metadata-tiny").replace(name="test", epochs=3, batch_size=64, threshold_rule="youden")


def quiet(event):
    del event


@pytest.fixture(scope="module")
def words(synthetic_root):
    """The split's word of each record; patients are kept apart."""
    data = mf.assign_folds(mf.load_siim_isic_2020(synthetic_root), 4)
    return data.frame["fold"].map({0: "test", 1: "valid", 2: "train", 3: "train"})


@pytest.fixture(scope="module")
def split(synthetic_root, words):
    return published_split(mf.load_siim_isic_2020(synthetic_root).with_columns(split=words))


def test_the_published_validation_records_choose(split):
    fit, validation = inner_split(RECIPE, split.held_out(0)[0])
    assert set(fit.frame["split"]) == {"train"}
    assert set(validation.frame["split"]) == {"valid"}
    assert len(fit) + len(validation) + len(split.held_out(0)[1]) == len(split)


def test_neither_seed_nor_fraction_changes_the_published_validation_records(split):
    train = split.held_out(0)[0]
    _, first = inner_split(RECIPE, train)
    _, other = inner_split(RECIPE.replace(seed=5, validation_fraction=0.4), train)
    assert list(first.image_names) == list(other.image_names)


def test_without_published_validation_records_an_inner_split_by_patient_chooses(synthetic_root, words):
    data = mf.load_siim_isic_2020(synthetic_root).with_columns(split=words.replace({"valid": "train"}))
    fit, validation = inner_split(RECIPE, published_split(data).held_out(0)[0])
    assert len(validation) > 0
    assert not set(fit.frame["patient_id"]) & set(validation.frame["patient_id"])


def test_without_a_validation_split_valid_is_learnt_from_too(split):
    stages = [{"epochs": 1, "schedule": "constant", "early_stopping_patience": None}]
    recipe = RECIPE.replace(validation_fraction=0, threshold_rule=None, stages=stages)
    fit, validation = inner_split(recipe, split.held_out(0)[0])
    assert validation is None
    assert set(fit.frame["split"]) == {"train", "valid"}


@pytest.mark.parametrize("bare", ["train", "valid"])
@pytest.mark.parametrize("target", [0, 1])
def test_one_class_alone_is_refused_before_training(split, bare, target):
    frame = split.frame
    one = split.with_columns(target=frame["target"].where(frame["split"] != bare, target))
    with pytest.raises(
        RunError, match=rf'published split "{bare}" holds one class only \({(frame["split"] == bare).sum()}'
    ):
        check_run(RECIPE, one, [0])


def test_a_class_that_train_lacks_is_refused(split):
    frame = split.frame
    recipe = RECIPE.replace(classes=["melanoma", "nevus", "unknown"], loss="categorical")
    hidden = frame["diagnosis"].where((frame["split"] != "train") | (frame["diagnosis"] != "nevus"), "unknown")
    with pytest.raises(RunError, match="Class nevus has no record to train on"):
        check_run(recipe, split.with_columns(diagnosis=hidden), [0])


def test_test_is_scored_once_and_its_truth_chooses_nothing(split, tmp_path):
    result = mf.fit_fold(RECIPE, split, 0, out=tmp_path / "a", on_event=quiet)
    frame = split.frame
    assert list(result.oof.frame["image_name"]) == frame.loc[frame["split"] == "test", "image_name"].tolist()
    assert result.metrics["grouped_by"] == "published split"
    assert result.metrics["validation_records"] == (frame["split"] == "valid").sum()
    turned = split.with_columns(target=frame["target"].where(frame["split"] != "test", 1 - frame["target"]))
    other = mf.fit_fold(RECIPE, turned, 0, out=tmp_path / "b", on_event=quiet)
    np.testing.assert_array_equal(other.oof.scores, result.oof.scores)
    pd.testing.assert_frame_equal(other.history, result.history)
    assert other.metrics["threshold"]["value"] == result.metrics["threshold"]["value"]


def test_other_truth_in_valid_chooses_another_way(split, tmp_path):
    result = mf.fit_fold(RECIPE, split, 0, out=tmp_path / "a", on_event=quiet)
    frame = split.frame
    turned = split.with_columns(target=frame["target"].where(frame["split"] != "valid", 1 - frame["target"]))
    other = mf.fit_fold(RECIPE, turned, 0, out=tmp_path / "b", on_event=quiet)
    assert (other.history["loss"] == result.history["loss"]).all()
    np.testing.assert_allclose(other.history["val_auc"], 1 - result.history["val_auc"], atol=1e-9)
    assert other.metrics["threshold"]["value"] != result.metrics["threshold"]["value"]

"""Scores of a folder of images that has no table, from the shell, of every class where the model has classes."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import melanomafusion as mf

CLASSES = ("melanoma", "nevus", "BKL")


@pytest.fixture(scope="module")
def folder(folded, tmp_path_factory):
    """Three images of the synthetic data set."""
    root = tmp_path_factory.mktemp("images")
    for number, path in enumerate(folded.frame["path"].iloc[:3]):
        shutil.copy(path, root / f"lesion {number}{Path(path).suffix}")
    return root


def fit(folded, out, **changes):
    recipe = mf.get_recipe("tiny").replace(epochs=1, tta=1, validation_fraction=0.25, **changes)
    return mf.fit_fold(recipe, folded, 0, out=out)


@pytest.fixture(scope="module")
def multiclass(folded, tmp_path_factory):
    rest = np.resize(np.array(["nevus", "BKL"]), len(folded))
    diagnosis = np.where(folded.targets == 1, "melanoma", rest)
    data = folded.with_columns(diagnosis=pd.array(diagnosis, dtype="str"))
    return fit(data, tmp_path_factory.mktemp("run"), classes=CLASSES, loss="categorical").bundle


def test_a_folder_is_scored_without_table_and_with_every_class(shell, multiclass, folder, tmp_path):
    out = tmp_path / "scores.csv"
    code, _, err = shell("submit", multiclass, "--test", folder, "--source", "images", "--classes", "--out", out)
    assert (code, err) == (0, "")
    table = pd.read_csv(out)
    assert table["image_name"].tolist() == ["lesion 0", "lesion 1", "lesion 2"]
    scores = table[[f"score_{name}" for name in CLASSES]]
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(table["score"], scores["score_melanoma"], atol=1e-12)
    code, _, _ = shell("submit", multiclass, "--test", folder, "--source", "images", "--out", out)
    assert code == 0
    assert list(pd.read_csv(out)) == ["image_name", "target"]


def test_classes_of_a_binary_model_are_refused_before_anything_is_written(shell, folded, folder, tmp_path):
    bundle = fit(folded, tmp_path / "run").bundle
    out = tmp_path / "scores.csv"
    code, _, err = shell("submit", bundle, "--test", folder, "--source", "images", "--classes", "--out", out)
    assert code == 1
    assert "--classes is for multi-class models" in err
    assert not out.exists()

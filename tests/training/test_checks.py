"""Wrong set-up fails before the first epoch, with what is wrong and what to do."""

import keras
import pytest
from PIL import Image

import melanomafusion as mf
from melanomafusion.errors import FoldError, ImageError, MelanomaFusionError, MetadataError, RunError, WeightsError

TINY = mf.get_recipe("tiny").replace(epochs=1, tta=1, validation_fraction=0.25)


@pytest.fixture(autouse=True)
def no_epoch(monkeypatch):
    def fit(self, *args, **kwargs):
        raise AssertionError("training began")

    monkeypatch.setattr(keras.Model, "fit", fit)


def train(recipe, data, tmp_path, fold=0):
    return mf.fit_fold(recipe, data, fold, out=tmp_path / "out")


def test_data_without_folds(synthetic_root, tmp_path):
    with pytest.raises(FoldError, match="assign_folds"):
        train(TINY, mf.load_siim_isic_2020(synthetic_root), tmp_path)


def test_a_fold_that_is_not_there(folded, tmp_path):
    with pytest.raises(RunError, match=r"among \[0, 1, 2\].*\[7\]"):
        train(TINY, folded, tmp_path, fold=7)


def test_records_without_a_target(folded, tmp_path):
    import pandas as pd

    bare = folded.with_columns(target=pd.array([pd.NA] * len(folded), dtype="Int8"))
    with pytest.raises(RunError, match="needs a target"):
        train(TINY, bare, tmp_path)


def test_records_without_images(synthetic_root, tmp_path):
    table = mf.assign_folds(mf.load_siim_isic_2020(synthetic_root, with_images=False), 3)
    with pytest.raises(RunError, match="needs images"):
        train(TINY, table, tmp_path)


def test_a_fold_without_positives(folded, tmp_path):
    frame = folded.frame
    none = folded.with_columns(target=frame["target"].where(frame["fold"] != 1, 0))
    with pytest.raises(FoldError, match="Fold 1 has no positive record"):
        train(TINY, none, tmp_path)


def test_a_patient_in_two_folds(folded, tmp_path):
    frame = folded.frame
    fold = frame["fold"].copy()
    patient = frame["patient_id"].value_counts().index[0]
    fold[frame.index[frame["patient_id"] == patient][0]] = (fold[frame["patient_id"] == patient].iloc[0] + 1) % 3
    with pytest.raises(FoldError, match=patient):
        train(TINY, folded.with_columns(fold=fold), tmp_path)


def test_a_feature_whose_column_is_missing(folded, tmp_path):
    with pytest.raises(MetadataError, match="width"):
        train(TINY.replace(metadata_features=["sex", "width"]), folded, tmp_path)


def test_a_diagnosis_outside_the_classes(folded, tmp_path):
    recipe = TINY.replace(classes=["melanoma", "BKL", "BCC"], loss="categorical")
    with pytest.raises(RunError, match="not among the recipe's classes"):
        train(recipe, folded, tmp_path)


def test_a_target_that_is_not_the_recipes_positive_classes(folded, tmp_path):
    benign = ["nevus" if row % 2 else "BKL" for row in range(len(folded))]
    named = folded.with_columns(diagnosis=["melanoma" if y else b for y, b in zip(folded.targets, benign, strict=True)])
    recipe = TINY.replace(classes=("melanoma", "nevus", "BKL"), loss="categorical", positive_classes=("BKL",))
    apart = sum(label in ("melanoma", "BKL") for label in named.frame["diagnosis"])
    with pytest.raises(RunError, match=rf"{apart} records have another target than whether their diagnosis is BKL"):
        train(recipe, named, tmp_path)


def test_weights_of_another_backbone(folded, tmp_path):
    path = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save_weights(path)
    with pytest.raises(WeightsError, match=r"other\.weights\.h5 does not hold the weights of tiny"):
        train(TINY.replace(weights=str(path)), folded, tmp_path)


def test_too_few_patients_with_positives_for_an_inner_split(folded, tmp_path):
    frame = folded.frame
    one_each = frame[frame["target"] == 1].groupby("fold").head(1).index
    target = frame["target"].where(frame.index.isin(one_each), 0)
    with pytest.raises(RunError, match="No inner validation split"):
        train(TINY, folded.with_columns(target=target), tmp_path)


def test_unreadable_images_are_all_named(folded, tmp_path):
    paths = folded.frame["path"].copy()
    text, cut = tmp_path / "text.jpg", tmp_path / "cut.jpg"
    text.write_text("not an image")
    Image.new("RGB", (64, 64), "red").save(cut)
    cut.write_bytes(cut.read_bytes()[:300])
    paths.iloc[0], paths.iloc[5] = str(text), str(cut)
    with pytest.raises(ImageError) as failure:
        train(TINY, folded.with_columns(path=paths), tmp_path)
    message = str(failure.value)
    assert "2 of" in message
    assert str(text) in message
    assert str(cut) in message
    assert "leave their records out" in message


def test_an_output_folder_that_cannot_be_written(folded, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(MelanomaFusionError, match="Cannot write"):
        mf.fit_fold(TINY, folded, 0, out=blocked / "run")


@pytest.mark.parametrize("option", ["source_weights", "source_sampling"])
def test_a_source_that_is_not_in_the_data_is_named_with_those_that_are(folded, tmp_path, option):
    with pytest.raises(RunError, match=rf"{option}.*'isic-2018'.*siim-isic-2020"):
        train(TINY.replace(**{option: {"isic-2018": 0.5}}), folded, tmp_path)

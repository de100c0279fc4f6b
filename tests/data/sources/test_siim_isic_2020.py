"""SIIM-ISIC 2020 in the layouts it is found in."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from melanomafusion.data.folds import assign_folds
from melanomafusion.data.schema import COLUMNS, SITES
from melanomafusion.data.sources.siim_isic_2020 import load_siim_isic_2020
from melanomafusion.errors import TableError
from melanomafusion.testing import make_siim_isic


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    root = tmp_path_factory.mktemp("siim")
    make_siim_isic(root, n_patients=24, n_test_patients=4, image_size=8, prevalence=0.4, seed=1)
    return root


@pytest.fixture
def kaggle(original, tmp_path):
    """A copy of the Kaggle layout that a test may change."""
    return Path(shutil.copytree(original, tmp_path / "siim"))


def published(root, split="train"):
    return pd.read_csv(root / f"{split}.csv")


def test_the_kaggle_layout_gives_every_row_with_its_image(original):
    data = load_siim_isic_2020(original)
    table = published(original)
    frame = data.frame
    assert frame["image_name"].tolist() == table["image_name"].tolist()
    assert tuple(frame.columns[: len(COLUMNS)]) == COLUMNS
    assert data.targets.tolist() == table["target"].tolist()
    for column in ("patient_id", "sex", "age_approx", "anatom_site_general_challenge"):
        pd.testing.assert_series_equal(frame[column], table[column], check_dtype=False)
    assert [Path(path).stem for path in frame["path"]] == frame["image_name"].tolist()
    with Image.open(frame["path"].iloc[-1]) as image:
        assert image.size == (8, 8)
    assert set(frame["source"]) == {"siim-isic-2020"}
    assert set(frame["split"]) == {"train"}
    assert data.name == "siim-isic-2020"


def test_the_test_split_has_no_target(original):
    data = load_siim_isic_2020(original, split="test")
    assert len(data) == len(published(original, "test"))
    assert not data.has_target
    assert data.frame["target"].isna().all()
    assert set(data.frame["split"]) == {"test"}
    assert all("jpeg/test" in path for path in data.frame["path"])


def test_train_and_test_can_stand_in_one_data_set(original):
    train, test = load_siim_isic_2020(original), load_siim_isic_2020(original, split="test")
    both = train.concat(test)
    assert len(both) == len(train) + len(test)
    assert both.frame["target"].isna().sum() == len(test)


@pytest.mark.parametrize("name", ["ISIC_2020_Training_GroundTruth.csv", "ISIC_2020_Training_GroundTruth_v2.csv"])
def test_the_isic_layout_is_read(kaggle, name):
    (kaggle / "train.csv").rename(kaggle / name)
    (kaggle / "jpeg" / "train").rename(kaggle / "train")
    (kaggle / "test.csv").rename(kaggle / "ISIC_2020_Test_Metadata.csv")
    (kaggle / "jpeg" / "test").rename(kaggle / "ISIC_2020_Test_Input")
    assert len(load_siim_isic_2020(kaggle)) == len(published(kaggle, name.removesuffix(".csv")))
    assert len(load_siim_isic_2020(kaggle, split="test")) > 0


def test_a_resized_layout_may_hold_jpg_jpeg_and_png(kaggle):
    images = sorted((kaggle / "jpeg" / "train").iterdir())
    folder = kaggle / "train"
    folder.mkdir()
    for number, path in enumerate(images):
        suffix = (".jpg", ".jpeg", ".png")[number % 3]
        with Image.open(path) as image:
            image.save(folder / f"{path.stem}{suffix}")
    shutil.rmtree(kaggle / "jpeg")
    data = load_siim_isic_2020(kaggle)
    assert {Path(path).suffix for path in data.frame["path"]} == {".jpg", ".jpeg", ".png"}
    assert len(data) == len(images)


def test_the_csv_itself_can_be_named(original):
    by_file = load_siim_isic_2020(original / "train.csv")
    pd.testing.assert_frame_equal(by_file.frame, load_siim_isic_2020(original).frame)


def test_table_and_folder_of_other_names_can_be_named(kaggle):
    (kaggle / "train.csv").rename(kaggle / "mine.csv")
    (kaggle / "jpeg" / "train").rename(kaggle / "pictures")
    data = load_siim_isic_2020(kaggle, table=kaggle / "mine.csv", image_folder=kaggle / "pictures")
    assert len(data) == len(published(kaggle, "mine"))


def test_the_table_alone_needs_no_images(kaggle):
    shutil.rmtree(kaggle / "jpeg")
    data = load_siim_isic_2020(kaggle, with_images=False)
    assert data.frame["path"].isna().all()
    assert len(data) == len(published(kaggle))


def test_missing_and_extra_images_are_errors_unless_allowed(kaggle):
    folder = kaggle / "jpeg" / "train"
    first = published(kaggle)["image_name"].iloc[0]
    (folder / f"{first}.jpg").rename(folder / "stranger.jpg")
    with pytest.raises(TableError) as caught:
        load_siim_isic_2020(kaggle)
    n = len(published(kaggle))
    assert caught.value.problems == [
        f"1 of {n} rows have no image: {first}",
        f"1 of {n} images have no row: stranger",
    ]
    data = load_siim_isic_2020(kaggle, missing_images="drop", extra_images="ignore")
    assert len(data) == n - 1
    assert first not in data.image_names


def test_a_wrong_table_is_reported_with_rows_before_the_images_are_looked_at(kaggle):
    table = pd.read_csv(kaggle / "train.csv", dtype=str, keep_default_na=False)
    table.loc[0, "age_approx"] = "999"
    table.loc[1, "target"] = "2"
    table.loc[3, "image_name"] = table.loc[2, "image_name"]
    table.to_csv(kaggle / "train.csv", index=False)
    shutil.rmtree(kaggle / "jpeg")
    with pytest.raises(TableError) as caught:
        load_siim_isic_2020(kaggle)
    starts = ["row 2, column age_approx: '999'", "row 3, column target: '2'", "row 5, column image_name:"]
    assert len(caught.value.problems) == 3
    for problem, start in zip(caught.value.problems, starts, strict=True):
        assert problem.startswith(start)
    assert str(kaggle / "train.csv") in str(caught.value)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_table_without_patients_is_refused(kaggle, split):
    published(kaggle, split).drop(columns="patient_id").to_csv(kaggle / f"{split}.csv", index=False)
    with pytest.raises(TableError, match="column patient_id is missing"):
        load_siim_isic_2020(kaggle, split=split)


def test_a_missing_table_names_what_was_looked_for(tmp_path):
    with pytest.raises(TableError, match=r"no train table found.*train\.csv, ISIC_2020_Training_GroundTruth_v2\.csv"):
        load_siim_isic_2020(tmp_path)
    with pytest.raises(TableError, match="does not exist"):
        load_siim_isic_2020(tmp_path / "nowhere")


def test_missing_images_name_what_was_looked_for(kaggle):
    shutil.rmtree(kaggle / "jpeg")
    with pytest.raises(TableError, match=r"no folder of train images found.*jpeg/train, train"):
        load_siim_isic_2020(kaggle)


def test_an_unknown_split_is_refused(original):
    with pytest.raises(TableError, match="expected train or test"):
        load_siim_isic_2020(original, split="valid")


def test_published_diagnoses_are_told_in_nine_words_and_kept(tmp_path):
    (tmp_path / "train.csv").write_text(
        "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target\n"
        "a,p,male,45.0,torso,seborrheic keratosis,benign,0\n"
        "b,p,male,,,lentigo NOS,benign,0\n"
        "c,q,female,50.0,head/neck,melanoma,malignant,1\n"
        "d,q,female,50.0,head/neck,atypical melanocytic proliferation,benign,0\n"
        "e,q,female,50.0,head/neck,unknown,benign,0\n"
    )
    frame = load_siim_isic_2020(tmp_path, with_images=False).frame
    assert frame["diagnosis"].tolist() == ["BKL", "BKL", "melanoma", "unknown", "unknown"]
    assert frame["diagnosis_as_published"].iloc[1] == "lentigo NOS"


def test_what_was_loaded_can_be_folded_by_patient(original):
    data = assign_folds(load_siim_isic_2020(original), 3)
    assert (data.frame.groupby("patient_id")["fold"].agg("nunique") == 1).all()
    assert set(data.frame["grouped_by"]) == {"patient"}
    assert set(data.frame["anatom_site_general_challenge"].dropna()) <= set(SITES)

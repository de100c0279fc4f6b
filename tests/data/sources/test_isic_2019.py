"""ISIC 2019: two official files that must list the same images, or a merged one."""

import pandas as pd
import pytest

from melanomafusion.data.folds import assign_folds
from melanomafusion.data.sources.isic_2019 import ONE_HOT, load_isic_2019
from melanomafusion.errors import TableError

TRUTH = "ISIC_2019_Training_GroundTruth.csv"
METADATA = "ISIC_2019_Training_Metadata.csv"
MERGED = "ISIC_2019_Training_Metadata_with_labels.csv"
CODES = tuple(ONE_HOT)


@pytest.fixture
def tables():
    """Nine records, one of each class."""
    names = [f"ISIC_{k}" for k in range(9)]
    truth = pd.DataFrame({"image": names})
    for number, code in enumerate(CODES):
        truth[code] = [f"{float(k == number)}" for k in range(9)]
    metadata = pd.DataFrame(
        {
            "image": names[::-1],
            "age_approx": [str(5 * k) for k in range(9)][::-1],
            "anatom_site_general": [
                "anterior torso",
                "posterior torso",
                "lateral torso",
                "head/neck",
                "palms/soles",
                "",
                "upper extremity",
                "lower extremity",
                "oral/genital",
            ],
            "lesion_id": ["l0", "l0", "", "", "l2", "l3", "l4", "l5", "l6"],
            "sex": ["male", "female", ""] * 3,
        }
    )
    return truth, metadata


@pytest.fixture
def official(tmp_path, tables):
    truth, metadata = tables
    write(tmp_path, truth, metadata)
    folder = tmp_path / "ISIC_2019_Training_Input"
    folder.mkdir()
    for name in truth["image"]:
        (folder / f"{name}.jpg").write_bytes(b"")
    return tmp_path


def write(root, truth, metadata):
    truth.to_csv(root / TRUTH, index=False)
    metadata.to_csv(root / METADATA, index=False)


def test_the_two_official_files_are_joined_by_image(official, tables):
    truth, metadata = tables
    data = load_isic_2019(official)
    frame = data.frame
    assert frame["image_name"].tolist() == truth["image"].tolist()
    assert frame["diagnosis"].tolist() == list(ONE_HOT.values())
    assert data.targets.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert frame["age_approx"].tolist() == [5.0 * k for k in range(9)]
    # The metadata file lists the images in the other order.
    assert frame["lesion_id"].fillna("").tolist() == metadata["lesion_id"].tolist()[::-1]
    assert frame["sex"].fillna("").tolist() == metadata["sex"].tolist()[::-1]
    assert frame["path"].tolist() == [str(official / "ISIC_2019_Training_Input" / f"ISIC_{k}.jpg") for k in range(9)]
    assert set(frame["source"]) == {"isic-2019"}
    assert frame["patient_id"].isna().all()


def test_sites_are_told_in_the_words_of_2020(official):
    sites = load_isic_2019(official).frame["anatom_site_general_challenge"].fillna("-").tolist()[::-1]
    assert sites == [
        "torso",
        "torso",
        "torso",
        "head/neck",
        "palms/soles",
        "-",
        "upper extremity",
        "lower extremity",
        "oral/genital",
    ]


def test_the_one_hot_columns_are_gone_from_the_records(official):
    assert not set(CODES) & set(load_isic_2019(official).frame.columns)


@pytest.mark.parametrize("by_file", [False, True])
def test_a_merged_file_gives_the_same_records(official, tables, by_file):
    truth, metadata = tables
    expected = load_isic_2019(official).frame
    truth.merge(metadata, on="image").to_csv(official / MERGED, index=False)
    (official / TRUTH).unlink()
    (official / METADATA).unlink()
    merged = load_isic_2019(official / MERGED if by_file else official)
    pd.testing.assert_frame_equal(merged.frame, expected)


def test_a_merged_file_may_lack_the_unknown_class(tmp_path, tables):
    truth, metadata = tables
    truth.iloc[:8].drop(columns="UNK").merge(metadata, on="image").to_csv(tmp_path / "mine.csv", index=False)
    data = load_isic_2019(tmp_path / "mine.csv", with_images=False)
    assert data.frame["diagnosis"].tolist() == list(ONE_HOT.values())[:8]


def test_the_tables_alone_need_no_images(tmp_path, tables):
    write(tmp_path, *tables)
    data = load_isic_2019(tmp_path, with_images=False)
    assert len(data) == 9
    assert data.frame["path"].isna().all()


def test_images_of_one_file_only_are_all_named_in_both_directions(official, tables):
    truth, metadata = tables
    # Metadata are listed backwards: without ISIC_0 and ISIC_1.
    write(official, truth.iloc[:-1], metadata.iloc[:-2])
    with pytest.raises(TableError) as caught:
        load_isic_2019(official)
    assert caught.value.problems == [
        f"image 'ISIC_0' is in {TRUTH} but not in {METADATA}",
        f"image 'ISIC_1' is in {TRUTH} but not in {METADATA}",
        f"image 'ISIC_8' is in {METADATA} but not in {TRUTH}",
    ]


@pytest.mark.parametrize("which", [0, 1])
def test_an_image_twice_in_either_file_is_refused_with_its_row(official, tables, which):
    doubled = list(tables)
    doubled[which] = pd.concat([tables[which], tables[which].iloc[[0]]])
    write(official, *doubled)
    with pytest.raises(TableError) as caught:
        load_isic_2019(official)
    name = tables[which]["image"].iloc[0]
    assert caught.value.problems == [f"row 11, column image: {name!r} stands twice"]


@pytest.mark.parametrize("values", [{"MEL": "1.0"}, {"NV": "0.0"}, {"NV": "2.0"}, {"NV": ""}, {"NV": "yes"}])
def test_a_row_that_is_not_of_exactly_one_class_is_refused(official, tables, values):
    truth, metadata = tables
    for column, value in values.items():
        truth.loc[1, column] = value
    write(official, truth, metadata)
    with pytest.raises(TableError) as caught:
        load_isic_2019(official)
    assert caught.value.problems == [f"row 3: exactly one of {', '.join(CODES)} must be 1"]


def test_missing_class_columns_are_all_named(official, tables):
    truth, metadata = tables
    write(official, truth.drop(columns=["BCC", "VASC"]), metadata)
    with pytest.raises(TableError) as caught:
        load_isic_2019(official)
    assert caught.value.problems == ["column BCC is missing", "column VASC is missing"]


def test_wrong_cells_are_reported_with_the_line_of_the_truth_file(official, tables):
    truth, metadata = tables
    metadata.loc[metadata["image"] == "ISIC_3", "age_approx"] = "forty"
    metadata.loc[metadata["image"] == "ISIC_5", "sex"] = "x"
    write(official, truth, metadata)
    with pytest.raises(TableError) as caught:
        load_isic_2019(official)
    assert [problem.split(";")[0] for problem in caught.value.problems] == [
        "row 5, column age_approx: 'forty'",
        "row 7, column sex: 'x'",
    ]


def test_missing_files_are_refused_by_name(official):
    (official / METADATA).unlink()
    with pytest.raises(TableError, match="there is no such file") as caught:
        load_isic_2019(official)
    assert METADATA in str(caught.value)
    (official / TRUTH).unlink()
    with pytest.raises(TableError, match="no ground truth found"):
        load_isic_2019(official)


def test_the_join_with_images_is_verified(official):
    folder = official / "ISIC_2019_Training_Input"
    (folder / "ISIC_4.jpg").rename(folder / "ISIC_4_downsampled.jpg")
    with pytest.raises(TableError) as caught:
        load_isic_2019(official)
    assert caught.value.problems == [
        "1 of 9 rows have no image: ISIC_4",
        "1 of 9 images have no row: ISIC_4_downsampled",
    ]
    assert len(load_isic_2019(official, missing_images="drop", extra_images="ignore")) == 8


def test_another_folder_of_images_can_be_named(official):
    (official / "ISIC_2019_Training_Input").rename(official / "pictures")
    assert len(load_isic_2019(official, image_folder=official / "pictures")) == 9


def test_folds_are_grouped_by_lesion_and_a_record_without_one_stands_alone(tmp_path):
    names = [f"i{k:02d}" for k in range(24)]
    pd.DataFrame(
        {
            "image": names,
            **{code: ["0"] * 24 for code in CODES},
            "MEL": ["1", "0"] * 12,
            "NV": ["0", "1"] * 12,
            "lesion_id": [f"l{k // 4}" if k < 16 else "" for k in range(24)],
        }
    ).to_csv(tmp_path / "merged.csv", index=False)
    data = assign_folds(load_isic_2019(tmp_path / "merged.csv", with_images=False), 3)
    frame = data.frame
    assert set(frame["grouped_by"]) == {"lesion"}
    assert (frame[frame["lesion_id"].notna()].groupby("lesion_id")["fold"].agg("nunique") == 1).all()
    assert frame.loc[frame["lesion_id"].isna(), "fold"].nunique() == 3

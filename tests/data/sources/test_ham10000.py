"""HAM10000 in its layouts, its words in ours."""

import pandas as pd
import pytest

from melanomafusion.data.folds import assign_folds
from melanomafusion.data.sources.ham10000 import load_ham10000
from melanomafusion.errors import TableError

# As published → ours.
SITES = {
    "back": "torso",
    "trunk": "torso",
    "abdomen": "torso",
    "chest": "torso",
    "face": "head/neck",
    "scalp": "head/neck",
    "neck": "head/neck",
    "ear": "head/neck",
    "foot": "lower extremity",
    "lower extremity": "lower extremity",
    "hand": "upper extremity",
    "upper extremity": "upper extremity",
    "acral": "palms/soles",
    "genital": "oral/genital",
    "unknown": None,
}
DIAGNOSES = {
    "akiec": "AK",
    "bcc": "BCC",
    "bkl": "BKL",
    "df": "DF",
    "mel": "melanoma",
    "nv": "nevus",
    "vasc": "VASC",
}


@pytest.fixture
def table():
    """One record of each site, the diagnoses in turn, two records of each lesion."""
    n = len(SITES)
    return pd.DataFrame(
        {
            "lesion_id": [f"HAM_{k // 2}" for k in range(n)],
            "image_id": [f"ISIC_{k:02d}" for k in range(n)],
            "dx": [list(DIAGNOSES)[k % 7] for k in range(n)],
            "dx_type": ["histo"] * n,
            "age": ["0.0", "85.0", ""] * 5,
            "sex": ["male", "female", "unknown"] * 5,
            "localization": list(SITES),
        }
    )


def write(root, table, *folders, name="HAM10000_metadata.csv"):
    """The table, its images dealt to the folders in turn."""
    table.to_csv(root / name, index=False)
    for number, image in enumerate(table["image_id"]):
        if folders:
            folder = root / folders[number % len(folders)]
            folder.mkdir(exist_ok=True)
            (folder / f"{image}.jpg").write_bytes(b"")
    return root


LAYOUTS = [
    ("HAM10000_images_part_1", "HAM10000_images_part_2"),
    ("ham10000_images_part_1", "ham10000_images_part_2"),
    ("images",),
    ("ISIC2018_Task3_Training_Input",),
    ("train",),
]


@pytest.mark.parametrize("folders", LAYOUTS, ids=lambda folders: folders[0])
def test_each_layout_gives_every_row_with_its_image(tmp_path, table, folders):
    data = load_ham10000(write(tmp_path, table, *folders))
    assert data.image_names.tolist() == table["image_id"].tolist()
    expected = [str(tmp_path / folders[k % len(folders)] / f"ISIC_{k:02d}.jpg") for k in range(len(table))]
    assert data.frame["path"].tolist() == expected
    assert set(data.frame["source"]) == {"ham10000"}


def test_the_published_name_without_suffix_and_the_csv_itself_are_read(tmp_path, table):
    write(tmp_path, table, "images", name="HAM10000_metadata")
    assert len(load_ham10000(tmp_path)) == len(table)
    assert len(load_ham10000(tmp_path / "HAM10000_metadata")) == len(table)


def test_words_are_told_in_our_vocabulary(tmp_path, table):
    frame = load_ham10000(write(tmp_path, table), with_images=False).frame
    assert frame["anatom_site_general_challenge"].fillna("-").tolist() == [site or "-" for site in SITES.values()]
    assert frame["diagnosis"].tolist() == [DIAGNOSES[dx] for dx in table["dx"]]
    assert frame["sex"].fillna("-").tolist() == ["male", "female", "-"] * 5
    assert frame["age_approx"].fillna(-1).tolist() == [0, 85, -1] * 5
    # How the diagnosis was made is kept, beside the columns that features are made of.
    assert set(frame["dx_type"]) == {"histo"}


def test_the_target_is_melanoma_unless_told_otherwise(tmp_path, table):
    write(tmp_path, table)
    melanoma = load_ham10000(tmp_path, with_images=False)
    assert melanoma.targets.tolist() == [int(dx == "mel") for dx in table["dx"]]
    assert "melanomas" in repr(melanoma)
    malignant = load_ham10000(tmp_path, positive=("melanoma", "BCC", "AK"), with_images=False)
    assert malignant.targets.tolist() == [int(dx in ("mel", "bcc", "akiec")) for dx in table["dx"]]
    assert "positives" in repr(malignant)


@pytest.mark.parametrize("positive", [("mel",), ("melanoma", "malignant"), ()])
def test_unknown_positive_diagnoses_are_refused_with_those_known(tmp_path, table, positive):
    with pytest.raises(TableError, match="known diagnoses: AK, BCC"):
        load_ham10000(write(tmp_path, table), positive=positive, with_images=False)


def test_an_unknown_site_or_diagnosis_is_refused_with_its_row(tmp_path, table):
    table.loc[0, "localization"] = "moon"
    table.loc[4, "dx"] = "wart"
    with pytest.raises(TableError) as caught:
        load_ham10000(write(tmp_path, table), with_images=False)
    assert [problem.split(";")[0] for problem in caught.value.problems] == [
        "row 2, column anatom_site_general_challenge: 'moon'",
        "row 6, column diagnosis: 'wart'",
    ]


def test_columns_that_are_not_there_are_all_named(tmp_path, table):
    with pytest.raises(TableError) as caught:
        load_ham10000(write(tmp_path, table.drop(columns=["dx", "lesion_id"])), with_images=False)
    assert caught.value.problems == ["column diagnosis is missing", "column lesion_id is missing"]


def test_one_part_of_two_is_not_taken_for_the_whole(tmp_path, table):
    write(tmp_path, table, "HAM10000_images_part_1")
    with pytest.raises(TableError, match=r"no folder of images found; looked for HAM10000_images_part_1 \+ HAM"):
        load_ham10000(tmp_path)


def test_an_image_in_both_parts_is_refused_by_both_paths(tmp_path, table):
    write(tmp_path, table, *LAYOUTS[0])
    (tmp_path / LAYOUTS[0][1] / "ISIC_00.jpg").write_bytes(b"")
    with pytest.raises(TableError, match=r"part_1/ISIC_00\.jpg and .*part_2/ISIC_00\.jpg are both image ISIC_00"):
        load_ham10000(tmp_path)


def test_the_join_with_images_is_verified(tmp_path, table):
    write(tmp_path, table, *LAYOUTS[0])
    (tmp_path / LAYOUTS[0][0] / "ISIC_00.jpg").rename(tmp_path / LAYOUTS[0][1] / "x.jpg")
    with pytest.raises(TableError) as caught:
        load_ham10000(tmp_path)
    assert caught.value.problems == ["1 of 15 rows have no image: ISIC_00", "1 of 15 images have no row: x"]
    data = load_ham10000(tmp_path, missing_images="drop", extra_images="ignore")
    assert data.image_names.tolist() == table["image_id"].tolist()[1:]


def test_another_folder_of_images_can_be_named(tmp_path, table):
    write(tmp_path, table, "pictures")
    assert len(load_ham10000(tmp_path, image_folder=tmp_path / "pictures")) == 15


def test_a_missing_table_names_what_was_looked_for(tmp_path):
    with pytest.raises(TableError, match=r"no metadata table found.*HAM10000_metadata\.csv"):
        load_ham10000(tmp_path)


def test_folds_are_grouped_by_lesion(tmp_path, table):
    data = load_ham10000(write(tmp_path, table), positive=("melanoma", "BCC", "AK", "nevus"), with_images=False)
    frame = assign_folds(data, 3).frame
    assert set(frame["grouped_by"]) == {"lesion"}
    assert (frame.groupby("lesion_id")["fold"].agg("nunique") == 1).all()

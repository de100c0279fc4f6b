"""Exports of the ISIC Archive: their words in ours, and what decides the target."""

import pandas as pd
import pytest

from melanomafusion.data.sources.catalogue import load_source
from melanomafusion.data.sources.isic_archive import load_isic_archive
from melanomafusion.errors import TableError

# Words as the archive publishes them → ours, target.
OLD = {
    "nevus": ("nevus", 0),
    "melanoma": ("melanoma", 1),
    "melanoma metastasis": ("melanoma", 1),
    "basal cell carcinoma": ("BCC", 0),
    "squamous cell carcinoma": ("SCC", 0),
    "actinic keratosis": ("AK", 0),
    "seborrheic keratosis": ("BKL", 0),
    "pigmented benign keratosis": ("BKL", 0),
    "lichenoid keratosis": ("BKL", 0),
    "solar lentigo": ("BKL", 0),
    "lentigo NOS": ("BKL", 0),
    "dermatofibroma": ("DF", 0),
    "vascular lesion": ("VASC", 0),
    "angioma": ("VASC", 0),
    "AIMP": ("unknown", 0),
    "atypical melanocytic proliferation": ("unknown", 0),
    "scar": ("unknown", 0),
    "verruca": ("unknown", 0),
    "acrochordon": ("unknown", 0),
    "other": ("unknown", 0),
}
# Levels 1, 2, 3, 4 → ours, target.
NEW = {
    ("Benign", "Benign melanocytic proliferations", "Nevus", ""): ("nevus", 0),
    ("Benign", "Benign melanocytic proliferations", "Nevus", "Nevus, Atypical, Dysplastic, or Clark"): ("nevus", 0),
    ("Benign", "Benign melanocytic proliferations", "Lentigo simplex", ""): ("unknown", 0),
    ("Benign", "Benign melanocytic proliferations", "", ""): ("unknown", 0),
    ("Malignant", "Malignant melanocytic proliferations (Melanoma)", "Melanoma in situ", ""): ("melanoma", 1),
    (
        "Malignant",
        "Malignant melanocytic proliferations (Melanoma)",
        "Melanoma in situ",
        "Melanoma in situ, Lentigo maligna type",
    ): ("melanoma", 1),
    ("Malignant", "Malignant melanocytic proliferations (Melanoma)", "Melanoma Invasive", ""): ("melanoma", 1),
    ("Malignant", "Malignant melanocytic proliferations (Melanoma)", "Melanoma metastasis", ""): ("melanoma", 1),
    ("Malignant", "Malignant melanocytic proliferations (Melanoma)", "Melanoma, NOS", ""): ("melanoma", 1),
    ("Malignant", "Malignant melanocytic proliferations (Melanoma)", "", ""): ("melanoma", 1),
    ("Malignant", "Malignant epidermal proliferations", "Squamous cell carcinoma in situ", ""): ("SCC", 0),
    ("Malignant", "Malignant epidermal proliferations", "Squamous cell carcinoma, Invasive", ""): ("SCC", 0),
    ("Malignant", "Malignant adnexal epithelial proliferations - Follicular", "Basal cell carcinoma", ""): ("BCC", 0),
    ("Indeterminate", "Indeterminate epidermal proliferations", "Solar or actinic keratosis", ""): ("AK", 0),
    ("Indeterminate", "Indeterminate melanocytic proliferations", "Atypical melanocytic neoplasm", ""): ("unknown", 0),
    ("Benign", "Benign epidermal proliferations", "Pigmented benign keratosis", ""): ("BKL", 0),
    ("Benign", "Benign epidermal proliferations", "Lichen planus like keratosis", ""): ("BKL", 0),
    ("Benign", "Benign soft tissue proliferations - Vascular", "Hemangioma", ""): ("VASC", 0),
    ("Benign", "Benign soft tissue proliferations - Vascular", "", ""): ("VASC", 0),
    ("Benign", "Benign soft tissue proliferations - Fibro-histiocytic", "Dermatofibroma", ""): ("DF", 0),
    ("Benign", "Flat melanotic pigmentations - not melanocytic nevus", "Lentigo NOS", ""): ("BKL", 0),
    ("Benign", "Cysts", "", ""): ("unknown", 0),
    ("Benign", "", "", ""): ("unknown", 0),
}


def write(root, columns, images=True, folder="", name="metadata.csv"):
    frame = pd.DataFrame(columns)
    frame.to_csv(root / name, index=False)
    (root / folder).mkdir(exist_ok=True)
    names = frame[next(column for column in ("isic_id", "name") if column in frame)]
    for image in names if images else ():
        (root / folder / f"{image}.jpg").write_bytes(b"")
    return root


def ids(n):
    return [f"ISIC_{k:07d}" for k in range(n)]


def published(root, **columns):
    """Load one row for each value."""
    n = len(next(iter(columns.values())))
    write(root, {"isic_id": ids(n), **columns}, images=False)
    return load_isic_archive(root, with_images=False).frame


def test_old_words_are_told_in_nine_classes_and_kept(tmp_path):
    frame = published(tmp_path, diagnosis=list(OLD))
    assert list(zip(frame["diagnosis"], frame["target"], strict=True)) == list(OLD.values())
    assert frame["diagnosis_as_published"].tolist() == list(OLD)


def test_the_most_exact_known_word_of_the_hierarchy_counts(tmp_path):
    levels = {f"diagnosis_{k + 1}": [row[k] for row in NEW] for k in range(4)}
    frame = published(tmp_path, **levels)
    assert list(zip(frame["diagnosis"], frame["target"], strict=True)) == list(NEW.values())
    exact = [next((word for word in row[:0:-1] if word), None) for row in NEW]
    assert (
        frame["diagnosis_as_published"].astype(object).where(frame["diagnosis_as_published"].notna(), None).tolist()
        == exact
    )
    assert frame["diagnosis_1"].tolist() == [row[0] for row in NEW]


def test_an_export_with_both_kinds_of_columns_takes_the_hierarchy_first(tmp_path):
    frame = published(
        tmp_path,
        diagnosis=["lichenoid keratosis", "other"],
        diagnosis_1=["Benign", "Benign"],
        diagnosis_3=["Lichen planus like keratosis", "Dermatofibroma"],
        benign_malignant=["benign", "benign"],
    )
    assert frame["diagnosis"].tolist() == ["BKL", "DF"]
    assert frame["diagnosis_as_published"].tolist() == ["Lichen planus like keratosis", "Dermatofibroma"]


def test_an_exact_word_of_no_class_is_not_overruled_by_a_coarser_one(tmp_path):
    frame = published(tmp_path, diagnosis=["nevus"], diagnosis_3=["Atypical melanocytic neoplasm"])
    assert frame["diagnosis"].tolist() == ["unknown"]
    assert frame["target"].tolist() == [0]


def test_benign_decides_where_no_diagnosis_is_given(tmp_path):
    frame = published(
        tmp_path, diagnosis=["", "unknown", "melanoma"], benign_malignant=["benign", "Benign", "malignant"]
    )
    assert frame["target"].tolist() == [0, 0, 1]
    assert frame["diagnosis"].tolist() == ["unknown", "unknown", "melanoma"]
    assert frame["diagnosis_as_published"].isna().tolist() == [True, True, False]


UNDECIDED = {
    "diagnosis": ["", "", "", "melanoma-like thing", "nevus"],
    "benign_malignant": ["malignant", "", "indeterminate", "malignant", "benign"],
}


def test_records_that_nothing_decides_are_refused_by_row(tmp_path):
    with pytest.raises(TableError, match='undiagnosed="drop"') as caught:
        published(tmp_path, **UNDECIDED)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["row 2", "row 3", "row 4", "row 5"]


def test_records_that_nothing_decides_are_dropped_when_told_with_their_images(tmp_path):
    write(tmp_path, {"isic_id": ids(5), **UNDECIDED})
    data = load_isic_archive(tmp_path, undiagnosed="drop")
    assert data.image_names.tolist() == ["ISIC_0000004"]
    assert data.frame["path"].tolist() == [str(tmp_path / "ISIC_0000004.jpg")]
    assert data.frame["benign_malignant"].tolist() == ["benign"]


def test_a_malignant_diagnosis_that_is_no_melanoma_has_target_0(tmp_path):
    words = ["basal cell carcinoma", "Merkel cell carcinoma"]
    frame = published(tmp_path, diagnosis=words, benign_malignant=["malignant"] * 2)
    assert frame["target"].tolist() == [0, 0]
    assert frame["benign_malignant"].tolist() == ["malignant"] * 2


@pytest.mark.parametrize(("word", "says"), [("melanoma", "benign"), ("nevus", "malignant")])
def test_a_benign_melanoma_and_a_malignant_nevus_are_refused(tmp_path, word, says):
    with pytest.raises(TableError, match=f"row 2: diagnosis '{word}', called {says}"):
        published(tmp_path, diagnosis=[word], benign_malignant=[says])
    with pytest.raises(TableError, match=f"row 2: diagnosis '{word}', called {says}"):
        published(tmp_path, diagnosis=[word], diagnosis_1=[says.title()])


def test_ids_ages_sites_and_further_columns_come_along(tmp_path):
    frame = published(
        tmp_path,
        diagnosis=["nevus", "nevus"],
        age_approx=["85", ""],
        sex=["male", ""],
        anatom_site_general=["posterior torso", "palms/soles"],
        patient_id=["IP_1", ""],
        lesion_id=["IL_1", "IL_2"],
        copyright_license=["CC-0", "CC-BY"],
        pixelsX=["3072", "2048"],
    )
    assert frame["age_approx"].fillna(-1).tolist() == [85.0, -1.0]
    assert frame["anatom_site_general_challenge"].tolist() == ["torso", "palms/soles"]
    assert frame["lesion_id"].tolist() == ["IL_1", "IL_2"]
    assert frame["copyright_license"].tolist() == ["CC-0", "CC-BY"]
    assert frame["pixelsX"].tolist() == ["3072", "2048"]
    assert set(frame["source"]) == {"isic-archive"}


@pytest.mark.parametrize("header", ["isic_id", "name"])
@pytest.mark.parametrize("folder", ["", "images"])
def test_images_lie_beside_the_table_or_in_images(tmp_path, header, folder):
    write(tmp_path, {header: ids(2), "diagnosis": ["nevus", "melanoma"]}, folder=folder)
    for root in (tmp_path, tmp_path / "metadata.csv"):
        data = load_isic_archive(root)
        assert data.frame["path"].tolist() == [str(tmp_path / folder / f"{name}.jpg") for name in ids(2)]
    assert load_source("isic-archive", tmp_path).image_names.tolist() == ids(2)


def test_rows_and_images_that_do_not_fit_are_refused_unless_told(tmp_path):
    write(tmp_path, {"isic_id": ids(3), "diagnosis": ["nevus"] * 3})
    (tmp_path / "ISIC_0000001.jpg").rename(tmp_path / "stranger.jpg")
    with pytest.raises(TableError, match="2 problems"):
        load_isic_archive(tmp_path)
    data = load_isic_archive(tmp_path, missing_images="drop", extra_images="ignore")
    assert data.image_names.tolist() == ["ISIC_0000000", "ISIC_0000002"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("isic_id,sex\na,male\n", "no column tells the diagnosis"),
        ("picture,diagnosis\na,nevus\n", "column isic_id is missing"),
        ("isic_id,diagnosis\na,nevus\na,nevus\n", "'a' stands already"),
        ("isic_id,diagnosis,sex\na,nevus,robot\n", "'robot'"),
        ("isic_id,diagnosis\n,nevus\n", "image_name: is empty"),
        ("", "is empty"),
        ("isic_id,diagnosis\n", "no rows"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(tmp_path, text, message):
    (tmp_path / "metadata.csv").write_text(text)
    with pytest.raises(TableError, match=message):
        load_isic_archive(tmp_path, with_images=False)


def test_a_table_in_which_nothing_is_decided_is_refused_even_if_it_may_be_dropped(tmp_path):
    write(tmp_path, {"isic_id": ids(2), "benign_malignant": ["malignant", ""]})
    with pytest.raises(TableError, match="none of the 2 rows has a diagnosis"):
        load_isic_archive(tmp_path, undiagnosed="drop")


def test_a_wrong_option_or_folder_is_refused(tmp_path):
    with pytest.raises(TableError, match="expected error or drop"):
        load_isic_archive(tmp_path, undiagnosed="guess")
    with pytest.raises(TableError, match=r"metadata\.csv"):
        load_isic_archive(tmp_path)

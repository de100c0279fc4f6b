"""Columns that tell the label: known by name or by their AUC; a leak only where they are trained on."""

import numpy as np
import pandas as pd
import pytest

from melanomafusion.auditing.columns import column_findings, column_table, column_values, leaky_by_name
from melanomafusion.auditing.hashes import hash_images
from melanomafusion.auditing.single_column import grouped_folds, out_of_fold_auc
from melanomafusion.errors import MetadataError

LEAKY = [
    "dx_type",
    "diagnosis_confirm_type",
    "melanocytic",
    "diagnosis",
    "diagnosis_3",
    "diagnosis_as_published",
    "dx",
    "benign_malignant",
    "concomitant_biopsy",
    "mel_thick_mm",
    "width",
    "height",
    "pixels_x",
    "Pixels_Y",
    "file_bytes",
    "file_size",
    "image_file_size",
    "images_per_patient",
    "rank_in_patient",
    "iddx_full",
    "nevus_type",
    "target",
    "patient_id",
    "split",
    "source",
]


@pytest.mark.parametrize("column", LEAKY)
def test_what_gives_the_label_away_by_what_it_is_is_known(column):
    assert leaky_by_name(column)


@pytest.mark.parametrize("column", ["sex", "age_approx", "anatom_site_general_challenge", "family_hx", "melt", "a"])
def test_honest_columns_are_not(column):
    assert not leaky_by_name(column)


def judge(data, features=("sex", "age", "site"), hashes=None):
    table, problem = column_table(data, column_values(data, hashes), features)
    return table.set_index("column"), {f.kind: f for f in column_findings(table, features, problem)}


@pytest.fixture
def data(records):
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 400)
    return records(
        400,
        target=target,
        patient_id=[f"P{i // 2}" for i in range(400)],
        age_approx=rng.normal(50 + 5 * target, 10),
        sex=rng.choice(["female", "male"], 400),
        dx_type=rng.choice(["histo", "follow_up"], 400),
        camera=np.where(rng.random(400) < 0.1, 1 - target, target),
        comment=[f"text {i}" for i in range(400)],
        always="one",
    )


def test_a_known_column_is_flagged_whatever_its_auc_and_an_unknown_one_by_its_auc(data):
    table, findings = judge(data)
    assert table["flagged"].to_dict() == {
        "camera": True,
        "age_approx": False,
        "sex": False,
        "comment": False,
        "dx_type": True,
        "images_per_patient": True,
    }
    assert table.loc["dx_type", "auc"] < 0.6
    assert table.loc["camera", "auc"] == pytest.approx(0.9, abs=0.04)
    assert table.loc["comment", "auc"] == pytest.approx(0.5)
    assert findings["leaky_columns"].level == "warning"
    assert set(findings["leaky_columns"].table["column"]) == {"camera", "dx_type", "images_per_patient"}
    assert findings["columns_alone"].level == "note"
    assert "leaky_features" not in findings


def test_a_flagged_column_that_is_trained_on_is_a_leak_that_stands(data):
    _, findings = judge(data, ("sex", "camera", "images_per_patient"))
    leak = findings["leaky_features"]
    assert (leak.level, set(leak.table["column"])) == ("leak", {"camera", "images_per_patient"})
    assert leak.call == "encoder = mf.MetadataEncoder(features=('sex',))"
    assert set(findings["leaky_columns"].table["column"]) == {"dx_type"}


def test_honest_features_are_never_flagged_however_well_they_do(records):
    target = np.arange(200) % 2
    data = records(200, target=target, sex=np.where(target, "male", "female"))
    table, findings = judge(data)
    assert table.loc["sex", "auc"] == 1.0
    assert "leaky_features" not in findings


@pytest.mark.parametrize("feature", ["width", "rank_in_patient", "patient_id", "target", "source"])
def test_a_leaky_feature_without_a_column_to_measure_or_an_id_stands_too(data, feature):
    _, findings = judge(data, ("age", feature))
    assert findings["leaky_features"].table["column"].tolist() == [feature]
    assert "'age'" in findings["leaky_features"].call


def test_all_unknown_features_are_refused_at_once(data):
    with pytest.raises(MetadataError, match="'colour', 'shape'"):
        judge(data, ("sex", "colour", "shape"))


def test_size_comes_from_the_files_where_the_table_has_none(records, skin, write):
    paths = [write(f"{i}.jpg", skin(i)[: 40 + 20 * (i % 2)]) for i in range(12)]
    data = records(12, target=[0, 1] * 6, path=paths)
    table, _ = judge(data, hashes=hash_images(list(data.image_names), paths))
    assert table.loc["height", "auc"] == 1.0
    assert "file_bytes" in table.index
    assert "width" not in table.index  # one for all says nothing
    kept, _ = judge(data.with_columns(height=7), hashes=hash_images(list(data.image_names), paths))
    assert "height" not in kept.index


def test_records_without_target_are_left_out_of_the_measure(data):
    both = data.with_columns(target=data.frame["target"].where(np.arange(400) >= 100))
    table, _ = judge(both)
    assert table.loc["camera", "auc"] == pytest.approx(0.9, abs=0.05)
    assert table.loc["camera", "records"] == 400


@pytest.mark.parametrize("target", [[None] * 6, [1] * 6, [0] * 5 + [1]])
def test_without_both_classes_in_two_groups_nothing_is_measured_and_that_is_said(records, target):
    data = records(6, target=target, dx_type=list("aabbcc"), sex=["male", "female"] * 3)
    table, findings = judge(data)
    assert table["auc"].isna().all()
    assert "leaky_columns" in findings
    assert "could not be measured" in findings["columns_alone"].title


def test_groups_are_kept_together_when_measuring(records):
    # A column that knows the patient tells the target of the patient's other images only if they are trained on.
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(100), 4)
    data = records(400, target=rng.integers(0, 2, 100)[patient], patient_id=[f"P{p}" for p in patient])
    folds, _ = grouped_folds(data, 0)
    code = pd.Series([f"code {p}" for p in patient])
    assert out_of_fold_auc(code, data.frame["target"], folds) == pytest.approx(0.5)
    by_record = pd.Series(np.arange(400) % 4)
    assert out_of_fold_auc(code, data.frame["target"], by_record) == 1.0


def test_a_constant_reaches_exactly_one_half_whatever_the_folds():
    targets = pd.Series([1] * 30 + [0] * 30)
    folds = pd.Series(np.repeat([0, 1], 30))
    assert out_of_fold_auc(pd.Series(["x"] * 60), targets, folds) == 0.5


def test_numbers_are_binned_and_a_gap_is_a_level_of_its_own():
    rng = np.random.default_rng(0)
    targets = pd.Series(rng.integers(0, 2, 600))
    u_shaped = pd.Series(
        np.where(targets == 1, rng.choice([-1, 1], 600) * rng.uniform(2, 3, 600), rng.normal(0, 0.5, 600))
    )
    folds = pd.Series(np.arange(600) % 5)
    assert out_of_fold_auc(u_shaped, targets, folds) > 0.98
    gaps = pd.Series(rng.normal(size=600)).mask(targets == 1)
    assert out_of_fold_auc(gaps, targets, folds) == 1.0
    for odd in (u_shaped.replace(u_shaped[0], np.inf), pd.Series([[1], {}] * 300), pd.Series([True, None] * 300)):
        assert 0 <= out_of_fold_auc(odd, targets, folds) <= 1

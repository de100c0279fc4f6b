"""Which pairs leak: by folds, by a split, by the groups that folds would have; and which contradict each other."""

import pandas as pd
import pytest

import melanomafusion as mf
from melanomafusion.auditing.duplicates import duplicate_findings, duplicate_table


def pairs(*numbers):
    return pd.DataFrame(
        [(f"image_{a}", f"image_{b}") for a, b in numbers], columns=["image_name_1", "image_name_2"], dtype="str"
    )


def apart(dataset, *numbers):
    return duplicate_table(dataset, {"official": pairs(*numbers)})["apart"].tolist()


def test_a_pair_in_different_folds_leaks_and_one_in_a_fold_does_not(records):
    data = records(4, patient_id=list("ABCD"), fold=[0, 1, 2, 2], grouped_by="patient")
    table = duplicate_table(data, {"exact": pairs((0, 1), (2, 3))})
    assert table["apart"].tolist() == ["folds", ""]
    assert table["leak"].tolist() == [True, False]
    assert table["same_group"].tolist() == [False, False]
    assert {finding.kind: finding.level for finding in duplicate_findings(table)} == {
        "exact_duplicates_apart": "leak",
        "exact_duplicates": "warning",
    }


def test_a_pair_on_two_sides_of_a_split_leaks(records):
    data = records(4, patient_id=list("ABCD"), split=["train", "test", "train", "train"])
    assert apart(data, (0, 1), (2, 3)) == ["splits", ""]


def test_without_folds_the_groups_of_assign_folds_decide(records):
    data = records(4, patient_id=list("AABC"), split="train")
    assert apart(data, (0, 1), (2, 3)) == ["", "groups"]


def test_a_test_split_without_truth_does_not_divide_the_training_records(records):
    split = ["train", "train", "train", "train", "test"]
    data = records(5, patient_id=list("AABCD"), split=split, target=[0, 1, 0, 1, None])
    assert apart(data, (0, 1), (2, 3), (0, 4)) == ["", "groups", "splits"]


def test_folds_of_the_same_number_do_not_hide_different_splits(records):
    data = records(2, fold=[0, 0], grouped_by="record", split=["train", "test"])
    assert apart(data, (0, 1)) == ["splits"]


def test_a_record_without_fold_is_judged_by_its_group(records):
    data = records(3, patient_id=list("ABB"), fold=[0, None, 1], grouped_by="patient")
    assert apart(data, (0, 1), (1, 2)) == ["groups", ""]


def test_pairs_across_sources_are_in_different_groups_and_are_told(records):
    data = records(2, patient_id="A", source=["one", "two"])
    table = duplicate_table(data, {"near": pairs((0, 1))})
    assert table["leak"].tolist() == [True]
    assert table[["source_1", "source_2"]].to_numpy().tolist() == [["one", "two"]]
    assert "1 pair across two sources" in duplicate_findings(table)[0].detail


def test_a_pair_found_in_several_ways_stands_once_and_in_the_order_of_the_table(records):
    found = {"near": pairs((1, 0), (2, 1)), "official": pairs((1, 0), (0, 1)), "exact": pairs((0, 1))}
    table = duplicate_table(records(3), found)
    assert table[["image_name_1", "image_name_2", "how"]].to_numpy().tolist() == [
        ["image_0", "image_1", "official"],
        ["image_1", "image_2", "near"],
    ]


def test_pairs_of_other_data_sets_are_passed_over(records):
    assert duplicate_table(records(2), {"official": pairs((0, 9), (8, 9))}).empty
    assert not duplicate_findings(duplicate_table(records(2), {}))


def test_conflicts_name_what_differs_where_both_are_known(records):
    data = records(
        4,
        age_approx=[0.0, 5.0, None, 5.0],
        sex=["male", None, "female", "male"],
        diagnosis=["nevus", "melanoma", "nevus", "nevus"],
        target=[0, 1, None, 0],
    )
    table = duplicate_table(data, {"exact": pairs((0, 1), (2, 3), (1, 3), (0, 3))})
    assert table["conflicts"].tolist() == ["target, diagnosis, age", "sex", "target, diagnosis", "age"]
    findings = {finding.kind: finding for finding in duplicate_findings(table)}
    assert findings["duplicates_conflicting_label"].count == 2
    assert findings["duplicates_conflicting_metadata"].count == 3
    assert "age 2, sex 1" in findings["duplicates_conflicting_metadata"].title


@pytest.mark.parametrize("targets", [[0, 0, 1], [0, 1, 1]])
def test_the_call_mends_it(records, targets):
    data = records(3, patient_id=list("ABC"), target=targets)
    table = duplicate_table(data, {"exact": pairs((0, 1))})

    class Found:
        duplicates = table

    names = {"mf": mf, "data": data, "audit": Found}
    exec(duplicate_findings(table)[0].call, names)
    assert list(names["data"].image_names) == (["image_2"] if targets[1] else ["image_0", "image_2"])

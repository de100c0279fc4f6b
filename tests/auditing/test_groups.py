"""Patients and lesions on both sides, and ids that do not say where they belong."""

import pytest

import melanomafusion as mf
from melanomafusion.auditing.groups import default_groups, group_findings


def by_kind(dataset):
    return {finding.kind: finding for finding in group_findings(dataset)}


@pytest.mark.parametrize(("column", "word"), [("patient_id", "patient"), ("lesion_id", "lesion")])
def test_a_group_in_two_folds_is_a_leak_that_names_it(records, column, word):
    data = records(4, **{column: ["A", "A", "B", "B"]}, fold=[0, 1, 1, 1], grouped_by="record")
    finding = by_kind(data)[f"{word}_in_several_folds"]
    assert (finding.level, finding.count) == ("leak", 1)
    assert "A" in finding.title
    assert "B" not in finding.title
    assert "image by image" in finding.detail
    assert finding.table["folds"].tolist() == ["0, 1"]
    assert finding.table["images"].tolist() == ["image_0, image_1"]
    assert "assign_folds(data, n_folds=2)" in finding.call


def test_a_group_on_both_sides_of_a_split_is_a_leak_and_its_call_mends_it(records):
    data = records(5, patient_id=list("AABBC"), split=["train", "test", "train", "train", "test"])
    finding = by_kind(data)["patient_in_several_splits"]
    assert finding.level == "leak"
    names = {"mf": mf, "data": data}
    exec(finding.call, names)
    assert "patient_in_several_splits" not in by_kind(names["data"])
    assert len(names["data"]) == 4


def test_equal_ids_of_two_sources_are_two_patients(records):
    data = records(2, patient_id="A", source=["one", "two"], fold=[0, 1], grouped_by="patient")
    assert not by_kind(data)


def test_a_shared_id_space_makes_them_one(records):
    data = records(2, lesion_id="A", source=["one", "two"], lesion_id_space="both", fold=[0, 1], grouped_by="lesion")
    assert by_kind(data)["lesion_in_several_folds"].level == "leak"


def of_two_sources(records, **lesions):
    """Sources x and y with one image in common, x's copy kept; folds by source."""
    x, y = (records(2, source=source, lesion_id=lesions[source], target=[0, 1]) for source in "xy")
    y = y.with_columns(image_name=["image_0", "image_9"])
    both = mf.concat([x, y], on_overlap="first")
    return both.with_columns(fold=(both.frame["source"] == "y").astype("int64"), grouped_by="source")


def test_a_lesion_that_two_sources_share_is_a_leak_of_folds_by_source(records):
    data = of_two_sources(records, x=["L", "M"], y=["L", "L"])
    audit = mf.audit(data, images=False)
    assert not audit.clean
    finding = by_kind(data)["lesion_in_several_folds"]
    assert sorted(finding.table["images"]) == ["image_0, image_9"]
    assert mf.audit(mf.assign_folds(data.with_columns(target=[1, 1, 1]), 2), images=False).clean


def test_lesions_that_only_a_copy_ties_together_are_a_leak_of_folds_and_of_splits(records):
    data = of_two_sources(records, x=["L", "M"], y=["other", "other"])
    finding = by_kind(data)["linked_group_in_several_folds"]
    assert (finding.level, finding.count) == ("leak", 1)
    assert finding.table["images"].tolist() == ["image_0, image_9"]
    split = data.with_columns(split=["train", "train", "test"])
    finding = by_kind(split)["linked_group_in_several_splits"]
    names = {"mf": mf, "data": split}
    exec(finding.call, names)
    assert list(names["data"].image_names) == ["image_0", "image_1"]


def test_a_shared_lesion_whose_sources_name_patients_otherwise_is_no_contradiction(records):
    data = records(2, lesion_id="A", lesion_id_space="one", patient_id=["1", "P"], source=["one", "two"])
    assert not by_kind(data)


def test_folds_by_patient_have_no_leak(records):
    data = records(40, patient_id=[f"P{i // 4}" for i in range(40)], target=[0, 1] * 20)
    assert not by_kind(mf.assign_folds(data, 3))


def test_records_without_fold_or_patient_are_on_no_side(records):
    data = records(4, patient_id=["A", "A", None, None], fold=[0, None, 1, 0], grouped_by="patient")
    assert set(by_kind(data)) == {"records_without_patient"}


def test_patients_with_holes_are_a_warning_and_its_call_mends_it(records):
    data = records(5, patient_id=["A", None, "B", None, None], source=["one"] * 3 + ["two"] * 2, lesion_id="L")
    finding = by_kind(data)["records_without_patient"]
    assert (finding.level, finding.count) == ("warning", 1)
    names = {"mf": mf, "data": data}
    exec(finding.call, names)
    assert list(names["data"].image_names) == ["image_0", "image_2", "image_3", "image_4"]


def test_a_lesion_of_two_patients_is_a_warning(records):
    data = records(4, patient_id=list("ABCC"), lesion_id=["L", "L", "M", "M"])
    finding = by_kind(data)["lesion_of_several_patients"]
    assert (finding.level, finding.count) == ("warning", 1)
    assert finding.table["image_name"].tolist() == ["image_0", "image_1"]


def test_a_source_without_any_ids_is_a_note(records):
    assert by_kind(records(3))["no_patients"].level == "note"


def test_groups_are_those_of_assign_folds_or_the_best_guess_where_it_refuses(records):
    whole = records(3, patient_id=list("AAB"))
    keys, word = default_groups(whole)
    assert (keys[0] == keys[1]) & (keys[1] != keys[2])
    assert word == "patient"
    keys, word = default_groups(records(5, patient_id=["A", "A", None, None, None], lesion_id=[None] * 2 + list("LLM")))
    assert [keys[0] == keys[1], keys[2] == keys[3], keys[3] == keys[4], keys[1] == keys[2]] == [
        True,
        True,
        False,
        False,
    ]
    assert "where known" in word


def test_groups_of_images_that_are_gone_are_no_crash(records):
    assert len(set(default_groups(records(2, path=["/absent/a.jpg", "/absent/b.jpg"]))[0])) == 2

"""`Predictions`: what may be called out-of-fold, exact files, and joins by image name."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.errors import OutputError, PredictionsError
from melanomafusion.predictions import Predictions, align

NAMES = ["a", "b", "c", "d"]


def table(**changes):
    columns = {
        "image_name": NAMES,
        "patient_id": ["p", "p", "q", "r"],
        "target": [0, 1, 0, 1],
        "fold": [0, 0, 1, 1],
        "score": [0.1, 0.9, 0.3, 0.4],
    }
    return pd.DataFrame({key: value for key, value in {**columns, **changes}.items() if value is not None})


def predictions(kind="oof", name="predictions", **changes):
    return Predictions(table(**changes), kind, name=name)


def read(tmp_path, text, kind=None):
    (tmp_path / "scores.csv").write_text(text, encoding="utf-8")
    return Predictions.read_csv(tmp_path / "scores.csv", kind)


def refused(call, *parts):
    with pytest.raises(PredictionsError) as error:
        call()
    for part in parts:
        assert part in str(error.value)


# --- one table --------------------------------------------------------------------------------------------------------


def test_scores_targets_and_length_are_those_of_the_table():
    member = predictions()
    assert len(member) == 4
    np.testing.assert_array_equal(member.scores, [0.1, 0.9, 0.3, 0.4])
    np.testing.assert_array_equal(member.targets, [0, 1, 0, 1])
    assert (member.scores.dtype, member.targets.dtype) == (np.float64, np.int64)


def test_frame_is_a_copy():
    member = predictions()
    frame = member.frame
    frame["score"] = 0.0
    assert member.scores.max() == 0.9


def test_later_changes_of_the_callers_table_do_not_come_in():
    frame = table()
    member = Predictions(frame, "oof")
    frame["score"] = 0.0
    assert member.scores.max() == 0.9


def test_columns_of_its_own_are_kept_behind_the_known_ones():
    member = predictions(score_nevus=[0.2] * 4)
    assert list(member.frame) == ["image_name", "patient_id", "target", "fold", "score", "score_nevus"]


@pytest.mark.parametrize(("kind", "column"), [("oof", "fold"), ("oof", "target"), ("held_out", "target")])
def test_columns_a_kind_needs_must_be_there(kind, column):
    refused(lambda: predictions(kind, **{column: None}), f"column {column} is missing", kind)


def test_test_predictions_need_no_target_and_have_none():
    member = predictions("test", target=None, fold=None)
    refused(lambda: member.targets, "test predictions have no target")


def test_unknown_kind_is_refused():
    refused(lambda: predictions("train"), "oof, held_out, test", "'train'")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"image_name": ["a", "b", "a", "d"]}, ("row 4", "image_name 'a' stands twice")),
        ({"image_name": ["a", None, "c", "d"]}, ("row 3", "image_name is empty")),
        ({"score": [0.1, np.nan, 0.3, 0.4]}, ("row 3", "of b", "not a finite number")),
        ({"score": [0.1, 0.2, 0.3, -np.inf]}, ("row 5", "of d", "not a finite number")),
        ({"score": [0.1, "high", 0.3, 0.4]}, ("row 3", "'high'", "not a finite number")),
        ({"target": [0, 1, 2, 0]}, ("row 4", "target", "2", "of c")),
        ({"target": [0, 1, None, 0]}, ("row 4", "target", "of c")),
        ({"target": [0, 1, 0.5, 0]}, ("row 4", "target", "0.5")),
        ({"fold": [0, -1, 0, 1]}, ("row 3", "fold", "-1")),
        ({"fold": [0, 0.5, 0, 1]}, ("row 3", "fold", "0.5")),
        ({"fold": [0, None, 0, 1]}, ("row 3", "fold", "of b")),
    ],
)
def test_rows_that_cannot_be_used_are_named(changes, parts):
    refused(lambda: predictions(**changes), *parts)


def test_several_problems_are_named_at_once():
    refused(lambda: predictions(score=[np.nan, 0.1, 0.2, np.inf], target=[0, 5, 0, 1]), "row 2", "row 5", "row 3")


def test_empty_table_is_refused():
    refused(lambda: Predictions(table().head(0), "oof"), "has no rows")


def test_repr_counts():
    assert repr(predictions(name="b4")) == "Predictions b4: oof, 4 records, 2 folds"


# --- clusters ---------------------------------------------------------------------------------------------------------


def test_clusters_are_patients_where_known():
    groups, word = predictions().clusters
    assert word == "patient"
    assert groups[0] == groups[1]
    assert len(set(groups)) == 3


def test_clusters_are_lesions_where_there_are_no_patients():
    groups, word = predictions(patient_id=None, lesion_id=["l", "m", "m", "n"]).clusters
    assert word == "lesion"
    assert groups[1] == groups[2]
    assert len(set(groups)) == 3


def test_empty_patient_column_counts_as_none():
    assert predictions(patient_id=[None] * 4, lesion_id=["l", "m", "m", "n"]).clusters[1] == "lesion"


def test_clusters_are_records_where_nothing_is_known():
    groups, word = predictions(patient_id=None).clusters
    assert word == "record"
    assert len(set(groups)) == 4


@pytest.mark.parametrize("empty", [None, np.nan])
def test_record_without_patient_is_a_cluster_of_its_own(empty):
    groups, word = predictions(patient_id=["p", empty, empty, "p"]).clusters
    assert word == "patient"
    assert groups[0] == groups[3]
    assert len(set(groups)) == 3


def test_record_named_like_a_patient_is_not_that_patient():
    groups, _ = predictions(patient_id=["b", None, "q", "r"]).clusters
    assert len(set(groups)) == 4


# --- files ------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, exclude_min=True), min_size=1, max_size=20, unique=True))
def test_scores_come_back_from_csv_to_the_last_bit(tmp_path_factory, scores):
    path = tmp_path_factory.mktemp("exact") / "scores.csv"
    frame = pd.DataFrame({"image_name": [f"i{i}" for i in range(len(scores))], "score": scores})
    Predictions(frame, "test").write_csv(path)
    np.testing.assert_array_equal(Predictions.read_csv(path).scores, np.array(scores, dtype="float64"))


@pytest.mark.parametrize("kind", ["oof", "held_out", "test"])
def test_csv_round_trip(tmp_path, kind):
    member = predictions(kind, lesion_id=["l", None, "m", "m"], grouped_by="patient")
    member.write_csv(tmp_path / "scores.csv")
    again = Predictions.read_csv(tmp_path / "scores.csv", kind)
    assert again.kind == kind
    pd.testing.assert_frame_equal(again.frame, member.frame, check_dtype=False)


def test_parquet_holds_the_same_table(tmp_path):
    member = predictions()
    member.write_parquet(tmp_path / "scores.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "scores.parquet"), member.frame, check_dtype=False)


def test_names_of_digits_keep_their_zeros(tmp_path):
    member = read(tmp_path, "image_name,score\n0012,0.5\n012,0.25\n")
    assert list(member.frame["image_name"]) == ["0012", "012"]


def test_file_with_fold_and_target_is_oof(tmp_path):
    predictions().write_csv(tmp_path / "oof.csv")
    assert Predictions.read_csv(tmp_path / "oof.csv").kind == "oof"


def test_file_with_neither_fold_nor_target_is_test(tmp_path):
    assert read(tmp_path, "image_name,score\na,0.5\n").kind == "test"


@pytest.mark.parametrize("column", ["fold", "target"])
def test_file_with_one_of_fold_and_target_asks_what_it_is(tmp_path, column):
    text = f"image_name,{column},score\na,1,0.5\n"
    refused(lambda: read(tmp_path, text), "not both fold and target", 'kind="held_out"')


def test_file_with_target_alone_may_be_called_held_out(tmp_path):
    member = read(tmp_path, "image_name,target,score\na,1,0.5\nb,0,0.1\n", "held_out")
    assert member.kind == "held_out"
    np.testing.assert_array_equal(member.targets, [1, 0])


def test_file_cannot_be_called_oof_without_folds(tmp_path):
    refused(lambda: read(tmp_path, "image_name,target,score\na,1,0.5\n", "oof"), "column fold is missing")


def test_score_that_is_text_is_refused_with_its_row(tmp_path):
    text = "image_name,score\na,0.5\nb,0.25\nc,oops\nd,0.1\n"
    refused(lambda: read(tmp_path, text), "row 4", "'oops' is not a number", "scores.csv")


def test_score_that_is_missing_is_refused_with_its_row(tmp_path):
    refused(lambda: read(tmp_path, "image_name,score\na,0.5\nb,\n"), "row 3", "of b")


def test_table_without_scores_is_refused(tmp_path):
    refused(lambda: read(tmp_path, "image_name,target,fold\na,0,0\n"), "column score is missing")


@pytest.mark.parametrize("text", ["", "image_name,score\na,0.1\nb,0.2,3,4\n"])
def test_file_that_is_no_table_is_refused(tmp_path, text):
    refused(lambda: read(tmp_path, text), "not a table of scores", "scores.csv")


def test_missing_file_and_folder_are_refused(tmp_path):
    refused(lambda: Predictions.read_csv(tmp_path / "nowhere.csv"), "There is no file", "nowhere.csv")
    refused(lambda: Predictions.read_csv(tmp_path), "is a folder")


def test_submission_is_image_name_and_target(tmp_path):
    predictions("test").write_submission(tmp_path / "submission.csv")
    frame = pd.read_csv(tmp_path / "submission.csv")
    assert list(frame) == ["image_name", "target"]
    np.testing.assert_array_equal(frame["target"], [0.1, 0.9, 0.3, 0.4])


def test_submission_is_read_as_test_predictions(tmp_path):
    predictions("test").write_submission(tmp_path / "submission.csv")
    again = Predictions.read_csv(tmp_path / "submission.csv")
    assert again.kind == "test"
    np.testing.assert_array_equal(again.scores, [0.1, 0.9, 0.3, 0.4])


def test_nothing_is_left_where_writing_fails(tmp_path):
    (tmp_path / "scores.csv" / "inside").mkdir(parents=True)
    with pytest.raises(OutputError, match="Cannot write"):
        predictions().write_csv(tmp_path / "scores.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


# --- joins ------------------------------------------------------------------------------------------------------------


def shuffled(member, seed=0):
    return Predictions(member.frame.sample(frac=1, random_state=seed), member.kind, name=member.name)


def test_join_is_by_name_whatever_the_order_of_rows():
    a, b = predictions(), predictions(score=[0.5, 0.6, 0.7, 0.8])
    aligned = align({"a": a, "b": shuffled(b, 1)})
    assert list(aligned["a"].frame["image_name"]) == list(aligned["b"].frame["image_name"]) == NAMES
    pd.testing.assert_frame_equal(aligned["b"].frame, b.frame)


def test_join_keeps_names_and_kinds():
    aligned = align({"x": predictions(name="b4"), "y": predictions(name="b5")})
    assert [(key, member.name, member.kind) for key, member in aligned.items()] == [
        ("x", "b4", "oof"),
        ("y", "b5", "oof"),
    ]


@pytest.mark.parametrize("turned", [False, True])
def test_missing_records_are_refused_counted_and_named(turned):
    members = {"all": predictions(), "few": Predictions(table().head(2), "oof")}
    if turned:
        members = dict(reversed(members.items()))
    refused(
        lambda: align(members),
        "few",
        "c, row 4, d, row 5",
        'missing="intersect"',
        "has 2 that" if turned else "lacks 2 records",
    )


def test_missing_records_among_test_predictions_are_refused():
    few = Predictions(table().drop(columns=["fold", "target"]).head(3), "test")
    refused(
        lambda: align({"all": predictions("test", fold=None, target=None), "few": few}), "lacks 1 records", "(d, row 5)"
    )


def test_other_folds_are_refused_counted_and_named():
    other = predictions(fold=[0, 1, 1, 1])
    refused(
        lambda: align({"a": predictions(), "b": other}),
        "b was trained on other folds than a",
        "1 records",
        "b (1 in row 3 against 0 in row 3)",
    )


def test_intersect_keeps_common_records_each_member_with_its_own_folds():
    other = shuffled(Predictions(table(fold=[3, 4, 3, 3]).tail(3), "oof"))
    aligned = align({"a": predictions(), "b": other}, missing="intersect")
    assert list(aligned["a"].frame["image_name"]) == list(aligned["b"].frame["image_name"]) == ["b", "c", "d"]
    assert list(aligned["a"].frame["fold"]) == [0, 1, 1]
    assert list(aligned["b"].frame["fold"]) == [4, 3, 3]


@pytest.mark.parametrize("missing", ["error", "intersect"])
def test_targets_that_differ_are_refused_always(missing):
    other = predictions(target=[0, 1, 1, 1])
    refused(
        lambda: align({"a": predictions(), "b": other}, missing=missing),
        "disagree on the target of 1 records",
        "c (1 in row 4 against 0 in row 4)",
    )


def test_kinds_cannot_be_mixed():
    members = {"a": predictions(), "b": predictions("held_out")}
    refused(lambda: align(members), "different kinds", "a oof", "b held_out")


def test_nothing_in_common_is_refused():
    other = predictions(image_name=["w", "x", "y", "z"])
    refused(lambda: align({"a": predictions(), "b": other}, missing="intersect"), "no record in common")


def test_no_members_are_refused():
    refused(lambda: align({}), "No members")


def test_unknown_missing_is_refused():
    refused(lambda: align({"a": predictions()}, missing="drop"), 'missing is "error" or "intersect"', "'drop'")


def test_members_are_not_changed_by_a_join():
    a, b = predictions(), shuffled(predictions())
    before = a.frame, b.frame
    align({"a": a, "b": b})
    pd.testing.assert_frame_equal(a.frame, before[0])
    pd.testing.assert_frame_equal(b.frame, before[1])

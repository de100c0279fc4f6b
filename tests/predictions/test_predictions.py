"""`Predictions`: what may be called out-of-fold, what goes together, and exact files."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.errors import OutputError, PredictionsError
from melanomafusion.predictions import Predictions

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


@settings(deadline=None, max_examples=40)
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


def test_table_without_scores_is_refused(tmp_path):
    refused(lambda: read(tmp_path, "image_name,target,fold\na,0,0\n"), "column score is missing")


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


# --- codes of clusters, images of a patient on both sides -------------------------------------------------------------


@st.composite
def grouped(draw):
    """A frame of records in patients, some unknown, and the same rows in another order."""
    count = draw(st.integers(1, 10))
    frame = pd.DataFrame(
        {
            "image_name": draw(st.permutations([f"i{i}" for i in range(count)])),
            "patient_id": [draw(st.sampled_from(["p", "q", "i1", None])) for _ in range(count)],
            "target": 0,
            "fold": [draw(st.integers(0, 2)) for _ in range(count)],
            "score": 0.5,
        }
    )
    return frame, frame.iloc[draw(st.permutations(range(count)))]


@settings(deadline=None, max_examples=25)
@given(grouped())
def test_codes_of_clusters_do_not_depend_on_the_order_of_rows(frames):
    first, second = (Predictions(frame, "oof") for frame in frames)
    codes = dict(zip(first.image_names, first.clusters[0], strict=True))
    assert codes == dict(zip(second.image_names, second.clusters[0], strict=True))
    assert set(codes.values()) == set(range(len(set(codes.values()))))
    assert first.image_level_split == second.image_level_split


@settings(deadline=None, max_examples=25)
@given(grouped())
def test_clusters_are_the_patients_and_each_unknown_alone(frames):
    member = Predictions(frames[0], "oof")
    frame, codes = member.frame, member.clusters[0]
    names = frame["patient_id"].where(frame["patient_id"].notna(), "alone " + frame["image_name"])
    for i in range(len(frame)):
        assert ((codes == codes[i]) == (names == names[i])).all()


@settings(deadline=None, max_examples=25)
@given(grouped())
def test_image_level_split_is_seen_where_a_patient_lies_in_two_folds(frames):
    member = Predictions(frames[0], "oof")
    known = member.frame.dropna(subset=["patient_id"])
    folds = known.groupby("patient_id")["fold"]
    assert member.image_level_split == bool((folds.min() != folds.max()).any())
    assert not Predictions(frames[0], "held_out").image_level_split


@pytest.mark.parametrize(
    ("grouped_by", "seen"),
    [
        ("patient", False),
        ("record", True),
        ("patient + record", True),
        ("record and its exact copies", False),
        ("patient + record and its exact copies", False),
    ],
)
def test_image_level_split_is_said_by_what_the_folds_were_grouped_by(grouped_by, seen):
    assert predictions(grouped_by=grouped_by).image_level_split is seen
    assert predictions("held_out", grouped_by=grouped_by).image_level_split is seen


def test_lesions_in_two_folds_are_no_patients_in_two_folds():
    assert not predictions(patient_id=None, lesion_id=["l", "m", "m", "n"]).image_level_split


def test_any_row_grouped_by_record_makes_an_image_level_split():
    assert predictions(grouped_by=["patient", "patient", "record", "record"]).image_level_split


def test_empty_grouped_by_says_nothing():
    assert predictions(grouped_by=[None] * 4).grouped_by is None


# --- what cannot be a table of scores ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fold", [1e19, 1e300])
def test_folds_too_large_to_be_folds_are_refused(fold):
    with np.errstate(invalid="ignore"):
        refused(lambda: predictions(fold=[0, fold, 0, 1]), "row 3", "fold")


@pytest.mark.parametrize("scores", [[0.1], [0.1, 0.2, 0.3, np.nan], [0.1, 0.2, np.inf, 0.4]])
def test_scores_are_replaced_by_finite_ones_only(scores):
    with pytest.raises((PredictionsError, ValueError)):
        predictions().replace_scores(np.array(scores))


def test_replaced_scores_keep_records_kind_name_and_lines():
    member = Predictions(table(score_nevus=[0.2] * 4), "oof", name="b4", lines=[9, 8, 7, 6])
    other = member.replace_scores(np.array([4.0, 3.0, 2.0, 1.0]))
    assert (other.name, other.kind, other.classes) == ("b4", "oof", ())
    assert list(other.lines) == [9, 8, 7, 6]
    assert list(other.scores) == [4.0, 3.0, 2.0, 1.0]
    assert list(other.image_names) == NAMES
    assert member.replace_scores(member.scores, name="b5").name == "b5"


def test_clusters_of_several_sources_are_told_apart_by_the_column_cluster(tmp_path):
    frame = pd.DataFrame(
        {
            "image_name": list("abcdef"),
            "score": np.arange(6) / 6,
            "target": [0, 1, 0, 1, 0, 1],
            "fold": [0, 0, 1, 1, 0, 0],
            "patient_id": ["P1", "P1", "P1", "P1", None, None],
            "lesion_id": [None, None, None, None, "L1", "L1"],
            "cluster": ["x/P1", "x/P1", "y/P1", "y/P1", "z/L1", "z/L1"],
        }
    )
    told = Predictions(frame, "oof")
    told.write_csv(tmp_path / "oof.csv")
    for predictions in (told, Predictions.read_csv(tmp_path / "oof.csv", "oof")):
        codes, word = predictions.clusters
        assert (codes.tolist(), word) == ([0, 0, 1, 1, 2, 2], "patient")
        assert not predictions.image_level_split
    assert Predictions(frame.drop(columns="cluster"), "oof").image_level_split


def test_a_fold_that_is_missing_in_a_parquet_file_is_named(tmp_path):
    frame = pd.DataFrame({"image_name": list("ab"), "score": [0.1, 0.2], "target": [0, 1]})
    frame["fold"] = pd.array([0, pd.NA], dtype="Int64")
    frame.to_parquet(tmp_path / "oof.parquet")
    with pytest.raises(PredictionsError, match=r"row 2: fold .* of b is not a whole number from 0"):
        Predictions.read_csv(tmp_path / "oof.parquet", "oof")

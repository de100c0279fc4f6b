"""A data set is frozen and counts what it holds."""

import pickle

import numpy as np
import pandas as pd
import pytest

from melanomafusion.data.dataset import Dataset
from melanomafusion.data.schema import COLUMNS
from melanomafusion.errors import FoldError, MelanomaFusionError, TableError


def frame(n=6, prefix="i", **columns):
    table = pd.DataFrame({name: pd.Series([None] * n, dtype="str") for name in COLUMNS})
    table["image_name"] = [f"{prefix}{k}" for k in range(n)]
    table["age_approx"] = np.nan
    table["target"] = pd.Series([k % 2 for k in range(n)], dtype="Int8")
    table["source"] = "synthetic"
    return table.assign(**columns)


def test_no_attribute_can_be_set():
    data = Dataset(frame())
    for name in ("frame", "_frame", "fold", "anything"):
        with pytest.raises(AttributeError, match="frozen"):
            setattr(data, name, 1)
    assert len(data) == 6


def test_changing_the_frame_handed_out_changes_nothing():
    data = Dataset(frame())
    copy = data.frame
    copy.loc[0, "image_name"] = "changed"
    copy["target"] = 1
    del copy["source"]
    pd.testing.assert_frame_equal(data.frame, frame())


def test_changing_the_frame_given_changes_nothing():
    given = frame()
    data = Dataset(given)
    given.loc[0, "image_name"] = "changed"
    assert data.image_names[0] == "i0"


def test_names_and_targets_handed_out_are_copies_too():
    data = Dataset(frame())
    data.targets[:] = 7
    names = data.image_names
    names[:] = "x"
    assert data.targets.tolist() == [0, 1, 0, 1, 0, 1]
    assert data.targets.dtype == np.int64
    assert data.image_names.tolist() == [f"i{k}" for k in range(6)]


def test_missing_columns_are_all_named():
    with pytest.raises(TableError) as caught:
        Dataset(frame().drop(columns=["sex", "path"]))
    assert caught.value.problems == ["column path is missing", "column sex is missing"]


def test_a_name_twice_is_refused():
    with pytest.raises(TableError) as caught:
        Dataset(frame(3, image_name=["a", "b", "a"]))
    assert caught.value.problems == ["image_name 'a' stands more than once"]


def test_the_index_starts_at_0_whatever_was_given():
    assert Dataset(frame().iloc[[4, 2]]).frame.index.tolist() == [0, 1]


def test_repr_counts_records_patients_lesions_melanomas_and_gaps():
    data = Dataset(
        frame(
            4,
            target=pd.Series([1, 0, 0, 0], dtype="Int8"),
            diagnosis=["melanoma", "nevus", None, "nevus"],
            patient_id=["p", "p", "q", "r"],
            lesion_id=["l", None, "m", "l"],
            sex=["male", None, None, "male"],
            age_approx=[0.0, 5.0, 5.0, 5.0],
        )
    )
    lines = repr(data).splitlines()
    assert lines[0] == "Dataset synthetic: 4 records, 3 patients, 2 lesions, 1 melanomas (25.00%)"
    assert lines[1] == "  missing values: lesion_id 1 · sex 2 · diagnosis 1"
    assert lines[2] == "  columns without any value: path · anatom_site_general_challenge"


def test_repr_says_positives_where_they_are_not_all_melanomas():
    data = Dataset(frame(4, diagnosis=["nevus", "BCC", "nevus", "melanoma"]))
    assert "2 positives (50.00%)" in repr(data)


def test_repr_of_a_test_split_counts_no_positives():
    data = Dataset(frame(3, target=pd.Series([None] * 3, dtype="Int8")))
    assert repr(data).splitlines()[0] == "Dataset synthetic: 3 records"
    assert not data.has_target


def test_repr_stamps_how_folds_were_grouped():
    data = Dataset(frame()).with_columns(fold=[0, 1] * 3, grouped_by="record")
    assert repr(data).splitlines()[-1] == "  folds: 2, grouped by record"


def test_targets_of_a_test_split_are_refused():
    data = Dataset(frame(3, target=pd.Series([1, None, None], dtype="Int8")))
    with pytest.raises(TableError, match="2 of 3 records have no target"):
        _ = data.targets
    assert not data.has_target


def test_select_by_mask_keeps_the_order():
    data = Dataset(frame())
    mask = [True, False, False, True, False, True]
    for given in (mask, np.array(mask), pd.Series(mask, index=list("abcdef"))):
        assert data.select(given).image_names.tolist() == ["i0", "i3", "i5"]


def test_select_by_name_takes_the_order_of_the_names():
    data = Dataset(frame())
    chosen = data.select(["i4", "i0"])
    assert chosen.image_names.tolist() == ["i4", "i0"]
    assert chosen.targets.tolist() == [0, 0]
    assert data.select(pd.Series(["i1"])).image_names.tolist() == ["i1"]
    assert len(data.select([])) == 0


def test_select_refuses_unknown_names_all_of_them():
    with pytest.raises(TableError) as caught:
        Dataset(frame()).select(["i0", "x", "y"])
    assert len(caught.value.problems) == 2
    for name, problem in zip(("x", "y"), caught.value.problems, strict=True):
        assert f"'{name}'" in problem
        assert problem.endswith("is not in the data set")


def test_select_refuses_a_mask_of_another_length():
    with pytest.raises(TableError, match="mask of 2 for 6 records"):
        Dataset(frame()).select([True, False])


def test_concat_keeps_all_records_and_fills_columns_that_one_lacks():
    one = Dataset(frame(2, camera=["x", "y"], fold=[0, 1], grouped_by="patient"))
    two = Dataset(frame(3, prefix="j", source="other", hospital=["h"] * 3))
    both = one.concat(two)
    assert both.image_names.tolist() == ["i0", "i1", "j0", "j1", "j2"]
    assert both.name == "synthetic + other"
    assert both.frame["camera"].isna().tolist() == [False, False, True, True, True]
    assert both.frame["hospital"].isna().tolist() == [True, True, False, False, False]
    assert both.targets.tolist() == [0, 1, 0, 1, 0]
    # Folds belong to one data set.
    assert not {"fold", "grouped_by"} & set(both.frame)


def test_concat_refuses_a_name_in_both():
    with pytest.raises(TableError) as caught:
        Dataset(frame(2)).concat(Dataset(frame(3)))
    assert caught.value.problems == [
        "2 images of synthetic are in synthetic too (2 by name, 0 by content; 0 with another target): i0, i1"
    ]


def test_with_columns_gives_a_new_data_set():
    data = Dataset(frame())
    other = data.with_columns(camera="x")
    assert "camera" not in data.frame
    assert other.frame["camera"].tolist() == ["x"] * 6


def test_describe_counts_present_missing_distinct_and_names_the_most_frequent():
    described = Dataset(frame(5, sex=["male", "male", "female", None, "male"])).describe()
    assert described.index.tolist() == list(COLUMNS)
    assert described.loc["sex"].tolist() == [4, 1, 2, "male (3), female (1)"]
    assert described.loc["image_name", "distinct"] == 5
    assert described.loc["path", "missing"] == 5
    assert (described["present"] + described["missing"] == 5).all()


def test_held_out_splits_by_fold_without_loss_or_overlap():
    data = Dataset(frame(6, fold=[0, 1, 2, 0, 1, 2], grouped_by="patient"))
    train, held_out = data.held_out(1)
    assert held_out.image_names.tolist() == ["i1", "i4"]
    assert train.image_names.tolist() == ["i0", "i2", "i3", "i5"]


def test_held_out_refuses_a_fold_that_is_not_there_and_data_without_folds():
    with pytest.raises(FoldError, match=r"no fold 7; the data set has folds 0, 1, 2"):
        Dataset(frame(6, fold=[0, 1, 2] * 2, grouped_by="patient")).held_out(7)
    with pytest.raises(FoldError, match="no folds"):
        Dataset(frame()).held_out(0)


def test_parquet_round_trip_keeps_values_types_and_gaps(tmp_path):
    data = Dataset(
        frame(
            4,
            sex=pd.Series(["male", None, "female", None], dtype="str"),
            age_approx=[0.0, np.nan, 35.0, 90.0],
            target=pd.Series([0, 1, None, 1], dtype="Int8"),
            fold=[0, 1, 0, 1],
            grouped_by="patient",
        )
    )
    path = tmp_path / "deep" / "data.parquet"
    data.write_parquet(path)
    pd.testing.assert_frame_equal(Dataset.read_parquet(path).frame, data.frame)
    assert [entry.name for entry in path.parent.iterdir()] == ["data.parquet"]


def test_a_data_set_goes_to_another_process_whole():
    data = Dataset(frame())
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(data)).frame, data.frame)


def test_all_refusals_are_errors_of_the_library():
    assert issubclass(TableError, MelanomaFusionError)
    assert issubclass(FoldError, MelanomaFusionError)


def test_folds_that_do_not_say_what_they_keep_together_are_refused():
    for make in (lambda: Dataset(frame(2, fold=[0, 1])), lambda: Dataset(frame(2)).with_columns(fold=[0, 1])):
        with pytest.raises(TableError, match="fold stands without grouped_by") as caught:
            make()
        assert "assign_folds, or read_folds" in str(caught.value)

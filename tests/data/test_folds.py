"""Folds never split a patient, a lesion or exact copies; they depend on names and seed, not on the order of rows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.data.dataset import Dataset
from melanomafusion.data.fold_files import read_competition_folds, read_folds, write_folds
from melanomafusion.data.folds import assign_folds, check_folds
from melanomafusion.data.groups import group_keys
from melanomafusion.data.schema import COLUMNS
from melanomafusion.errors import FoldError, OutputError, TableError
from melanomafusion.testing import make_records

PROPERTY = settings(max_examples=60, deadline=None, database=None)

# Targets of the images of each patient.
PATIENTS = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=9), min_size=1, max_size=30)


def dataset(targets, *, names=None, source="synthetic", **columns):
    n = len(targets)
    table = pd.DataFrame({name: pd.Series([None] * n, dtype="str") for name in COLUMNS})
    table["image_name"] = pd.Series(names if names is not None else [f"i{k:03d}" for k in range(n)], dtype="str")
    table["target"] = pd.Series(targets, dtype="Int8")
    table["source"] = source
    for name, values in columns.items():
        table[name] = pd.Series(values, dtype="str")
    return Dataset(table)


def of_patients(patients, column="patient_id", **options):
    ids = [f"p{number}" for number, images in enumerate(patients) for _ in images]
    return dataset([target for images in patients for target in images], **{column: ids}, **options)


def shuffled(data, seed):
    return Dataset(data.frame.sample(frac=1.0, random_state=seed))


def fold_of_name(data):
    return data.frame.set_index("image_name")["fold"].to_dict()


def even(n_patients=20, images=2):
    """Patients with as many images each, the first of them positive."""
    return of_patients([[1] + [0] * (images - 1)] * n_patients)


@PROPERTY
@given(PATIENTS, st.integers(2, 6), st.integers(0, 3), st.sampled_from(["patient_id", "lesion_id"]))
def test_groups_stay_whole_and_no_fold_is_empty_or_without_positives(patients, n_folds, seed, column):
    data = of_patients(patients, column)
    with_positive = sum(any(images) for images in patients)
    if with_positive < n_folds:
        with pytest.raises(FoldError) as caught:
            assign_folds(data, n_folds, seed=seed)
        for number in (n_folds, len(patients), with_positive):
            assert str(number) in str(caught.value)
        return
    result = assign_folds(data, n_folds, seed=seed).frame
    assert (result.groupby(column)["fold"].agg("nunique") == 1).all()
    assert set(result["fold"]) == set(range(n_folds))
    assert (result.groupby("fold")["target"].sum() > 0).all()
    assert (result["grouped_by"] == column.removesuffix("_id")).all()
    # Nothing else has changed.
    pd.testing.assert_frame_equal(result.drop(columns=["fold", "grouped_by"]), data.frame)


@PROPERTY
@given(PATIENTS, st.integers(2, 4), st.integers(0, 3), st.integers(0, 1000))
def test_folds_do_not_depend_on_the_order_of_rows(patients, n_folds, seed, order):
    if sum(any(images) for images in patients) < n_folds:
        return
    data = of_patients(patients)
    mixed = assign_folds(shuffled(data, order), n_folds, seed=seed)
    assert fold_of_name(mixed) == fold_of_name(assign_folds(data, n_folds, seed=seed))


@PROPERTY
@given(PATIENTS, st.integers(2, 5))
def test_positives_and_images_per_patient_are_spread_evenly(patients, n_folds):
    if sum(any(images) for images in patients) < n_folds:
        return
    result = assign_folds(of_patients(patients), n_folds).frame
    per_fold = result.groupby("fold")["target"].sum()
    assert per_fold.max() - per_fold.min() <= max(sum(images) for images in patients)
    # Patients without positives, of about one number of images: as many in each fold, to within one.
    by_patient = result.groupby("patient_id").agg(
        n=("target", "size"), positives=("target", "sum"), fold=("fold", "min")
    )
    for size_class in ((1, 1), (2, 3), (4, 7), (8, 15)):
        inside = by_patient[(by_patient["positives"] == 0) & by_patient["n"].between(*size_class)]
        counts = inside["fold"].value_counts().reindex(range(n_folds), fill_value=0)
        assert counts.max() - counts.min() <= 1


def test_a_set_like_siim_isic_2020_is_stratified():
    frame, _ = make_records(400, prevalence=0.05, rng=np.random.default_rng(0))
    data = dataset(frame["target"].to_list(), names=frame["image_name"], patient_id=frame["patient_id"])
    per_fold = assign_folds(data, 5).frame.groupby("fold")["target"].agg(["size", "sum"])
    assert per_fold["sum"].max() - per_fold["sum"].min() <= 2
    assert per_fold["size"].max() - per_fold["size"].min() <= 0.05 * len(data)


def test_the_same_seed_gives_the_same_folds_and_another_seed_others():
    data = even()
    assert fold_of_name(assign_folds(data, 5, seed=3)) == fold_of_name(assign_folds(data, 5, seed=3))
    assert fold_of_name(assign_folds(data, 5, seed=3)) != fold_of_name(assign_folds(data, 5, seed=4))


def test_the_data_set_given_stays_without_folds():
    data = even()
    assign_folds(data, 5)
    assert "fold" not in data.frame


@pytest.mark.parametrize("n_folds", [1, 0, -5, 2.0, "5", None])
def test_a_number_of_folds_that_cannot_be_is_refused(n_folds):
    with pytest.raises(FoldError, match="n_folds must be a whole number of at least 2"):
        assign_folds(even(), n_folds)


def test_too_few_groups_are_refused_with_the_counts():
    with pytest.raises(FoldError, match=r"5 folds need 5 groups.* has 3 groups \(patient\), of which 3 have"):
        assign_folds(even(3), 5)


def test_too_few_groups_with_positives_are_refused_with_the_counts():
    with pytest.raises(FoldError, match=r"has 10 groups \(patient\), of which 2 have a positive"):
        assign_folds(of_patients([[1], [1], *([[0, 0]] * 8)]), 3)


def test_records_without_target_cannot_be_folded():
    with pytest.raises(TableError, match="have no target"):
        assign_folds(of_patients([[1, None], [0, 1]]), 2)


def test_a_patient_id_with_holes_is_refused_with_names():
    ids = [None if k in (3, 8) else f"p{k // 2}" for k in range(20)]
    data = dataset([1, 0] * 10, patient_id=ids)
    for group in (None, "patient"):
        with pytest.raises(FoldError, match=r"2 of 20 records have no patient_id, e\.g\. i003, i008"):
            assign_folds(data, 2, group=group)


def test_a_record_without_lesion_is_a_group_of_its_own():
    lesions = ["l1", "l1", None, None, "l2", "l2", "l2", None]
    data = dataset([1, 0, 1, 0, 1, 0, 0, 1], lesion_id=lesions)
    for group in (None, "lesion"):
        keys, word = group_keys(data, group)
        assert word == "lesion"
        assert keys.nunique() == 5
        assert keys[0] == keys[1]
        assert keys[4] == keys[5] == keys[6]
        assert len({keys[2], keys[3], keys[7]}) == 3
    result = assign_folds(data, 3).frame
    assert (result[result["lesion_id"].notna()].groupby("lesion_id")["fold"].agg("nunique") == 1).all()


def test_a_patient_decides_where_there_are_lesions_too():
    data = even().with_columns(lesion_id=[f"l{k}" for k in range(40)])
    assert group_keys(data)[1] == "patient"
    result = assign_folds(data, 5).frame
    assert (result.groupby("patient_id")["fold"].agg("nunique") == 1).all()


def test_grouping_by_lesion_where_it_splits_patients_is_refused():
    data = even(6, images=6).with_columns(lesion_id=[f"l{k}" for k in range(36)])
    data = data.with_columns(target=pd.Series([1] * 36, dtype="Int8"))
    with pytest.raises(FoldError, match="values of patient_id stand in several folds"):
        assign_folds(data, 2, group="lesion")


def test_a_column_of_the_table_can_be_the_group():
    hospitals = [f"h{k % 7}" for k in range(42)]
    data = dataset([1] * 42, hospital=hospitals)
    result = assign_folds(data, 3, group="hospital").frame
    assert (result.groupby("hospital")["fold"].agg("nunique") == 1).all()
    assert (result["grouped_by"] == "hospital").all()


def test_a_group_column_that_is_not_there_or_has_holes_is_refused():
    with pytest.raises(FoldError, match="no column 'hospital' to group by"):
        assign_folds(even(), 2, group="hospital")
    with pytest.raises(FoldError, match="40 of 40 records have no lesion_id"):
        assign_folds(even(), 2, group="lesion")


def test_a_split_of_records_must_be_asked_for_and_is_stamped():
    data = even(4, images=8).with_columns(target=pd.Series([1, 0] * 16, dtype="Int8"))
    assert (assign_folds(data, 2).frame["grouped_by"] == "patient").all()
    by_record = assign_folds(data, 2, group="record")
    assert (by_record.frame["grouped_by"] == "record").all()
    assert "grouped by record" in repr(by_record)
    # Patients do get split: that is why it must be asked for.
    assert (by_record.frame.groupby("patient_id")["fold"].agg("nunique") > 1).any()


def test_equal_ids_of_two_sources_are_two_groups():
    one = dataset([1, 0], patient_id=["p", "p"], names=["a", "b"], source="one")
    two = dataset([1, 0], patient_id=["p", "p"], names=["c", "d"], source="two")
    keys, word = group_keys(one.concat(two))
    assert word == "patient"
    assert keys[0] == keys[1] != keys[2] == keys[3]


def test_each_source_is_grouped_by_what_it_knows():
    patients = of_patients([[1, 0]] * 6, names=[f"a{k}" for k in range(12)], source="one")
    lesions = of_patients([[1, 0]] * 6, "lesion_id", names=[f"b{k}" for k in range(12)], source="two")
    both = assign_folds(patients.concat(lesions), 3).frame
    assert (both["grouped_by"] == "patient + lesion").all()
    for column in ("patient_id", "lesion_id"):
        assert (both[both[column].notna()].groupby(column)["fold"].agg("nunique") == 1).all()


@pytest.fixture
def copies(tmp_path):
    """24 records of one file size each, every third the exact copy of the one before; no patient, no lesion."""
    paths = []
    for k in range(24):
        path = tmp_path / f"i{k:03d}.jpg"
        path.write_bytes(b"%04d" % (k - 1 if k % 3 == 2 else k))
        paths.append(str(path))
    return dataset([1, 0] * 12, path=paths)


def test_exact_copies_stay_together_where_there_is_neither_patient_nor_lesion(copies):
    keys, word = group_keys(copies)
    assert word == "record and its exact copies"
    assert keys.nunique() == 16
    for seed in range(5):
        folds = fold_of_name(assign_folds(copies, 4, seed=seed))
        for k in range(2, 24, 3):
            assert folds[f"i{k:03d}"] == folds[f"i{k - 1:03d}"]
    assert fold_of_name(assign_folds(shuffled(copies, 1), 4)) == fold_of_name(assign_folds(copies, 4))


def test_files_of_one_size_and_other_content_are_no_copies(copies):
    apart = copies.select([k % 3 != 2 for k in range(24)])
    assert group_keys(apart)[0].nunique() == 16


def test_records_without_files_are_groups_of_their_own():
    keys, word = group_keys(dataset([1, 0, 1, 0]))
    assert keys.nunique() == 4
    assert word == "record and its exact copies"


def test_check_folds_refuses_a_patient_in_two_folds_by_name():
    data = even(4).with_columns(fold=[0, 1, 0, 0, 1, 1, 1, 1], grouped_by="patient")
    with pytest.raises(FoldError, match="1 values of patient_id stand in several folds: p0"):
        check_folds(data)


def test_check_folds_refuses_a_lesion_in_two_folds_by_name():
    data = of_patients([[1, 0]] * 4, "lesion_id").with_columns(fold=[0, 0, 0, 1, 1, 1, 1, 1], grouped_by="lesion")
    with pytest.raises(FoldError, match="1 values of lesion_id stand in several folds: p1"):
        check_folds(data)


@pytest.mark.parametrize("folds", [[0] * 8, [0, 0, 0, 0, 2, 2, 2, 2], [1, 1, 1, 1, 2, 2, 2, 2]])
def test_check_folds_refuses_empty_folds(folds):
    with pytest.raises(FoldError, match="none empty"):
        check_folds(even(4).with_columns(fold=folds, grouped_by="patient"))


def test_check_folds_refuses_a_fold_without_positives_by_number():
    data = of_patients([[1, 0], [1, 0], [0, 0], [0, 0]]).with_columns(
        fold=[0, 0, 1, 1, 2, 2, 2, 2], grouped_by="patient"
    )
    with pytest.raises(FoldError, match="Fold 2 has no positive record"):
        check_folds(data)


def test_folds_written_are_read_back_the_same(tmp_path):
    data = even()
    folded = assign_folds(data, 5, seed=9)
    write_folds(folded, tmp_path / "folds.csv")
    table = pd.read_csv(tmp_path / "folds.csv")
    assert table.columns.tolist() == ["image_name", "patient_id", "fold", "grouped_by"]
    pd.testing.assert_frame_equal(read_folds(data, tmp_path / "folds.csv").frame, folded.frame)
    # Joined by name: rows in another order get the same folds.
    mixed = read_folds(shuffled(data, 5), tmp_path / "folds.csv")
    assert fold_of_name(mixed) == fold_of_name(folded)


def test_names_of_digits_survive_the_file(tmp_path):
    data = dataset([1, 0, 1, 0], names=["0012", "12", "1e3", "007"])
    folded = assign_folds(data, 2)
    write_folds(folded, tmp_path / "folds.csv")
    assert fold_of_name(read_folds(data, tmp_path / "folds.csv")) == fold_of_name(folded)


def test_folds_of_records_are_read_back_with_their_stamp(tmp_path):
    data = even(4, images=8).with_columns(target=pd.Series([1, 0] * 16, dtype="Int8"))
    folded = assign_folds(data, 2, group="record")
    write_folds(folded, tmp_path / "folds.csv")
    back = read_folds(data, tmp_path / "folds.csv")
    assert (back.frame["grouped_by"] == "record").all()
    assert fold_of_name(back) == fold_of_name(folded)


def test_folds_without_a_stamp_must_keep_patients_whole(tmp_path):
    path = tmp_path / "folds.csv"
    whole = [f"i{k:03d},{k // 2 % 2}" for k in range(8)]
    path.write_text("\n".join(["image_name,fold", *whole]))
    assert (read_folds(even(4), path).frame["grouped_by"] == "patient").all()
    path.write_text("\n".join(["image_name,fold", "i000,0", "i001,1", *whole[2:]]))
    with pytest.raises(FoldError, match="values of patient_id stand in several folds: p0"):
        read_folds(even(4), path)


GOOD = [("i000", "0"), ("i001", "0"), ("i002", "1"), ("i003", "1")]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (GOOD[:3], "1 records of the data set have no fold in the file, e.g. i003"),
        ([*GOOD, ("stranger", "0")], "1 records of the file are not in the data set, e.g. stranger"),
        ([*GOOD, GOOD[0]], "1 records stand twice in the file, e.g. i000"),
        ([GOOD[0], ("i001", "1"), *GOOD[2:]], "1 values of patient_id stand in several folds: p0"),
        ([("i000", "one"), *GOOD[1:]], "fold must be a whole number"),
        ([("i000", ""), *GOOD[1:]], "fold must be a whole number"),
        ([("i000", "0.5"), *GOOD[1:]], "fold must be a whole number"),
        ([(name, "0") for name, _ in GOOD], "at least two"),
        ([(name, str(2 * int(fold))) for name, fold in GOOD], "none empty"),
    ],
    ids=["missing", "stranger", "twice", "split-patient", "word", "empty", "fraction", "one-fold", "gap"],
)
def test_a_folds_file_that_does_not_fit_is_refused_with_the_reason(tmp_path, rows, reason):
    path = tmp_path / "folds.csv"
    path.write_text("image_name,fold\n" + "".join(f"{name},{fold}\n" for name, fold in rows))
    with pytest.raises(FoldError, match=reason):
        read_folds(even(2), path)


def test_a_folds_file_without_its_columns_or_not_there_is_refused(tmp_path):
    path = tmp_path / "folds.csv"
    path.write_text("image,part\ni000,0\n")
    with pytest.raises(TableError) as caught:
        read_folds(even(2), path)
    assert caught.value.problems == ["column image_name is missing", "column fold is missing"]
    with pytest.raises(TableError, match="there is no such file"):
        read_folds(even(2), tmp_path / "nowhere.csv")


def test_data_without_folds_cannot_be_written(tmp_path):
    with pytest.raises(FoldError, match="assign_folds first"):
        write_folds(even(), tmp_path / "folds.csv")
    assert list(tmp_path.iterdir()) == []


def test_folds_that_cannot_be_written_leave_nothing(tmp_path):
    (tmp_path / "folds.csv").mkdir()
    with pytest.raises(OutputError, match=r"folds\.csv"):
        write_folds(assign_folds(even(), 2), tmp_path / "folds.csv")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folds.csv"]


@pytest.fixture
def shards(tmp_path):
    """30 patients of two images, dealt to 15 shards; image_sizes_and_tfrecord.csv beside them."""
    data = even(30)
    table = pd.DataFrame(
        {
            "image_name": data.image_names,
            "width": np.arange(60) + 600,
            "height": np.arange(60) + 400,
            "tfrecord": [k // 2 % 15 for k in range(60)],
        }
    )

    def write(table=table):
        path = tmp_path / "image_sizes_and_tfrecord.csv"
        table.to_csv(path, index=False)
        return path

    return data, table, write


@pytest.mark.parametrize("n_folds", [3, 5, 15])
def test_competition_folds_are_the_shard_modulo_the_number_of_folds(shards, n_folds):
    data, table, write = shards
    mixed = shuffled(data, 2)
    result = read_competition_folds(mixed, write(), n_folds).frame.set_index("image_name").loc[table["image_name"]]
    assert result["fold"].tolist() == [k // 2 % 15 % n_folds for k in range(60)]
    assert result["width"].tolist() == table["width"].tolist()
    assert result["height"].tolist() == table["height"].tolist()
    assert (result["grouped_by"] == "patient").all()


def test_records_left_out_of_the_shards_are_an_error_unless_they_may_be_dropped(shards):
    data, table, write = shards
    table = table.assign(tfrecord=table["tfrecord"].where(~table.index.isin([1, 7]), -1))
    path = write(table)
    with pytest.raises(FoldError, match=r"2 records are in no shard .*e\.g\. i001"):
        read_competition_folds(data, path)
    dropped = read_competition_folds(data, path, on_dropped="drop")
    assert set(data.image_names) - set(dropped.image_names) == {"i001", "i007"}
    assert dropped.frame["fold"].tolist() == [k // 2 % 15 % 5 for k in range(60) if k not in (1, 7)]


def test_records_that_the_shards_do_not_know_are_refused_even_where_some_may_be_dropped(shards):
    data, table, write = shards
    with pytest.raises(FoldError, match=r"1 records of the data set have no fold in the file, e\.g\. i004"):
        read_competition_folds(data, write(table.drop(index=4)), on_dropped="drop")


def test_shards_that_split_a_patient_are_refused(shards):
    data, table, write = shards
    table.loc[0, "tfrecord"] = 1
    with pytest.raises(FoldError, match="values of patient_id stand in several folds: p0"):
        read_competition_folds(data, write(table))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"n_folds": 4}, "15 shards give 3, 5 or 15 folds"), ({"on_dropped": "ignore"}, "on_dropped must be")],
)
def test_options_of_competition_folds_are_checked(shards, options, message):
    data, _, write = shards
    with pytest.raises(FoldError, match=message):
        read_competition_folds(data, write(), **options)


def test_a_shards_file_without_its_columns_or_not_there_is_refused(shards, tmp_path):
    data, table, write = shards
    with pytest.raises(TableError) as caught:
        read_competition_folds(data, write(table.drop(columns=["tfrecord", "width"])))
    assert caught.value.problems == ["column tfrecord is missing", "column width is missing"]
    with pytest.raises(TableError, match="there is no such file"):
        read_competition_folds(data, tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("content", "error", "reason"),
    [
        (b"", TableError, "not a table of folds"),
        ("image_name,tfrecord,width,height\n\u00e9,0,1,1\n".encode("latin-1"), TableError, "not a table of folds"),
        (
            b"image_name,tfrecord,width,height\ni000,train00,1,1\n",
            FoldError,
            "tfrecord must be a whole number.*train00",
        ),
    ],
    ids=["empty", "latin-1", "text"],
)
def test_a_file_of_shards_that_cannot_be_read_is_refused_with_the_reason(tmp_path, content, error, reason):
    path = tmp_path / "image_sizes_and_tfrecord.csv"
    path.write_bytes(content)
    with pytest.raises(error, match=reason):
        read_competition_folds(even(2), path)

"""Subgroups: who is in which, their AUCs counted directly, and joins by image name."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from melanomafusion.errors import PredictionsError
from melanomafusion.evaluation.intervals import auc_interval
from melanomafusion.evaluation.subgroups import join_columns, subgroup_columns, subgroup_table
from melanomafusion.predictions import Predictions


def predictions(count=120, kind="oof", **columns):
    rng = np.random.default_rng(0)
    target = (np.arange(count) % 3 == 0).astype(int)
    frame = {
        "image_name": [f"i{i:03d}" for i in range(count)],
        "patient_id": [f"p{i // 3:02d}" for i in range(count)],
        "target": target,
        "fold": np.arange(count) // 3 % 4,
        "score": np.round(rng.normal(size=count) + target, 1),
    }
    return Predictions(pd.DataFrame({**frame, **columns}), kind, name="b4.csv")


def metadata(count=120):
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "image_name": [f"i{i:03d}" for i in range(count)],
            "sex": rng.choice(["female", "male", None], count, p=[0.5, 0.4, 0.1]),
            "age_approx": rng.choice([0.0, 29, 30, 45, 80, 90, np.nan], count),
            "anatom_site_general_challenge": rng.choice(["torso", "head/neck"], count),
            "source": "siim",
            "width": rng.choice([600, 1024, 2000, 6000], count),
            "height": rng.choice([450, 1025, 4096], count),
        }
    )


def refused(call, *parts):
    with pytest.raises(PredictionsError) as error:
        call()
    for part in parts:
        assert part in str(error.value)


def columns_of(values, name, wanted=None):
    frame = pd.DataFrame(values)
    return list(subgroup_columns(frame, wanted)[name])


# --- the figures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["oof", "held_out"])
def test_every_subgroup_is_counted_and_ranked_alone(kind):
    member = predictions(kind=kind)
    joined = join_columns(member, metadata())
    columns = subgroup_columns(joined, None)
    table = subgroup_table(member, columns, resamples=20)
    assert list(table) == ["column", "value", "records", "positives", "auc", "low", "high", "enough"]
    assert set(table["column"]) == {"sex", "age_band", "anatom_site_general_challenge", "image_size"}
    for row in table.itertuples():
        inside = (columns[row.column] == row.value).to_numpy()
        targets, scores = member.targets[inside], member.scores[inside]
        assert (row.records, row.positives) == (len(targets), targets.sum())
        assert row.enough == (min(targets.sum(), len(targets) - targets.sum()) >= 10)
        if row.enough:
            assert row.auc == pytest.approx(roc_auc_score(targets, scores), abs=1e-12)
            assert 0 <= row.low <= row.auc <= row.high <= 1
        else:
            assert np.isnan([row.auc, row.low, row.high]).all()
    assert (table.groupby("column")["records"].sum() == 120).all()
    assert table["enough"].any()
    assert not table["enough"].all()


@pytest.mark.parametrize("seed", [0, 5])
def test_the_interval_is_that_of_the_subgroup_alone_with_its_own_patients(seed):
    member = predictions()
    sex = metadata()["sex"]
    table = subgroup_table(member, {"sex": sex.fillna("?")}, resamples=60, seed=seed).set_index("value")
    for value in ("female", "male"):
        alone = auc_interval(Predictions(member.frame[sex == value], "oof"), resamples=60, seed=seed)
        assert alone.cluster == "patient"
        row = table.loc[value]
        assert (row["auc"], row["low"], row["high"]) == pytest.approx(
            (alone.estimate, alone.low, alone.high), abs=1e-12
        )


@pytest.mark.parametrize(
    ("positives", "negatives", "enough"),
    [(10, 10, True), (9, 100, False), (100, 9, False), (10, 9, False), (0, 50, False)],
)
def test_fewer_than_ten_of_a_class_say_nothing(positives, negatives, enough):
    count = positives + negatives
    targets = np.repeat([1, 0], [positives, negatives])
    member = predictions(count, target=targets, score=np.linspace(0, 1, count))
    row = subgroup_table(member, {"sex": pd.Series(["male"] * count)}, resamples=5).iloc[0]
    assert (row["records"], row["positives"], bool(row["enough"])) == (count, positives, enough)
    assert np.isnan(row["auc"]) == np.isnan(row["low"]) == np.isnan(row["high"]) == (not enough)
    if enough:
        assert row["auc"] == 0


def test_without_columns_the_table_is_empty_but_has_its_columns():
    table = subgroup_table(predictions(), {}, resamples=5)
    assert len(table) == 0
    assert list(table)[:4] == ["column", "value", "records", "positives"]


def test_youngest_and_smallest_come_first_and_missing_last():
    ages = [np.nan, 90, 85, 0, 45, 30]
    sizes = [6000, 1025, 100, 3000, np.nan, 1024]
    frame = {"age_approx": np.resize(ages, 60), "width": np.resize(sizes, 60), "height": np.resize(sizes, 60)}
    table = subgroup_table(predictions(60), subgroup_columns(pd.DataFrame(frame), None), resamples=5)
    values = table.groupby("column")["value"].agg(list)
    assert values["age_band"] == ["under 30", "30–39", "40–49", "80 and over", "missing"]
    assert values["image_size"] == ["up to 1024", "1025–2048", "2049–4096", "over 4096", "missing"]


# --- who is in which --------------------------------------------------------------------------------------------------


def test_age_bands_hold_their_lower_edge():
    ages = [0, 29, 29.9, 30, 39, 40, 49, 50, 59, 60, 69, 70, 79, 80, 90, 120, np.nan, None]
    expected = ["under 30"] * 3 + [x for b in ("30–39", "40–49", "50–59", "60–69", "70–79") for x in [b, b]]
    assert columns_of({"age_approx": ages}, "age_band") == [*expected, *["80 and over"] * 3, "missing", "missing"]


def test_ages_that_are_no_ages_are_missing():
    assert columns_of({"age_approx": ["45", "old", "", None, -5]}, "age_band") == ["40–49", *["missing"] * 4]


def test_image_sizes_go_by_the_longest_side_and_hold_their_upper_edge():
    width = [1, 1024, 1025, 600, 2048, 2049, 4096, 4097, 10, np.nan, np.nan]
    height = [1, 600, 10, 1025, 2048, 10, 4096, 10, 9000, 500, np.nan]
    expected = (
        ["up to 1024"] * 2 + ["1025–2048"] * 3 + ["2049–4096"] * 2 + ["over 4096"] * 2 + ["up to 1024", "missing"]
    )
    assert columns_of({"width": width, "height": height}, "image_size") == expected


@pytest.mark.parametrize("empty", [None, np.nan, pd.NA])
def test_holes_are_a_level_of_their_own(empty):
    assert columns_of({"sex": pd.Series(["male", empty, "female"], dtype=object)}, "sex") == [
        "male",
        "missing",
        "female",
    ]


def test_any_column_can_be_named_and_is_text():
    frame = {"benign": [True, False, None], "batch": [1, 2, 2], "site": pd.Categorical(["a", None, "b"])}
    assert columns_of(frame, "benign", ["benign"]) == ["True", "False", "missing"]
    assert columns_of(frame, "batch", ["batch"]) == ["1", "2", "2"]
    assert columns_of(frame, "site", ["site"]) == ["a", "missing", "b"]


def test_a_column_of_bands_that_is_there_is_taken_as_it_is():
    assert columns_of({"age_band": ["old", "young"], "age_approx": [80, 20]}, "age_band") == ["old", "young"]


def test_columns_that_tell_no_records_apart_are_left_out_unless_named():
    frame = pd.DataFrame({"sex": ["male", "male"], "source": ["a", "b"], "age_approx": [np.nan, np.nan]})
    assert list(subgroup_columns(frame, None)) == ["source"]
    assert list(subgroup_columns(frame, ["sex", "age_band"])) == ["sex", "age_band"]
    assert list(subgroup_columns(frame, [])) == []


def test_sizes_need_both_sides():
    assert list(subgroup_columns(pd.DataFrame({"width": [10, 5000]}), None)) == []


@pytest.mark.parametrize("wanted", ["colour", "age_band", "image_size"])
def test_a_column_that_is_not_there_is_refused(wanted):
    frame = pd.DataFrame({"sex": ["male"], "width": [5]})
    refused(lambda: subgroup_columns(frame, ["sex", wanted]), f"no column '{wanted}'", "There are: sex, width.")


def test_more_than_fifty_values_are_refused():
    assert len(set(subgroup_columns(pd.DataFrame({"x": range(50)}), ["x"])["x"])) == 50
    refused(lambda: subgroup_columns(pd.DataFrame({"x": range(51)}), ["x"]), "'x' has 51 values", "at most 50")
    refused(lambda: subgroup_columns(pd.DataFrame({"source": range(51)}), None), "'source' has 51 values")


# --- joins ------------------------------------------------------------------------------------------------------------


def test_rows_are_joined_by_name_whatever_their_order():
    member = predictions()
    joined = join_columns(member, metadata())
    other = join_columns(member, metadata().sample(frac=1, random_state=3).set_index("width", drop=False))
    pd.testing.assert_frame_equal(joined, other)
    assert list(joined["image_name"]) == list(member.image_names)
    assert list(joined["score"]) == list(member.scores)
    pd.testing.assert_series_equal(joined["age_approx"], metadata()["age_approx"])


def test_rows_of_the_data_that_were_not_predicted_are_left_out():
    member = Predictions(predictions().frame.iloc[[7, 3, 90]], "oof")
    joined = join_columns(member, metadata())
    assert list(joined["width"]) == list(metadata()["width"].iloc[[7, 3, 90]])
    assert list(joined["image_name"]) == ["i007", "i003", "i090"]


def test_columns_of_the_predictions_win():
    joined = join_columns(predictions(sex="male"), metadata().assign(score=-1.0, target=9))
    assert set(joined["sex"]) == {"male"}
    assert joined["score"].min() > -9
    assert set(joined["target"]) == {0, 1}
    assert joined.columns.is_unique


def test_without_data_the_predictions_have_their_own_columns():
    pd.testing.assert_frame_equal(join_columns(predictions(sex="male"), None), predictions(sex="male").frame)


def test_records_that_the_data_lack_are_refused_counted_and_named():
    message = "7 of 120 records of b4.csv are not in the data set, e.g. i000, i001, i002, i003, i004. "
    refused(lambda: join_columns(predictions(), metadata().iloc[7:]), message)


def test_names_that_stand_twice_in_the_data_are_refused():
    table = pd.concat([metadata(), metadata().iloc[[5]]])
    refused(lambda: join_columns(predictions(), table), "The data set has i005 twice")
    few = Predictions(predictions().frame.head(3), "oof")
    refused(lambda: join_columns(few, table), "The data set has i005 twice")


def test_data_without_names_are_refused():
    refused(lambda: join_columns(predictions(), metadata().drop(columns="image_name")), "no column image_name")


def test_names_of_numbers_join_names_of_digits():
    member = predictions(3, image_name=["10", "11", "12"])
    assert list(join_columns(member, pd.DataFrame({"image_name": [12, 10, 11], "x": [2, 0, 1]}))["x"]) == [0, 1, 2]

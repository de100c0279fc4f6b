"""Averages of scores and of ranks: fitted on out-of-fold predictions alone, joined by name, the same in any order."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import gmean, pmean, rankdata

from melanomafusion.ensemble.averages import (
    GeometricMeanEnsemble,
    LogitMeanEnsemble,
    MeanEnsemble,
    PowerMeanEnsemble,
    RankMeanEnsemble,
)
from melanomafusion.ensemble.scales import rank_scores
from melanomafusion.errors import PredictionsError, PredictionsWarning
from melanomafusion.evaluation.metrics import roc_auc
from melanomafusion.predictions import Predictions

ENSEMBLES = [MeanEnsemble, RankMeanEnsemble]
COUNT = 90


def member(seed=0, kind="oof", count=COUNT, decimals=2, prefix="i", **columns):
    """Predictions of records i000 …, six to a patient, patients in three folds; about half the scores are tied."""
    rng = np.random.default_rng(seed)
    row = np.arange(count)
    target = (row % 4 == 0).astype(int)
    frame = pd.DataFrame(
        {
            "image_name": [f"{prefix}{i:03d}" for i in row],
            "patient_id": [f"p{i // 6:02d}" for i in row],
            "target": target,
            "fold": row // 6 % 3,
            "score": np.round(rng.random(count) / 2 + 0.2 * target, decimals),
        }
    ).assign(**columns)
    return Predictions(frame if kind != "test" else frame.drop(columns=["target", "fold"]), kind, name=f"m{seed}")


def shuffled(predictions, seed):
    return Predictions(predictions.frame.sample(frac=1, random_state=seed), predictions.kind, name=predictions.name)


def by_name(predictions):
    return predictions.frame.set_index("image_name")["score"].sort_index()


def with_scores(predictions, scores):
    return Predictions(predictions.frame.assign(score=scores), predictions.kind, name=predictions.name)


@pytest.fixture
def members():
    return {"a": member(0), "b": member(1), "c": member(2)}


# --- only out-of-fold predictions may be fitted on --------------------------------------------------------------------


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@pytest.mark.parametrize("method", ["fit", "cross_val_predict"])
@pytest.mark.parametrize("kind", ["held_out", "test"])
@pytest.mark.parametrize("all_of_them", [True, False])
def test_other_kinds_are_refused_by_name(ensemble, method, kind, all_of_them):
    members = {"a": member(0, kind if all_of_them else "oof"), "b": member(1, kind)}
    with pytest.raises(PredictionsError, match="Only out-of-fold predictions may be fitted on") as error:
        getattr(ensemble(), method)(members)
    assert f"b ({kind})" in str(error.value)
    assert (f"a ({kind})" in str(error.value)) == all_of_them


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@pytest.mark.parametrize("method", ["fit", "cross_val_predict"])
def test_members_that_lack_records_are_refused_unless_intersected(ensemble, method, members):
    members["b"] = Predictions(members["b"].frame.tail(60), "oof")
    with pytest.raises(PredictionsError, match="b lacks 30 records of a"):
        getattr(ensemble(), method)(members)
    getattr(ensemble(missing="intersect"), method)(members)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@pytest.mark.parametrize("method", ["fit", "cross_val_predict"])
def test_members_of_other_folds_are_refused_unless_intersected(ensemble, method, members):
    members["b"] = Predictions(members["b"].frame.assign(fold=(members["b"].frame["fold"] + 1) % 3), "oof")
    with pytest.raises(PredictionsError, match="b was trained on other folds than a"):
        getattr(ensemble(), method)(members)
    getattr(ensemble(missing="intersect"), method)(members)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_intersected_members_keep_their_own_folds(ensemble, members):
    other = members["b"].frame.tail(60)
    members["b"] = shuffled(Predictions(other.assign(fold=np.arange(60) // 12), "oof"), 4)
    result = ensemble(missing="intersect").cross_val_predict(members).frame.set_index("image_name")
    assert len(result) == 60
    for name, predictions in members.items():
        own = predictions.frame.set_index("image_name")["fold"]
        pd.testing.assert_series_equal(result[f"fold_{name}"], own[result.index], check_names=False)


def test_folds_of_a_mixed_ensemble_separate_what_any_member_separates(members):
    members["b"] = Predictions(members["b"].frame.assign(fold=np.arange(COUNT) // 18), "oof")
    result = MeanEnsemble(missing="intersect").cross_val_predict(members).frame
    groups = result.groupby("fold")[["fold_a", "fold_b", "fold_c"]].nunique()
    assert (groups == 1).all().all()
    assert result["fold"].nunique() == len(result[["fold_a", "fold_b"]].drop_duplicates())


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_no_members_are_refused(ensemble):
    with pytest.raises(PredictionsError, match="No members"):
        ensemble().fit({})


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_targets_decide_nothing_in_an_average(ensemble, members):
    flipped = {n: Predictions(m.frame.assign(target=1 - m.frame["target"]), "oof") for n, m in members.items()}
    first, second = ensemble().cross_val_predict(members), ensemble().cross_val_predict(flipped)
    np.testing.assert_array_equal(first.scores, second.scores)


# --- joins and order --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [MeanEnsemble, RankMeanEnsemble, lambda: RankMeanEnsemble(within_fold=True)])
def test_neither_the_order_of_rows_nor_of_members_matters(build, members):
    wanted = build().cross_val_predict(members)
    turned = {name: shuffled(members[name], seed) for seed, name in enumerate("cab")}
    found = build().cross_val_predict(turned)
    pd.testing.assert_series_equal(by_name(found), by_name(wanted), rtol=0, atol=1e-15)


@pytest.mark.parametrize("build", [MeanEnsemble, RankMeanEnsemble])
def test_prediction_does_not_depend_on_the_order_of_members(build, members):
    ensemble = build().fit(members)
    new = {name: member(seed, "test", prefix="t") for seed, name in enumerate("abc", start=5)}
    wanted = ensemble.predict(new)
    turned = {name: shuffled(new[name], seed) for seed, name in enumerate("bca")}
    pd.testing.assert_series_equal(by_name(ensemble.predict(turned)), by_name(wanted), rtol=0, atol=1e-15)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_result_keeps_records_patients_targets_and_folds(ensemble, members):
    result = ensemble().cross_val_predict(members)
    assert result.kind == "oof"
    assert result.name == ensemble.__name__
    columns = ["image_name", "patient_id", "target", "fold"]
    pd.testing.assert_frame_equal(result.frame[columns], members["a"].frame[columns])
    assert list(result.frame) == [*columns, "score"]


def test_image_level_split_stays_marked(members):
    marked = {n: Predictions(m.frame.assign(grouped_by="record"), "oof") for n, m in members.items()}
    assert MeanEnsemble().cross_val_predict(marked).grouped_by == "record"


# --- the mean of scores -----------------------------------------------------------------------------------------------


def test_mean_is_the_mean(members):
    wanted = np.mean([m.scores for m in members.values()], axis=0)
    np.testing.assert_allclose(MeanEnsemble().cross_val_predict(members).scores, wanted, atol=1e-15)
    new = {name: member(seed, "test") for seed, name in enumerate("abc", start=5)}
    wanted = np.mean([m.scores for m in new.values()], axis=0)
    np.testing.assert_allclose(MeanEnsemble().fit(members).predict(new).scores, wanted, atol=1e-15)


@pytest.mark.parametrize("kind", ["oof", "held_out", "test"])
def test_mean_of_a_single_member_is_the_member(kind, members):
    ensemble = MeanEnsemble().fit({"a": members["a"]})
    np.testing.assert_array_equal(ensemble.predict({"a": member(3, kind)}).scores, member(3).scores)


def test_mean_of_copies_is_the_member(members):
    result = MeanEnsemble().cross_val_predict({"a": members["a"], "again": members["a"]})
    np.testing.assert_array_equal(result.scores, members["a"].scores)


# --- the mean of ranks ------------------------------------------------------------------------------------------------


def test_rank_mean_is_the_mean_of_scaled_ranks(members):
    wanted = np.mean([(rankdata(m.scores) - 0.5) / COUNT for m in members.values()], axis=0)
    result = RankMeanEnsemble().cross_val_predict(members).scores
    np.testing.assert_allclose(result, wanted, atol=1e-15)
    assert 0 < result.min() < result.max() < 1


def test_ranks_within_fold_are_those_of_each_fold_alone(members):
    result = RankMeanEnsemble(within_fold=True).cross_val_predict(members).frame
    for fold in range(3):
        parts = [m.frame[m.frame["fold"] == fold]["score"] for m in members.values()]
        wanted = np.mean([(rankdata(part) - 0.5) / len(part) for part in parts], axis=0)
        np.testing.assert_allclose(result.loc[result["fold"] == fold, "score"], wanted, atol=1e-15)


def test_ranks_within_fold_level_the_folds(members):
    lifted = with_scores(members["a"], members["a"].scores + 10 * members["a"].frame["fold"])
    options = {"within_fold": True}
    np.testing.assert_array_equal(
        RankMeanEnsemble(**options).cross_val_predict({**members, "a": lifted}).scores,
        RankMeanEnsemble(**options).cross_val_predict(members).scores,
    )
    assert not np.array_equal(
        RankMeanEnsemble().cross_val_predict({**members, "a": lifted}).scores,
        RankMeanEnsemble().cross_val_predict(members).scores,
    )


def test_ranks_within_fold_use_each_members_own_folds(members):
    own = (np.arange(COUNT) // 18).astype(int)
    members["b"] = Predictions(members["b"].frame.assign(fold=own), "oof")
    ranks = [rank_scores(m, within_fold=True).scores for m in members.values()]
    result = RankMeanEnsemble(within_fold=True, missing="intersect").cross_val_predict(members)
    np.testing.assert_allclose(result.scores, np.mean(ranks, axis=0), atol=1e-15)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_monotone_changes_of_a_member_change_no_rank(seed, within_fold):
    members = {"a": member(0), "b": member(1)}
    # Scores have two decimals, so each is a step of a rising staircase.
    staircase = np.cumsum(np.random.default_rng(seed).uniform(0.01, 5, 101))
    other = with_scores(members["a"], staircase[np.round(members["a"].scores * 100).astype(int)])
    wanted = RankMeanEnsemble(within_fold=within_fold).cross_val_predict(members)
    found = RankMeanEnsemble(within_fold=within_fold).cross_val_predict({**members, "a": other})
    np.testing.assert_array_equal(found.scores, wanted.scores)


@pytest.mark.parametrize("within_fold", [False, True])
def test_rank_mean_of_a_single_member_keeps_its_auc(within_fold):
    alone = member(0)
    result = RankMeanEnsemble(within_fold=within_fold).cross_val_predict({"a": alone})
    ranked = rank_scores(alone, within_fold=within_fold)
    np.testing.assert_array_equal(result.scores, ranked.scores)
    if not within_fold:
        assert roc_auc(result.targets, result.scores) == roc_auc(alone.targets, alone.scores)


def test_rank_of_a_new_image_is_its_place_among_the_out_of_fold_scores():
    known = member(0, count=2000, decimals=6)
    ensemble = RankMeanEnsemble().fit({"a": known})
    new = member(9, "test", count=500, decimals=6, prefix="t")
    place = np.searchsorted(np.sort(known.scores), new.scores) / len(known)
    np.testing.assert_allclose(ensemble.predict({"a": new}).scores, place, atol=2e-3)


def test_ranks_of_the_fitted_scores_themselves_come_out_again():
    known = member(0, count=600, decimals=2)
    ensemble = RankMeanEnsemble().fit({"a": known})
    wanted = ensemble.cross_val_predict({"a": known}).scores
    np.testing.assert_allclose(ensemble.predict({"a": known}).scores, wanted, atol=4e-3)


@pytest.mark.parametrize("decimals", [1, 2, 6])
def test_rank_of_new_images_rises_with_the_score(decimals):
    ensemble = RankMeanEnsemble().fit({"a": member(0, decimals=decimals)})
    scores = np.linspace(-1, 2, 3001)
    frame = pd.DataFrame({"image_name": [f"t{i}" for i in range(len(scores))], "score": scores})
    ranks = ensemble.predict({"a": Predictions(frame, "test")}).scores
    assert (np.diff(ranks) >= 0).all()
    assert ranks.min() >= 0
    assert ranks.max() <= 1
    assert len(set(ranks)) > 10


def test_rank_of_an_image_does_not_depend_on_the_others():
    ensemble = RankMeanEnsemble().fit({"a": member(0), "b": member(1)})
    new = {"a": member(7, "test"), "b": member(8, "test")}
    alone = {name: Predictions(m.frame.iloc[[17]], "test") for name, m in new.items()}
    assert ensemble.predict(alone).scores[0] == ensemble.predict(new).scores[17]


def test_ranks_need_a_fitted_ensemble():
    with pytest.raises(PredictionsError, match="not fitted"):
        RankMeanEnsemble().predict({"a": member(0, "test")})


def test_ranks_within_fold_of_predictions_without_folds_are_refused():
    with pytest.raises(PredictionsError, match="no folds to rank within"):
        rank_scores(member(0, "test"), within_fold=True)


# --- prediction and storage -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@pytest.mark.parametrize("names", ["ab", "abcd", "abx"])
def test_other_members_than_fitted_are_refused(ensemble, names, members):
    fitted = ensemble().fit(members)
    with pytest.raises(PredictionsError, match="Fitted on members"):
        fitted.predict({name: member(i, "test") for i, name in enumerate(names)})


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@pytest.mark.parametrize("kind", ["held_out", "test"])
def test_prediction_keeps_the_kind_of_its_members(ensemble, kind, members):
    result = ensemble().fit(members).predict({name: member(i, kind) for i, name in enumerate("abc")})
    assert result.kind == kind


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_prediction_refuses_members_that_lack_records(ensemble, members):
    new = {name: member(i, "test", count=10 + i) for i, name in enumerate("abc")}
    with pytest.raises(PredictionsError, match="records of a"):
        ensemble().fit(members).predict(new)
    assert len(ensemble(missing="intersect").fit(members).predict(new)) == 10


@pytest.mark.parametrize(
    "build", [MeanEnsemble, RankMeanEnsemble, lambda: RankMeanEnsemble(within_fold=True, missing="intersect")]
)
def test_json_round_trip_predicts_the_same(build, members):
    ensemble = build().fit(members)
    again = type(ensemble).from_json(ensemble.to_json())
    assert again.to_json() == ensemble.to_json()
    new = {name: member(i, "test") for i, name in enumerate("abc", start=5)}
    np.testing.assert_array_equal(again.predict(new).scores, ensemble.predict(new).scores)
    np.testing.assert_array_equal(again.cross_val_predict(members).scores, ensemble.cross_val_predict(members).scores)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"format": 1, "kind": "MeanEnsemble"}'])
@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_other_texts_are_refused(ensemble, text):
    with pytest.raises(PredictionsError, match=f"Not a {ensemble.__name__} written by to_json"):
        ensemble.from_json(text)


def test_ensemble_of_another_kind_or_format_is_refused(members):
    text = MeanEnsemble().fit(members).to_json()
    with pytest.raises(PredictionsError, match="Not a RankMeanEnsemble"):
        RankMeanEnsemble.from_json(text)
    with pytest.raises(PredictionsError, match="Not a MeanEnsemble"):
        MeanEnsemble.from_json(json.dumps({**json.loads(text), "format": 2}))


@pytest.mark.parametrize("build", [MeanEnsemble, RankMeanEnsemble, lambda: RankMeanEnsemble(within_fold=True)])
def test_order_of_members_makes_no_ties(build):
    rng = np.random.default_rng(0)
    row = np.arange(90)
    t = (row % 4 == 0).astype(int)
    m = {
        k: Predictions(
            pd.DataFrame(
                {
                    "image_name": [f"i{i}" for i in row],
                    "target": t,
                    "fold": row // 6 % 3,
                    "score": np.round(rng.random(90) / 2 + 0.2 * t, 2),
                }
            ),
            "oof",
        )
        for k in "abc"
    }
    a, b = (build().cross_val_predict({k: m[k] for k in order}) for order in ("abc", "cab"))
    np.testing.assert_array_equal(a.scores, b.scores)


# --- other means of scores --------------------------------------------------------------------------------------------

WITHIN = {
    "GeometricMeanEnsemble": GeometricMeanEnsemble,
    "LogitMeanEnsemble": LogitMeanEnsemble,
    "PowerMeanEnsemble": lambda: PowerMeanEnsemble(-2.0),
}
POWERS = st.floats(-60, 60)
SEEDS = st.integers(0, 2**32 - 1)


def rows_of(*rows):
    """Members a, b, … of which each row gives the scores of all records."""
    table = np.array(rows, dtype="float64")
    row = np.arange(table.shape[1])
    frame = pd.DataFrame({"image_name": [f"i{i}" for i in row], "target": row % 2, "fold": row % 2})
    return {name: Predictions(frame.assign(score=scores), "oof") for name, scores in zip("abcdef", table, strict=False)}


def power_mean(power, *rows):
    # Predicting asks less than fitting: members may be constant.
    return PowerMeanEnsemble(power).predict(rows_of(*rows)).scores


def hard_rows(seed):
    """(3, 400) scores: any size, many exactly 0, 1 or equal, some equal but for the last digits."""
    rng = np.random.default_rng(seed)
    rows = 10 ** rng.uniform(-20, 0, (3, 400)) * rng.choice([1, 0], (3, 400), p=[0.95, 0.05])
    rows[:, :100] = rng.random((3, 100))
    rows[:, 100:200] = rng.choice([0.0, 1.0, 0.5, 1e-300], (3, 100))
    rows[:, 200:250] = rng.random(50) * (1 - rng.choice([0, 1e-16, 1e-12], (3, 50)))
    return rows


def test_geometric_mean_is_scipys(members):
    lifted = {name: m.replace_scores(0.05 + 0.9 * m.scores) for name, m in members.items()}
    wanted = gmean([m.scores for m in lifted.values()], axis=0)
    np.testing.assert_allclose(GeometricMeanEnsemble().cross_val_predict(lifted).scores, wanted, rtol=1e-13)


@pytest.mark.parametrize("power", [-20.0, -1.0, -0.5, 0.0, 0.3, 1.0, 2.0, 3, 25.0])
def test_power_mean_is_scipys(members, power):
    lifted = {name: m.replace_scores(0.05 + 0.9 * m.scores) for name, m in members.items()}
    wanted = pmean([m.scores for m in lifted.values()], power, axis=0)
    np.testing.assert_allclose(PowerMeanEnsemble(power).cross_val_predict(lifted).scores, wanted, rtol=1e-12)


def test_power_mean_squares_without_being_told():
    assert PowerMeanEnsemble().power == 2.0
    np.testing.assert_allclose(power_mean(2, [0.3, 0.1], [0.4, 0.7]), np.sqrt([0.125, 0.25]), rtol=1e-15)


def test_logit_mean_by_hand():
    # Odds of 1/4 and 4 have the geometric mean 1; odds of 1/9 and 1 have 1/3.
    found = LogitMeanEnsemble().cross_val_predict(rows_of([0.2, 0.1], [0.8, 0.5])).scores
    np.testing.assert_allclose(found, [0.5, 0.25], rtol=1e-14)


def test_logit_mean_is_the_mean_of_logits(members):
    lifted = {name: m.replace_scores(0.05 + 0.9 * m.scores) for name, m in members.items()}
    wanted = expit(np.mean([logit(m.scores) for m in lifted.values()], axis=0))
    np.testing.assert_allclose(LogitMeanEnsemble().cross_val_predict(lifted).scores, wanted, rtol=1e-13)


@settings(deadline=None, max_examples=3)
@given(SEEDS)
def test_power_1_is_the_arithmetic_mean_and_power_0_the_geometric(seed):
    rows = hard_rows(seed)
    np.testing.assert_allclose(power_mean(1, *rows), rows.mean(axis=0), rtol=1e-14, atol=2e-15)
    geometric = GeometricMeanEnsemble().predict(rows_of(*rows)).scores
    np.testing.assert_allclose(power_mean(0, *rows), geometric, rtol=1e-14)
    np.testing.assert_allclose(power_mean(1e-6, *rows), geometric, rtol=1e-3)
    np.testing.assert_allclose(power_mean(-1e-6, *rows), geometric, rtol=1e-3)


@settings(deadline=None, max_examples=6)
@given(SEEDS, POWERS, POWERS)
def test_power_mean_rises_with_the_power(seed, first, second):
    low, high = sorted((first, second))
    rows = hard_rows(seed)
    # Close to power 0 the root magnifies rounding.
    assert (power_mean(low, *rows) <= power_mean(high, *rows) * (1 + 1e-6)).all()


@settings(deadline=None, max_examples=6)
@given(SEEDS, st.one_of(POWERS, st.sampled_from([-1e300, -1e6, 1e6, 1e300])))
def test_every_mean_of_scores_lies_between_its_members(seed, power):
    rows = hard_rows(seed)
    members = rows_of(*rows)
    low, high = rows.min(axis=0), rows.max(axis=0)
    for ensemble in (MeanEnsemble(), GeometricMeanEnsemble(), LogitMeanEnsemble(), PowerMeanEnsemble(power)):
        found = ensemble.predict(members).scores
        assert (found >= low * (1 - 1e-6)).all()
        assert (found <= high * (1 + 1e-6) + 1.1e-15).all()
        assert (found <= 1).all()


@pytest.mark.parametrize(("power", "wanted"), [(1e6, 0.9), (1e300, 0.9), (-1e6, 1e-9), (-1e300, 1e-9)])
def test_extreme_powers_come_to_the_highest_and_the_lowest_score(power, wanted):
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        found = power_mean(power, [1e-9, 0.9], [0.4, 1e-9], [0.9, 0.3])
    np.testing.assert_allclose(found, [wanted, wanted], rtol=1e-5)


@pytest.mark.parametrize("power", [-700.0, -30.0, 30.0, 700.0])
def test_large_powers_are_exact_where_a_plain_formula_overflows(power):
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        found = power_mean(power, [1e-12, 0.2], [3e-12, 0.3])
    logs = power * np.log([[1e-12, 0.2], [3e-12, 0.3]])
    wanted = np.exp((np.logaddexp(*logs) - np.log(2)) / power)
    np.testing.assert_allclose(found, wanted, rtol=1e-11)


@pytest.mark.parametrize("ensemble", WITHIN.values(), ids=WITHIN)
def test_scores_of_exactly_0_and_1_are_taken(ensemble):
    found = ensemble().cross_val_predict(rows_of([0.0, 1.0, 0.5], [0.0, 1.0, 0.5])).scores
    np.testing.assert_allclose(found, [1e-15, 1.0, 0.5], rtol=1e-9)


@pytest.mark.parametrize("ensemble", WITHIN.values(), ids=WITHIN)
@pytest.mark.parametrize(("value", "shown"), [(-0.25, "-0.25"), (1.5, "1.5"), (1 + 1e-9, "1 for i017")])
def test_scores_outside_0_and_1_are_refused_by_member_record_and_value(ensemble, value, shown, members):
    scores = members["b"].scores.copy()
    scores[[17, 40]] = value
    members["b"] = with_scores(members["b"], scores)
    with pytest.raises(PredictionsError, match=r"within \[0, 1\]") as error:
        ensemble().cross_val_predict(members)
    for words in ("Member b", "i017", shown, "2 such records", type(ensemble()).__name__):
        assert words in str(error.value)
    with pytest.raises(PredictionsError, match="Member b"):
        ensemble().predict({name: Predictions(m.frame, "held_out") for name, m in members.items()})


@pytest.mark.parametrize("ensemble", [MeanEnsemble, *WITHIN.values()])
def test_fitting_a_mean_of_scores_outside_0_and_1_warns(ensemble, members):
    members["b"] = with_scores(members["b"], members["b"].scores * 3)
    with pytest.warns(PredictionsWarning, match=r"m1|predictions: .* lie outside \[0, 1\]"):
        ensemble().fit(members)


@pytest.mark.parametrize("within_fold", [False, True])
def test_rank_mean_takes_scores_outside_0_and_1_in_silence(within_fold, members):
    ensemble = RankMeanEnsemble(within_fold=within_fold)
    wanted = ensemble.cross_val_predict(members).scores
    # Powers of two, so that no two scores become one by rounding.
    members["b"] = with_scores(members["b"], members["b"].scores * 64 - 16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(ensemble.fit(members).cross_val_predict(members).scores, wanted)


def test_fitting_a_mean_of_hard_answers_warns(members):
    members["c"] = with_scores(members["c"], (members["c"].scores > 0.3).astype(float))
    with pytest.warns(PredictionsWarning, match="exactly 0 or 1"):
        MeanEnsemble().fit(members)


@pytest.mark.parametrize(
    "ensemble", [MeanEnsemble, RankMeanEnsemble, lambda: RankMeanEnsemble(within_fold=True), *WITHIN.values()]
)
@pytest.mark.parametrize("method", ["fit", "cross_val_predict"])
def test_a_constant_member_is_refused(ensemble, method, members):
    members["c"] = with_scores(members["c"], 0.25)
    with pytest.raises(PredictionsError, match=r"constant: 0\.25 in all 90 rows"):
        getattr(ensemble(), method)(members)


@pytest.mark.parametrize("power", [np.nan, np.inf, -np.inf, "2", None, True, [2]])
def test_a_power_that_is_no_finite_number_is_refused(power):
    with pytest.raises(PredictionsError, match=r"power is a finite number\. Received: power="):
        PowerMeanEnsemble(power)


@pytest.mark.parametrize("power", [0.1, -3, 7.25])
def test_the_power_is_kept_in_json(power, members):
    again = PowerMeanEnsemble.from_json(PowerMeanEnsemble(power).fit(members).to_json())
    assert again.power == power


@pytest.mark.parametrize("build", [MeanEnsemble, lambda: PowerMeanEnsemble(3.0), *WITHIN.values()])
def test_records_that_have_the_same_scores_of_other_members_tie(build):
    # 0.1 + 0.2 + 0.3 differs from 0.3 + 0.2 + 0.1 in its last bit.
    turns = np.array([[0.1, 0.3, 0.2, 0.2], [0.2, 0.2, 0.1, 0.3], [0.3, 0.1, 0.3, 0.1]])
    assert len(set(build().cross_val_predict(rows_of(*turns)).scores)) == 1

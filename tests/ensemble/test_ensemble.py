"""What every ensemble keeps: the join by name, one result in any order, out-of-fold members only, a readable state."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.ensemble.averages import MeanEnsemble, RankMeanEnsemble
from melanomafusion.ensemble.inputs import as_inputs
from melanomafusion.ensemble.scales import rank_scores
from melanomafusion.ensemble.stacking import StackingEnsemble
from melanomafusion.ensemble.weighted import WeightedEnsemble
from melanomafusion.errors import PredictionsError
from melanomafusion.predictions import Predictions

ON_OOF = ["fit", "cross_val_predict", "fit_predict", "on_scale"]


def with_column(member, **columns):
    return Predictions(member.frame.assign(**columns), member.kind, name=member.name)


def other_folds(members):
    """b in four folds of whole patients, the others in three."""
    return {**members, "b": with_column(members["b"], fold=np.arange(len(members["b"])) // 4 % 4)}


# --- only out-of-fold members that fit together -----------------------------------------------------------------------


@pytest.mark.parametrize("method", ON_OOF)
@pytest.mark.parametrize("kind", ["held_out", "test"])
def test_members_of_another_kind_are_refused(some_kind, method, kind, trio, make):
    trio["c"] = make(2, kind)
    with pytest.raises(
        PredictionsError, match=rf"Only out-of-fold predictions may be fitted on\. Received: c \({kind}"
    ):
        getattr(some_kind(), method)(trio)


@pytest.mark.parametrize("method", ["fit", "cross_val_predict"])
def test_members_that_lack_records_are_refused_unless_intersected(some_kind, method, trio):
    trio["c"] = Predictions(trio["c"].frame.head(200), "oof", name="c.csv")
    with pytest.raises(PredictionsError, match=r"c \(c\.csv\) lacks 41 records of a"):
        getattr(some_kind(), method)(trio)
    result = getattr(some_kind(missing="intersect"), method)(trio)
    if isinstance(result, Predictions):
        assert list(result.image_names) == list(trio["a"].image_names[:200])


@pytest.mark.parametrize("method", ["fit", "cross_val_predict"])
def test_members_of_other_folds_are_refused_unless_intersected(some_kind, method, trio):
    trio = other_folds(trio)
    with pytest.raises(PredictionsError, match=r"b \(m1\.csv\) was trained on other folds than a"):
        getattr(some_kind(), method)(trio)
    getattr(some_kind(missing="intersect"), method)(trio)


def test_intersected_members_keep_their_own_folds(some_kind, trio, shuffle):
    trio = other_folds(trio)
    trio["b"] = shuffle(Predictions(trio["b"].frame.tail(200), "oof"), 0)
    result = some_kind(missing="intersect").cross_val_predict(trio).frame.set_index("image_name")
    for name, member in trio.items():
        own = member.frame.set_index("image_name")["fold"]
        pd.testing.assert_series_equal(result[f"fold_{name}"], own[result.index], check_names=False)


def test_intersected_members_are_ranked_within_their_own_folds(trio):
    trio = other_folds(trio)
    found = WeightedEnsemble(scale="rank_within_fold", missing="intersect").on_scale(trio)
    for name, member in trio.items():
        np.testing.assert_array_equal(found[name].scores, rank_scores(member, within_fold=True).scores)


def test_members_that_disagree_on_the_target_are_refused(some_kind, trio):
    target = trio["c"].frame["target"].to_numpy().copy()
    target[7] = 1 - target[7]
    trio["c"] = with_column(trio["c"], target=target)
    for missing in ("error", "intersect"):
        with pytest.raises(PredictionsError, match=r"c \(m2\.csv\) and a .* disagree on the target of 1 records: i007"):
            some_kind(missing=missing).fit(trio)


@pytest.mark.parametrize("method", ON_OOF)
def test_a_constant_member_is_refused(some_kind, method, trio):
    trio["b"] = with_column(trio["b"], score=0.5)
    with pytest.raises(PredictionsError, match=r"m1\.csv: column score is constant"):
        getattr(some_kind(), method)(trio)


def test_a_member_that_is_constant_on_the_common_records_is_refused(some_kind, trio):
    flat = np.where(np.arange(241) < 200, 0.5, trio["b"].scores)
    trio["b"] = with_column(trio["b"], score=flat)
    trio["a"] = Predictions(trio["a"].frame.head(200), "oof")
    with pytest.raises(PredictionsError, match="constant"):
        some_kind(missing="intersect").fit(trio)


@pytest.mark.parametrize("method", [*ON_OOF, "predict"])
def test_no_members_are_refused(some_kind, method, trio):
    with pytest.raises(PredictionsError, match=r"No members|Fitted on members"):
        getattr(some_kind().fit(trio) if method == "predict" else some_kind(), method)({})


def test_other_members_than_fitted_are_refused(some_kind, trio, new):
    fitted = some_kind().fit(trio)
    for members in ({"a": new["a"], "b": new["b"]}, {**new, "d": new["a"]}):
        with pytest.raises(PredictionsError, match=r"Fitted on members \['a', 'b', 'c'\]\. Received"):
            fitted.predict(members)


def test_what_learns_must_be_fitted_first(learnt_kind, new):
    with pytest.raises(PredictionsError, match=r"not fitted\. Call fit"):
        learnt_kind().predict(new)


@pytest.mark.parametrize("kind", [WeightedEnsemble, StackingEnsemble])
@pytest.mark.parametrize("scale", ["ranks", "", None, "Score"])
def test_an_unknown_scale_is_refused(kind, scale):
    with pytest.raises(PredictionsError, match=r"Received: (scale|on)="):
        kind(scale) if kind is StackingEnsemble else kind(scale=scale)


# --- one result in any order ------------------------------------------------------------------------------------------


def test_the_order_of_members_changes_no_bit(any_kind, trio):
    wanted, found = (any_kind().cross_val_predict({n: trio[n] for n in order}) for order in ("abc", "cab"))
    np.testing.assert_array_equal(found.scores, wanted.scores)


def test_the_order_of_members_changes_no_bit_of_a_prediction(some_kind, trio, new):
    wanted = some_kind().fit(trio).predict(new).scores
    found = some_kind().fit({n: trio[n] for n in "cab"}).predict({n: new[n] for n in "bca"})
    np.testing.assert_array_equal(found.scores, wanted)


def test_the_order_of_members_of_other_folds_changes_no_bit_of_a_mean(mean_kind, trio):
    trio = other_folds(trio)
    wanted = mean_kind(missing="intersect").cross_val_predict(trio).scores
    np.testing.assert_array_equal(
        mean_kind(missing="intersect").cross_val_predict({n: trio[n] for n in "bca"}).scores, wanted
    )


def test_the_order_of_members_of_other_folds_changes_no_bit_of_a_nested_score(learnt_kind, trio):
    trio = other_folds(trio)
    wanted = learnt_kind(missing="intersect").cross_val_predict(trio).scores
    found = learnt_kind(missing="intersect").cross_val_predict({n: trio[n] for n in "bca"}).scores
    np.testing.assert_array_equal(found, wanted)


def test_the_order_of_rows_changes_no_bit(any_kind, trio, shuffle, by_name):
    wanted = by_name(any_kind().cross_val_predict(trio))
    for seed in range(2):
        turned = {name: shuffle(member, seed + i) for i, (name, member) in enumerate(trio.items())}
        found = by_name(any_kind().cross_val_predict(turned))
        np.testing.assert_array_equal(found, wanted)


def test_the_order_of_rows_changes_no_bit_of_a_prediction(some_kind, trio, new, shuffle, by_name):
    fitted = some_kind().fit(trio)
    turned = {name: shuffle(member, i) for i, (name, member) in enumerate(new.items())}
    pd.testing.assert_series_equal(by_name(fitted.predict(turned)), by_name(fitted.predict(new)), rtol=0, atol=0)


def test_rows_of_the_other_members_are_joined_by_name(some_kind, trio, shuffle):
    # The first member keeps its order, so that nothing at all may change.
    turned = {"a": trio["a"], "b": shuffle(trio["b"], 1), "c": shuffle(trio["c"], 2)}
    np.testing.assert_array_equal(
        some_kind().cross_val_predict(turned).scores, some_kind().cross_val_predict(trio).scores
    )


def test_the_prediction_of_a_record_does_not_depend_on_the_others(some_kind, trio, new):
    fitted = some_kind().fit(trio)
    alone = {name: Predictions(m.frame.iloc[[17]], "test") for name, m in new.items()}
    np.testing.assert_allclose(fitted.predict(alone).scores[0], fitted.predict(new).scores[17], rtol=1e-14)


@settings(deadline=None, max_examples=2)
@given(st.integers(0, 2**32 - 1))
def test_strictly_increasing_changes_of_members_change_no_bit_on_rank_scales(rank_kind, make, seed):
    members = {"a": make(0, decimals=2), "b": make(1, decimals=2), "c": make(2, decimals=2)}
    staircase = np.cumsum(np.random.default_rng(seed).uniform(0.01, 5, 101))
    changed = {
        "a": with_column(members["a"], score=staircase[np.round(members["a"].scores * 100).astype(int)] - 50),
        "b": with_column(members["b"], score=-np.exp(-members["b"].scores)),
        "c": members["c"],
    }
    wanted, found = rank_kind().cross_val_predict(members), rank_kind().cross_val_predict(changed)
    np.testing.assert_array_equal(found.scores, wanted.scores)


def test_names_of_members_decide_nothing_but_ties(free_kind, trio):
    renamed = {"x": trio["a"], "y": trio["b"], "z": trio["c"]}
    np.testing.assert_array_equal(
        free_kind().cross_val_predict(renamed).scores, free_kind().cross_val_predict(trio).scores
    )


def test_inputs_stand_in_the_order_of_names(trio):
    inputs = as_inputs({n: trio[n] for n in "cab"})
    assert inputs.names == ("a", "b", "c")
    np.testing.assert_array_equal(inputs.scores, [trio[n].scores for n in "abc"])
    some = inputs.only(["c", "a"])
    assert some.names == ("a", "c")
    np.testing.assert_array_equal(some.scores, [trio["a"].scores, trio["c"].scores])


# --- the result -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cross_val_predict", "fit_predict"])
def test_a_result_keeps_records_patients_targets_and_folds(some_kind, method, trio):
    result = getattr(some_kind(), method)(trio)
    columns = ["image_name", "patient_id", "target", "fold"]
    pd.testing.assert_frame_equal(result.frame[columns], trio["a"].frame[columns])
    assert list(result.frame) == [*columns, "score"]
    assert result.kind == "oof"
    assert result.name == type(some_kind()).__name__
    assert result.scores.dtype == np.float64


@pytest.mark.parametrize("kind", ["test", "held_out"])
def test_a_prediction_keeps_kind_and_records(some_kind, kind, trio, make):
    new = {name: make(seed, kind, count=40, prefix="t") for seed, name in enumerate("abc", start=5)}
    result = some_kind().fit(trio).predict(new)
    assert result.kind == kind
    assert list(result.image_names) == list(new["a"].image_names)
    assert ("target" in result.frame) == (kind == "held_out")


def test_nothing_given_is_changed(some_kind, trio, new):
    before = {name: member.frame for name, member in (trio | {f"new {n}": m for n, m in new.items()}).items()}
    ensemble = some_kind().fit(trio)
    state = ensemble.to_json()
    ensemble.predict(new)
    ensemble.cross_val_predict(trio)
    ensemble.on_scale(trio)
    assert ensemble.to_json() == state
    for name, member in (trio | {f"new {n}": m for n, m in new.items()}).items():
        pd.testing.assert_frame_equal(member.frame, before[name])


def test_nested_scores_need_no_fit_and_do_not_see_one(some_kind, trio, make):
    fitted_elsewhere = some_kind().fit({name: make(seed, truth=3) for seed, name in enumerate("abc", start=20)})
    np.testing.assert_array_equal(
        fitted_elsewhere.cross_val_predict(trio).scores, some_kind().cross_val_predict(trio).scores
    )


def test_same_input_same_result(some_kind, trio):
    assert some_kind().fit(trio).to_json() == some_kind().fit(copy.deepcopy(trio)).to_json()


def test_fitting_again_forgets_the_first_fit(some_kind, trio, make):
    other = {name: make(seed, signal=0.1) for seed, name in enumerate("abc", start=30)}
    ensemble = some_kind().fit(other)
    assert ensemble.fit(trio).to_json() == some_kind().fit(trio).to_json()


def test_image_level_splits_stay_marked(some_kind, trio):
    marked = {n: with_column(m, grouped_by="record" if n == "b" else "patient") for n, m in trio.items()}
    result = some_kind().cross_val_predict(marked)
    assert result.image_level_split
    assert result.grouped_by == "patient + record"


def test_fit_predict_is_what_the_fitted_ensemble_says_of_its_own_records(some_kind, trio):
    ensemble = some_kind()
    found = ensemble.fit_predict(trio)
    if ensemble.scale == "score":
        np.testing.assert_array_equal(found.scores, ensemble.predict(trio).scores)
    assert ensemble.members == ["a", "b", "c"]


def test_members_on_the_scale_of_the_ensemble(trio):
    for scale in ("score", "rank", "rank_within_fold"):
        found = WeightedEnsemble(scale=scale).on_scale(trio)
        assert list(found) == ["a", "b", "c"]
        for name, member in trio.items():
            wanted = member if scale == "score" else rank_scores(member, within_fold=scale == "rank_within_fold")
            np.testing.assert_array_equal(found[name].scores, wanted.scores)


def test_restricted_to_is_unfitted_and_keeps_the_settings(free_kind, trio):
    fitted = free_kind().fit(trio)
    part = fitted.restricted_to(["a", "b"])
    assert part.members == []
    assert part.to_json() == free_kind().to_json()
    two = {n: trio[n] for n in "ab"}
    np.testing.assert_array_equal(part.cross_val_predict(two).scores, free_kind().cross_val_predict(two).scores)


def test_a_single_member_is_ranked_as_itself(free_kind, trio):
    ensemble = free_kind()
    alone = {"b": trio["b"]}
    found, wanted = ensemble.fit_predict(alone), ensemble.on_scale(alone)["b"]
    order = np.argsort(wanted.scores, kind="stable")
    # Rounding may tie two neighbours, never turn them round.
    assert (np.diff(found.scores[order]) >= -1e-15).all()
    assert np.ptp(found.scores) > 0.1


# --- state ------------------------------------------------------------------------------------------------------------


def test_json_round_trip_predicts_the_same(some_kind, trio, new):
    ensemble = some_kind(missing="intersect").fit(trio)
    again = type(ensemble).from_json(ensemble.to_json())
    assert again.to_json() == ensemble.to_json()
    np.testing.assert_array_equal(again.predict(new).scores, ensemble.predict(new).scores)
    np.testing.assert_array_equal(again.cross_val_predict(trio).scores, ensemble.cross_val_predict(trio).scores)


def test_json_keeps_names_of_any_alphabet(free_kind, trio, new):
    names = dict(zip("abc", ("modèle 1", "模型", 'a "quoted"\n name'), strict=True))
    ensemble = free_kind().fit({names[n]: m for n, m in trio.items()})
    again = type(ensemble).from_json(ensemble.to_json())
    test = {names[n]: m for n, m in new.items()}
    np.testing.assert_array_equal(again.predict(test).scores, ensemble.predict(test).scores)


def test_json_says_format_kind_members_and_settings(trio):
    content = json.loads(RankMeanEnsemble(within_fold=True, missing="intersect").fit(trio).to_json())
    assert {key: content[key] for key in ("format", "kind", "members", "within_fold", "missing")} == {
        "format": 1,
        "kind": "RankMeanEnsemble",
        "members": ["a", "b", "c"],
        "within_fold": True,
        "missing": "intersect",
    }
    assert {name: len(values) for name, values in content["quantiles"].items()} == {"a": 1001, "b": 1001, "c": 1001}
    assert json.loads(MeanEnsemble().fit(trio).to_json())["quantiles"] == {}


def test_held_out_members_of_which_one_knows_folds_are_combined_in_any_order():
    table = pd.DataFrame({"image_name": list("abc"), "score": [0.1, 0.5, 0.9], "target": [0, 1, 1]})
    one = Predictions(table.assign(fold=[0, 1, 0]), "held_out")
    other = Predictions(table, "held_out")
    for members in ({"a": one, "b": other}, {"b": other, "a": one}, {"a": other, "b": one}):
        found = MeanEnsemble().predict(members)
        assert "fold" not in found.frame
        np.testing.assert_allclose(found.scores, table["score"])


@pytest.mark.parametrize(
    "ensemble",
    [WeightedEnsemble(), WeightedEnsemble("simplex"), StackingEnsemble()],
    ids=["greedy", "simplex", "stacking"],
)
def test_targets_of_one_class_teach_nothing(ensemble):
    table = pd.DataFrame({"image_name": list("abcd"), "score": [0.1, 0.5, 0.9, 0.2], "target": 0, "fold": [0, 0, 1, 1]})
    members = {name: Predictions(table.assign(score=table["score"] ** k), "oof") for k, name in ((1, "a"), (2, "b"))}
    with pytest.raises(PredictionsError, match="All 4 records have target 0"):
        ensemble.fit(members)

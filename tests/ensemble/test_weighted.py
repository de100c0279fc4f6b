"""Weights that are found or given, and what they do to new scores."""

import json

import numpy as np
import pytest

from melanomafusion.ensemble.scales import rank_among, score_quantiles
from melanomafusion.ensemble.search import bagged_greedy, simplex_weights
from melanomafusion.ensemble.weighted import WeightedEnsemble
from melanomafusion.errors import PredictionsError
from melanomafusion.evaluation.metrics import roc_auc
from melanomafusion.predictions import Predictions

BLEND = {"a": 0.6, "b": 0.3, "c": 0.1}


def scores_of(members, weights):
    return sum(weights[name] * member.scores for name, member in members.items())


# --- given weights ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["oof", "held_out", "test"])
def test_given_weights_blend_any_kind_unfitted(kind, make):
    members = {name: make(seed, kind) for seed, name in enumerate("abc")}
    result = WeightedEnsemble.from_weights(BLEND).predict(members)
    np.testing.assert_allclose(result.scores, scores_of(members, BLEND), rtol=1e-15)
    assert result.kind == kind


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        ({"a": 3, "b": 1}, {"a": 0.75, "b": 0.25}),
        ({"a": 0.2, "b": 0.2, "c": 0}, {"a": 0.5, "b": 0.5, "c": 0.0}),
        ({"a": 7}, {"a": 1.0}),
        ({"a": 0.1, "b": 0.2, "c": 0.7}, {"a": 0.1, "b": 0.2, "c": 0.7}),
        ({"a": 0.7, "b": 0.2, "c": 0.1}, {"a": 0.7, "b": 0.2, "c": 0.1}),  # sums to 1 − 1e-16
        ({"a": np.float64(1), "b": np.int64(1)}, {"a": 0.5, "b": 0.5}),
    ],
)
def test_given_weights_are_divided_by_their_sum(weights, wanted):
    assert WeightedEnsemble.from_weights(weights).weights == wanted


@pytest.mark.parametrize(
    "weights", [{}, {"a": -0.1, "b": 1.1}, {"a": 0, "b": 0.0}, {"a": np.nan, "b": 1}, {"a": np.inf}, {"a": -1}]
)
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(PredictionsError, match=r"Weights are numbers ≥ 0, not all 0\. Received"):
        WeightedEnsemble.from_weights(weights)


@pytest.mark.parametrize("value", ["much", None, [1]])
def test_weights_that_are_no_numbers_are_refused(value):
    with pytest.raises(PredictionsError, match="Weights are numbers"):
        WeightedEnsemble.from_weights({"a": value, "b": 1})


@pytest.mark.parametrize("method", ["predict", "fit", "cross_val_predict", "fit_predict"])
def test_given_weights_refuse_other_members(method, trio):
    for members in ({"a": trio["a"], "b": trio["b"]}, {**trio, "d": trio["a"]}, {"x": trio["a"]}):
        with pytest.raises(PredictionsError, match=r"Fitted on members|Weights are for \['a', 'b', 'c'\]"):
            getattr(WeightedEnsemble.from_weights(BLEND), method)(members)


def test_fitting_leaves_given_weights(trio, new):
    ensemble = WeightedEnsemble.from_weights(BLEND)
    before = ensemble.predict(new).scores
    assert ensemble.fit(trio) is ensemble
    assert ensemble.weights == BLEND
    np.testing.assert_array_equal(ensemble.predict(new).scores, before)


def test_given_weights_may_be_intersected(new):
    new["b"] = Predictions(new["b"].frame.head(20), "test")
    with pytest.raises(PredictionsError, match="lacks 40 records"):
        WeightedEnsemble.from_weights(BLEND).predict(new)
    assert len(WeightedEnsemble.from_weights(BLEND, missing="intersect").predict(new)) == 20


def test_given_weights_restricted_to_some_members_are_divided_anew():
    part = WeightedEnsemble.from_weights(BLEND, missing="intersect").restricted_to(["a", "c"])
    assert part.weights == pytest.approx({"a": 6 / 7, "c": 1 / 7})
    assert part.missing == "intersect"
    assert part.members == ["a", "c"]


def test_given_weights_come_back_from_json(new):
    ensemble = WeightedEnsemble.from_weights(BLEND)
    again = WeightedEnsemble.from_json(ensemble.to_json())
    assert again.weights == BLEND
    np.testing.assert_array_equal(again.predict(new).scores, ensemble.predict(new).scores)
    assert again.restricted_to(["a"]).weights == {"a": 1.0}


# --- found weights ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["score", "rank", "rank_within_fold"])
def test_found_weights_are_those_of_the_search_on_the_scale(scale, trio):
    ensemble = WeightedEnsemble(scale=scale, rounds=9).fit(trio)
    scores = np.stack([member.scores for member in ensemble.on_scale(trio).values()])
    wanted = bagged_greedy(scores, trio["a"].targets, objective="auc", rounds=9, bags=10, max_members=None, seed=0)
    assert ensemble.weights == pytest.approx(dict(zip("abc", wanted, strict=True)), rel=1e-15)
    assert list(ensemble.weights) == ["a", "b", "c"]
    assert all(type(weight) is float for weight in ensemble.weights.values())


@pytest.mark.parametrize("objective", ["auc", "log_loss"])
def test_simplex_weights_are_those_of_the_search(objective, trio):
    ensemble = WeightedEnsemble("simplex", objective=objective, max_members=2).fit(trio)
    scores = np.stack([trio[name].scores for name in "abc"])
    wanted = simplex_weights(scores, trio["a"].targets, objective=objective, max_members=2)
    assert ensemble.weights == dict(zip("abc", wanted, strict=True))


def test_rounds_bags_objective_and_seed_reach_the_search(make):
    members = {f"m{i:02d}": make(i, signal=0.4) for i in range(12)}
    scores, targets = np.stack([m.scores for m in members.values()]), members["m00"].targets
    options = {"objective": "average_precision", "rounds": 3, "bags": 2, "max_members": 4, "seed": 5}
    found = WeightedEnsemble(**options).fit(members).weights
    np.testing.assert_array_equal(list(found.values()), bagged_greedy(scores, targets, **options))
    assert sum(weight > 0 for weight in found.values()) <= 4
    for name, value in (("objective", "auc"), ("rounds", 9), ("bags", 1), ("max_members", 1), ("seed", 6)):
        assert WeightedEnsemble(**{**options, name: value}).fit(members).weights != found


@pytest.mark.parametrize("search", ["greedy", "simplex"])
@pytest.mark.parametrize("limit", [1, 2])
def test_max_members_are_obeyed_in_every_nested_fold(search, limit, make):
    members = {name: make(seed, signal=0.8) for seed, name in enumerate("abcd")}
    ensemble = WeightedEnsemble(search, max_members=limit, rounds=9)
    assert sum(weight > 0 for weight in ensemble.fit(members).weights.values()) <= limit
    nested = ensemble.cross_val_predict(members).scores
    design = np.stack([m.scores for m in members.values()])
    for fold in range(3):
        inside = (members["a"].frame["fold"] == fold).to_numpy()
        found, *_ = np.linalg.lstsq(design[:, inside].T, nested[inside], rcond=None)
        assert (np.abs(found) > 1e-9).sum() <= limit


def test_found_weights_are_applied_to_new_scores_as_they_are(trio, new):
    ensemble = WeightedEnsemble(rounds=9).fit(trio)
    np.testing.assert_allclose(ensemble.predict(new).scores, scores_of(new, ensemble.weights), rtol=1e-15)


@pytest.mark.parametrize("scale", ["rank", "rank_within_fold"])
def test_found_weights_are_applied_to_ranks_among_the_out_of_fold_scores(scale, trio, new):
    ensemble = WeightedEnsemble(scale=scale, rounds=9).fit(trio)
    wanted = sum(
        ensemble.weights[name] * rank_among(score_quantiles(trio[name].scores), new[name].scores) for name in "abc"
    )
    np.testing.assert_allclose(ensemble.predict(new).scores, wanted, rtol=1e-15)


def test_a_useless_member_gets_little_and_the_fitted_score_is_no_worse_than_the_best(trio, make):
    trio["noise"] = make(9, signal=0.0)
    for search in ("greedy", "simplex"):
        ensemble = WeightedEnsemble(search)
        found = roc_auc(trio["a"].targets, ensemble.fit_predict(trio).scores)
        assert found >= max(roc_auc(m.targets, m.scores) for m in trio.values()) - 1e-12
        assert ensemble.weights["noise"] < 0.15
        assert ensemble.weights["a"] == max(ensemble.weights.values())


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("search", ["greedy", "simplex"])
@pytest.mark.parametrize("scale", ["rank", "rank_within_fold"])
def test_log_loss_of_ranks_is_refused(search, scale):
    with pytest.raises(PredictionsError, match="log_loss scores probabilities; ranks are none"):
        WeightedEnsemble(search, objective="log_loss", scale=scale)


@pytest.mark.parametrize("search", ["greedy", "simplex"])
@pytest.mark.parametrize("method", ["fit", "cross_val_predict"])
@pytest.mark.parametrize("value", [-0.001, 1.001])
def test_log_loss_of_scores_outside_0_and_1_is_refused(search, method, value, trio):
    scores = trio["b"].scores.copy()
    scores[5] = value
    trio["b"] = trio["b"].replace_scores(scores)
    with pytest.raises(PredictionsError, match=r"log_loss takes scores within \[0, 1\]; member b"):
        getattr(WeightedEnsemble(search, objective="log_loss"), method)(trio)
    WeightedEnsemble(search, rounds=2).fit(trio)


@pytest.mark.parametrize("search", ["random", "", None, "Greedy"])
def test_an_unknown_search_is_refused(search):
    with pytest.raises(PredictionsError, match=r'search is "greedy" or "simplex"\. Received: search='):
        WeightedEnsemble(search)


@pytest.mark.parametrize("options", [{"objective": "f1"}, {"rounds": 0}, {"bags": 0}, {"max_members": 0}])
def test_settings_that_cannot_work_are_refused_at_once(options):
    with pytest.raises(PredictionsError, match=f"Received: {next(iter(options))}="):
        WeightedEnsemble(**options)


def test_settings_come_back_from_json(trio):
    options = {"objective": "partial_auc", "scale": "rank", "max_members": 2, "rounds": 4, "bags": 3, "seed": 8}
    text = WeightedEnsemble("simplex", missing="intersect", **options).fit(trio).to_json()
    again = WeightedEnsemble.from_json(text)
    assert (again.search, again.missing) == ("simplex", "intersect")
    for name, value in options.items():
        assert getattr(again, name) == value
    assert json.loads(text)["given"] is False

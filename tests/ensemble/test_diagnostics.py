"""What each member is worth, against figures computed directly."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import spearmanr

from melanomafusion.ensemble.averages import MeanEnsemble, RankMeanEnsemble
from melanomafusion.ensemble.diagnostics import diagnose
from melanomafusion.ensemble.intervals import nested_interval
from melanomafusion.ensemble.scales import rank_scores
from melanomafusion.ensemble.stacking import StackingEnsemble
from melanomafusion.ensemble.weighted import WeightedEnsemble
from melanomafusion.errors import PredictionsError
from melanomafusion.evaluation.comparison import compare
from melanomafusion.evaluation.intervals import Interval, auc_interval
from melanomafusion.evaluation.metrics import roc_auc
from melanomafusion.predictions import Predictions

BUILDS = {
    "mean": MeanEnsemble,
    "rank mean within fold": lambda: RankMeanEnsemble(within_fold=True),
    "simplex, ranks": lambda: WeightedEnsemble("simplex", scale="rank"),
    "stacking": StackingEnsemble,
}


def auc(predictions):
    return roc_auc(predictions.targets, predictions.scores)


def look(ensemble, members, **options):
    return diagnose(ensemble, members, **{"resamples": 60, **options})


# --- figures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_figures_are_those_computed_directly(build, trio):
    found = look(build(), trio)
    own = build().on_scale(trio)
    nested = build().cross_val_predict(trio)
    np.testing.assert_array_equal(found.oof.scores, nested.scores)
    assert found.fitted_auc == auc(build().fit_predict(trio))
    assert list(found.members.index) == ["a", "b", "c"]
    assert found.members.index.name == "member"
    for name, member in own.items():
        row = found.members.loc[name]
        interval = auc_interval(member, resamples=60, seed=0)
        assert (row["auc"], row["low"], row["high"]) == (interval.estimate, interval.low, interval.high)
        others = {other: trio[other] for other in trio if other != name}
        lost = compare(nested, build().cross_val_predict(others), resamples=60).bootstrap
        assert row["contribution"] == pytest.approx(auc(nested) - auc(build().cross_val_predict(others)), abs=1e-12)
        assert (row["contribution_low"], row["contribution_high"]) == (lost.low, lost.high)
    assert found.best == max(own, key=lambda name: auc(own[name]))
    assert found.against_best.auc_a == pytest.approx(auc(nested), abs=1e-12)
    assert found.against_best.auc_b == pytest.approx(auc(own[found.best]), abs=1e-12)
    assert found.against_best.to_dict() == compare(nested, own[found.best], resamples=60).to_dict()
    np.testing.assert_array_equal(found.best_member.scores, own[found.best].scores)
    if build is StackingEnsemble:  # the jackknife takes its time
        assert (found.auc.method, found.gain.method) == ("jackknife", "jackknife")
    elif build().needs_fit:
        assert (found.auc, found.gain) == nested_interval(build(), trio, against=found.best)
    else:
        assert (found.auc, found.gain) == (auc_interval(nested, resamples=60), found.against_best.bootstrap)
    curve = found.curve
    assert curve["members"].tolist() == [1, 2, 3]
    assert sorted(curve["added"]) == ["a", "b", "c"]
    assert curve["auc"].iloc[-1] == pytest.approx(auc(nested), abs=1e-12)
    assert (curve["low"] <= curve["auc"]).all()
    assert (curve["auc"] <= curve["high"]).all()


@pytest.mark.parametrize("build", [BUILDS["mean"], BUILDS["rank mean within fold"]])
def test_correlation_is_spearmans_in_the_currency_of_the_ensemble(build, trio):
    found = look(build(), trio, parts=False).correlation
    wanted = spearmanr(np.column_stack([member.scores for member in build().on_scale(trio).values()])).statistic
    assert list(found) == list(found.index) == ["a", "b", "c"]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("build", "attribute"),
    [(BUILDS["simplex, ranks"], "weights"), (BUILDS["stacking"], "coefficients")],
    ids=["w", "c"],
)
def test_weights_of_the_members_are_those_of_the_fit_on_all_records(build, attribute, trio):
    found = look(build(), trio, parts=False).members["weight"]
    assert found.to_dict() == getattr(build().fit(trio), attribute)
    assert "weight" not in look(MeanEnsemble(), trio, parts=False).members


def test_the_best_member_is_judged_in_the_currency_of_the_ensemble(make):
    """A member whose folds lie on other levels is the best only when they are levelled."""
    good, fair = make(0, signal=2.5), make(1, signal=1.0)
    lifted = good.replace_scores((good.scores + 3 * good.frame["fold"].to_numpy()) / 10)
    members = {"lifted": lifted, "fair": fair}
    assert look(MeanEnsemble(), members, parts=False).best == "fair"
    found = look(RankMeanEnsemble(within_fold=True), members, parts=False)
    assert found.best == "lifted"
    assert found.against_best.auc_b == pytest.approx(auc(rank_scores(lifted, within_fold=True)), abs=1e-12)


def test_seed_and_resamples_reach_the_bootstrap(trio):
    first, again = (look(MeanEnsemble(), trio, parts=False, seed=3).members for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    assert not look(MeanEnsemble(), trio, parts=False).members.equals(first)
    low = diagnose(MeanEnsemble(), trio, resamples=30, seed=3, parts=False).members["low"]
    assert not np.array_equal(low, first["low"])


# --- curve ------------------------------------------------------------------------------------------------------------


def test_the_curve_begins_with_the_best_member_of_the_other_folds(trio):
    found = look(MeanEnsemble(), trio).curve
    frame, scores = trio["a"].frame, np.empty(241)
    for fold in range(3):
        inside = (frame["fold"] == fold).to_numpy()
        outside = {n: roc_auc(m.targets[~inside], m.scores[~inside]) for n, m in trio.items()}
        scores[inside] = trio[max(outside, key=outside.get)].scores[inside]
    assert found["auc"].iloc[0] == roc_auc(trio["a"].targets, scores)
    assert found["added"].iloc[0] == max(trio, key=lambda name: auc(trio[name]))


def test_members_of_the_curve_are_not_chosen_by_the_fold_they_score(make):
    """With members of pure noise the choice of the best gains nothing."""
    gains = []
    for seed in range(3):
        members = {f"m{i}": make(50 * seed + i, signal=0.0) for i in range(6)}
        found = look(MeanEnsemble(), members, resamples=5)
        gains.append(found.curve["auc"].iloc[0] - 0.5)
        assert found.members["auc"].max() > 0.52
    assert np.mean(gains) < 0.03


def test_the_curve_skips_sizes_but_not_the_last(make):
    members = {f"m{i:02d}": make(i, signal=0.5) for i in range(8)}
    assert look(MeanEnsemble(), members, resamples=2).curve["members"].tolist() == [1, 2, 3, 4, 5, 6, 8]


def test_without_parts_there_are_no_contributions_and_no_curve(trio):
    found = look(WeightedEnsemble(rounds=8), trio, parts=False)
    assert found.curve.empty
    assert list(found.members) == ["auc", "low", "high", "weight"]
    assert found.auc == auc_interval(found.oof, resamples=60)
    assert found.gain == found.against_best.bootstrap
    assert "paired over patients" in found.verdict


def test_steps_are_counted_to_their_end(trio):
    for build, parts in ((BUILDS["simplex, ranks"], True), (MeanEnsemble, False)):
        events = []
        look(build(), trio, parts=parts, on_event=events.append)
        assert [event["done"] for event in events] == list(range(len(events)))
        assert {event["total"] for event in events} == {len(events)}


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_an_ensemble_that_is_clearly_better_is_said_to_be(make):
    members = {f"m{i}": make(i, signal=1.5, count=601) for i in range(4)}
    found = look(MeanEnsemble(), members)
    assert found.verdict.startswith(f"The ensemble beats its best member, {found.best}, beyond chance: AUC 0.")
    assert f"{found.against_best.auc_a:.4f} against {found.against_best.auc_b:.4f}" in found.verdict
    assert "paired over patients" in found.verdict
    assert (found.members["contribution"] > 0).all()


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.001, 0.02, "beats"),
        (-0.001, 0.02, "not shown"),
        (-0.02, 0.001, "not shown"),
        (-0.02, -0.001, "is worse than"),
    ],
)
def test_the_verdict_follows_the_interval_of_the_gain(low, high, words, trio):
    found = look(MeanEnsemble(), trio, parts=False)
    gain = Interval((low + high) / 2, low, high, "patient", "jackknife")
    verdict = dataclasses.replace(found, gain=gain).verdict
    assert words in verdict
    assert f"({low:+.4f} to {high:+.4f}, jackknife over patients" in verdict


def test_a_member_and_its_copy_are_not_said_to_be_better(trio):
    for build in (MeanEnsemble, lambda: WeightedEnsemble("simplex")):
        found = look(build(), {"a": trio["a"], "copy": trio["a"]})
        assert found.verdict.startswith("It is not shown that the ensemble beats its best member, ")
        assert "difference +0.0000 (+0.0000 to +0.0000" in found.verdict
        np.testing.assert_allclose(found.members[["contribution", "contribution_low", "contribution_high"]], 0)


def test_a_harmful_ensemble_is_said_to_be_worse(make):
    members = {"good": make(0, signal=3.0), "turned": make(1, signal=-2.0), "noise": make(2, signal=0.0)}
    found = look(MeanEnsemble(), members)
    assert found.verdict.startswith("The ensemble is worse than its best member, good, beyond chance: AUC 0.")
    assert found.members.loc["turned", "contribution_high"] < 0 < found.members.loc["good", "contribution_low"]


def test_one_member_is_nothing_combined(trio):
    found = look(MeanEnsemble(), {"a": trio["a"]})
    assert found.verdict == "There is one member, a; nothing was combined."
    assert list(found.members) == ["auc", "low", "high"]
    assert found.curve.empty


def test_leaving_out_a_copy_loses_about_nothing(trio):
    trio["copy"] = trio["a"]
    found = look(BUILDS["simplex, ranks"](), trio).members
    assert abs(found.loc["copy", "contribution"]) < 0.02
    assert found.loc["a", "contribution"] == pytest.approx(found.loc["copy", "contribution"], abs=1e-4)


def test_leaving_out_a_copy_of_a_mean_moves_the_mean(make):
    members = {"a": make(0), "b": make(1), "copy": make(1)}
    found = look(MeanEnsemble(), members).members
    pd.testing.assert_series_equal(found.loc["b"], found.loc["copy"], check_names=False)


# --- what is given ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [BUILDS["simplex, ranks"]])
def test_the_ensemble_is_left_as_it_is(build, trio, make):
    unfitted, fitted = build(), build().fit({name: make(i, truth=4) for i, name in enumerate("abc")})
    before, frames = (unfitted.to_json(), fitted.to_json()), {n: m.frame for n, m in trio.items()}
    first, second = look(unfitted, trio, parts=False), look(fitted, trio)
    assert (unfitted.to_json(), fitted.to_json()) == before
    pd.testing.assert_frame_equal(first.members, second.members[list(first.members)])
    np.testing.assert_array_equal(first.oof.scores, second.oof.scores)
    for name, member in trio.items():
        pd.testing.assert_frame_equal(member.frame, frames[name])


def test_given_weights_are_diagnosed(trio):
    weights = {"a": 0.6, "b": 0.3, "c": 0.1}
    found = look(WeightedEnsemble.from_weights(weights), trio)
    assert found.members["weight"].to_dict() == weights
    without = (0.6 * trio["a"].scores + 0.3 * trio["b"].scores) / 0.9
    wanted = auc(found.oof) - roc_auc(trio["a"].targets, without)
    assert found.members.loc["c", "contribution"] == pytest.approx(wanted, abs=1e-3)
    assert found.curve["auc"].iloc[-1] == pytest.approx(auc(found.oof), abs=1e-12)
    assert found.fitted_auc == auc(found.oof)


def test_given_weights_of_0_are_diagnosed(trio):
    found = look(WeightedEnsemble.from_weights({"a": 1.0, "b": 0.0, "c": 0.0}), trio)
    assert found.members.loc["b", "contribution"] == 0


def test_members_of_other_folds_are_refused_unless_intersected(trio):
    trio["b"] = Predictions(trio["b"].frame.assign(fold=np.arange(241) // 4 % 4), "oof")
    with pytest.raises(PredictionsError, match="other folds"):
        look(WeightedEnsemble("simplex"), trio)
    found = look(WeightedEnsemble("simplex", missing="intersect"), trio)
    assert len(found.oof) == 241
    assert found.members.loc["b", "auc"] == auc(trio["b"])


def test_only_common_records_are_looked_at(trio):
    trio["b"] = Predictions(trio["b"].frame.tail(200), "oof")
    found = look(MeanEnsemble(missing="intersect"), trio)
    common = trio["a"].frame.tail(200)
    assert len(found.oof) == 200
    assert found.members.loc["a", "auc"] == roc_auc(common["target"], common["score"])


def test_other_kinds_are_refused(trio, new):
    with pytest.raises(PredictionsError, match="Only out-of-fold"):
        look(MeanEnsemble(), new)


def test_the_dictionary_is_json(trio):
    found = look(WeightedEnsemble("simplex"), trio)
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert content["verdict"] == found.verdict
    assert content["best_member"] == found.best
    assert content["auc"] == pytest.approx(auc(found.oof), abs=1e-12)
    assert content["auc_on_the_records_it_was_fitted_on"] == found.fitted_auc
    assert [row["member"] for row in content["members"]] == ["a", "b", "c"]
    assert [row["members"] for row in content["curve"]] == [1, 2, 3]
    assert content["correlation"]["a"]["b"] == found.correlation.loc["a", "b"]
    assert content["against_best"]["difference"] == found.against_best.difference
    assert content["auc_interval"] == [found.auc.low, found.auc.high]
    assert content["gain_interval"] == [found.gain.low, found.gain.high]
    assert content["auc_interval_method"] == "jackknife"
    assert "jackknife over patients of the whole search" in found.verdict


def test_the_fitted_score_of_noise_is_shown_beside_a_lower_nested_one():
    rng = np.random.default_rng(1)
    targets = (rng.random(120) < 0.3).astype(int)
    frame = pd.DataFrame(
        {"image_name": [f"i{i}" for i in range(120)], "target": targets, "fold": np.arange(120) % 3, "score": 0.0}
    )
    members = {n: Predictions(frame.assign(score=expit(rng.normal(size=120))), "oof") for n in "abcdef"}
    found = look(StackingEnsemble(), members, parts=False)
    assert found.fitted_auc > auc(found.oof) + 0.03
    assert found.against_best.auc_a == pytest.approx(auc(found.oof), abs=1e-12)

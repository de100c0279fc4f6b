"""Nested scoring: no patient on both sides, and no target takes part in the score of its own record."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from melanomafusion.ensemble.averages import MeanEnsemble
from melanomafusion.ensemble.ensemble import Ensemble
from melanomafusion.ensemble.nested import nested_folds
from melanomafusion.ensemble.stacking import StackingEnsemble
from melanomafusion.ensemble.weighted import WeightedEnsemble
from melanomafusion.errors import PredictionsError
from melanomafusion.evaluation.metrics import roc_auc
from melanomafusion.predictions import Predictions

WEIGHTED = {
    "greedy": lambda: WeightedEnsemble(rounds=8),
    "greedy, partial AUC": lambda: WeightedEnsemble(objective="partial_auc", rounds=5),
    "greedy, ranks within fold": lambda: WeightedEnsemble(scale="rank_within_fold", rounds=8),
    "simplex, log_loss": lambda: WeightedEnsemble("simplex", objective="log_loss"),
    "simplex, ranks": lambda: WeightedEnsemble("simplex", scale="rank"),
}
STACKED = {
    "logit": lambda: StackingEnsemble(),
    "ranks": lambda: StackingEnsemble("rank", nonnegative=True),
    "ranks within fold": lambda: StackingEnsemble("rank_within_fold"),
    "metadata": lambda: StackingEnsemble(features=("sex",)),
}


class Recorder(Ensemble):
    """Writes down which records were learnt from and which were scored."""

    seen: tuple = ()

    def _learn(self, inputs):
        type(self).seen += (("learnt", inputs),)

    def _combine(self, inputs):
        type(self).seen += (("scored", inputs),)
        return inputs.scores.mean(axis=0)


@pytest.fixture
def record():
    """(learnt from, scored) tables of each fold of a nested score."""

    def pairs(members, missing="error"):
        Recorder.seen = ()
        Recorder(missing=missing).cross_val_predict(members)
        assert [word for word, _ in Recorder.seen] == ["learnt", "scored"] * (len(Recorder.seen) // 2)
        return [(a[1].frame, b[1].frame) for a, b in zip(Recorder.seen[::2], Recorder.seen[1::2], strict=True)]

    return pairs


def table(patients, folds, targets=None, **columns):
    count = len(patients)
    frame = pd.DataFrame(
        {
            "image_name": [f"i{i:03d}" for i in range(count)],
            "patient_id": patients,
            "fold": folds,
            "target": np.arange(count) % 2 if targets is None else targets,
            "score": np.random.default_rng(1).random(count),
        }
    )
    return Predictions(frame.assign(**columns), "oof")


def with_targets(members, targets):
    return {n: Predictions(m.frame.assign(target=targets), "oof", name=m.name) for n, m in members.items()}


def with_sex(members):
    sex = np.random.default_rng(0).choice(["female", "male"], len(members["a"]))
    return {n: Predictions(m.frame.assign(sex=sex), "oof", name=m.name) for n, m in members.items()}


# --- folds ------------------------------------------------------------------------------------------------------------


def test_own_folds_are_kept_where_they_keep_patients_whole(make):
    member = make()
    np.testing.assert_array_equal(nested_folds(member), member.frame["fold"])


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(12, 40), st.booleans())
def test_nested_folds_never_split_a_patient(seed, count, patients, lesions):
    rng = np.random.default_rng(seed)
    of = rng.integers(0, patients, 120)
    folds = np.concatenate([np.arange(count), rng.integers(0, count, 120 - count)])
    names = np.array([f"p{i}" for i in of], dtype=object)
    names[rng.random(120) < 0.1] = None
    columns = {"lesion_id": names, "patient_id": None} if lesions else {}
    member = table(names, folds, (rng.random(120) < 0.4).astype(int), **columns)
    found = nested_folds(member)
    known = member.frame.assign(nested=found)[pd.notna(names)]
    assert known.groupby("lesion_id" if lesions else "patient_id")["nested"].nunique().max() == 1
    assert 2 <= len(np.unique(found)) <= count


def test_split_patients_are_dealt_anew_into_as_many_folds_with_the_positives_spread():
    of = np.arange(200) // 4
    targets = (of % 5 == 0).astype(int)
    found = nested_folds(table([f"p{i}" for i in of], np.arange(200) % 4, targets))
    counts = pd.DataFrame({"fold": found, "target": targets}).groupby("fold")["target"].agg(["size", "sum"])
    assert len(counts) == 4
    assert counts["size"].between(40, 60).all()
    assert counts["sum"].between(8, 12).all()


def test_one_split_patient_is_enough_to_deal_anew(make):
    member = make()
    folds = member.frame["fold"].to_numpy().copy()
    folds[0] = (folds[0] + 1) % 3
    found = nested_folds(Predictions(member.frame.assign(fold=folds), "oof"))
    assert member.frame.assign(nested=found).groupby("patient_id")["nested"].nunique().max() == 1


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_dealing_does_not_depend_on_the_order_of_rows(shuffle, seed):
    member = table([f"p{i // 3}" for i in range(90)], np.arange(90) % 3)
    wanted = pd.Series(nested_folds(member), member.image_names)
    turned = shuffle(member, seed)
    pd.testing.assert_series_equal(pd.Series(nested_folds(turned), turned.image_names)[wanted.index], wanted)


def test_another_seed_deals_otherwise():
    member = table([f"p{i // 3}" for i in range(90)], np.arange(90) % 3)
    assert not np.array_equal(nested_folds(member), nested_folds(member, seed=1))


def test_records_without_patients_keep_their_folds():
    member = table([None] * 60, np.arange(60) // 7 % 3)
    np.testing.assert_array_equal(nested_folds(member), member.frame["fold"])


def test_one_fold_is_refused(learnt_kind, trio):
    one = {n: Predictions(m.frame.assign(fold=4), "oof") for n, m in trio.items()}
    with pytest.raises(PredictionsError, match="at least two folds; there is 1"):
        learnt_kind().cross_val_predict(one)
    learnt_kind().fit(one)


def test_a_fold_that_holds_all_positives_is_refused():
    folds = np.arange(60) // 20
    with pytest.raises(PredictionsError, match="outside fold 1 have one class only"):
        nested_folds(table([f"p{i // 2}" for i in range(60)], folds, (folds == 1).astype(int)))


# --- both sides -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [False, True])
def test_every_record_is_scored_once_by_what_learnt_from_all_other_patients(record, trio, split):
    if split:
        trio = {n: Predictions(m.frame.assign(fold=np.arange(241) % 5), "oof") for n, m in trio.items()}
    pairs = record(trio)
    assert len(pairs) == (5 if split else 3)
    assert sorted(name for _, scored in pairs for name in scored["image_name"]) == sorted(trio["a"].image_names)
    for learnt, scored in pairs:
        assert not set(learnt["patient_id"]) & set(scored["patient_id"])
        assert len(learnt) + len(scored) == 241


def test_no_patient_is_on_both_sides_whatever_folds_each_member_has(record, trio):
    folds = {"a": np.arange(241) // 4 % 3, "b": np.arange(241) % 4, "c": np.arange(241) // 8 % 2}
    trio = {n: Predictions(m.frame.assign(fold=folds[n]), "oof") for n, m in trio.items()}
    for order in ("abc", "bca", "cab"):
        for learnt, scored in record({n: trio[n] for n in order}, "intersect"):
            assert not set(learnt["patient_id"]) & set(scored["patient_id"])


def test_no_patient_is_on_both_sides_where_the_first_member_does_not_know_them(record, trio):
    patient = trio["a"].frame.set_index("image_name")["patient_id"]
    bare = trio["a"].frame.drop(columns="patient_id").assign(fold=np.arange(241) % 3)
    for learnt, scored in record({"a": Predictions(bare, "oof"), "b": trio["b"]}, "intersect"):
        assert not set(patient[learnt["image_name"]]) & set(patient[scored["image_name"]])


def test_result_has_the_folds_it_was_nested_in(learnt_kind, trio):
    split = {n: Predictions(m.frame.assign(fold=np.arange(241) % 3), "oof") for n, m in trio.items()}
    result = learnt_kind().cross_val_predict(split)
    np.testing.assert_array_equal(result.frame["fold"], nested_folds(split["a"]))
    assert not result.image_level_split


def test_records_of_a_split_patient_are_scored_by_one_fit(trio):
    """Two records of a patient with equal scores of all members get one score."""
    scores = {n: np.repeat(m.scores[::4], 4)[:241] for n, m in trio.items()}
    split = {n: Predictions(m.frame.assign(fold=np.arange(241) % 3, score=scores[n]), "oof") for n, m in trio.items()}
    for ensemble in (WeightedEnsemble(rounds=15), StackingEnsemble()):
        spread = ensemble.cross_val_predict(split).frame.groupby("patient_id")["score"].agg(np.ptp)
        assert spread.max() < 1e-12


# --- targets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", WEIGHTED.values(), ids=WEIGHTED)
def test_a_folds_targets_do_not_change_its_scores(build, trio):
    targets, folds = trio["a"].targets, trio["a"].frame["fold"].to_numpy()
    wanted = build().cross_val_predict(trio).scores
    for fold in range(3):
        inside = folds == fold
        found = build().cross_val_predict(with_targets(trio, np.where(inside, 1 - targets, targets))).scores
        np.testing.assert_array_equal(found[inside], wanted[inside])
        assert not np.array_equal(found[~inside], wanted[~inside])


@pytest.mark.parametrize("build", [STACKED["logit"], STACKED["metadata"]])
def test_a_folds_targets_change_its_stacked_scores_by_one_common_shift_only(build, trio):
    trio = with_sex(trio)
    targets, folds = trio["a"].targets, trio["a"].frame["fold"].to_numpy()
    wanted = logit(build().cross_val_predict(trio).scores)
    for fold in range(3):
        inside = folds == fold
        changed = np.where(inside, 1 - targets, targets)
        found = logit(build().cross_val_predict(with_targets(trio, changed)).scores)
        shift = logit(changed.mean()) - logit(targets.mean())
        np.testing.assert_allclose((found - wanted)[inside], shift, rtol=0, atol=1e-12)
        assert np.ptp((found - wanted)[~inside]) > 1e-3


@pytest.mark.parametrize("build", [WEIGHTED["simplex, ranks"], *STACKED.values()], ids=["simplex, ranks", *STACKED])
def test_targets_exchanged_within_a_fold_change_no_bit_of_its_scores(build, trio):
    trio = with_sex(trio)
    inside = trio["a"].frame["fold"].to_numpy() == 1
    targets = trio["a"].targets.copy()
    targets[inside] = np.random.default_rng(0).permutation(targets[inside])
    found, wanted = build().cross_val_predict(with_targets(trio, targets)), build().cross_val_predict(trio)
    np.testing.assert_array_equal(found.scores[inside], wanted.scores[inside])


def test_nested_weights_are_those_found_on_the_other_folds(trio):
    frame = trio["a"].frame
    found = WeightedEnsemble(rounds=15).cross_val_predict(trio).scores
    for fold in range(3):
        inside = (frame["fold"] == fold).to_numpy()
        others = {n: Predictions(m.frame[~inside], "oof") for n, m in trio.items()}
        weights = WeightedEnsemble(rounds=15).fit(others).weights
        wanted = sum(weights[n] * m.scores for n, m in trio.items())
        np.testing.assert_allclose(found[inside], wanted[inside], rtol=1e-14)


def test_nested_stacking_is_the_fit_on_the_other_folds_moved_to_the_common_prevalence(trio):
    frame, targets = trio["a"].frame, trio["a"].targets
    found = StackingEnsemble().cross_val_predict(trio).scores
    for fold in range(3):
        inside = (frame["fold"] == fold).to_numpy()
        fitted = StackingEnsemble().fit({n: Predictions(m.frame[~inside], "oof") for n, m in trio.items()})
        logits = logit(fitted.predict({n: Predictions(m.frame[inside], "held_out") for n, m in trio.items()}).scores)
        shift = logit(targets.mean()) - logit(targets[~inside].mean())
        np.testing.assert_allclose(found[inside], expit(logits + shift), rtol=1e-12)


def test_folds_of_other_prevalence_are_not_ranked_above_each_other():
    """Members that know nothing stay at chance although a fold of many positives learns from few."""
    found = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        folds = np.arange(600) // 4 % 3
        targets = (rng.random(600) < np.array([0.1, 0.3, 0.6])[folds]).astype(int)
        names = [f"p{i // 4}" for i in range(600)]
        members = {n: table(names, folds, targets, score=rng.random(600)) for n in "abc"}
        found.append(roc_auc(targets, StackingEnsemble(C=0.01).cross_val_predict(members).scores))
    assert abs(np.mean(found) - 0.5) < 0.04


# --- optimism ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [lambda: WeightedEnsemble("simplex"), StackingEnsemble], ids=["simplex", "stacking"])
def test_on_noise_the_fitted_score_is_high_and_the_nested_at_chance(build):
    fitted, nested = [], []
    names = [f"p{i // 2}" for i in range(120)]
    for seed in range(6):
        rng = np.random.default_rng(seed)
        targets = (rng.random(120) < 0.3).astype(int)
        members = {n: table(names, np.arange(120) // 2 % 3, targets, score=rng.random(120)) for n in "abcde"}
        fitted.append(roc_auc(targets, build().fit_predict(members).scores))
        nested.append(roc_auc(targets, build().cross_val_predict(members).scores))
    assert np.mean(fitted) > 0.56
    assert abs(np.mean(nested) - 0.5) < 0.06
    assert np.mean(fitted) > np.mean(nested) + 0.04


def test_means_are_not_nested(mean_kind, trio):
    one_fold = {n: Predictions(m.frame.assign(fold=0), "oof") for n, m in trio.items()}
    found = mean_kind().cross_val_predict(trio)
    if found.name != "RankMeanEnsemble":
        np.testing.assert_array_equal(found.scores, mean_kind().fit(trio).predict(trio).scores)
        np.testing.assert_array_equal(found.scores, mean_kind().cross_val_predict(one_fold).scores)
    np.testing.assert_array_equal(found.scores, mean_kind().fit_predict(trio).scores)


def test_given_weights_are_not_nested(trio):
    ensemble = WeightedEnsemble.from_weights({"a": 0.5, "b": 0.3, "c": 0.2})
    found = ensemble.cross_val_predict(trio).scores
    np.testing.assert_array_equal(found, ensemble.predict(trio).scores)
    np.testing.assert_array_equal(found, ensemble.cross_val_predict(with_targets(trio, 1 - trio["a"].targets)).scores)


def test_means_look_at_no_target(trio):
    flipped = with_targets(trio, 1 - trio["a"].targets)
    np.testing.assert_array_equal(
        MeanEnsemble().cross_val_predict(trio).scores, MeanEnsemble().cross_val_predict(flipped).scores
    )

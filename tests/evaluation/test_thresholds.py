"""Operating thresholds: against trying every threshold, and chosen by the folds that are not scored."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from melanomafusion.errors import PredictionsError
from melanomafusion.evaluation.thresholds import (
    RULES,
    OperatingThreshold,
    choose_threshold,
    given_threshold,
    operating_threshold,
)
from melanomafusion.predictions import Predictions

INFINITY = float("inf")


def counts(targets, scores, threshold):
    """(tn, fp, fn, tp), counted one by one."""
    pairs = [(int(t), bool(s >= threshold)) for t, s in zip(targets, scores, strict=True)]
    return tuple(pairs.count(pair) for pair in ((0, False), (0, True), (1, False), (1, True)))


def worth(rule, at, targets, scores, threshold):
    """What a rule makes the most of; None where the threshold does not reach `at`."""
    tn, fp, fn, tp = counts(targets, scores, threshold)
    sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
    if rule == "youden":
        return sensitivity + specificity
    if rule == "max_f1":
        return 2 * tp / (2 * tp + fp + fn)
    if rule == "accuracy":
        return (tp + tn) / (tn + fp + fn + tp)
    if rule == "cost":
        return -(at * fn + fp)
    reached, other = (sensitivity, specificity) if rule == "sensitivity" else (specificity, sensitivity)
    return other if reached >= at - 1e-12 else None


def brute_force(rule, at, targets, scores):
    """The highest of the best thresholds; halfway to the next score below, where there is one."""
    candidates = [INFINITY, *sorted(set(scores.tolist()), reverse=True)]
    values = [worth(rule, at, targets, scores, t) for t in candidates]
    best = max(value for value in values if value is not None)
    k = next(i for i, value in enumerate(values) if value is not None and value >= best - 1e-12)
    if k == 0:
        return INFINITY
    return candidates[k] if k + 1 == len(candidates) else (candidates[k] + candidates[k + 1]) / 2


@st.composite
def scored(draw, rows=(2, 30)):
    """(targets, scores) with both classes; ties, or none."""
    cell = draw(st.sampled_from([st.integers(-3, 3).map(float), st.integers(0, 1000).map(lambda k: k / 1000)]))
    table = draw(st.lists(st.tuples(st.integers(0, 1), cell), min_size=rows[0], max_size=rows[1]))
    targets, scores = (np.array(column) for column in zip(*table, strict=True))
    targets[0], targets[-1] = 1, 0
    return targets, scores


@st.composite
def rules(draw):
    rule = draw(st.sampled_from(RULES))
    if rule in ("youden", "max_f1", "accuracy"):
        return rule, None
    shares = st.one_of(st.sampled_from([0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 1 / 3, 2 / 3]), st.floats(0.001, 0.999))
    return rule, draw(st.sampled_from([0.1, 1.0, 2.0, 20.0, 1e6]) if rule == "cost" else shares)


@settings(deadline=None, max_examples=150)
@given(scored(), rules())
@example((np.array([1, 0, 1, 0]), np.array([0.5, 0.5, 0.5, 0.5])), ("youden", None))
@example((np.array([0, 1]), np.array([0.9, 0.1])), ("cost", 0.1))
@example((np.array([1, 1, 1, 0, 0, 0]), np.array([3, 2, 1, 2, 1, 0.0])), ("sensitivity", 2 / 3))
def test_every_rule_is_the_best_of_all_thresholds_and_the_highest_of_the_best(data, rule):
    targets, scores = data
    assert choose_threshold(targets, scores, *rule) == pytest.approx(brute_force(*rule, targets, scores), abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(scored(), rules(), st.randoms(use_true_random=False))
def test_neither_order_nor_scale_changes_what_is_called_positive(data, rule, random):
    targets, scores = data
    called = scores >= choose_threshold(targets, scores, *rule)
    order = list(range(len(targets)))
    random.shuffle(order)
    assert choose_threshold(targets[order], scores[order], *rule) == choose_threshold(targets, scores, *rule)
    cubed = scores**3 + 5
    np.testing.assert_array_equal(cubed >= choose_threshold(targets, cubed, *rule), called)


@settings(deadline=None, max_examples=40)
@given(scored(), st.sampled_from(["sensitivity", "specificity"]), st.floats(0.01, 0.99))
def test_what_was_asked_for_is_reached(data, rule, at):
    targets, scores = data
    tn, fp, fn, tp = counts(targets, scores, choose_threshold(targets, scores, rule, at))
    assert (tp / (tp + fn) if rule == "sensitivity" else tn / (tn + fp)) >= at - 1e-9


def test_thresholds_by_hand():
    targets, scores = np.array([0, 0, 1, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.9])
    assert choose_threshold(targets, scores) == pytest.approx(0.65)  # 2/3 + 1; 0.25 is as good, and lower
    assert choose_threshold(targets, scores, "max_f1") == pytest.approx(0.25)  # 6/7 against 4/5
    assert choose_threshold(targets, scores, "sensitivity", 0.9) == pytest.approx(0.25)
    assert choose_threshold(targets, scores, "specificity", 0.9) == pytest.approx(0.65)
    assert choose_threshold(targets, scores, "cost", 0.5) == pytest.approx(0.65)  # a miss 0.5, a false alarm 1
    assert choose_threshold(targets, scores, "cost", 2.0) == pytest.approx(0.25)
    assert choose_threshold(np.array([1, 0]), np.array([0.2, 0.8]), "specificity", 0.9) == INFINITY
    assert choose_threshold(np.array([1, 0]), np.array([0.2, 0.8]), "sensitivity", 0.9) == 0.2


def test_highest_accuracy_by_hand():
    targets, scores = np.array([0, 0, 0, 0, 1, 0, 1]), np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    # 6 of 7 are right at 0.65 and at 0.45: the higher one.
    assert choose_threshold(targets, scores, "accuracy") == pytest.approx(0.65)
    # Rare positives below many negatives: calling none positive is right most often.
    assert choose_threshold(np.array([1, 0, 0, 0]), np.array([0.2, 0.3, 0.4, 0.5]), "accuracy") == INFINITY
    # Youden weighs the two classes alike and takes another threshold.
    targets, scores = np.array([0] * 8 + [1, 1]), np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.6, 0.7, 0.5, 0.9])
    assert choose_threshold(targets, scores, "accuracy") == pytest.approx(0.8)
    assert choose_threshold(targets, scores) == pytest.approx(0.3)


ADJACENT = [0.1, 0.5, np.nextafter(0.3, 0)]


@pytest.mark.parametrize("low", ADJACENT)
def test_scores_that_differ_in_the_last_bit_are_told_apart(low):
    targets, scores = np.array([0, 1]), np.array([low, np.nextafter(low, 1)])
    assert counts(targets, scores, choose_threshold(targets, scores)) == (1, 0, 0, 1)


def test_huge_scores_are_told_apart():
    targets, scores = np.array([0, 1, 1]), np.array([1.5e308, 1.7e308, 1.75e308])
    assert counts(targets, scores, choose_threshold(targets, scores)) == (1, 0, 0, 2)


def test_an_infinite_cost_is_refused():
    refused(lambda: choose_threshold(np.array([0, 1]), np.array([0.1, 0.2]), "cost", INFINITY), "cost ratio")


def refused(call, *parts):
    with pytest.raises(PredictionsError) as error:
        call()
    for part in parts:
        assert part in str(error.value)


DATA = np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("rule", ["sensitivity", "specificity"])
@pytest.mark.parametrize("at", [0, 1, -0.5, 1.5, 95, np.nan])
def test_shares_lie_between_0_and_1(rule, at):
    refused(lambda: choose_threshold(*DATA, rule, at), "at lies between 0 and 1", "at=")


@pytest.mark.parametrize("at", [0, -1.0, np.nan])
def test_cost_ratios_lie_above_0(at):
    refused(lambda: choose_threshold(*DATA, "cost", at), "cost ratio is a number above 0", f"at={at!r}")


@pytest.mark.parametrize("rule", RULES)
def test_rules_take_at_or_do_not(rule):
    at = 0.9 if rule in ("youden", "max_f1", "accuracy") else None
    refused(lambda: choose_threshold(*DATA, rule, at), "take at=, the others do not", f"at={at}")


@pytest.mark.parametrize("rule", ["Youden", "f1", "", None])
def test_unknown_rules_are_refused(rule):
    refused(
        lambda: choose_threshold(*DATA, rule),
        "youden, max_f1, accuracy, sensitivity, specificity, cost",
        f"rule={rule!r}",
    )


@pytest.mark.parametrize("targets", [[0, 0], [1, 1]])
def test_one_class_alone_chooses_nothing(targets):
    refused(lambda: choose_threshold(np.array(targets), np.array([0.1, 0.2])), "nothing to rank")


# --- chosen by the folds that are not scored --------------------------------------------------------------------------


def predictions(targets, scores, folds=4, kind="oof", seed=0):
    fold = np.random.default_rng(seed).permutation(np.arange(len(targets)) % folds)
    names = [f"i{i:03d}" for i in range(len(targets))]
    frame = pd.DataFrame({"image_name": names, "target": targets, "fold": fold, "score": scores})
    return Predictions(frame, kind, name="b4.csv")


def simulated(seed=0, size=160, digits=2, **options):
    rng = np.random.default_rng(seed)
    targets = (np.arange(size) % 4 == 0).astype(int)
    return predictions(targets, np.round(rng.normal(size=size) + targets, digits), **options)


@pytest.mark.parametrize(
    "rule", [("youden", None), ("max_f1", None), ("sensitivity", 0.9), ("specificity", 0.9), ("cost", 5.0)]
)
@pytest.mark.parametrize("digits", [1, 9])
def test_each_fold_is_judged_by_the_threshold_of_the_others(rule, digits):
    member = simulated(1, digits=digits)
    frame = member.frame
    expected = np.zeros(4, dtype=int)
    values = set()
    for fold, inside in frame.groupby("fold"):
        others = frame[frame["fold"] != fold]
        threshold = brute_force(*rule, others["target"].to_numpy(), others["score"].to_numpy())
        expected += counts(inside["target"], inside["score"], threshold)
        values.add(threshold)
    assert len(values) > 1  # else nothing would be shown
    result = operating_threshold(member, *rule)
    assert result.matrix.ravel().tolist() == expected.tolist()
    assert result.value == pytest.approx(brute_force(*rule, member.targets, member.scores), abs=1e-12)
    assert result.cross_fitted
    assert result.matrix.dtype == np.int64


def test_a_fold_with_lucky_scores_does_not_profit_from_them():
    # In fold 1 all scores lie 10 higher: the others' threshold calls them all positive.
    member = simulated(1, size=80, folds=2)
    fold = member.frame["fold"].to_numpy()
    shifted = member.replace_scores(member.scores + 10 * fold)
    matrix = operating_threshold(shifted).matrix
    targets = member.targets
    assert matrix[0, 1] >= (targets[fold == 1] == 0).sum()
    assert matrix[1, 0] >= (targets[fold == 0] == 1).sum()


@pytest.mark.parametrize("kind", ["held_out", "test"])
def test_only_out_of_fold_records_choose(kind):
    refused(lambda: operating_threshold(simulated(kind=kind)), f"b4.csv ({kind})", "threshold=...")


def test_a_single_fold_is_not_cross_fitted_and_says_so():
    member = simulated(folds=1)
    result = operating_threshold(member)
    assert not result.cross_fitted
    assert result.matrix.ravel().tolist() == list(counts(member.targets, member.scores, result.value))


@pytest.mark.parametrize("only", [0, 1])
def test_folds_that_leave_one_class_choose_nothing(only):
    frame = simulated(size=40).frame
    frame["fold"] = (frame["target"] == only).astype(int)
    refused(
        lambda: operating_threshold(Predictions(frame, "oof", name="b4.csv")), "b4.csv: without fold 0", "one class"
    )


def test_bad_rules_are_refused_before_anything_else():
    refused(lambda: operating_threshold(simulated(), "sensitivity"), "take at=")
    refused(lambda: operating_threshold(simulated(), "best"), "rule is one of")


@pytest.mark.parametrize(
    ("rule", "at", "words"),
    [
        ("youden", None, "highest sensitivity + specificity (Youden)"),
        ("max_f1", None, "highest F1"),
        ("accuracy", None, "highest accuracy"),
        ("sensitivity", 0.95, "sensitivity ≥ 0.95"),
        ("specificity", 0.9, "specificity ≥ 0.9"),
        ("cost", 2.5, "a miss costs 2.5 false alarms"),
    ],
)
def test_rules_are_named_in_words(rule, at, words):
    assert operating_threshold(simulated(), rule, at).rule == words


# --- given ones, intervals, JSON --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["oof", "held_out"])
@pytest.mark.parametrize("value", [0.5, 1, -2.0, INFINITY, -INFINITY])
def test_a_given_threshold_is_applied_to_all_records(kind, value):
    member = simulated(kind=kind)
    result = given_threshold(member, value)
    assert result.matrix.ravel().tolist() == list(counts(member.targets, member.scores, value))
    assert (result.value, result.cross_fitted, result.rule) == (value, False, f"given: {value:g}")


def test_a_record_on_the_given_threshold_is_called_positive():
    member = predictions([0, 1], [0.5, 0.5])
    assert given_threshold(member, 0.5).matrix.tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize("value", [np.nan, "0.5", None, [0.5]])
def test_a_given_threshold_is_a_number(value):
    refused(lambda: given_threshold(simulated(), value), "A threshold is a number", f"threshold={value!r}")


@pytest.mark.parametrize("value", [np.float32(0.5), np.int64(1)])
def test_a_given_threshold_may_be_a_number_of_numpy(value):
    assert given_threshold(simulated(), value).value == value


def test_test_predictions_cannot_be_judged():
    refused(lambda: given_threshold(simulated(kind="test"), 0.5), "no target")


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 300), min_size=4, max_size=4).filter(lambda n: n[0] + n[1] and n[2] + n[3]))
def test_intervals_are_those_of_wilson(cells):
    tn, fp, fn, tp = cells
    result = OperatingThreshold("given", 0.5, np.array([[tn, fp], [fn, tp]]), False)
    for found, hits, count in ((result.sensitivity, tp, tp + fn), (result.specificity, tn, tn + fp)):
        expected = binomtest(hits, count).proportion_ci(0.95, "wilson")
        assert found == pytest.approx((hits / count, expected.low, expected.high), abs=1e-12)


def test_one_class_alone_has_no_sensitivity_or_specificity():
    result = given_threshold(predictions([1, 1], [0.4, 0.6], kind="held_out"), 0.5)
    assert result.sensitivity[0] == 0.5
    assert np.isnan(result.specificity[0])
    assert result.specificity[1:] == (0, 1)


def test_metrics_are_those_of_the_matrix():
    metrics = OperatingThreshold("given", 0.5, np.array([[6, 2], [1, 3]]), False).metrics
    assert metrics == pytest.approx(
        {
            "accuracy": 0.75,
            "balanced_accuracy": 0.75,
            "precision": 0.6,
            "recall": 0.75,
            "specificity": 0.75,
            "f1": 2 / 3,
        }
    )


@pytest.mark.parametrize("value", [0.5, INFINITY])
def test_it_is_written_as_json(value):
    result = given_threshold(simulated(), value)
    content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert content == {
        "rule": f"given: {value:g}",
        "threshold": None if value == INFINITY else 0.5,
        "cross_fitted": False,
        "confusion_matrix": result.matrix.tolist(),
        "sensitivity": pytest.approx(list(result.sensitivity)),
        "specificity": pytest.approx(list(result.specificity)),
        **{key: result.metrics[key] for key in ("accuracy", "balanced_accuracy", "precision", "f1")},
    }


def test_a_threshold_that_calls_nothing_positive_is_infinite():
    targets = np.array([1, 0] * 10)
    result = operating_threshold(predictions(targets, 1.0 - targets), "specificity", 0.9)
    assert result.value == INFINITY
    assert result.matrix.tolist() == [[10, 0], [10, 0]]
    assert result.to_dict()["threshold"] is None

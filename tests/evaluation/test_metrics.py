"""Metrics against scikit-learn and against counting by hand, ties and all."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from melanomafusion.errors import PredictionsError
from melanomafusion.evaluation.metrics import (
    average_precision,
    pair_auc,
    partial_auc,
    precision_recall_points,
    roc_auc,
    roc_points,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
)

# Few distinct values make many ties; the others make few.
TIED = st.integers(-3, 3).map(float)
FREE = st.floats(-1e6, 1e6, allow_nan=False)
HUNDREDTHS = st.integers(1, 99)

METRICS = [roc_auc, average_precision, partial_auc, sensitivity_at_specificity, specificity_at_sensitivity]
CURVES = [roc_points, precision_recall_points]


@st.composite
def scored(draw):
    """(targets, scores) of 2 to 60 records, both classes among them."""
    score = draw(st.sampled_from([TIED, FREE]))
    rows = draw(st.lists(st.tuples(st.integers(0, 1), score), min_size=2, max_size=60))
    targets, scores = (np.array(column) for column in zip(*rows, strict=True))
    assume(0 < targets.sum() < len(targets))
    return targets, scores


def counted_auc(targets, scores):
    """Pair by pair, as a fraction."""
    positives, negatives = scores[targets == 1], scores[targets == 0]
    halves = sum(2 * int(p > n) + int(p == n) for p in positives for n in negatives)
    return Fraction(halves, 2 * len(positives) * len(negatives))


def rates(targets, scores):
    """(sensitivity, specificity) of every threshold there is, as fractions."""
    positives, negatives = scores[targets == 1], scores[targets == 0]
    for t in [*sorted(set(scores)), np.inf]:
        hits, spared = int((positives >= t).sum()), int((negatives < t).sum())
        yield Fraction(hits, len(positives)), Fraction(spared, len(negatives))


@settings(deadline=None, max_examples=50)
@given(scored())
def test_roc_auc_is_that_of_scikit_learn(data):
    assert roc_auc(*data) == pytest.approx(reference.roc_auc_score(*data), abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(scored())
def test_roc_auc_counts_pairs(data):
    targets, scores = data
    assert roc_auc(targets, scores) == pytest.approx(float(counted_auc(targets, scores)), abs=1e-15)
    assert pair_auc(scores[targets == 1], scores[targets == 0]) == roc_auc(targets, scores)


@settings(deadline=None, max_examples=50)
@given(scored())
def test_average_precision_is_that_of_scikit_learn(data):
    assert average_precision(*data) == pytest.approx(reference.average_precision_score(*data), abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(scored(), HUNDREDTHS)
def test_partial_auc_is_that_of_scikit_learn_turned_round(data, hundredths):
    targets, scores = data
    width = 1 - hundredths / 100
    standardised = reference.roc_auc_score(1 - targets, -scores, max_fpr=width)
    least, most = width**2 / 2, width
    wanted = least + (2 * standardised - 1) * (most - least)  # McClish's scale undone
    assert partial_auc(targets, scores, hundredths / 100) == pytest.approx(wanted, abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(scored())
def test_roc_points_are_those_of_scikit_learn(data):
    for got, wanted in zip(roc_points(*data), reference.roc_curve(*data, drop_intermediate=False), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(scored())
def test_precision_recall_points_are_those_of_scikit_learn(data):
    precision, recall, thresholds = reference.precision_recall_curve(*data)
    wanted = precision[-2::-1], recall[-2::-1], thresholds[::-1]  # without scikit-learn's point (1, 0)
    for got, column in zip(precision_recall_points(*data), wanted, strict=True):
        np.testing.assert_allclose(got, column, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(scored(), HUNDREDTHS)
def test_operating_points_are_the_best_of_all_thresholds(data, hundredths):
    least, every = Fraction(hundredths, 100), list(rates(*data))
    sensitivity = max(hit for hit, spared in every if spared >= least)
    specificity = max(spared for hit, spared in every if hit >= least)
    assert sensitivity_at_specificity(*data, hundredths / 100) == pytest.approx(float(sensitivity), abs=1e-12)
    assert specificity_at_sensitivity(*data, hundredths / 100) == pytest.approx(float(specificity), abs=1e-12)


@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_rate_that_is_met_exactly_is_enough(tenths):
    # 1 − 0.8 is less than 0.2 in floating point.
    targets = np.repeat([0, 1], 10)
    scores = np.concatenate([np.arange(10), np.arange(10) + 0.5])
    false, hits, _ = roc_points(targets, scores)
    wanted = hits[np.rint(10 * false) <= 10 - tenths].max()
    assert sensitivity_at_specificity(targets, scores, tenths / 10) == wanted
    wanted = 1 - false[np.rint(10 * hits) >= tenths].min()
    assert specificity_at_sensitivity(targets, scores, tenths / 10) == wanted


@pytest.mark.parametrize("metric", [roc_auc, average_precision])
@pytest.mark.parametrize("share", [0.02, 0.9])
def test_classes_of_very_different_size(metric, share):
    rng = np.random.default_rng(0)
    targets = (rng.random(20_000) < share).astype(int)
    scores = np.round(rng.normal(size=20_000) + targets, 2)
    wanted = {"roc_auc": reference.roc_auc_score, "average_precision": reference.average_precision_score}
    assert metric(targets, scores) == pytest.approx(wanted[metric.__name__](targets, scores), abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(scored(), st.randoms(use_true_random=False))
def test_only_the_ranks_of_scores_matter(data, random):
    targets, scores = data
    values = sorted(set(scores))
    steps = np.cumsum([random.uniform(0.1, 5.0) for _ in values])
    other = np.array([dict(zip(values, steps, strict=True))[score] for score in scores])
    for metric in METRICS:
        assert metric(targets, other) == metric(targets, scores)


@settings(deadline=None, max_examples=50)
@given(scored(), st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(data, random):
    targets, scores = data
    order = list(range(len(targets)))
    random.shuffle(order)
    for metric in METRICS:
        assert metric(targets[order], scores[order]) == metric(targets, scores)
    for curve in CURVES:
        for shuffled, wanted in zip(curve(targets[order], scores[order]), curve(targets, scores), strict=True):
            np.testing.assert_array_equal(shuffled, wanted)


@settings(deadline=None, max_examples=50)
@given(scored())
def test_turning_the_scores_round_turns_the_auc_round(data):
    targets, scores = data
    assert roc_auc(targets, -scores) == pytest.approx(1 - roc_auc(targets, scores), abs=1e-12)
    assert roc_auc(1 - targets, -scores) == pytest.approx(roc_auc(targets, scores), abs=1e-12)


def test_values_known_by_heart():
    targets = np.array([0, 0, 1, 1])
    assert roc_auc(targets, np.array([0.1, 0.2, 0.3, 0.4])) == 1.0
    assert roc_auc(targets, np.array([0.4, 0.3, 0.2, 0.1])) == 0.0
    assert roc_auc(targets, np.zeros(4)) == 0.5
    assert roc_auc(targets, np.array([0.1, 0.4, 0.35, 0.8])) == 0.75
    assert average_precision(targets, np.zeros(4)) == 0.5


def test_partial_auc_known_by_heart():
    targets = np.array([0, 0, 1, 1])
    assert partial_auc(targets, np.arange(4.0)) == pytest.approx(0.2)  # perfect, and the challenge's 0.8
    assert partial_auc(targets, np.zeros(4)) == pytest.approx(0.2**2 / 2)  # chance
    assert partial_auc(targets, -np.arange(4.0)) == 0.0
    # From (0, 0.5) straight to (0.5, 1): of the part above 0.5 a triangle of 0.5 × 0.5 / 2 is lost.
    assert partial_auc(targets, np.array([0.0, 1.0, 1.0, 2.0]), 0.5) == pytest.approx(0.375)


def test_operating_points_stand_at_nine_tenths_unless_told():
    rng = np.random.default_rng(0)
    targets = np.arange(200) % 2
    scores = rng.normal(size=200) + targets
    for metric in (sensitivity_at_specificity, specificity_at_sensitivity):
        assert metric(targets, scores) == metric(targets, scores, 0.9) != metric(targets, scores, 0.8)
    assert partial_auc(targets, scores) == partial_auc(targets, scores, 0.8) != partial_auc(targets, scores, 0.7)


def test_a_threshold_no_record_reaches_is_a_threshold_too():
    # Both records are called positive or neither is: only the latter spares the negative.
    assert sensitivity_at_specificity([0, 1], [0.3, 0.3]) == 0.0
    assert specificity_at_sensitivity([0, 1], [0.3, 0.3]) == 0.0
    false, hits, thresholds = roc_points([0, 1], [0.3, 0.3])
    assert (false.tolist(), hits.tolist(), thresholds.tolist()) == ([0, 1], [0, 1], [np.inf, 0.3])


def test_lists_columns_and_booleans_are_understood():
    assert roc_auc([0, 1, 1], [[0.1], [0.3], [0.2]]) == 1.0
    for metric in METRICS:
        wanted = metric(np.array([0, 1, 1]), np.array([0.1, 0.2, 0.05]))
        for kind in ("bool", "uint8", "float32"):
            assert metric(np.array([0, 1, 1], dtype=kind), [0.1, 0.2, 0.05]) == wanted


@pytest.mark.parametrize("metric", [*METRICS, *CURVES])
@pytest.mark.parametrize(
    ("targets", "scores", "reason"),
    [
        ([0, 1], [0.1], "2 and 1"),
        ([], [], "at least one"),
        ([0, 1, 0], [0.1, np.nan, 0.2], "row 1 is not finite"),
        ([0, 1, 0], [0.1, 0.2, np.inf], "row 2 is not finite"),
        ([0, 2], [0.1, 0.2], "0 or 1"),
        ([0, 0.5], [0.1, 0.2], "0 or 1"),
        ([0, np.nan], [0.1, 0.2], "0 or 1"),
        ([0, 0, 0], [0.1, 0.2, 0.3], "All 3 targets are 0"),
        ([1, 1, 1], [0.1, 0.2, 0.3], "All 3 targets are 1"),
    ],
)
def test_what_cannot_be_ranked_is_refused(metric, targets, scores, reason):
    with pytest.raises(PredictionsError, match=reason):
        metric(np.array(targets), np.array(scores))


@pytest.mark.parametrize("metric", [partial_auc, sensitivity_at_specificity, specificity_at_sensitivity])
@pytest.mark.parametrize("share", [0, 1, -0.1, 90, np.nan])
def test_a_share_outside_0_and_1_is_refused(metric, share):
    with pytest.raises(PredictionsError, match="between 0 and 1"):
        metric([0, 1], [0.1, 0.2], share)

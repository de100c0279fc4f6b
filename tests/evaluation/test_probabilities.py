"""Scores as probabilities, against scikit-learn and against the equations that define what is fitted."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from melanomafusion.errors import PredictionsError
from melanomafusion.evaluation.probabilities import (
    brier_score,
    calibration_intercept,
    calibration_points,
    calibration_slope,
    expected_calibration_error,
    fit_logistic,
    log_loss,
    shift_to_prevalence,
)

METRICS = [brier_score, log_loss, expected_calibration_error, calibration_slope, calibration_intercept]
TIED = st.integers(1, 9).map(lambda k: k / 10)
FREE = st.floats(1e-6, 1 - 1e-6)
HARD = st.integers(0, 2).map(lambda k: k / 2)


@st.composite
def scored(draw, *kinds, both_classes=False):
    """(targets, probabilities) of 2 to 60 records."""
    score = draw(st.sampled_from(kinds or (TIED, FREE)))
    rows = draw(st.lists(st.tuples(st.integers(0, 1), score), min_size=2, max_size=60))
    targets, scores = (np.array(column) for column in zip(*rows, strict=True))
    assume(not both_classes or 0 < targets.sum() < len(targets))
    return targets, scores


def simulated(seed, size=300, slope=0.7, shift=-0.5):
    """Scores whose logits are too extreme and too high."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-0.5, 1.5, size)
    targets = (rng.random(size) < expit(truth)).astype(int)
    return targets, expit((truth - shift) / slope)


@settings(deadline=None, max_examples=50)
@given(scored(TIED, FREE, HARD))
def test_brier_score_is_that_of_scikit_learn(data):
    assert brier_score(*data) == pytest.approx(reference.brier_score_loss(*data, labels=[0, 1]), abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(scored())
def test_log_loss_is_that_of_scikit_learn(data):
    assert log_loss(*data) == pytest.approx(reference.log_loss(*data, labels=[0, 1]), abs=1e-12)


def test_hard_scores_lose_as_much_as_one_in_a_thousand_million_million():
    assert log_loss([1], [0.0]) == pytest.approx(15 * np.log(10))
    assert log_loss([0], [1.0]) == pytest.approx(15 * np.log(10), rel=1e-3)  # 1 − 1e-15 is rounded
    assert log_loss([0, 1], [0.0, 1.0]) == pytest.approx(0.0, abs=1e-14)
    assert log_loss([0], [1e-20]) == log_loss([0], [0.0])


@settings(deadline=None, max_examples=50)
@given(scored(TIED, FREE, HARD), st.integers(1, 12))
def test_calibration_points_are_those_of_scikit_learn(data, bins):
    targets, scores = data
    assume(np.gcd(len(scores) - 1, bins) == 1)  # else an edge is a score, and rounding decides on which side it is
    mean, share, count = calibration_points(targets, scores, bins)
    wanted_share, wanted_mean = calibration_curve(targets, scores, n_bins=bins, strategy="quantile")
    np.testing.assert_allclose(mean, wanted_mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(share, wanted_share, rtol=0, atol=1e-12)
    gaps = np.abs(wanted_mean - wanted_share)
    wanted = sum(gap * n for gap, n in zip(gaps, count, strict=True)) / len(scores)
    assert expected_calibration_error(targets, scores, bins) == pytest.approx(wanted, abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(scored(TIED, FREE, HARD), st.integers(1, 12))
def test_calibration_points_account_for_every_record(data, bins):
    targets, scores = data
    mean, share, count = calibration_points(targets, scores, bins)
    assert count.sum() == len(targets)
    assert 1 <= len(count) <= bins
    assert (count > 0).all()
    assert (np.diff(mean) > 0).all()
    assert share @ count == pytest.approx(targets.sum())
    assert mean @ count == pytest.approx(scores.sum())


def test_equal_scores_share_a_bin():
    targets = np.arange(100) % 2
    points = calibration_points(targets, np.full(100, 0.3))
    assert np.concatenate(points) == pytest.approx([0.3, 0.5, 100])
    scores = np.repeat([0.0, 0.25, 1.0], [70, 20, 10])
    assert calibration_points(targets, scores)[0].tolist() == pytest.approx([0.0, 0.25, 1.0])


def test_bins_hold_equally_many_records():
    targets, scores = simulated(0, size=1001)
    for bins in (4, 7, 10):
        count = calibration_points(targets, scores, bins)[2]
        assert len(count) == bins
        assert count.max() - count.min() <= 1
    assert len(calibration_points(targets, scores)[2]) == 10


def test_calibration_error_by_hand():
    # Halves: scores 0.1 and 0.2 with no positive, 0.6 and 0.8 with one of two; gaps 0.15 and 0.2.
    assert expected_calibration_error([0, 0, 1, 0], [0.1, 0.2, 0.6, 0.8], 2) == pytest.approx(0.175)
    # Unequal bins are weighted by their records: gaps 0.1 over three, 0.5 over one.
    assert expected_calibration_error([0, 0, 0, 1], [0.1, 0.1, 0.1, 0.5], 2) == pytest.approx((3 * 0.1 + 0.5) / 4)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("slope", "shift"), [(0.7, -0.5), (1.6, 2.0)])
def test_slope_and_intercept_are_those_of_scikit_learn(seed, slope, shift):
    targets, scores = simulated(seed, slope=slope, shift=shift)
    x = logit(scores)
    model = LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky", max_iter=1000).fit(x[:, None], targets)
    wanted = (model.intercept_[0], model.coef_[0, 0])
    assert fit_logistic(x, targets) == pytest.approx(wanted, abs=1e-6)
    assert calibration_slope(targets, scores) == pytest.approx(wanted[1], abs=1e-6)


def overlapping(targets, x):
    positives, negatives = x[targets == 1], x[targets == 0]
    if not (len(positives) and len(negatives)):
        return False
    return bool(positives.min() < negatives.max() and positives.max() > negatives.min())


@settings(deadline=None, max_examples=50)
@given(scored(TIED, FREE, HARD))
@example((np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.2, 0.3])))
@example((np.array([1, 1, 0, 0]), np.array([0.1, 0.2, 0.2, 0.3])))
@example((np.array([0, 1]), np.array([0.4, 0.4])))
def test_slope_solves_its_score_equations_or_is_not_there(data):
    targets, scores = data
    x = logit(np.clip(scores, 1e-15, 1 - 1e-15))
    intercept, slope = fit_logistic(x, targets)
    if overlapping(targets, x):
        left = targets - expit(intercept + slope * x)
        assert (left.sum(), left @ x) == pytest.approx((0, 0), abs=1e-8)
        assert calibration_slope(targets, scores) == slope
    else:
        assert np.isnan([intercept, slope, calibration_slope(targets, scores)]).all()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_slope_goes_with_the_scale_of_what_it_is_fitted_to(scale):
    targets, scores = simulated(3)
    intercept, slope = fit_logistic(logit(scores), targets)
    moved = fit_logistic(scale * (logit(scores) + 2), targets)
    assert moved == pytest.approx((intercept - 2 * slope, slope / scale), rel=1e-9)


def test_slope_and_intercept_of_scores_that_are_right():
    # One third of the records at 1/3 are positive, two thirds of those at 2/3.
    targets, scores = np.array([1, 0, 0, 1, 1, 0]), np.array([1, 1, 1, 2, 2, 2]) / 3
    assert calibration_slope(targets, scores) == pytest.approx(1.0, abs=1e-9)
    assert calibration_intercept(targets, scores) == pytest.approx(0.0, abs=1e-9)
    assert expected_calibration_error(targets, scores, 2) == pytest.approx(0.0, abs=1e-12)


def test_slope_tells_scores_that_are_too_extreme_from_scores_that_are_too_tame():
    targets, scores = simulated(1, size=5000, slope=0.5, shift=0.0)
    assert calibration_slope(targets, scores) == pytest.approx(0.5, abs=0.05)
    targets, scores = simulated(1, size=5000, slope=2.0, shift=0.0)
    assert calibration_slope(targets, scores) == pytest.approx(2.0, abs=0.2)


@settings(deadline=None, max_examples=50)
@given(scored(TIED, FREE, HARD, both_classes=True))
def test_intercept_makes_the_mean_score_the_share_of_positives(data):
    targets, scores = data
    shift = calibration_intercept(targets, scores)
    moved = expit(logit(np.clip(scores, 1e-15, 1 - 1e-15)) + shift)
    assert moved.mean() == pytest.approx(targets.mean(), abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(scored(TIED, st.floats(0.01, 0.99), both_classes=True), st.floats(-5, 5))
def test_moving_all_logits_moves_the_intercept_back(data, shift):
    targets, scores = data
    moved = calibration_intercept(targets, expit(logit(scores) + shift))
    assert moved == pytest.approx(calibration_intercept(targets, scores) - shift, abs=1e-9)


def test_shift_to_prevalence_reaches_rare_and_common():
    logits = np.random.default_rng(0).normal(size=100)
    for prevalence in (1e-6, 0.018, 0.5, 0.999):
        assert expit(logits + shift_to_prevalence(logits, prevalence)).mean() == pytest.approx(prevalence, rel=1e-9)
    assert shift_to_prevalence(np.array([2.0]), 0.5) == pytest.approx(-2.0, abs=1e-9)


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_alone_has_no_slope_and_no_intercept(only):
    targets, scores = np.full(3, only), np.array([0.1, 0.2, 0.3])
    assert np.isnan(calibration_slope(targets, scores))
    assert np.isnan(calibration_intercept(targets, scores))
    assert brier_score(targets, scores) == pytest.approx(np.mean((scores - only) ** 2))


@settings(deadline=None, max_examples=50)
@given(scored(), st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(data, random):
    targets, scores = data
    order = list(range(len(targets)))
    random.shuffle(order)
    for metric in METRICS:
        wanted = metric(targets, scores)
        assert metric(targets[order], scores[order]) == pytest.approx(wanted, abs=1e-7, rel=1e-7, nan_ok=True)


@settings(deadline=None, max_examples=50)
@given(scored(HARD))
def test_hard_scores_are_scored(data):
    assert all(isinstance(metric(*data), float) for metric in METRICS)


def test_lists_and_booleans_are_understood():
    scores = [0.1, 0.4, 0.3, 0.8]
    for metric in METRICS:
        wanted = metric(np.array([0, 0, 1, 1]), np.array(scores))
        assert metric([False, False, True, True], scores) == wanted
        assert metric(np.array([0, 0, 1, 1], dtype="uint8"), scores) == wanted


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("targets", "scores", "reason"),
    [
        ([0, 1], [0.1], "2 and 1"),
        ([], [], "at least one"),
        ([0, 1, 0], [0.1, np.nan, 0.2], "row 1 is not finite"),
        ([0, 2], [0.1, 0.2], "0 or 1"),
        ([0, 1, 1], [0.1, -0.5, 2.0], r"row 1 has -0.5 \(2 such rows\)"),
        ([0, 1, 1], [0.1, 0.5, 1.25], r"row 2 has 1.25 \(1 such rows\)"),
    ],
)
def test_what_is_no_probability_is_refused(metric, targets, scores, reason):
    with pytest.raises(PredictionsError, match=reason):
        metric(np.array(targets), np.array(scores))

"""Decisions at a threshold, against scikit-learn and against counting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from melanomafusion.errors import PredictionsError
from melanomafusion.evaluation.decisions import confusion_matrix, matrix_metrics, net_benefit, threshold_metrics

THRESHOLDS = st.integers(1, 19).map(lambda k: k / 20)


@st.composite
def scored(draw):
    """(targets, scores) of 1 to 60 records, on and off the thresholds; one class may be absent."""
    score = draw(st.sampled_from([st.integers(0, 20).map(lambda k: k / 20), st.floats(0, 1)]))
    rows = draw(st.lists(st.tuples(st.integers(0, 1), score), min_size=1, max_size=60))
    targets, scores = (np.array(column) for column in zip(*rows, strict=True))
    return targets, scores


@settings(deadline=None, max_examples=30)
@given(scored(), THRESHOLDS)
def test_confusion_matrix_is_that_of_scikit_learn(data, threshold):
    targets, scores = data
    matrix = confusion_matrix(targets, scores, threshold)
    assert (matrix.dtype, matrix.shape) == (np.int64, (2, 2))
    np.testing.assert_array_equal(matrix, reference.confusion_matrix(targets, scores >= threshold, labels=[0, 1]))


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
@settings(deadline=None, max_examples=30)
@given(scored(), THRESHOLDS)
def test_threshold_metrics_are_those_of_scikit_learn(data, threshold):
    targets, scores = data
    called = (scores >= threshold).astype(int)
    wanted = {
        "accuracy": reference.accuracy_score(targets, called),
        "balanced_accuracy": reference.balanced_accuracy_score(targets, called),
        "precision": reference.precision_score(targets, called, zero_division=0),
        "recall": reference.recall_score(targets, called, zero_division=0),
        "specificity": reference.recall_score(targets, called, pos_label=0, zero_division=0),
        "f1": reference.f1_score(targets, called, zero_division=0),
    }
    assert threshold_metrics(targets, scores, threshold) == pytest.approx(wanted, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(scored(), THRESHOLDS)
def test_net_benefit_is_a_count(data, threshold):
    targets, scores = data
    odds = threshold / (1 - threshold)
    counted = sum(1.0 if t else -odds for t, s in zip(targets, scores, strict=True) if s >= threshold)
    assert net_benefit(targets, scores, threshold) == pytest.approx(counted / len(targets), abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(scored(), THRESHOLDS, st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(data, threshold, random):
    targets, scores = data
    order = list(range(len(targets)))
    random.shuffle(order)
    np.testing.assert_array_equal(
        confusion_matrix(targets[order], scores[order], threshold), confusion_matrix(targets, scores, threshold)
    )


def test_net_benefit_of_treating_none_and_of_treating_all():
    targets = np.array([1, 0, 0, 0])
    assert net_benefit(targets, np.full(4, 0.1), 0.2) == 0.0
    assert net_benefit(targets, np.full(4, 0.2), 0.2) == pytest.approx(0.25 - 0.75 * 0.25)


def test_a_score_on_the_threshold_is_called_positive():
    assert confusion_matrix([1, 0, 0, 1], [0.5, 0.5, 0.49, 0.2]).tolist() == [[1, 1], [1, 1]]
    values = threshold_metrics(np.array([1, 0, 0, 1]), np.array([0.5, 0.5, 0.49, 0.2]))
    names = ("accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1")
    assert values == dict.fromkeys(names, 0.5)


def test_nothing_called_positive_has_precision_zero():
    values = threshold_metrics(np.array([0, 0]), np.array([0.1, 0.2]))
    wanted = {"accuracy": 1.0, "balanced_accuracy": 1.0, "precision": 0.0, "recall": 0.0, "specificity": 1.0, "f1": 0.0}
    assert values == wanted


def test_metrics_of_a_matrix_are_named_numbers():
    values = matrix_metrics(np.array([[6, 2], [1, 3]]))
    assert values == pytest.approx(
        {
            "accuracy": 9 / 12,
            "balanced_accuracy": (3 / 4 + 6 / 8) / 2,
            "precision": 3 / 5,
            "recall": 3 / 4,
            "specificity": 6 / 8,
            "f1": 6 / 9,
        }
    )
    assert all(type(value) is float for value in values.values())


def test_any_finite_score_can_be_cut():
    assert confusion_matrix([0, 1, True], [-7.0, 3.5, 9.0], threshold=3.5).tolist() == [[1, 0], [0, 2]]


@pytest.mark.parametrize("metric", [confusion_matrix, threshold_metrics, lambda t, s: net_benefit(t, s, 0.1)])
@pytest.mark.parametrize(
    ("targets", "scores", "reason"),
    [
        ([0, 1], [0.1], "2 and 1"),
        ([], [], "at least one"),
        ([0, 1, 0], [0.1, np.nan, 0.2], "row 1 is not finite"),
        ([0, 2], [0.1, 0.2], "0 or 1"),
    ],
)
def test_what_cannot_be_decided_is_refused(metric, targets, scores, reason):
    with pytest.raises(PredictionsError, match=reason):
        metric(np.array(targets), np.array(scores))


@pytest.mark.parametrize("threshold", [0, 1, -0.5, np.nan])
def test_a_threshold_without_odds_has_no_net_benefit(threshold):
    with pytest.raises(PredictionsError, match="threshold lies between 0 and 1"):
        net_benefit([0, 1], [0.1, 0.2], threshold)

"""Metrics against scikit-learn, ties and all."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from melanomafusion.errors import PredictionsError
from melanomafusion.evaluation.decisions import threshold_metrics
from melanomafusion.evaluation.metrics import average_precision, roc_auc

# Few distinct values make many ties; the others make few.
TIED = st.integers(-3, 3).map(float)
FREE = st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def scored(draw, both_classes=True):
    """(targets, scores) of 2 to 60 records."""
    score = draw(st.sampled_from([TIED, FREE]))
    rows = draw(st.lists(st.tuples(st.integers(0, 1), score), min_size=2, max_size=60))
    targets, scores = (np.array(column) for column in zip(*rows, strict=True))
    assume(not both_classes or 0 < targets.sum() < len(targets))
    return targets, scores


@settings(deadline=None)
@given(scored())
def test_roc_auc_is_that_of_scikit_learn(data):
    assert roc_auc(*data) == pytest.approx(reference.roc_auc_score(*data), abs=1e-12)


@settings(deadline=None)
@given(scored())
def test_average_precision_is_that_of_scikit_learn(data):
    assert average_precision(*data) == pytest.approx(reference.average_precision_score(*data), abs=1e-12)


@settings(deadline=None)
@given(scored(both_classes=False), st.sampled_from([-1.0, 0.0, 0.5, 1.0]))
def test_threshold_metrics_are_those_of_scikit_learn(data, threshold):
    targets, scores = data
    called = (scores >= threshold).astype(int)
    wanted = {
        "accuracy": reference.accuracy_score(targets, called),
        "precision": reference.precision_score(targets, called, zero_division=0),
        "recall": reference.recall_score(targets, called, zero_division=0),
        "f1": reference.f1_score(targets, called, zero_division=0),
    }
    assert threshold_metrics(targets, scores, threshold) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("metric", [roc_auc, average_precision])
def test_rare_positives_among_many_records(metric):
    rng = np.random.default_rng(0)
    targets = (rng.random(20_000) < 0.02).astype(int)
    scores = np.round(rng.normal(size=20_000) + targets, 2)
    wanted = {"roc_auc": reference.roc_auc_score, "average_precision": reference.average_precision_score}
    assert metric(targets, scores) == pytest.approx(wanted[metric.__name__](targets, scores), abs=1e-12)


@settings(deadline=None)
@given(scored(), st.randoms(use_true_random=False))
def test_only_the_ranks_of_scores_matter(data, random):
    targets, scores = data
    values = sorted(set(scores))
    steps = np.cumsum([random.uniform(0.1, 5.0) for _ in values])
    other = np.array([dict(zip(values, steps, strict=True))[score] for score in scores])
    assert roc_auc(targets, other) == roc_auc(targets, scores)
    assert average_precision(targets, other) == average_precision(targets, scores)


@settings(deadline=None)
@given(scored(), st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(data, random):
    targets, scores = data
    order = list(range(len(targets)))
    random.shuffle(order)
    assert roc_auc(targets[order], scores[order]) == roc_auc(targets, scores)
    assert average_precision(targets[order], scores[order]) == pytest.approx(average_precision(targets, scores))


@settings(deadline=None)
@given(scored())
def test_turning_the_scores_round_turns_the_auc_round(data):
    targets, scores = data
    assert roc_auc(targets, -scores) == pytest.approx(1 - roc_auc(targets, scores), abs=1e-12)


def test_values_known_by_heart():
    targets = np.array([0, 0, 1, 1])
    assert roc_auc(targets, np.array([0.1, 0.2, 0.3, 0.4])) == 1.0
    assert roc_auc(targets, np.array([0.4, 0.3, 0.2, 0.1])) == 0.0
    assert roc_auc(targets, np.zeros(4)) == 0.5
    assert roc_auc(targets, np.array([0.1, 0.4, 0.35, 0.8])) == 0.75
    assert average_precision(targets, np.zeros(4)) == 0.5


def test_a_score_on_the_threshold_is_called_positive():
    values = threshold_metrics(np.array([1, 0, 0, 1]), np.array([0.5, 0.5, 0.49, 0.2]))
    assert values == {"accuracy": 0.5, "precision": 0.5, "recall": 0.5, "f1": 0.5}


def test_nothing_called_positive_has_precision_zero():
    values = threshold_metrics(np.array([0, 0]), np.array([0.1, 0.2]))
    assert values == {"accuracy": 1.0, "precision": 0.0, "recall": 0.0, "f1": 0.0}


def test_lists_columns_and_booleans_are_understood():
    assert roc_auc([0, 1, 1], [[0.1], [0.3], [0.2]]) == 1.0
    assert roc_auc(np.array([False, True]), [0.1, 0.2]) == 1.0


@pytest.mark.parametrize("metric", [roc_auc, average_precision, threshold_metrics])
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
    ],
)
def test_what_cannot_be_scored_is_refused(metric, targets, scores, reason):
    with pytest.raises(PredictionsError, match=reason):
        metric(np.array(targets), np.array(scores))


@pytest.mark.parametrize("metric", [roc_auc, average_precision])
@pytest.mark.parametrize("only", [0, 1])
def test_one_class_alone_cannot_be_ranked(metric, only):
    with pytest.raises(PredictionsError, match=f"All 3 targets are {only}"):
        metric(np.full(3, only), np.array([0.1, 0.2, 0.3]))

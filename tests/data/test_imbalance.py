"""Class weights against scikit-learn's; oversampling against its promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from melanomafusion.data.imbalance import class_weights, epoch_rows, imbalance_report, sample_weights
from melanomafusion.errors import RecipeError

PROPERTY = settings(max_examples=60, deadline=None, database=None)
BINARY = st.lists(st.integers(0, 1), min_size=2, max_size=60).filter(lambda t: 0 < sum(t) < len(t)).map(np.array)
CLASSES = st.lists(st.integers(0, 4), min_size=2, max_size=60).filter(lambda t: len(set(t)) > 1).map(np.array)


@PROPERTY
@given(CLASSES)
def test_class_weights_are_those_of_scikit_learn(targets):
    classes = np.unique(targets)
    golden = compute_class_weight("balanced", classes=classes, y=targets)
    weights = class_weights(targets)
    assert list(weights) == classes.tolist()
    np.testing.assert_allclose(list(weights.values()), golden, rtol=1e-12)


@PROPERTY
@given(CLASSES)
def test_sample_weights_are_those_of_scikit_learn_and_have_mean_1(targets):
    weights = sample_weights(targets, "class_weight")
    assert weights.dtype == np.float32
    assert weights.mean() == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(weights, compute_sample_weight("balanced", targets), rtol=1e-6)
    # Each class has the same weight in all.
    totals = [weights[targets == value].sum() for value in np.unique(targets)]
    np.testing.assert_allclose(totals, totals[0], rtol=1e-5)


def test_weights_of_a_rare_class_as_a_number():
    assert class_weights(np.array([0] * 98 + [1] * 2)) == {0: pytest.approx(100 / 196), 1: 25.0}


@pytest.mark.parametrize("treatment", ["none", "oversample"])
def test_other_treatments_weigh_all_records_alike(treatment):
    assert sample_weights(np.array([0, 0, 1]), treatment).tolist() == [1, 1, 1]


@pytest.mark.parametrize("targets", [[0, 0], [1], []])
def test_weights_of_one_class_are_refused(targets):
    with pytest.raises(RecipeError, match="at least two classes"):
        class_weights(np.array(targets))


@PROPERTY
@given(BINARY, st.floats(0.05, 0.9))
def test_oversampling_keeps_each_record_and_reaches_the_share(targets, share):
    rows = epoch_rows(targets, "oversample", share)
    assert rows.dtype == np.int64
    assert set(rows) == set(range(len(targets)))
    repeated = np.bincount(rows, minlength=len(targets))
    # Negatives stand once; positives as evenly often as can be.
    assert (repeated[targets == 0] == 1).all()
    assert np.ptp(repeated[targets == 1]) <= 1
    # To within the one record that rounding may cost.
    positives = repeated[targets == 1].sum()
    wanted = share * (targets == 0).sum() / (1 - share)
    if wanted > (targets == 1).sum():
        assert abs(positives - wanted) <= 0.5 + 1e-9
    else:
        assert len(rows) == len(targets)


def test_oversampling_a_rare_class_to_a_quarter():
    targets = np.array([0] * 990 + [1] * 10)
    rows = epoch_rows(targets, "oversample", 0.25)
    assert targets[rows].mean() == pytest.approx(0.25, abs=0.001)
    assert len(rows) == 990 + 330


def test_oversampling_without_positives_changes_nothing():
    assert epoch_rows(np.zeros(5, dtype=int), "oversample", 0.5).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("treatment", ["none", "class_weight"])
def test_other_treatments_take_each_record_once(treatment):
    assert epoch_rows(np.array([0, 1, 0]), treatment, 0.9).tolist() == [0, 1, 2]


def test_the_report_counts_and_warns_of_the_cost():
    targets = np.array([0] * 98 + [1] * 2)
    weighted = imbalance_report(targets, "class_weight")
    assert weighted.startswith("100 training records, 2.00% positive.")
    assert "class 0: 0.51, class 1: 25.00" in weighted
    assert "no probabilities" in weighted
    assert "no probabilities until calibrated" in imbalance_report(targets, "oversample")
    assert "No weights and no oversampling." in imbalance_report(targets, "none")

"""Variance of AUCs against the formulas written out over all pairs, and against published figures."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from melanomafusion.errors import PredictionsError
from melanomafusion.evaluation.delong import auc_covariance, placements
from melanomafusion.evaluation.metrics import roc_auc

# Hanley and McNeil 1982 (doi:10.1148/radiology.143.1.7063747): CT images rated 1 … 5, normal and abnormal.
NORMAL, ABNORMAL = (33, 6, 6, 11, 2), (3, 2, 2, 11, 33)

# The SAS/STAT manual, PROC LOGISTIC, "Comparing Receiver Operating Characteristic Curves": albumin, total protein,
# K-G score (10 − it is the marker) and outcome of the patients of DeLong et al. without missing values.
# fmt: off
SURGERY = np.array([
    (3.0, 5.8, 10, 0), (3.2, 6.3, 5, 1), (3.9, 6.8, 3, 1), (2.8, 4.8, 6, 0), (3.2, 5.8, 3, 1), (0.9, 4.0, 5, 0),
    (2.5, 5.7, 8, 0), (1.6, 5.6, 5, 1), (3.8, 5.7, 5, 1), (3.7, 6.7, 6, 1), (3.2, 5.4, 4, 1), (3.8, 6.6, 6, 1),
    (4.1, 6.6, 5, 1), (3.6, 5.7, 5, 1), (4.3, 7.0, 4, 1), (3.6, 6.7, 4, 0), (2.3, 4.4, 6, 1), (4.2, 7.6, 4, 0),
    (4.0, 6.6, 6, 0), (3.5, 5.8, 6, 1), (3.8, 6.8, 7, 1), (3.0, 4.7, 8, 0), (4.5, 7.4, 5, 1), (3.7, 7.4, 5, 1),
    (3.1, 6.6, 6, 1), (4.1, 8.2, 6, 1), (4.3, 7.0, 5, 1), (4.3, 6.5, 4, 1), (3.2, 5.1, 5, 1), (2.6, 4.7, 6, 1),
    (3.3, 6.8, 6, 0), (1.7, 4.0, 7, 0), (3.7, 6.1, 5, 1), (3.3, 6.3, 7, 1), (4.2, 7.7, 6, 1), (3.5, 6.2, 5, 1),
    (2.9, 5.7, 9, 0), (2.1, 4.8, 7, 1), (2.8, 6.2, 8, 0), (4.0, 7.0, 7, 1), (3.3, 5.7, 6, 1), (3.7, 6.9, 5, 1),
    (3.6, 6.6, 5, 1),
])
# fmt: on


def ratings():
    """(targets, scores) of Hanley and McNeil's 109 patients."""
    grades = np.arange(1.0, 6.0)
    scores = np.concatenate([np.repeat(grades, NORMAL), np.repeat(grades, ABNORMAL)])
    return np.repeat([0, 1], [sum(NORMAL), sum(ABNORMAL)]), scores


def compared(targets, rows):
    """(k, positives, negatives): 1 where the positive is above the negative, ½ where they tie."""
    positives, negatives = rows[:, targets == 1][:, :, None], rows[:, targets == 0][:, None, :]
    return np.where(positives > negatives, 1.0, np.where(positives == negatives, 0.5, 0.0))


def textbook_delong(targets, rows):
    """Equations of DeLong et al. 1988 over all pairs."""
    pairs = compared(targets, rows)
    by_positive, by_negative = np.atleast_2d(pairs.mean(axis=2)), np.atleast_2d(pairs.mean(axis=1))
    s10, s01 = np.atleast_2d(np.cov(by_positive)), np.atleast_2d(np.cov(by_negative))
    return pairs.mean(axis=(1, 2)), s10 / by_positive.shape[1] + s01 / by_negative.shape[1]


def textbook_obuchowski(targets, rows, clusters):
    """Equations of Obuchowski 1997 over all pairs and all clusters."""
    pairs = compared(targets, rows)
    aucs = pairs.mean(axis=(1, 2))
    m, n = pairs.shape[1:]
    of_positive, of_negative = clusters[targets == 1], clusters[targets == 0]
    names = sorted(set(clusters))
    with_positive, with_negative = len(set(of_positive)), len(set(of_negative))
    k = len(rows)
    s10, s01, s11 = np.zeros((k, k)), np.zeros((k, k)), np.zeros((k, k))
    for name in names:
        x, y = np.zeros(k), np.zeros(k)
        for i in np.flatnonzero(of_positive == name):
            x += pairs[:, i].mean(axis=1) - aucs
        for j in np.flatnonzero(of_negative == name):
            y += pairs[:, :, j].mean(axis=1) - aucs
        s10 += np.outer(x, x) * with_positive / ((with_positive - 1) * m)
        s01 += np.outer(y, y) * with_negative / ((with_negative - 1) * n)
        s11 += np.outer(x, y) * len(names) / (len(names) - 1)
    return aucs, s10 / m + s01 / n + s11 / (m * n) + s11.T / (m * n)


@st.composite
def rated(draw, most_markers=3):
    """(targets, (k, n) scores) with at least two records of each class, with many ties or few."""
    k = draw(st.integers(1, most_markers))
    score = draw(st.sampled_from([st.integers(-2, 2).map(float), st.floats(-1e6, 1e6)]))
    rows = draw(st.lists(st.tuples(st.integers(0, 1), *[score] * k), min_size=4, max_size=40))
    targets, scores = np.array([row[0] for row in rows]), np.array([row[1:] for row in rows]).T
    assume(2 <= targets.sum() <= len(targets) - 2)
    return targets, scores


@st.composite
def clustered(draw):
    """As `rated`, and clusters; at least two of them with positives, two with negatives. Codes may be left out."""
    targets, rows = draw(rated())
    codes = st.integers(0, draw(st.integers(1, 12)))
    clusters = np.array(draw(st.lists(codes, min_size=len(targets), max_size=len(targets))))
    assume(all(len(set(clusters[targets == t])) > 1 for t in (0, 1)))
    return targets, rows, clusters


def same(got, wanted):
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(rated())
def test_covariance_is_that_of_the_textbook(data):
    same(auc_covariance(*data), textbook_delong(*data))


@settings(deadline=None, max_examples=50)
@given(clustered())
def test_clustered_covariance_is_that_of_the_textbook(data):
    same(auc_covariance(*data), textbook_obuchowski(*data))


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_covariance_of_many_records_is_that_of_the_textbook(share):
    rng = np.random.default_rng(0)
    targets = (rng.random(600) < share).astype(int)
    rows = np.round(rng.normal(size=(3, 600)) + rng.normal(size=600) + targets, 1)
    clusters = rng.integers(60, size=600)
    same(auc_covariance(targets, rows), textbook_delong(targets, rows))
    same(auc_covariance(targets, rows, clusters), textbook_obuchowski(targets, rows, clusters))


@settings(deadline=None, max_examples=50)
@given(rated(1))
def test_placements_are_shares_of_pairs(data):
    targets, rows = data
    pairs = compared(targets, rows)[0]
    same(placements(targets, rows[0]), (pairs.mean(axis=1), pairs.mean(axis=0)))
    assert auc_covariance(targets, rows[0])[0][0] == pytest.approx(roc_auc(targets, rows[0]), abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(rated(), st.randoms(use_true_random=False))
def test_clusters_of_one_record_are_no_clusters(data, random):
    targets, rows = data
    codes = list(range(len(targets)))
    random.shuffle(codes)
    same(auc_covariance(targets, rows, np.array(codes)), auc_covariance(targets, rows))


@settings(deadline=None, max_examples=50)
@given(rated(), st.integers(2, 4), st.randoms(use_true_random=False))
def test_copies_of_a_record_are_no_evidence(data, copies, random):
    targets, rows = data
    order = list(range(copies * len(targets)))
    random.shuffle(order)
    clusters = np.repeat(np.arange(len(targets)), copies)[order]
    repeated = np.repeat(targets, copies)[order], np.repeat(rows, copies, axis=1)[:, order]
    same(auc_covariance(*repeated, clusters), auc_covariance(targets, rows))


@settings(deadline=None, max_examples=50)
@given(clustered(), st.randoms(use_true_random=False))
def test_neither_order_nor_scale_nor_names_of_clusters_matter(data, random):
    targets, rows, clusters = data
    order = list(range(len(targets)))
    random.shuffle(order)
    names = random.sample(range(50), 13)
    renamed = np.array([names[code] for code in clusters])
    moved = np.cbrt(rows[:, order]) * 3 - 1
    assume(all(len(set(a)) == len(set(b)) for a, b in zip(moved, rows, strict=True)))  # nothing rounded into a tie
    same(auc_covariance(targets[order], moved, renamed[order]), auc_covariance(targets, rows, clusters))
    same(auc_covariance(targets[order], moved), auc_covariance(targets, rows))


@settings(deadline=None, max_examples=50)
@given(clustered())
def test_covariances_are_covariances(data):
    targets, rows, clusters = data
    for covariance in (auc_covariance(targets, rows)[1], auc_covariance(targets, rows, clusters)[1]):
        assert covariance.shape == (len(rows), len(rows))
        np.testing.assert_allclose(covariance, covariance.T, rtol=0, atol=1e-15)
        assert np.linalg.eigvalsh(covariance).min() > -1e-12


def test_opposite_scores_have_opposite_aucs():
    targets, scores = ratings()
    aucs, covariance = auc_covariance(targets, np.stack([scores, -scores]))
    assert aucs.sum() == pytest.approx(1.0)
    assert covariance == pytest.approx(covariance[0, 0] * np.array([[1, -1], [-1, 1]]))


def test_ratings_of_hanley_and_mcneil():
    # Area, standard error and interval as Stata's manual prints them ([R] roctab).
    aucs, covariance = auc_covariance(*ratings())
    error = np.sqrt(covariance[0, 0])
    assert (round(aucs[0], 4), round(error, 4)) == (0.8932, 0.0307)
    ends = aucs[0] + 1.959963984540054 * error * np.array([-1, 1])
    assert np.round(ends, 5).tolist() == [0.83295, 0.95339]


def test_markers_of_delong():
    aucs, covariance = auc_covariance(SURGERY[:, 3], np.stack([10 - SURGERY[:, 2], SURGERY[:, 0], SURGERY[:, 1]]))
    assert np.round(aucs, 4).tolist() == [0.7258, 0.7366, 0.6478]
    assert np.round(np.sqrt(np.diag(covariance)), 4).tolist() == [0.1028, 0.0927, 0.1]
    contrast = np.array([[-1, 1, 0], [-1, 0, 1]])
    difference, spread = contrast @ aucs, contrast @ covariance @ contrast.T
    assert np.round(difference, 4).tolist() == [0.0108, -0.078]
    errors = np.sqrt(np.diag(spread))
    assert np.round(errors, 4).tolist() == [0.0953, 0.1046]
    assert np.round((difference / errors) ** 2, 4).tolist() == [0.0127, 0.5554]
    assert np.round(2 * ndtr(-np.abs(difference / errors)), 4).tolist() == [0.9102, 0.4561]
    assert round(float(difference @ np.linalg.solve(spread, difference)), 4) == 2.5340


@pytest.mark.parametrize("only", [0, 1])
@pytest.mark.parametrize("clusters", [None, np.arange(4)])
def test_a_class_of_one_record_has_no_variance(only, clusters):
    targets = np.full(4, only)
    targets[3] = 1 - only
    aucs, covariance = auc_covariance(targets, np.array([0.1, 0.5, 0.3, 0.4]), clusters)
    assert aucs.item() == pytest.approx(1 / 3 if only else 2 / 3)
    assert np.isnan(covariance).all()


@pytest.mark.parametrize("clusters", [[0, 0, 0, 1, 2, 3, 4], [0, 1, 2, 3, 3, 3, 3], [0] * 7])
def test_a_class_in_one_cluster_has_no_variance(clusters):
    targets = np.array([1, 1, 1, 0, 0, 0, 0])
    for seed in range(10):
        scores = np.round(np.random.default_rng(seed).normal(size=(2, 7)), 1)
        assert np.isnan(auc_covariance(targets, scores, np.array(clusters))[1]).all()


def test_scores_that_separate_have_no_spread():
    aucs, covariance = auc_covariance(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4]))
    assert (aucs.item(), covariance.item()) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("targets", "scores", "reason"),
    [
        ([0, 1], [0.1], "2 and 1"),
        ([0, 1, 0], [0.1, np.nan, 0.2], "row 1 is not finite"),
        ([0, 2], [0.1, 0.2], "0 or 1"),
        ([0, 0], [0.1, 0.2], "All 2 targets are 0"),
    ],
)
def test_what_cannot_be_ranked_is_refused(targets, scores, reason):
    with pytest.raises(PredictionsError, match=reason):
        auc_covariance(np.array(targets), np.array(scores))

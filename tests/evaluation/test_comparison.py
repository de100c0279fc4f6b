"""Comparisons in pairs: against the variances by themselves, copies, turned pairs, and clear differences."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from melanomafusion.errors import PredictionsError
from melanomafusion.evaluation.bootstrap import resampled_aucs
from melanomafusion.evaluation.comparison import compare
from melanomafusion.evaluation.delong import auc_covariance
from melanomafusion.evaluation.intervals import auc_difference
from melanomafusion.evaluation.metrics import roc_auc
from melanomafusion.predictions import Predictions


def simulated(seed=0, patients=40, kind="oof"):
    """Predictions of some 160 images; images of a patient go together."""
    rng = np.random.default_rng(seed)
    patient = rng.permutation(np.repeat(np.arange(patients), rng.integers(1, 8, patients)))
    target = (rng.random(len(patient)) < rng.random(patients)[patient] ** 2).astype(int)
    score = rng.normal(size=len(patient)) + rng.normal(size=patients)[patient] + target
    frame = pd.DataFrame(
        {
            "image_name": [f"i{i:03d}" for i in range(len(patient))],
            "patient_id": [f"p{p:02d}" for p in patient],
            "target": target,
            "fold": patient % 5,
            "score": np.round(score, 1),
        }
    )
    return Predictions(frame, kind)


def worse(predictions, noise, seed=1):
    rng = np.random.default_rng(seed)
    return predictions.replace_scores(predictions.scores + noise * rng.normal(size=len(predictions)))


def two_sided(a, b, clusters):
    aucs, covariance = auc_covariance(a.targets, np.stack([a.scores, b.scores]), clusters)
    spread = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    return aucs[0] - aucs[1], spread, 2 * norm.sf(abs(aucs[0] - aucs[1]) / spread)


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
def test_normal_intervals_and_p_values_are_those_of_the_variances(noise):
    a = simulated()
    b = worse(a, noise)
    result = compare(a, b, resamples=10)
    for interval, p, clusters, word, method in (
        (result.delong, result.delong_p, None, "record", "delong"),
        (result.clustered, result.clustered_p, a.clusters[0], "patient", "clustered"),
    ):
        difference, spread, expected = two_sided(a, b, clusters)
        assert interval.estimate == pytest.approx(difference, abs=1e-12)
        assert interval.low == pytest.approx(difference - norm.ppf(0.975) * spread, abs=1e-12)
        assert interval.high == pytest.approx(difference + norm.ppf(0.975) * spread, abs=1e-12)
        assert p == pytest.approx(expected, rel=1e-9)
        assert (interval.cluster, interval.method) == (word, method)


def test_figures_are_the_aucs_and_their_difference():
    a = simulated(1)
    b = worse(a, 2.0)
    result = compare(a, b, resamples=10)
    assert result.auc_a == pytest.approx(roc_auc(a.targets, a.scores), abs=1e-12)
    assert result.auc_b == pytest.approx(roc_auc(b.targets, b.scores), abs=1e-12)
    assert result.difference == pytest.approx(result.auc_a - result.auc_b, abs=1e-12)
    assert result.difference > 0


@pytest.mark.parametrize("seed", [0, 3])
def test_bootstrap_interval_is_that_of_auc_difference(seed):
    a = simulated(2)
    b = worse(a, 1.0)
    ours, theirs = compare(a, b, resamples=200, seed=seed).bootstrap, auc_difference(a, b, resamples=200, seed=seed)
    assert (ours.low, ours.high) == (theirs.low, theirs.high)
    assert ours.estimate == pytest.approx(theirs.estimate, abs=1e-12)
    assert ours.cluster == theirs.cluster == "patient"


@pytest.mark.parametrize("noise", [0.2, 1.0, 5.0])
def test_bootstrap_p_counts_the_resamples_on_the_smaller_side(noise):
    a = simulated(3)
    b = worse(a, noise)
    first, second = resampled_aucs(a.targets, [a.scores, b.scores], a.clusters[0], resamples=150, seed=4)
    below, above = np.sum(first <= second), np.sum(first >= second)
    assert compare(a, b, resamples=150, seed=4).bootstrap_p == min(1.0, 2 * (min(below, above) + 1) / 151)


def test_a_turned_pair_turns_every_sign():
    a = simulated(4)
    b = worse(a, 1.0)
    ab, ba = compare(a, b, resamples=100), compare(b, a, resamples=100)
    assert (ab.auc_a, ab.auc_b) == (ba.auc_b, ba.auc_a)
    for way in ("bootstrap", "clustered", "delong"):
        one, other = getattr(ab, way), getattr(ba, way)
        assert (one.estimate, one.low, one.high) == pytest.approx((-other.estimate, -other.high, -other.low), abs=1e-12)
        assert getattr(ab, f"{way}_p") == pytest.approx(getattr(ba, f"{way}_p"), rel=1e-9)


@pytest.mark.parametrize("change", [lambda s: s, lambda s: 3 * s - 7, np.exp])
def test_a_copy_is_not_different(change):
    a = simulated(5)
    b = Predictions(a.replace_scores(change(a.scores)).frame.sample(frac=1, random_state=1), "oof")
    result = compare(a, b, resamples=50)
    assert result.difference == 0
    assert (result.bootstrap_p, result.clustered_p, result.delong_p) == (1, 1, 1)
    for interval in (result.bootstrap, result.clustered, result.delong):
        assert (interval.low, interval.high) == pytest.approx((0, 0), abs=1e-9)
    assert not result.beyond_chance


def test_a_clearly_better_score_is_beyond_chance():
    b = simulated(6)
    a = b.replace_scores(b.scores + 3 * b.targets)
    result = compare(a, b, resamples=300)
    assert result.bootstrap_p == pytest.approx(2 / 301)
    assert result.clustered_p < 1e-4
    assert result.delong_p < 1e-6
    assert result.bootstrap.low > 0
    assert result.beyond_chance
    turned = compare(b, a, resamples=300)
    assert turned.bootstrap.high < 0
    assert turned.beyond_chance


def test_differences_within_chance_are_not_beyond_it():
    a = simulated(7)
    result = compare(worse(a, 1.0, 1), worse(a, 1.0, 2), resamples=300)
    assert result.bootstrap.low < 0 < result.bootstrap.high
    assert not result.beyond_chance
    assert min(result.bootstrap_p, result.clustered_p, result.delong_p) > 0.05


def test_scores_that_never_vary_have_no_variance_to_divide_by():
    a = simulated(8)
    right, wrong = a.replace_scores(a.targets.astype(float)), a.replace_scores(-a.targets.astype(float))
    result = compare(right, wrong, resamples=20)
    assert result.difference == 1
    assert (result.clustered_p, result.delong_p) == (0, 0)


@pytest.mark.parametrize("way", ["clustered", "delong"])
def test_a_single_positive_says_nothing_about_the_spread(way):
    a = Predictions(simulated(8).frame.assign(target=np.arange(len(simulated(8))) == 5).astype({"target": int}), "oof")
    result = compare(a, worse(a, 1.0), resamples=10)
    interval, p = getattr(result, way), getattr(result, f"{way}_p")
    assert not p < 0.05
    assert not interval.high - interval.low < 0.01


def test_p_values_are_level_where_nothing_differs():
    ps = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        target = np.arange(100) % 4 == 0
        scores = rng.normal(size=100) + target + 0.8 * rng.normal(size=(2, 100))
        frame = pd.DataFrame({"image_name": [f"i{i}" for i in range(100)], "target": target.astype(int), "fold": 0})
        result = compare(*(Predictions(frame.assign(score=s), "oof") for s in scores), resamples=80, seed=seed)
        ps.append((result.bootstrap_p, result.clustered_p, result.delong_p))
    # 30 draws of a level p: a mean of 0.5 ± 0.053, a share of 5 % below 0.05.
    assert np.mean(ps, axis=0) == pytest.approx([0.5] * 3, abs=0.16)
    assert (np.mean(np.array(ps) < 0.05, axis=0) < 0.21).all()


def test_records_are_the_clusters_where_no_patients_are_known():
    frame = simulated(9).frame.drop(columns="patient_id")
    a = Predictions(frame, "oof")
    result = compare(a, worse(a, 1.0), resamples=50)
    assert (result.bootstrap.cluster, result.clustered.cluster) == ("record", "record")
    assert result.clustered.low == pytest.approx(result.delong.low, abs=1e-9)
    assert result.clustered_p == pytest.approx(result.delong_p, rel=1e-9)
    patients = compare(simulated(9), worse(simulated(9), 1.0), resamples=50)
    assert patients.clustered.low != pytest.approx(result.clustered.low, abs=1e-6)
    assert patients.delong == result.delong


def test_row_order_does_not_matter():
    a = simulated(10)
    b = worse(a, 1.0)
    result = compare(a, b, resamples=50)
    turned = compare(*(Predictions(p.frame.iloc[::-1], "oof") for p in (a, b)), resamples=50)
    for way in ("bootstrap", "clustered", "delong"):
        one, other = getattr(result, way), getattr(turned, way)
        assert (one.estimate, one.low, one.high) == pytest.approx((other.estimate, other.low, other.high), abs=1e-12)
        assert getattr(result, f"{way}_p") == pytest.approx(getattr(turned, f"{way}_p"), rel=1e-9)


def test_other_records_are_refused_unless_the_common_ones_are_asked_for():
    a = simulated(11)
    frame = worse(a, 1.0).frame
    few = Predictions(frame.iloc[20:].assign(fold=9), "oof")
    with pytest.raises(PredictionsError, match="lacks 20 records"):
        compare(a, few)
    result = compare(a, few, missing="intersect", resamples=50)
    expected = compare(Predictions(a.frame.iloc[20:], "oof"), Predictions(frame.iloc[20:], "oof"), resamples=50)
    assert result == expected


def test_kinds_that_cannot_be_compared_are_refused():
    a = simulated(12)
    held_out = Predictions(a.frame, "held_out")
    assert compare(held_out, held_out, resamples=10).difference == 0
    with pytest.raises(PredictionsError, match="different kinds"):
        compare(a, held_out)
    test = Predictions(a.frame, "test")
    with pytest.raises(PredictionsError, match="no target"):
        compare(test, test)


def test_it_is_written_as_json_and_printed_with_every_way():
    a = simulated(13)
    result = compare(a, worse(a, 1.0), resamples=50)
    content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert set(content) == {"auc_a", "auc_b", "difference", "bootstrap", "clustered", "delong"}
    for way in ("bootstrap", "clustered", "delong"):
        interval = getattr(result, way)
        assert content[way] == {
            "interval": [interval.low, interval.high],
            "p": getattr(result, f"{way}_p"),
            "cluster": interval.cluster,
        }
    lines = str(result).splitlines()
    assert lines[0] == f"AUC {result.auc_a:.4f} − {result.auc_b:.4f} = {result.difference:+.4f}"
    for line, word, interval, p in (
        (lines[1], "patient bootstrap, paired", result.bootstrap, result.bootstrap_p),
        (lines[2], "Obuchowski, clustered by patient", result.clustered, result.clustered_p),
        (lines[3], "DeLong, takes records to be independent", result.delong, result.delong_p),
    ):
        assert line == f"  {interval.low:+.4f} to {interval.high:+.4f}, p = {p:.3g}  ({word})"

"""Intervals: the bootstrap against a plain loop that copies the rows of drawn patients, normal ones as published."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from melanomafusion.errors import PredictionsError
from melanomafusion.evaluation.delong import auc_covariance
from melanomafusion.evaluation.intervals import METHODS, Interval, auc_difference, auc_interval, wilson_interval
from melanomafusion.evaluation.metrics import roc_auc
from melanomafusion.predictions import Predictions

RESAMPLES = 100


def simulated(seed=0, patients=25, ties=True, shift=1.0, kind="oof"):
    """Predictions with several images per patient, targets that go together within a patient, tied scores."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rng.integers(1, 8, patients))
    rng.shuffle(patient)
    risk = rng.random(patients)
    target = (rng.random(len(patient)) < risk[patient] ** 2).astype(int)
    score = rng.normal(size=len(patient)) + risk[patient] + shift * target
    frame = pd.DataFrame(
        {
            "image_name": [f"i{i:03d}" for i in range(len(patient))],
            "patient_id": [f"p{p:03d}" for p in patient],
            "target": target,
            "fold": patient % 5,
            "score": np.round(score, 1) if ties else score,
        }
    )
    return Predictions(frame, kind)


def with_scores(predictions, scores):
    return Predictions(predictions.frame.assign(score=scores), predictions.kind)


def plain_bootstrap(frames, groups, resamples, seed):
    """AUC of each frame in each resample, (resamples, frames): rows of drawn groups are copied, one by one."""
    rng = np.random.default_rng(seed)
    names = sorted(set(groups))
    members = [np.flatnonzero(np.array(groups) == name) for name in names]
    values = []
    while len(values) < resamples:
        drawn = rng.integers(len(names), size=len(names))
        rows = np.concatenate([members[i] for i in drawn])
        target = frames[0]["target"].to_numpy()[rows]
        if 0 < target.sum() < len(target):
            values.append([roc_auc_score(target, frame["score"].to_numpy()[rows]) for frame in frames])
    return np.array(values)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("seed", [0, 7])
def test_interval_is_that_of_a_plain_loop_over_patients(ties, seed):
    predictions = simulated(seed, ties=ties)
    frame = predictions.frame
    values = plain_bootstrap([frame], frame["patient_id"], RESAMPLES, seed)[:, 0]
    interval = auc_interval(predictions, resamples=RESAMPLES, seed=seed)
    assert interval.cluster == "patient"
    assert interval.estimate == pytest.approx(roc_auc_score(frame["target"], frame["score"]), abs=1e-12)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))), abs=1e-12)


def test_draws_of_one_class_alone_are_drawn_again():
    frame = simulated(1, patients=6).frame
    frame["target"] = (frame["patient_id"] == "p003").astype(int)  # a third of the draws lack the only melanomas
    values = plain_bootstrap([frame], frame["patient_id"], RESAMPLES, 3)[:, 0]
    interval = auc_interval(Predictions(frame, "oof"), resamples=RESAMPLES, seed=3)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))), abs=1e-12)


def test_difference_is_that_of_a_plain_loop_with_the_same_draws():
    a = simulated(2)
    b = with_scores(a, np.round(a.scores + np.random.default_rng(0).normal(size=len(a)), 1))
    values = plain_bootstrap([a.frame, b.frame], a.frame["patient_id"], RESAMPLES, 5)
    difference = auc_difference(a, b, resamples=RESAMPLES, seed=5)
    wanted = np.quantile(values[:, 0] - values[:, 1], (0.025, 0.975))
    assert (difference.low, difference.high) == pytest.approx(tuple(wanted), abs=1e-12)
    assert difference.estimate == pytest.approx(roc_auc(a.targets, a.scores) - roc_auc(b.targets, b.scores), abs=1e-12)
    assert difference.low < difference.estimate < difference.high


def test_difference_of_identical_predictions_is_exactly_zero():
    a = simulated(3)
    shuffled = Predictions(a.frame.sample(frac=1, random_state=0), "oof")
    for b in (a, shuffled, with_scores(a, 3 * a.scores - 1)):
        difference = auc_difference(a, b, resamples=50)
        assert (difference.estimate, difference.low, difference.high) == (0.0, 0.0, 0.0)


def test_difference_turns_its_sign_with_the_order():
    a = simulated(4)
    b = with_scores(a, a.scores[::-1])
    there, back = auc_difference(a, b, resamples=100), auc_difference(b, a, resamples=100)
    assert (back.estimate, back.low, back.high) == pytest.approx((-there.estimate, -there.high, -there.low), abs=1e-12)


def test_order_of_rows_does_not_matter():
    a = simulated(5)
    shuffled = Predictions(a.frame.sample(frac=1, random_state=1), "oof")
    first, second = (auc_interval(p, resamples=100) for p in (a, shuffled))
    assert (first.low, first.high) == pytest.approx((second.low, second.high), abs=1e-12)


def test_seed_decides():
    a = simulated(6)
    assert auc_interval(a, resamples=100, seed=1) == auc_interval(a, resamples=100, seed=1)
    assert auc_interval(a, resamples=100, seed=1) != auc_interval(a, resamples=100, seed=2)


def test_lesions_are_drawn_where_there_are_no_patients():
    frame = simulated(7).frame.rename(columns={"patient_id": "lesion_id"})
    values = plain_bootstrap([frame], frame["lesion_id"], RESAMPLES, 0)[:, 0]
    interval = auc_interval(Predictions(frame, "oof"), resamples=RESAMPLES)
    assert interval.cluster == "lesion"
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))), abs=1e-12)


def test_records_are_drawn_where_nothing_is_known():
    frame = simulated(8).frame.drop(columns="patient_id")
    values = plain_bootstrap([frame], frame["image_name"], RESAMPLES, 0)[:, 0]
    interval = auc_interval(Predictions(frame, "oof"), resamples=RESAMPLES)
    assert interval.cluster == "record"
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))), abs=1e-12)


def test_records_without_patient_are_drawn_alone():
    frame = simulated(9).frame
    frame.loc[frame.index % 3 == 0, "patient_id"] = None
    groups = [
        p if isinstance(p, str) else f"~{n}" for p, n in zip(frame["patient_id"], frame["image_name"], strict=True)
    ]
    values = plain_bootstrap([frame], groups, RESAMPLES, 0)[:, 0]
    interval = auc_interval(Predictions(frame, "oof"), resamples=RESAMPLES)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))), abs=1e-12)


@pytest.mark.parametrize(("method", "wider"), [("bootstrap", 2), ("clustered", 3)])
def test_patients_make_wider_intervals_than_records(method, wider):
    # Images of a patient copy each other: as records they seem to be more evidence than they are.
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(40), 10)
    target = (np.arange(40) % 2)[patient]
    score = (rng.normal(size=40) + np.arange(40) % 2)[patient]
    frame = pd.DataFrame({"image_name": [f"i{i}" for i in range(400)], "target": target, "score": score})
    by_record = auc_interval(Predictions(frame, "held_out"), method=method, resamples=200)
    patients = Predictions(frame.assign(patient_id=patient.astype(str)), "held_out")
    by_patient = auc_interval(patients, method=method, resamples=200)
    delong = auc_interval(patients, method="delong")
    assert by_patient.high - by_patient.low > wider * (by_record.high - by_record.low)
    assert by_patient.high - by_patient.low > wider * (delong.high - delong.low)
    assert (by_record.cluster, by_patient.cluster, delong.cluster) == ("record", "patient", "record")


def rated(copies=1, **columns):
    """Ratings 1 … 5 of 58 normal and 51 abnormal CT images (Hanley and McNeil 1982), a patient each, in copies."""
    grades = np.arange(1.0, 6.0)
    scores = np.concatenate([np.repeat(grades, (33, 6, 6, 11, 2)), np.repeat(grades, (3, 2, 2, 11, 33))])
    frame = pd.DataFrame({"target": np.repeat([0, 1], [58, 51]), "score": scores})
    frame = frame.assign(**{name: [f"{name}{i}" for i in range(109)] for name in columns.values()})
    frame = pd.concat([frame] * copies, ignore_index=True)
    return Predictions(frame.assign(image_name=[f"i{i}" for i in range(len(frame))]), "held_out")


def test_delong_interval_is_the_published_one():
    interval = auc_interval(rated(), method="delong")
    assert (interval.cluster, interval.method) == ("record", "delong")
    assert (round(interval.estimate, 4), round(interval.low, 5), round(interval.high, 5)) == (0.8932, 0.83295, 0.95339)


@pytest.mark.parametrize(("column", "word"), [("patient_id", "patient"), ("lesion_id", "lesion")])
def test_clustered_interval_of_copies_is_the_published_one(column, word):
    interval = auc_interval(rated(copies=3, column=column), method="clustered")
    assert (interval.cluster, interval.method) == (word, "clustered")
    assert (round(interval.estimate, 4), round(interval.low, 5), round(interval.high, 5)) == (0.8932, 0.83295, 0.95339)
    naive = auc_interval(rated(copies=3, column=column), method="delong")
    assert naive.cluster == "record"
    assert interval.high - interval.low == pytest.approx(np.sqrt(3) * (naive.high - naive.low), rel=0.02)


def test_clustered_interval_without_clusters_is_that_of_delong():
    one, other = (auc_interval(rated(), method=method) for method in ("clustered", "delong"))
    assert one.cluster == "record"
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-12)


@pytest.mark.parametrize("method", ["clustered", "delong"])
def test_normal_intervals_reach_as_far_as_their_variance_says(method):
    a = simulated(10)
    covariance = auc_covariance(a.targets, a.scores, a.clusters[0] if method == "clustered" else None)[1]
    interval = auc_interval(a, method=method)
    assert interval.high - interval.estimate == pytest.approx(interval.estimate - interval.low, abs=1e-12)
    assert interval.high - interval.low == pytest.approx(2 * 1.959963984540054 * np.sqrt(covariance.item()), abs=1e-12)
    assert auc_interval(a, method=method, seed=1, resamples=1) == interval


def test_the_methods_are_not_far_apart():
    # 150 patients: what they estimate is the same, save that DeLong knows of no patients.
    a = simulated(11, patients=150)
    bootstrap, clustered = (auc_interval(a, method=method) for method in ("bootstrap", "clustered"))
    assert bootstrap.estimate == clustered.estimate
    assert (bootstrap.low, bootstrap.high) == pytest.approx((clustered.low, clustered.high), abs=0.01)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sign", [1, -1])
def test_intervals_stay_within_0_and_1(method, sign):
    target = np.repeat([0, 1], 6)
    score = sign * np.array([1, 2, 3, 4, 5, 9, 8, 10, 11, 12, 13, 14.0])
    frame = pd.DataFrame({"image_name": list("abcdefghijkl"), "target": target, "score": score})
    interval = auc_interval(Predictions(frame, "held_out"), method=method, resamples=100)
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
    assert 1.0 in (interval.high, 1 - interval.low)


@pytest.mark.parametrize("method", METHODS)
def test_order_of_rows_matters_to_no_method(method):
    a = simulated(12)
    shuffled = Predictions(a.frame.sample(frac=1, random_state=1), "oof")
    first, second = (auc_interval(p, method=method, resamples=50) for p in (a, shuffled))
    assert (first.low, first.high) == pytest.approx((second.low, second.high), abs=1e-12)


def test_an_unknown_method_is_refused():
    with pytest.raises(PredictionsError, match=r"bootstrap, clustered, delong\. Received: method='jackknife'"):
        auc_interval(simulated(), method="jackknife")


@pytest.mark.parametrize("count", [1, 2, 10, 109, 33126])
def test_wilson_interval_is_that_of_scipy(count):
    for hits in sorted({0, 1, count // 3, count // 2, count - 1, count}):
        wanted = binomtest(hits, count).proportion_ci(method="wilson")
        assert wilson_interval(hits, count) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
        low, high = wilson_interval(hits, count)
        assert 0 <= low < high <= 1


def test_nothing_is_known_of_no_records():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_held_out_predictions_have_an_interval_too():
    assert 0 < auc_interval(simulated(kind="held_out"), resamples=50).low < 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("only", [0, 1])
def test_one_class_alone_is_refused(only, method):
    with pytest.raises(PredictionsError, match=f"targets are {only}: nothing to rank"):
        auc_interval(Predictions(simulated().frame.assign(target=only), "oof"), method=method)


@pytest.mark.parametrize("only", [0, 1])
def test_difference_of_one_class_alone_is_refused(only):
    a = Predictions(simulated().frame.assign(target=only), "oof")
    with pytest.raises(PredictionsError, match=r"both positive and negative|nothing to rank"):
        auc_difference(a, a, resamples=10)


@pytest.mark.parametrize("method", ["clustered", "delong"])
def test_one_positive_alone_says_nothing_about_the_spread(method):
    frame = simulated().frame.assign(target=lambda f: (f.index == 0).astype(int))
    interval = auc_interval(Predictions(frame, "oof"), method=method)
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_test_predictions_are_refused():
    with pytest.raises(PredictionsError, match="no target"):
        auc_interval(simulated(kind="test"))


def test_difference_of_other_records_or_folds_is_refused():
    a = simulated()
    with pytest.raises(PredictionsError, match="lacks"):
        auc_difference(a, Predictions(a.frame.head(20), "oof"))
    with pytest.raises(PredictionsError, match="other folds"):
        auc_difference(a, Predictions(a.frame.assign(fold=(a.frame["fold"] + 1) % 5), "oof"))


def test_interval_is_printed_with_four_digits():
    assert str(Interval(0.94123456, 0.93, 0.95678, "patient")) == "0.9412 (0.9300 to 0.9568)"

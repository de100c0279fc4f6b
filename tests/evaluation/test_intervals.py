"""Bootstrap intervals against a plain loop that copies the rows of the patients it draws."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from melanomafusion.errors import PredictionsError
from melanomafusion.evaluation.intervals import Interval, auc_difference, auc_interval
from melanomafusion.evaluation.metrics import roc_auc
from melanomafusion.predictions import Predictions

RESAMPLES = 200


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
    assert (back.estimate, back.low, back.high) == pytest.approx((-there.estimate, -there.high, -there.low))


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


def test_patients_make_wider_intervals_than_records():
    # Images of a patient copy each other: as records they seem to be more evidence than they are.
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(40), 10)
    target = (np.arange(40) % 2)[patient]
    score = (rng.normal(size=40) + np.arange(40) % 2)[patient]
    frame = pd.DataFrame({"image_name": [f"i{i}" for i in range(400)], "target": target, "score": score})
    by_record = auc_interval(Predictions(frame, "held_out"), resamples=200)
    by_patient = auc_interval(Predictions(frame.assign(patient_id=patient.astype(str)), "held_out"), resamples=200)
    assert by_patient.high - by_patient.low > 2 * (by_record.high - by_record.low)


def test_held_out_predictions_have_an_interval_too():
    assert 0 < auc_interval(simulated(kind="held_out"), resamples=50).low < 1


def test_one_class_alone_is_refused():
    frame = simulated().frame.assign(target=0)
    with pytest.raises(PredictionsError, match="both positive and negative"):
        auc_interval(Predictions(frame, "oof"))


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

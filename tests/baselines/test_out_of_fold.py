"""What all baselines check, how scores become predictions, and their figures against scikit-learn."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from melanomafusion.baselines.out_of_fold import (
    baseline_metrics,
    check_baseline,
    check_class_weight,
    cross_fit,
    labels_of,
)
from melanomafusion.errors import FoldError, RunError
from melanomafusion.predictions import Predictions

CLASSES = ("AK", "BCC", "BKL", "DF", "VASC", "melanoma", "nevus")
POSITIVE = ("melanoma",)


def shares(rows, columns, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(columns), rows)


def test_each_record_is_scored_once_by_a_fit_without_its_fold(ham):
    seen = []

    def fit_predict(train, labels, held_out):
        assert not set(train.frame["lesion_id"]) & set(held_out.frame["lesion_id"])
        assert [CLASSES[label] for label in labels] == list(train.frame["diagnosis"])
        seen.extend(held_out.image_names)
        return shares(len(held_out), 7)

    oof = cross_fit(ham, CLASSES, POSITIVE, [0, 1, 2], fit_predict, name="test")
    assert sorted(seen) == sorted(ham.image_names)
    assert list(oof.image_names) == list(ham.image_names)
    assert (oof.kind, oof.name, oof.classes, oof.grouped_by) == ("oof", "test", CLASSES, "lesion")
    known = ham.frame.set_index("image_name").loc[oof.image_names]
    for column in ("target", "fold", "lesion_id", "diagnosis"):
        assert oof.frame[column].tolist() == known[column].tolist()
    assert "patient_id" not in oof.frame


def test_the_score_is_the_sum_over_the_positive_classes(ham):
    known = {name: row for name, row in zip(ham.image_names, shares(len(ham), 7), strict=True)}
    malignant = ("melanoma", "BCC", "AK")

    def fit_predict(train, labels, held_out):
        return np.stack([known[name] for name in held_out.image_names])

    frame = cross_fit(ham, CLASSES, malignant, [1], fit_predict, name="test").frame
    assert frame["fold"].unique().tolist() == [1]
    for row in frame.to_dict("records"):
        assert [row[f"score_{label}"] for label in CLASSES] == pytest.approx(known[row["image_name"]])
        assert row["score"] == pytest.approx(sum(row[f"score_{label}"] for label in malignant))


def test_binary_predictions_have_the_score_of_the_target_and_no_classes(ham):
    def fit_predict(train, labels, held_out):
        assert labels.tolist() == train.targets.tolist()
        return np.stack([1 - held_out.targets * 0.9, held_out.targets * 0.9], axis=1)

    oof = cross_fit(ham, (), POSITIVE, [0, 2], fit_predict, name="test")
    assert oof.scores == pytest.approx(oof.targets * 0.9)
    assert oof.classes == ()
    assert "diagnosis" not in oof.frame


def test_progress_counts_folds_up_to_the_end(ham):
    events = []
    cross_fit(ham, (), POSITIVE, [2, 0], lambda *a: shares(len(a[2]), 2), name="test", on_event=events.append)
    assert [(event["what"], event["done"], event["total"]) for event in events] == [
        ("fold 2", 0, 2),
        ("fold 0", 1, 2),
        ("done", 2, 2),
    ]


def test_labels_are_places_among_the_classes(ham):
    order = CLASSES[::-1]
    assert [order[label] for label in labels_of(ham, order)] == list(ham.frame["diagnosis"])
    assert labels_of(ham, ()).tolist() == ham.targets.tolist()


def test_all_folds_are_held_out_unless_some_are_named(ham):
    assert check_baseline(ham, CLASSES, POSITIVE, None) == [0, 1, 2]
    assert check_baseline(ham, (), POSITIVE, [2, 0, 2]) == [2, 0]


@pytest.mark.parametrize("folds", [[], [3], [0, -1], ["0"], 0, float("nan")])
def test_folds_that_are_not_there_are_refused(ham, folds):
    with pytest.raises(RunError, match=re.escape(f"among [0, 1, 2]. Received: folds={folds!r}")):
        check_baseline(ham, CLASSES, POSITIVE, folds)


def test_a_data_set_without_folds_or_targets_is_refused(ham):
    with pytest.raises(FoldError, match="assign_folds"):
        check_baseline(type(ham)(ham.frame.drop(columns="fold")), (), POSITIVE, None)
    frame = ham.frame
    frame.loc[3, "target"] = pd.NA
    with pytest.raises(RunError, match="target for every record"):
        check_baseline(type(ham)(frame), (), POSITIVE, None)


def test_folds_that_split_a_lesion_are_refused_as_everywhere(ham):
    frame = ham.frame
    frame.loc[0, "fold"] = (frame.loc[0, "fold"] + 1) % 3
    with pytest.raises(FoldError):
        check_baseline(type(ham)(frame), (), POSITIVE, None)


def test_all_that_is_wrong_with_classes_comes_together(ham):
    frame = ham.frame
    frame.loc[5, "diagnosis"] = None
    with pytest.raises(RunError) as caught:
        check_baseline(type(ham)(frame), ("AK", "AK", "SCC"), ("nevus",), [1])
    message = str(caught.value)
    for part in ("at least three, each once", "positive_classes must be", "BCC (18)", "(1)", "of class SCC"):
        assert part in message


@pytest.mark.parametrize("positive", [(), CLASSES, ("mel",)])
def test_positive_classes_are_some_but_not_all(ham, positive):
    with pytest.raises(RunError, match="some, but not all"):
        check_baseline(ham, CLASSES, positive, None)


def test_targets_that_disagree_with_the_positive_classes_are_refused(ham):
    with pytest.raises(RunError, match="18 records have another target than whether their diagnosis is BCC or mela"):
        check_baseline(ham, CLASSES, ("BCC", "melanoma"), None)


def test_a_class_without_training_records_in_a_fold_is_named_with_the_fold(ham):
    frame = ham.frame
    only = (frame["diagnosis"] == "DF") & (frame["fold"] != 2)
    with pytest.raises(RunError, match=r"^fold 2: no record to train on of class DF"):
        check_baseline(type(ham)(frame[~only]), CLASSES, POSITIVE, None)
    assert check_baseline(type(ham)(frame[~only]), CLASSES, POSITIVE, [0, 1]) == [0, 1]


def test_training_records_of_one_target_are_refused(ham):
    frame = ham.frame
    keep = (frame["target"] == 1) | (frame["fold"] == 1)
    with pytest.raises(RunError, match="fold 1: all records to train on have target 1"):
        check_baseline(type(ham)(frame[keep]), (), POSITIVE, [0, 1])


def test_an_unknown_class_weight_is_refused():
    check_class_weight(None)
    check_class_weight("balanced")
    with pytest.raises(RunError, match="Received: class_weight='blanced'"):
        check_class_weight("blanced")


def predictions_of(scores, seed=0):
    """Out-of-fold predictions with those class scores and random diagnoses."""
    rng = np.random.default_rng(seed)
    diagnosis = np.array(CLASSES, dtype=object)[rng.integers(0, 7, len(scores))]
    diagnosis[:2] = ["melanoma", "nevus"]
    table = pd.DataFrame(scores, columns=[f"score_{label}" for label in CLASSES])
    return Predictions(
        table.assign(
            image_name=[f"i{k}" for k in range(len(scores))],
            score=scores[:, 5],
            diagnosis=diagnosis,
            target=(diagnosis == "melanoma").astype(int),
            fold=np.arange(len(scores)) % 2,
            grouped_by="record",
        ),
        "oof",
        name="made",
    )


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(60, 150))
def test_class_figures_are_scikit_learns(seed, count):
    oof = predictions_of(shares(count, 7, seed), seed)
    found = baseline_metrics(oof)
    truth = oof.frame["diagnosis"].to_numpy(dtype=str)
    scores = oof.frame[[f"score_{label}" for label in CLASSES]].to_numpy()
    answers = np.array(CLASSES)[scores.argmax(axis=1)]
    options = {"labels": list(CLASSES), "average": "macro", "zero_division": 0}
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, answers))
    assert found["mean_precision"] == pytest.approx(metrics.precision_score(truth, answers, **options))
    assert found["mean_recall"] == pytest.approx(metrics.recall_score(truth, answers, **options))
    if len(set(truth)) == 7:
        assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, answers))
        wanted = metrics.roc_auc_score(truth, scores, multi_class="ovr", labels=list(CLASSES))
        assert found["macro_auc"] == pytest.approx(wanted)
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(truth == "melanoma", scores[:, 5]))
    assert found["average_precision"] == pytest.approx(
        metrics.average_precision_score(truth == "melanoma", scores[:, 5])
    )
    assert (found["records"], found["folds"], found["image_level_split"]) == (count, [0, 1], True)


def test_binary_figures_are_of_the_answers_at_a_half():
    frame = predictions_of(shares(200, 7)).frame
    frame["score"] = np.random.default_rng(1).random(200)
    oof = Predictions(frame[["image_name", "score", "target", "fold"]], "oof")
    found, answers = baseline_metrics(oof), oof.scores >= 0.5
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(oof.targets, answers))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(oof.targets, answers))
    assert found["precision"] == pytest.approx(metrics.precision_score(oof.targets, answers))
    assert found["recall"] == pytest.approx(metrics.recall_score(oof.targets, answers))
    assert "classes" not in found


def test_figures_are_plain_json_even_where_a_class_is_absent():
    frame = predictions_of(shares(80, 7)).frame
    oof = Predictions(frame[frame["diagnosis"] != "DF"], "oof")
    found = json.loads(json.dumps(baseline_metrics(oof), allow_nan=False))
    assert found["classes"]["DF"]["auc"] is None
    assert found["classes"]["nevus"]["support"] == int((oof.frame["diagnosis"] == "nevus").sum())
    assert 0 <= found["macro_auc"] <= 1
    assert list(found["classes"]) == list(CLASSES)

"""What a fold decides: a threshold chosen on the inner validation split alone, and the classes it names."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, classification_report, roc_auc_score

import melanomafusion as mf
from melanomafusion.evaluation.decisions import threshold_metrics
from melanomafusion.evaluation.thresholds import choose_threshold
from melanomafusion.predictions import Predictions
from melanomafusion.recipes.recipe import Recipe
from melanomafusion.training.checks import inner_split
from melanomafusion.training.operating import operating_metrics
from melanomafusion.training.predict import predict_scores

BASE = mf.get_recipe("metadata-tiny").replace(name="test", epochs=2, validation_fraction=0.25)
RULE = BASE.replace(threshold_rule="sensitivity", threshold_at=0.8)
CLASSES = ("melanoma", "nevus", "unknown")
SEVERAL = BASE.replace(classes=CLASSES, loss="categorical", threshold_rule="youden")


def quiet(event):
    del event


def metrics_of(result):
    return json.loads((result.bundle.parent / "metrics.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def judged(folded, tmp_path_factory):
    return mf.fit_fold(RULE, folded, 0, out=tmp_path_factory.mktemp("judged"), on_event=quiet)


@pytest.fixture(scope="module")
def several(folded, tmp_path_factory):
    return mf.fit_fold(SEVERAL, folded, 0, out=tmp_path_factory.mktemp("several"), on_event=quiet)


def oof_of(targets, scores, **columns):
    names = [f"i{k}" for k in range(len(targets))]
    frame = pd.DataFrame({"image_name": names, "target": targets, "score": scores, "fold": 0, "grouped_by": "patient"})
    return Predictions(frame.assign(**columns), "oof", name="r")


# --- threshold --------------------------------------------------------------------------------------------------------


def test_the_threshold_is_the_rules_choice_on_the_validation_split(judged, folded):
    bundle = mf.Bundle.read(judged.bundle)
    _, validation = inner_split(RULE, folded.held_out(0)[0])
    scores = predict_scores(bundle.build_model(), bundle.recipe, validation, encoder=bundle.encoder, spec=None)["score"]
    value = metrics_of(judged)["threshold"]["value"]
    assert value == choose_threshold(validation.targets, scores.to_numpy(), "sensitivity", 0.8)
    called = (scores >= value)[validation.targets == 1]
    assert called.mean() >= 0.8


def test_metrics_tell_the_rule_and_what_the_threshold_does_on_the_held_out_records(judged):
    found = metrics_of(judged)["threshold"]
    assert (found["rule"], found["at"], found["chosen_on"]) == ("sensitivity", 0.8, "inner validation split")
    called, truth = judged.oof.scores >= found["value"], judged.oof.targets == 1
    assert found["accuracy"] == pytest.approx((called == truth).mean())
    assert found["recall"] == pytest.approx(called[truth].mean())
    assert found["specificity"] == pytest.approx((~called[~truth]).mean())
    assert set(found) == {
        "rule",
        "at",
        "chosen_on",
        "value",
        "accuracy",
        "balanced_accuracy",
        "precision",
        "recall",
        "specificity",
        "f1",
    }
    assert mf.Bundle.read(judged.bundle).metrics["threshold"] == found


def test_held_out_truth_does_not_choose_the_threshold(judged, folded, tmp_path):
    frame = folded.frame
    turned = folded.with_columns(target=frame["target"].where(frame["fold"] != 0, 1 - frame["target"]))
    other = mf.fit_fold(RULE, turned, 0, out=tmp_path, on_event=quiet)
    mine, theirs = metrics_of(judged)["threshold"], metrics_of(other)["threshold"]
    assert mine["value"] == theirs["value"]
    assert mine["accuracy"] == pytest.approx(1 - theirs["accuracy"])


def test_without_a_rule_there_is_no_threshold(folded):
    oof = oof_of([0, 1], [0.2, 0.7])
    assert operating_metrics(BASE, oof, folded, pd.Series(np.zeros(len(folded)))) == {}
    assert operating_metrics(RULE, oof, None, None) == {}


def test_a_threshold_that_calls_nothing_positive_is_null(folded):
    """Positives at the bottom: the most records are right when none is called positive."""
    recipe = BASE.replace(threshold_rule="accuracy")
    validation = folded.select(np.arange(len(folded)) < 40)
    watched = pd.Series(1.0 - 0.5 * validation.targets)
    oof = oof_of([0, 1, 0], [0.2, 0.7, 0.9])
    found = operating_metrics(recipe, oof, validation, watched)["threshold"]
    assert validation.targets.any()
    assert found["value"] is None
    assert (found["recall"], found["specificity"], found["accuracy"]) == (0, 1, pytest.approx(2 / 3))
    assert found == {
        "rule": "accuracy",
        "at": None,
        "chosen_on": "inner validation split",
        "value": None,
        **threshold_metrics(oof.targets, oof.scores, float("inf")),
    }
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("rule", ["youden", "max_f1", "accuracy", "sensitivity", "specificity"])
def test_every_rule_of_a_recipe_chooses(folded, rule):
    at = 0.7 if rule in ("sensitivity", "specificity") else None
    recipe = BASE.replace(threshold_rule=rule, threshold_at=at)
    watched = pd.Series(np.random.default_rng(0).random(len(folded)))
    found = operating_metrics(recipe, oof_of([0, 1], [0.2, 0.7]), folded, watched)["threshold"]
    expected = choose_threshold(folded.targets, watched.to_numpy(), rule, at)
    assert found["value"] == (expected if np.isfinite(expected) else None)


# --- classes ----------------------------------------------------------------------------------------------------------


def test_figures_of_classes_are_those_of_scikit_learn(several):
    found = metrics_of(several)["multiclass"]
    frame = several.oof.frame
    scores = frame[[f"score_{name}" for name in CLASSES]].to_numpy()
    answer = np.array(CLASSES)[scores.argmax(axis=1)]
    report = classification_report(frame["diagnosis"], answer, labels=list(CLASSES), output_dict=True, zero_division=0)
    for name in CLASSES:
        row = found["classes"][name]
        for ours, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert row[ours] == pytest.approx(report[name][theirs]), (name, ours)
        assert row["support"] == report[name]["support"]
        assert row["auc"] == pytest.approx(roc_auc_score(frame["diagnosis"] == name, frame[f"score_{name}"]))
    for ours, theirs in (("macro mean", "macro avg"), ("weighted mean", "weighted avg")):
        for key, other in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert found["classes"][ours][key] == pytest.approx(report[theirs][other])
    assert found["accuracy"] == pytest.approx(accuracy_score(frame["diagnosis"], answer))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(frame["diagnosis"], answer))


def test_scores_of_a_multi_class_fold_bring_their_diagnosis(several, folded):
    table = pd.read_csv(several.bundle.parent / "oof.csv")
    held_out = folded.held_out(0)[1]
    assert table["image_name"].tolist() == list(held_out.image_names)
    assert table["diagnosis"].tolist() == held_out.frame["diagnosis"].tolist()
    assert {f"score_{name}" for name in CLASSES} <= set(table)


def test_a_multi_class_fold_may_have_a_threshold_of_its_score(several):
    found = metrics_of(several)["threshold"]
    assert found["rule"] == "youden"
    called = several.oof.scores >= (np.inf if found["value"] is None else found["value"])
    assert found["accuracy"] == pytest.approx((called == (several.oof.targets == 1)).mean())


def test_scores_of_a_binary_fold_have_no_diagnosis_and_no_classes(judged):
    assert "diagnosis" not in pd.read_csv(judged.bundle.parent / "oof.csv")
    assert "multiclass" not in metrics_of(judged)


def test_a_class_that_no_held_out_record_has_is_null_in_json():
    recipe = Recipe("r", classes=CLASSES, loss="categorical")
    scores = {
        f"score_{name}": values for name, values in zip(CLASSES, ([0.7, 0.2], [0.2, 0.5], [0.1, 0.3]), strict=True)
    }
    oof = oof_of([1, 0], [0.7, 0.2], diagnosis=["melanoma", "nevus"], **scores)
    found = operating_metrics(recipe, oof, None, None)["multiclass"]
    assert found["classes"]["unknown"]["auc"] is None
    assert found["classes"]["unknown"]["support"] == 0
    assert (found["classes"]["melanoma"]["auc"], found["accuracy"]) == (1.0, 1.0)
    json.dumps(found, allow_nan=False)

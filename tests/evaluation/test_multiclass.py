"""Scores of several classes, against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, classification_report, roc_auc_score

from melanomafusion.errors import PredictionsError
from melanomafusion.evaluation.multiclass import multiclass_metrics

CLASSES = ("nevus", "melanoma", "bcc", "akiec", "df")


@st.composite
def scored(draw):
    """(diagnoses, scores, classes): ties, classes without records, classes never answered, a single class."""
    classes = CLASSES[: draw(st.integers(1, 5))]
    used = draw(st.lists(st.sampled_from(classes), min_size=1, max_size=5, unique=True))
    count = draw(st.integers(1, 25))
    diagnoses = np.array(draw(st.lists(st.sampled_from(used), min_size=count, max_size=count)), dtype=object)
    cell = draw(st.sampled_from([st.integers(0, 3).map(float), st.floats(-5, 5)]))
    scores = draw(
        st.lists(st.lists(cell, min_size=len(classes), max_size=len(classes)), min_size=count, max_size=count)
    )
    return diagnoses, np.array(scores), classes


def check_against_scikit_learn(diagnoses, scores, classes):
    table, overall = multiclass_metrics(diagnoses, scores, classes)
    answers = np.array(classes, dtype=object)[scores.argmax(axis=1)]
    report = classification_report(diagnoses, answers, labels=list(classes), output_dict=True, zero_division=0)
    assert list(table.index) == [*classes, "macro mean", "weighted mean"]
    aucs, supports = [], []
    for k, label in enumerate(classes):
        is_class = diagnoses == label
        both = 0 < is_class.sum() < len(diagnoses)
        auc = roc_auc_score(is_class.astype(int), scores[:, k]) if both else np.nan
        if both:
            aucs.append(auc)
            supports.append(is_class.sum())
        expected = (*(report[label][key] for key in ("precision", "recall", "f1-score")), auc, report[label]["support"])
        np.testing.assert_allclose(table.loc[label].to_numpy(dtype=float), expected, rtol=0, atol=1e-12)
    for ours, theirs, auc in (
        ("macro mean", "macro avg", np.mean(aucs) if aucs else np.nan),
        ("weighted mean", "weighted avg", np.average(aucs, weights=supports) if aucs else np.nan),
    ):
        expected = (*(report[theirs][key] for key in ("precision", "recall", "f1-score")), auc, len(diagnoses))
        np.testing.assert_allclose(table.loc[ours].to_numpy(dtype=float), expected, rtol=0, atol=1e-12)
    assert overall["accuracy"] == pytest.approx(accuracy_score(diagnoses, answers), abs=1e-12)
    recalls = [table.loc[label, "recall"] for label in classes if (diagnoses == label).any()]
    assert overall["balanced_accuracy"] == pytest.approx(np.mean(recalls), abs=1e-12)


@settings(deadline=None, max_examples=20)
@given(scored())
def test_every_figure_is_that_of_scikit_learn(data):
    check_against_scikit_learn(*data)


def test_large_tables_too():
    rng = np.random.default_rng(0)
    diagnoses = rng.choice(np.array(CLASSES[:4], dtype=object), 500, p=[0.8, 0.15, 0.04, 0.01])
    scores = rng.normal(size=(500, 5)) + 2 * (diagnoses[:, None] == np.array(CLASSES))
    check_against_scikit_learn(diagnoses, scores, CLASSES)
    _, overall = multiclass_metrics(diagnoses, scores, CLASSES)
    answers = np.array(CLASSES)[scores.argmax(axis=1)]
    present = np.isin(answers, CLASSES[:4])
    assert present.sum() < 500  # an answer that is no true class counts against the recall of its record's class
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = balanced_accuracy_score(diagnoses.astype(str), answers)
    assert overall["balanced_accuracy"] == pytest.approx(expected, abs=1e-12)


def test_the_mean_auc_is_the_one_against_the_rest_of_scikit_learn():
    rng = np.random.default_rng(1)
    diagnoses = rng.choice(np.array(["a", "b", "c"], dtype=object), 90, p=[0.6, 0.3, 0.1])
    scores = rng.dirichlet([1, 1, 1], 90)
    table, _ = multiclass_metrics(diagnoses, scores, ("a", "b", "c"))
    for ours, average in (("macro mean", "macro"), ("weighted mean", "weighted")):
        expected = roc_auc_score(diagnoses.astype(str), scores, multi_class="ovr", average=average)
        assert table.loc[ours, "auc"] == pytest.approx(expected, abs=1e-12)


def test_of_equal_scores_the_first_class_is_the_answer():
    table, overall = multiclass_metrics(np.array(["b", "a"]), np.ones((2, 2)), ("a", "b"))
    assert list(table["recall"][:2]) == [1, 0]
    assert overall == {"accuracy": 0.5, "balanced_accuracy": 0.5}


def test_classes_without_records_have_no_auc_and_no_weight():
    scores = np.array([[0.9, 0.2, 0], [0.1, 0.8, 0], [0.7, 0.3, 0]])
    table, _ = multiclass_metrics(np.array(["a", "b", "a"]), scores, ("a", "b", "c"))
    assert table.loc["c"].fillna(-1).tolist() == [0, 0, 0, -1, 0]
    assert table.loc["macro mean", ["precision", "auc"]].tolist() == pytest.approx([2 / 3, 1])
    assert table.loc["weighted mean", ["precision", "auc"]].tolist() == pytest.approx([1, 1])
    assert table["support"].dtype == "int64"


@pytest.mark.parametrize("diagnosis", ["nv", "Melanoma", "", None, np.nan])
def test_a_class_without_scores_is_refused_by_name(diagnosis):
    with pytest.raises(PredictionsError, match=f"No scores for the classes {diagnosis}; there are nevus, melanoma"):
        multiclass_metrics(np.array(["nevus", diagnosis], dtype=object), np.ones((2, 2)), CLASSES[:2])


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (0, 2), (2,)])
def test_shapes_that_do_not_fit_are_refused(shape):
    with pytest.raises(PredictionsError, match="Scores of 2 records and 2 classes"):
        multiclass_metrics(np.array(["nevus", "melanoma"]), np.ones(shape), CLASSES[:2])


def test_no_records_are_refused():
    with pytest.raises(PredictionsError, match="Scores of 0 records"):
        multiclass_metrics(np.array([]), np.ones((0, 2)), CLASSES[:2])

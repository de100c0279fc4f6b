"""Calibrators: against scikit-learn, against Bayes, and out of fold only."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from melanomafusion.errors import PredictionsError
from melanomafusion.evaluation.calibration import CALIBRATIONS, Calibrator
from melanomafusion.evaluation.metrics import roc_auc
from melanomafusion.predictions import Predictions


def predictions(targets, scores, kind="oof", folds=4, **columns):
    count = len(targets)
    frame = {
        "image_name": [f"i{i:04d}" for i in range(count)],
        "target": np.asarray(targets, dtype=int),
        "fold": np.arange(count) % folds,
        "score": scores,
        **columns,
    }
    return Predictions(pd.DataFrame(frame), kind, name="b4.csv", lines=range(10, 10 + count))


def simulated(seed=0, size=400, slope=0.6, shift=1.0, kind="oof"):
    """Scores whose logits are too extreme and too high."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-1, 1.5, size)
    return predictions(rng.random(size) < expit(truth), expit((truth + shift) / slope), kind)


def calibrator(method, trained_prevalence=0.3):
    return Calibrator(method, trained_prevalence=trained_prevalence if method == "prior" else None)


def refused(call, *parts):
    with pytest.raises(PredictionsError) as error:
        call()
    for part in parts:
        assert part in str(error.value)


GRID = np.linspace(0, 1, 201)


# --- each method against another implementation -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("slope", "shift"), [(0.6, 1.0), (1.7, -2.0)])
def test_platt_is_the_unpenalised_logistic_regression_of_scikit_learn(seed, slope, shift):
    member = simulated(seed, slope=slope, shift=shift)
    model = LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky", max_iter=1000)
    model.fit(logit(member.scores)[:, None], member.targets)
    expected = model.predict_proba(logit(GRID[1:-1])[:, None])[:, 1]
    np.testing.assert_allclose(Calibrator("platt").fit(member).transform(GRID[1:-1]), expected, rtol=0, atol=1e-6)


def test_platt_is_the_default():
    assert Calibrator().method == "platt"


class Logits(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose decision is its only feature."""

    classes_ = np.array([0, 1])

    def fit(self, x, y):
        return self

    def predict(self, x):
        return (x[:, 0] > 0).astype(int)

    def decision_function(self, x):
        return x[:, 0]

    def __sklearn_is_fitted__(self):
        return True


@pytest.mark.parametrize("slope", [0.4, 1.0, 2.5])
def test_temperature_is_that_of_scikit_learn(slope):
    member = simulated(1, slope=slope, shift=0.2)
    model = CalibratedClassifierCV(FrozenEstimator(Logits()), method="temperature")
    model.fit(logit(member.scores)[:, None], member.targets)
    expected = model.predict_proba(logit(GRID[1:-1])[:, None])[:, 1]
    np.testing.assert_allclose(Calibrator("temperature").fit(member).transform(GRID[1:-1]), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("slope", [0.05, 0.4, 2.5, 20.0])
def test_temperature_is_the_best_of_all(slope):
    member = simulated(2, slope=slope, shift=0.2)
    x, sign = logit(np.clip(member.scores, 1e-15, 1 - 1e-15)), 2 * member.targets - 1

    def loss(temperature):
        return np.logaddexp(0, -sign * x / temperature).mean()

    fitted = json.loads(Calibrator("temperature").fit(member).to_json())["temperature"]
    brute = minimize_scalar(lambda t: loss(np.exp(t)), bracket=(np.log(fitted) - 1, np.log(fitted) + 1))
    assert loss(fitted) <= brute.fun + 1e-12
    assert loss(fitted) <= min(map(loss, np.geomspace(0.01, 500, 400))) + 1e-12
    probabilities = Calibrator("temperature").fit(member).transform(member.scores)
    np.testing.assert_allclose(probabilities, expit(x / fitted), rtol=0, atol=1e-12)


@pytest.mark.parametrize("digits", [1, 2, 9])
def test_isotonic_is_that_of_scikit_learn(digits):
    member = simulated(3)
    member = member.replace_scores(np.round(member.scores, digits))
    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(member.scores, member.targets)
    fitted = Calibrator("isotonic").fit(member)
    np.testing.assert_allclose(fitted.transform(GRID), model.predict(GRID), rtol=0, atol=1e-12)
    np.testing.assert_allclose(fitted.transform(member.scores), model.predict(member.scores), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("trained", "rate"), [(0.5, 0.1), (0.5, 0.5), (0.2, 0.7), (0.9, 0.05)])
def test_prior_is_exact_for_a_model_calibrated_at_the_prevalence_it_was_trained_at(trained, rate):
    # A sign is seen in 80 % of the positives and in 30 % of the negatives; the probability follows from Bayes by hand.
    def bayes(prevalence, seen):
        likely, unlikely = (0.8, 0.3) if seen else (0.2, 0.7)
        return likely * prevalence / (likely * prevalence + unlikely * (1 - prevalence))

    positives = round(2000 * rate)
    targets = np.repeat([1, 0], [positives, 2000 - positives])
    seen = np.resize([True, True, True, False], 2000)
    scores = np.where(seen, bayes(trained, True), bayes(trained, False))
    fitted = Calibrator("prior", trained_prevalence=trained).fit(predictions(targets, scores))
    expected = np.where(seen, bayes(rate, True), bayes(rate, False))
    np.testing.assert_allclose(fitted.transform(scores), expected, rtol=0, atol=1e-12)


def test_prior_multiplies_the_odds():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.01, 0.4, 500)
    targets = np.repeat([1, 0], [50, 450])
    weight = (0.5 / 0.5) / (0.1 / 0.9)  # what balanced class weights do to the odds
    scores = weight * truth / (weight * truth + 1 - truth)
    fitted = Calibrator("prior", trained_prevalence=0.5).fit(predictions(targets, scores))
    np.testing.assert_allclose(fitted.transform(scores), truth, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(fitted.transform([0.0, 1.0]), [0, 1])


def test_prior_at_the_same_prevalence_changes_nothing():
    member = predictions(np.arange(40) % 4 == 0, np.linspace(0.01, 0.99, 40))
    fitted = Calibrator("prior", trained_prevalence=0.25).fit(member)
    np.testing.assert_allclose(fitted.transform(member.scores), member.scores, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_platt_mends_slope_and_prevalence_temperature_the_slope_alone(seed):
    member = simulated(seed, size=3000, slope=0.5, shift=1.0)
    platt = json.loads(Calibrator("platt").fit(member).to_json())
    assert (platt["intercept"], platt["slope"]) == pytest.approx((-1.0, 0.5), abs=0.2)
    assert Calibrator("platt").fit(member).transform(member.scores).mean() == pytest.approx(member.targets.mean())
    tempered = Calibrator("temperature").fit(member).transform(np.array([0.5]))
    assert tempered == pytest.approx([0.5])


# --- shape ------------------------------------------------------------------------------------------------------------


@st.composite
def fitted(draw):
    """Each method fitted on scores with ties and hard answers."""
    size = draw(st.integers(40, 80))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    targets = rng.permutation(np.arange(size) % draw(st.integers(2, 4)) == 0)
    scores = expit(draw(st.floats(0.1, 4)) * (rng.normal(size=size) + 0.8 * targets) + draw(st.floats(-3, 3)))
    digits = draw(st.sampled_from([1, 2, 12]))
    if draw(st.booleans()):
        scores[rng.integers(size, size=4)] = [0, 1, 0, 1]
    method = draw(st.sampled_from(CALIBRATIONS))
    try:
        return calibrator(method, draw(st.floats(0.01, 0.99))).fit(predictions(targets, np.round(scores, digits)))
    except PredictionsError as error:
        if method != "platt" or not ("slope" in str(error) or "separate" in str(error)):
            raise
        return Calibrator("temperature").fit(predictions(targets, np.round(scores, digits)))


@settings(deadline=None, max_examples=40)
@given(fitted(), st.lists(st.floats(0, 1), max_size=20))
def test_probabilities_lie_within_0_and_1_and_rise_with_the_score(model, scores):
    scores = np.sort([*scores, 0.0, 1e-300, 1e-16, 0.1, 0.5, 1 - 1e-16, 1.0])
    probabilities = model.transform(scores)
    assert probabilities.shape == scores.shape
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert (np.diff(probabilities) >= 0).all()


@settings(deadline=None, max_examples=20)
@given(fitted())
def test_json_gives_the_same_calibrator(model):
    text = model.to_json()
    again = Calibrator.from_json(text)
    assert again.to_json() == text
    assert (again.method, again.trained_prevalence) == (model.method, model.trained_prevalence)
    np.testing.assert_array_equal(again.transform(GRID), model.transform(GRID))
    assert json.loads(text)["format"] == 1


@pytest.mark.parametrize("method", ["platt", "temperature", "prior"])
def test_ranks_are_kept(method):
    member = simulated(4, slope=2.0)
    model = calibrator(method).fit(member)
    assert roc_auc(member.targets, model.transform(member.scores)) == roc_auc(member.targets, member.scores)


# --- out of fold only -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", CALIBRATIONS)
@pytest.mark.parametrize("kind", ["held_out", "test"])
def test_only_out_of_fold_scores_are_fitted_on(method, kind):
    member = simulated(kind=kind)
    refused(lambda: calibrator(method).fit(member), "Only out-of-fold", f"b4.csv ({kind})")
    refused(lambda: calibrator(method).cross_val_predict(member), "Only out-of-fold", f"b4.csv ({kind})")


@pytest.mark.parametrize("method", CALIBRATIONS)
def test_a_folds_probabilities_are_those_of_a_calibrator_of_the_other_folds(method):
    member = simulated(5)
    result = calibrator(method).cross_val_predict(member)
    frame = member.frame
    for fold in range(4):
        inside = (frame["fold"] == fold).to_numpy()
        others = calibrator(method).fit(Predictions(frame[~inside], "oof"))
        np.testing.assert_array_equal(result.scores[inside], others.transform(member.scores[inside]))
    assert list(result.image_names) == list(member.image_names)
    assert (result.kind, result.name) == ("oof", "b4.csv")


@pytest.mark.parametrize("method", CALIBRATIONS)
def test_a_folds_probabilities_do_not_depend_on_its_own_targets_and_scores(method):
    member = simulated(6)
    expected = calibrator(method).cross_val_predict(member).scores
    frame = member.frame
    inside = (frame["fold"] == 2).to_numpy()
    frame.loc[inside, "target"] = 1 - frame.loc[inside, "target"]
    changed = calibrator(method).cross_val_predict(Predictions(frame, "oof")).scores
    np.testing.assert_array_equal(changed[inside], expected[inside])
    assert (changed[~inside] != expected[~inside]).any()
    for column in ("score", "target"):
        other = frame.assign(**{column: np.where(frame.index == np.flatnonzero(inside)[0], 1, frame[column])})
        again = calibrator(method).cross_val_predict(Predictions(other, "oof")).scores
        np.testing.assert_array_equal(again[inside][1:], expected[inside][1:])


def test_cross_fitting_leaves_the_calibrator_as_it_was():
    model = Calibrator()
    model.cross_val_predict(simulated())
    refused(lambda: model.transform(GRID), "not fitted")
    model.fit(simulated())
    before = model.to_json()
    model.cross_val_predict(simulated(9))
    assert model.to_json() == before


def test_cross_fitting_needs_two_folds():
    member = predictions(np.arange(60) % 2, np.linspace(0, 1, 60), folds=1)
    refused(lambda: Calibrator("isotonic").cross_val_predict(member), "b4.csv", "at least two folds")


def test_order_of_rows_does_not_matter():
    member = simulated(7)
    turned = Predictions(member.frame.iloc[::-1], "oof")
    for method in CALIBRATIONS:
        one = calibrator(method).cross_val_predict(member).scores
        np.testing.assert_allclose(calibrator(method).cross_val_predict(turned).scores[::-1], one, rtol=0, atol=1e-6)


def test_predict_gives_the_records_of_its_own_with_probabilities():
    model = Calibrator().fit(simulated())
    for kind in ("held_out", "test"):
        member = simulated(8, kind=kind)
        result = model.predict(member)
        np.testing.assert_array_equal(result.scores, model.transform(member.scores))
        assert (result.kind, result.name, list(result.lines)) == (kind, "b4.csv", list(member.lines))
        assert list(result.image_names) == list(member.image_names)


def test_scores_per_class_are_not_called_calibrated():
    member = Predictions(simulated().frame.assign(score_nevus=0.5), "oof")
    assert member.classes == ("nevus",)
    assert Calibrator().cross_val_predict(member).classes == ()


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", CALIBRATIONS)
@pytest.mark.parametrize("value", [-0.25, 1.5])
def test_scores_outside_0_and_1_are_refused_with_their_row(method, value):
    member = simulated()
    odd = member.replace_scores(np.where(np.arange(400) % 200 == 5, value, member.scores))
    parts = ("b4.csv", f"row 15 has {value}", "2 such rows")
    refused(lambda: calibrator(method).fit(odd), *parts)
    refused(lambda: calibrator(method).cross_val_predict(odd), *parts)
    test = Predictions(odd.frame, "test", name="b4.csv", lines=odd.lines)
    refused(lambda: calibrator(method).fit(member).predict(test), *parts)


@pytest.mark.parametrize("method", CALIBRATIONS)
@pytest.mark.parametrize("rare", [0, 1])
def test_too_few_records_of_a_class_are_refused(method, rare):
    rng = np.random.default_rng(0)

    def member(count):
        targets = np.full(80, 1 - rare)
        targets[: 4 * count : 4] = rare
        return predictions(targets, np.clip(0.3 * targets + 0.7 * rng.random(80), 0, 1))

    refused(lambda: calibrator(method).fit(member(9)), "b4.csv", "at least 10 records", "there are 9 of one")
    calibrator(method).fit(member(10))
    # All ten lie in fold 0: without it there are none.
    message = "b4.csv without fold 0", "there are 0 of one"
    refused(lambda: calibrator(method).cross_val_predict(member(10)), *message)


@pytest.mark.parametrize("targets", [np.zeros(40), np.ones(40)])
def test_one_class_alone_is_refused(targets):
    refused(lambda: Calibrator("isotonic").fit(predictions(targets, np.linspace(0, 1, 40))), "there are 0 of one")


def test_scores_of_the_other_class_are_refused():
    member = simulated()
    turned = member.replace_scores(1 - member.scores)
    refused(lambda: Calibrator("platt").fit(turned), "b4.csv", "slope is -", "other class")
    refused(lambda: Calibrator("platt").cross_val_predict(turned), "b4.csv without fold 0", "other class")


def test_scores_that_separate_the_classes_have_no_best_slope():
    targets = np.arange(40) % 2
    refused(lambda: Calibrator().fit(predictions(targets, 0.2 + 0.6 * targets)), "b4.csv", "separate the classes")


def test_what_is_not_fitted_is_refused():
    for call in (Calibrator().to_json, lambda: Calibrator().transform(GRID), lambda: Calibrator().predict(simulated())):
        refused(call, "not fitted", "fit(out-of-fold predictions)")
    assert repr(Calibrator("isotonic")) == "Calibrator('isotonic'): not fitted"


def test_repr_tells_what_was_learnt():
    assert repr(Calibrator("isotonic").fit(simulated())) == "Calibrator('isotonic'): fitted"
    content = json.loads(Calibrator().fit(simulated()).to_json())
    words = f"intercept {content['intercept']:.4g}, slope {content['slope']:.4g}"
    assert repr(Calibrator().fit(simulated())) == f"Calibrator('platt'): {words}"


@pytest.mark.parametrize("method", ["Platt", "beta", None])
def test_an_unknown_method_is_refused(method):
    refused(lambda: Calibrator(method), "platt, temperature, isotonic, prior", repr(method))


@pytest.mark.parametrize("method", CALIBRATIONS)
def test_prior_alone_takes_a_prevalence(method):
    if method == "prior":
        refused(lambda: Calibrator(method), "needs trained_prevalence", "None")
    else:
        refused(lambda: Calibrator(method, trained_prevalence=0.5), "needs trained_prevalence", "0.5")


@pytest.mark.parametrize("prevalence", [0, 1, -0.1, 2.0, np.nan])
def test_a_prevalence_lies_between_0_and_1(prevalence):
    refused(lambda: Calibrator("prior", trained_prevalence=prevalence), "trained_prevalence lies between 0 and 1")


PLATT = {"format": 1, "method": "platt", "trained_prevalence": None, "intercept": 0.0, "slope": 1.0}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "3",
        "[]",
        '"platt"',
        "{}",
        '{"format": 1}',
        '{"format": 1, "method": "platt"}',
        *(json.dumps({k: v for k, v in PLATT.items() if k != left}) for left in PLATT),
        *(
            json.dumps({**PLATT, **changes})
            for changes in (
                {"format": 2},
                {"format": None},
                {"method": "beta"},
                {"method": ["platt"]},
                {"method": "isotonic"},
                {"method": "prior", "prevalence": 0.1},
                {"trained_prevalence": 0.5},
                {"slope": float("nan")},
                {"slope": float("inf")},
                {"slope": None},
                {"slope": "steep"},
                {"slope": {"value": 1}},
                {"method": "prior", "trained_prevalence": "half", "prevalence": 0.1},
                {"method": "prior", "trained_prevalence": 1.5, "prevalence": 0.1},
                {"method": "isotonic", "scores": [0, 1], "probabilities": [0, None]},
                {"method": "isotonic", "scores": [0, [1]], "probabilities": [0, 1]},
            )
        ),
        None,
    ],
)
def test_what_to_json_did_not_write_is_refused(text):
    refused(lambda: Calibrator.from_json(text))


@pytest.mark.parametrize(
    "changes",
    [
        {"slope": "1"},
        {"slope": [1.0]},
        {"slope": -1.0},
        {"method": "temperature", "temperature": 0.0},
        {"method": "temperature", "temperature": -1.0},
        {"method": "isotonic", "scores": [0.1, 0.5], "probabilities": [0.1]},
        {"method": "isotonic", "scores": [], "probabilities": []},
        {"method": "isotonic", "scores": [0.5, 0.1], "probabilities": [0.1, 0.2]},
        {"method": "isotonic", "scores": [0.1, 0.5], "probabilities": [0.1, 9.0]},
        {"method": "prior", "trained_prevalence": 0.5, "prevalence": 2.0},
    ],
)
def test_values_that_no_calibrator_has_are_refused(changes):
    refused(lambda: Calibrator.from_json(json.dumps({**PLATT, **changes})))


@pytest.mark.parametrize("value", [3.0, -2.0, np.nan])
def test_transform_refuses_scores_outside_0_and_1(value):
    model = Calibrator().fit(simulated())
    refused(lambda: model.transform(np.array([0.5, value])))

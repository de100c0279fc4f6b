"""`evaluate`: every part against the function that makes it, and what it says was not done."""

import json
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

import melanomafusion as mf
from melanomafusion.errors import PredictionsError
from melanomafusion.evaluation import metrics, probabilities
from melanomafusion.evaluation.calibration import Calibrator
from melanomafusion.evaluation.comparison import compare
from melanomafusion.evaluation.intervals import METHODS, auc_interval
from melanomafusion.evaluation.multiclass import multiclass_metrics
from melanomafusion.evaluation.subgroups import subgroup_columns, subgroup_table
from melanomafusion.evaluation.summary import RULES, evaluate
from melanomafusion.evaluation.thresholds import given_threshold, operating_threshold
from melanomafusion.predictions import Predictions

RESAMPLES = 40


def frame(seed=0, patients=60, **columns):
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rng.integers(1, 7, patients))
    count = len(patient)
    target = (rng.random(count) < 0.3).astype(int)
    table = {
        "image_name": [f"i{i:03d}" for i in range(count)],
        "patient_id": [f"p{p:02d}" for p in patient],
        "target": target,
        "fold": patient % 4,
        "grouped_by": "patient",
        "score": expit(1.5 * rng.normal(size=count) + target),
    }
    return pd.DataFrame({k: v for k, v in {**table, **columns}.items() if v is not None})


def predictions(kind="oof", **columns):
    return Predictions(frame(**columns), kind, name="b4.csv")


def metadata():
    count = len(frame())
    rng = np.random.default_rng(2)
    return pd.DataFrame(
        {
            "image_name": [f"i{i:03d}" for i in range(count)],
            "sex": rng.choice(["female", "male"], count),
            "age_approx": rng.choice([25.0, 45, 85, np.nan], count, p=[0.1, 0.5, 0.3, 0.1]),
            "camera": rng.choice(["x", "y"], count),
        }
    )


def plain(evaluation):
    """to_dict as JSON, which has no NaN and no infinity."""
    return json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))


def noted(evaluation, *parts):
    return all(any(part in note for note in evaluation.notes) for part in parts)


@pytest.fixture(scope="module")
def whole():
    """An evaluation with every part."""
    classes = {"score_melanoma": frame()["score"], "score_nevus": 1 - frame()["score"]}
    member = predictions(**classes, diagnosis=np.where(frame()["target"] == 1, "melanoma", "nevus"))
    return evaluate(member, data=metadata(), threshold=0.4, against=worse(member), resamples=RESAMPLES, seed=3)


def worse(member):
    noise = np.random.default_rng(9).normal(size=len(member))
    return Predictions(member.frame.assign(score=expit(noise + member.scores)), member.kind, name="b5.csv")


# --- out of fold ------------------------------------------------------------------------------------------------------


def test_about_counts_what_was_evaluated(whole):
    member = whole.predictions
    expected = {
        "records": len(member),
        "positives": member.targets.sum(),
        "prevalence": pytest.approx(member.targets.mean()),
        "clusters": 60,
        "cluster": "patient",
        "kind": "oof",
        "folds": 4,
        "grouped_by": "patient",
        "image_level_split": False,
        "sources": [],
    }
    assert {key: whole.about[key] for key in expected} == expected


def test_sources_are_named():
    assert evaluate(predictions(source="siim"), resamples=5).about["sources"] == ["siim"]
    sources = np.resize(["siim", None, "ham"], len(frame()))
    assert evaluate(predictions(source=sources), resamples=5).about["sources"] == ["ham", "siim"]


def test_auc_has_the_interval_of_every_method(whole):
    assert set(whole.auc) == set(METHODS)
    for method in METHODS:
        assert whole.auc[method] == auc_interval(whole.predictions, method=method, resamples=RESAMPLES, seed=3)


def test_ranking_is_that_of_the_metrics(whole):
    data = whole.predictions.targets, whole.predictions.scores
    assert whole.ranking == {
        "average_precision": metrics.average_precision(*data),
        "partial_auc": metrics.partial_auc(*data, 0.8),
        "sensitivity_at_specificity_0.9": metrics.sensitivity_at_specificity(*data, 0.9),
        "sensitivity_at_specificity_0.8": metrics.sensitivity_at_specificity(*data, 0.8),
        "specificity_at_sensitivity_0.9": metrics.specificity_at_sensitivity(*data, 0.9),
        "specificity_at_sensitivity_0.95": metrics.specificity_at_sensitivity(*data, 0.95),
    }


def test_calibration_is_that_of_the_scores_and_of_cross_fitted_probabilities(whole):
    member = whole.predictions
    calibrated = Calibrator("platt").cross_val_predict(member)
    np.testing.assert_array_equal(whole.calibrated.scores, calibrated.scores)
    expected = {"scores as they are": member.scores, "probabilities (Platt, cross-fitted)": calibrated.scores}
    assert list(whole.calibration.index) == list(expected)
    for name, scores in expected.items():
        for metric, value in whole.calibration.loc[name].items():
            assert value == getattr(probabilities, metric)(member.targets, scores)
    assert set(whole.calibration) == {
        "brier_score",
        "log_loss",
        "expected_calibration_error",
        "calibration_slope",
        "calibration_intercept",
    }


def test_thresholds_are_the_given_one_and_cross_fitted_ones(whole):
    given, *others = whole.thresholds
    assert given.to_dict() == given_threshold(whole.predictions, 0.4).to_dict()
    assert [t.to_dict() for t in others] == [operating_threshold(whole.predictions, *rule).to_dict() for rule in RULES]
    assert [t.cross_fitted for t in whole.thresholds] == [False] + [True] * len(RULES)


def test_subgroups_are_those_of_the_table(whole):
    columns = subgroup_columns(metadata(), None)
    expected = subgroup_table(whole.predictions, columns, resamples=RESAMPLES, seed=3)
    pd.testing.assert_frame_equal(whole.subgroups, expected)
    assert set(whole.subgroups["column"]) == {"sex", "age_band"}


def test_classes_are_scored(whole):
    table, overall = whole.multiclass
    member = whole.predictions
    scores = member.frame[["score_melanoma", "score_nevus"]].to_numpy()
    expected = multiclass_metrics(member.frame["diagnosis"].to_numpy(), scores, ("melanoma", "nevus"))
    pd.testing.assert_frame_equal(table, expected[0])
    assert overall == expected[1]


def test_the_other_predictions_are_compared_in_pairs(whole):
    other, comparison = whole.against
    assert other.name == "b5.csv"
    assert comparison == compare(whole.predictions, other, resamples=RESAMPLES, seed=3)


def test_nothing_was_left_out_but_an_external_validation(whole):
    (note,) = whole.notes
    assert note.startswith("No external validation: ")


def test_it_is_written_as_json_without_nan(whole):
    content = plain(whole)
    assert list(content) == [
        "name",
        "about",
        "auc",
        "ranking",
        "calibration",
        "thresholds",
        "subgroups",
        "notes",
        "multiclass",
        "against",
    ]
    interval = whole.auc["bootstrap"]
    assert content["auc"]["estimate"] == interval.estimate
    assert content["auc"]["bootstrap"] == {"interval": [interval.low, interval.high], "cluster": "patient"}
    assert content["auc"]["delong"]["cluster"] == "record"
    assert content["ranking"] == whole.ranking
    assert content["calibration"]["scores as they are"]["brier_score"] == whole.calibration.iloc[0]["brier_score"]
    assert len(content["thresholds"]) == 1 + len(RULES)
    assert len(content["subgroups"]) == len(whole.subgroups)
    assert any(not row["enough"] and row["auc"] is None for row in content["subgroups"])
    assert content["against"]["name"] == "b5.csv"
    assert content["against"]["difference"] == whole.against[1].difference
    assert set(content["multiclass"]["classes"]) == {"melanoma", "nevus", "macro mean", "weighted mean"}
    assert content["multiclass"]["overall"] == whole.multiclass[1]


def test_it_prints_every_part(whole):
    text = str(whole)
    interval, about = whole.auc["bootstrap"], whole.about
    assert text.splitlines()[0] == (
        f"b4.csv: oof, {about['records']} records of 60 patients, {about['positives']} positive "
        f"({about['prevalence']:.2%})"
    )
    assert f"  AUC {interval}, bootstrap over patients" in text
    for value in whole.ranking.values():
        assert f" {value:.4f}" in text
    for name, row in whole.calibration.iterrows():
        assert f"  {name}: Brier score {row['brier_score']:.4f}, log loss {row['log_loss']:.4f}, " in text
    for threshold in whole.thresholds:
        low, high = threshold.sensitivity[1:]
        assert (
            f"  {threshold.rule}: score ≥ {threshold.value:.4g}, sensitivity {threshold.sensitivity[0]:.3f} (" in text
        )
        assert f"({low:.3f} to {high:.3f}), specificity {threshold.specificity[0]:.3f} (" in text
    for group in whole.subgroups.itertuples():
        figure = f"AUC {group.auc:.3f} ({group.low:.3f} to {group.high:.3f})" if group.enough else "too few to say"
        assert f"  {group.column} {group.value}: {group.records} records, {group.positives} positive, {figure}" in text
    assert "  accuracy " in text
    assert "weighted mean" in text
    assert f"  against b5.csv: AUC {whole.against[1].auc_a:.4f} − " in text
    assert "  note: No external validation" in text
    assert "nan" not in text


def test_the_same_seed_gives_the_same_figures(whole):
    again = evaluate(
        whole.predictions, data=metadata(), threshold=0.4, against=whole.against[0], resamples=RESAMPLES, seed=3
    )
    assert plain(again) == plain(whole)
    assert str(again) == str(whole)
    other = evaluate(whole.predictions, resamples=RESAMPLES, seed=4)
    assert other.auc["bootstrap"].low != whole.auc["bootstrap"].low


def test_the_order_of_rows_does_not_matter():
    member = predictions()
    turned = Predictions(member.frame.iloc[::-1], "oof", name="b4.csv")
    one, other = (plain(evaluate(p, data=metadata(), resamples=10)) for p in (member, turned))
    assert json.dumps(one["thresholds"]) == json.dumps(other["thresholds"])
    assert one["auc"]["bootstrap"]["interval"] == pytest.approx(other["auc"]["bootstrap"]["interval"], abs=1e-12)
    for ours, theirs in zip(one["subgroups"], other["subgroups"], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-12)


def test_a_fold_does_not_choose_its_own_calibration():
    table = frame()
    inside = table["fold"] == 1
    changed = table.assign(target=np.where(inside, 1 - table["target"], table["target"]))
    one, other = (evaluate(Predictions(t, "oof"), resamples=5) for t in (table, changed))
    np.testing.assert_array_equal(one.calibrated.scores[inside], other.calibrated.scores[inside])
    assert (one.calibrated.scores[~inside] != other.calibrated.scores[~inside]).any()
    assert all(threshold.cross_fitted for threshold in one.thresholds)


# --- what cannot be done is said --------------------------------------------------------------------------------------


def test_held_out_predictions_choose_and_fit_nothing():
    result = evaluate(predictions("held_out"), data=metadata(), resamples=5)
    assert result.thresholds == ()
    assert result.calibrated is None
    assert list(result.calibration.index) == ["scores as they are"]
    assert noted(
        result, "No operating threshold: choose one on out-of-fold", "Not calibrated: calibrators are fitted on"
    )
    assert result.about["folds"] is None
    plain(result)


def test_held_out_predictions_take_a_threshold_that_was_given():
    member = predictions("held_out")
    result = evaluate(member, threshold=0.3, resamples=5)
    assert [t.to_dict() for t in result.thresholds] == [given_threshold(member, 0.3).to_dict()]
    assert not noted(result, "No operating threshold")
    assert "given: 0.3" in str(result)


def test_a_threshold_of_zero_is_one():
    result = evaluate(predictions("held_out"), threshold=0, resamples=5)
    assert result.thresholds[0].matrix[:, 0].sum() == 0


@pytest.mark.parametrize("threshold", [np.nan, "0.5"])
def test_a_threshold_is_a_number(threshold):
    with pytest.raises(PredictionsError, match="A threshold is a number"):
        evaluate(predictions(), threshold=threshold, resamples=5)


def test_a_single_fold_cross_fits_nothing():
    result = evaluate(predictions(fold=0), resamples=5)
    assert result.thresholds == ()
    assert result.calibrated is None
    assert list(result.calibration.index) == ["scores as they are"]
    assert noted(
        result, "single fold none can be cross-fitted", "Not calibrated: b4.csv: cross-fitting needs at least two"
    )
    assert len(evaluate(predictions(fold=0), threshold=0.5, resamples=5).thresholds) == 1


def test_scores_outside_0_and_1_are_ranked_but_not_calibrated():
    result = evaluate(predictions(score=3 * frame()["score"] - 1), resamples=5)
    assert len(result.calibration) == 0
    assert result.calibrated is None
    assert noted(result, "need scores within [0, 1]; these are not")
    expected = evaluate(predictions(), resamples=5)
    assert result.auc["bootstrap"].estimate == expected.auc["bootstrap"].estimate
    assert [t.matrix.tolist() for t in result.thresholds] == [t.matrix.tolist() for t in expected.thresholds]
    assert plain(result)["calibration"] == {}


@pytest.mark.parametrize("edge", [0.0, 1.0])
def test_scores_of_exactly_0_and_1_are_calibrated(edge):
    table = frame()
    table.loc[3, "score"] = edge
    assert evaluate(Predictions(table, "oof"), resamples=5).calibrated is not None


def test_scores_of_the_other_class_are_scored_but_not_calibrated():
    result = evaluate(predictions(score=1 - frame()["score"]), resamples=5)
    assert result.calibrated is None
    assert noted(result, "Not calibrated: b4.csv without fold 0: the fitted slope is -")
    assert result.auc["bootstrap"].estimate < 0.5


def test_too_few_positives_are_scored_but_not_calibrated():
    targets = np.zeros(len(frame()), dtype=int)
    targets[[0, 40, 80, 120, 150]] = 1
    result = evaluate(predictions(target=targets), resamples=5)
    assert result.calibrated is None
    assert noted(result, "calibration needs at least 10 records of each class")
    assert len(result.thresholds) == len(RULES)
    plain(result)


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_alone_is_refused(only):
    with pytest.raises(PredictionsError, match=rf"b4.csv: all {len(frame())} targets are {only}: nothing to rank"):
        evaluate(predictions(target=only), resamples=5)


def test_test_predictions_are_refused():
    with pytest.raises(PredictionsError, match=r"b4\.csv: test predictions have no target"):
        evaluate(predictions("test"))


def test_a_single_positive_of_held_out_predictions_has_figures_without_nan():
    targets = np.zeros(len(frame()), dtype=int)
    targets[5] = 1
    result = evaluate(predictions("held_out", target=targets), resamples=5)
    assert result.about["positives"] == 1
    plain(result)
    str(result)


def test_positives_of_one_fold_alone_are_scored_without_thresholds():
    table = frame()
    table["target"] = np.where(table["fold"] == 1, table["target"], 0)
    result = evaluate(Predictions(table, "oof"), resamples=5)
    assert result.auc["bootstrap"].estimate > 0


def test_no_patients_are_noted():
    result = evaluate(predictions(patient_id=None), resamples=5)
    assert (result.about["cluster"], result.about["clusters"]) == ("record", len(frame()))
    assert noted(result, "records were taken to be independent", "Intervals are too narrow")
    lesions = evaluate(predictions(patient_id=None, lesion_id=frame()["patient_id"]), resamples=5)
    assert (lesions.about["cluster"], lesions.about["clusters"]) == ("lesion", 60)
    assert not noted(lesions, "independent")


def test_image_level_splits_are_noted():
    said = evaluate(predictions(grouped_by="record"), resamples=5)
    seen = evaluate(predictions(grouped_by=None, fold=np.arange(len(frame())) % 4), resamples=5)
    for result in (said, seen):
        assert result.about["image_level_split"] is True
        assert noted(result, "Image-level split")
        assert "note: Image-level split" in str(result)


# --- data and subgroups -----------------------------------------------------------------------------------------------


def test_without_metadata_there_are_no_subgroups():
    result = evaluate(predictions(), resamples=5)
    assert len(result.subgroups) == 0
    assert noted(result, "No subgroups: no metadata were given")
    assert plain(result)["subgroups"] == []


def test_subgroups_come_of_the_predictions_own_columns_too():
    sex = metadata()["sex"]
    own = evaluate(predictions(sex=sex), resamples=5).subgroups
    given = evaluate(predictions(), data=metadata()[["image_name", "sex"]], resamples=5).subgroups
    pd.testing.assert_frame_equal(own, given)


def test_data_may_be_a_table_in_any_order_or_a_data_set(folded):
    data = folded.frame
    rng = np.random.default_rng(0)
    table = data[["image_name", "patient_id", "target", "fold", "grouped_by"]].assign(score=rng.random(len(data)))
    member = Predictions(table.sample(frac=1, random_state=1), "oof")
    one = evaluate(member, data=folded, resamples=5)
    assert {"sex", "age_band"} <= set(one.subgroups["column"])
    other = evaluate(member, data=data.sample(frac=1, random_state=2), resamples=5)
    pd.testing.assert_frame_equal(one.subgroups, other.subgroups)
    for row in one.subgroups[one.subgroups["column"] == "sex"].itertuples():
        sex = data["sex"].isna() if row.value == "missing" else data["sex"] == row.value
        assert (row.records, row.positives) == (sex.sum(), data.loc[sex, "target"].sum())


def test_subgroups_may_be_named():
    result = evaluate(predictions(), data=metadata(), subgroups=["camera"], resamples=5)
    assert list(result.subgroups["column"].unique()) == ["camera"]
    with pytest.raises(PredictionsError, match="no column 'colour' for subgroups"):
        evaluate(predictions(), data=metadata(), subgroups=["colour"], resamples=5)
    with pytest.raises(PredictionsError, match="at most 50"):
        evaluate(predictions(), data=metadata(), subgroups=["image_name"], resamples=5)


def test_data_that_do_not_fit_are_refused():
    with pytest.raises(PredictionsError, match=r"1 of .* records of b4\.csv are not in the data set, e\.g\. i000"):
        evaluate(predictions(), data=metadata().iloc[1:], resamples=5)
    with pytest.raises(PredictionsError, match="The data set has i000 twice"):
        evaluate(predictions(), data=pd.concat([metadata(), metadata().iloc[:1]]), resamples=5)


# --- scores per class -------------------------------------------------------------------------------------------------


def classes():
    rng = np.random.default_rng(4)
    scores = rng.dirichlet([1, 1, 1], len(frame()))
    diagnosis = np.array(["melanoma", "nevus", "other"])[rng.integers(3, size=len(frame()))]
    columns = {f"score_{label}": scores[:, k] for k, label in enumerate(("melanoma", "nevus", "other"))}
    return {**columns, "score": scores[:, 0], "target": (diagnosis == "melanoma").astype(int)}, diagnosis


def test_true_classes_may_come_of_the_data():
    columns, diagnosis = classes()
    own = evaluate(predictions(**columns, diagnosis=diagnosis), resamples=5)
    data = metadata().assign(diagnosis=diagnosis).iloc[::-1]
    given = evaluate(predictions(**columns), data=data, resamples=5)
    pd.testing.assert_frame_equal(own.multiclass[0], given.multiclass[0])
    assert own.multiclass[1]["accuracy"] == np.mean(
        np.array(["melanoma", "nevus", "other"])[
            np.stack([columns[f"score_{c}"] for c in ("melanoma", "nevus", "other")]).argmax(axis=0)
        ]
        == diagnosis
    )


def test_without_true_classes_scores_per_class_are_not_scored():
    columns, diagnosis = classes()
    holes = np.where(np.arange(len(diagnosis)) == 4, None, diagnosis)
    for member in (predictions(**columns), predictions(**columns, diagnosis=holes)):
        result = evaluate(member, resamples=5)
        assert result.multiclass is None
        assert noted(result, "Scores per class were not scored")
        assert "multiclass" not in plain(result)


def test_a_binary_score_has_no_classes():
    result = evaluate(predictions(), resamples=5)
    assert result.multiclass is None
    assert not noted(result, "per class")


def test_a_true_class_without_scores_is_refused():
    columns, diagnosis = classes()
    with pytest.raises(PredictionsError, match="No scores for the classes bcc; there are melanoma, nevus, other"):
        evaluate(predictions(**columns, diagnosis=np.where(diagnosis == "other", "bcc", diagnosis)), resamples=5)


# --- against ----------------------------------------------------------------------------------------------------------


def test_predictions_of_other_records_cannot_be_compared():
    with pytest.raises(PredictionsError, match="lacks 1 records"):
        evaluate(predictions(), against=Predictions(frame().iloc[1:], "oof"), resamples=5)


def test_without_other_predictions_there_is_no_comparison():
    result = evaluate(predictions(), resamples=5)
    assert result.against is None
    assert "against" not in plain(result)


def test_a_comparison_with_a_single_positive_is_json_too():
    targets = np.zeros(len(frame()), dtype=int)
    targets[5] = 1
    member = predictions("held_out", target=targets)
    assert set(plain(evaluate(member, against=worse(member), resamples=5))["against"]["delong"]) == {
        "interval",
        "p",
        "cluster",
    }


def test_evaluate_is_public_and_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert str(mf.evaluate(predictions(), resamples=5)).startswith("b4.csv: oof")
    assert sys.modules["melanomafusion.evaluation.summary"].evaluate is mf.evaluate

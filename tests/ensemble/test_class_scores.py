"""Members of several classes: the ensemble has the plain mean of their class scores beside its one score."""

import numpy as np
import pandas as pd
import pytest

import melanomafusion as mf

CLASSES = ("AK", "melanoma", "nevus")


def member(seed, classes=CLASSES, kind="oof", count=90):
    """Predictions of records i00 …, three to a lesion, whole lesions in three folds."""
    rng, row = np.random.default_rng(seed), np.arange(count)
    diagnosis = np.array(CLASSES)[row // 3 % 3]
    values = rng.dirichlet(np.ones(len(classes)), count)
    frame = pd.DataFrame(
        {
            "image_name": [f"i{i:02d}" for i in row],
            "lesion_id": [f"l{i // 3:02d}" for i in row],
            "target": (diagnosis == "melanoma").astype(int),
            "diagnosis": diagnosis,
            "fold": row // 9 % 3,
            "score": 0.5 * values[:, classes.index("melanoma")] + 0.5 * (diagnosis == "melanoma") * rng.random(count),
            **{f"score_{name}": values[:, place] for place, name in enumerate(classes)},
        }
    )
    if kind == "test":
        frame = frame.drop(columns=["target", "fold", "diagnosis"])
    return mf.Predictions(frame, kind, name=f"m{seed}")


def class_scores(predictions):
    return predictions.frame.set_index("image_name")[[f"score_{name}" for name in CLASSES]]


@pytest.mark.parametrize(
    "ensemble", [mf.MeanEnsemble(), mf.RankMeanEnsemble(), mf.WeightedEnsemble("simplex"), mf.StackingEnsemble()]
)
def test_class_scores_are_the_plain_mean_by_name_of_class_and_record(ensemble):
    oof = {"a": member(0), "b": member(1, CLASSES[::-1])}
    ensemble.fit(oof)
    new = {"a": member(2, kind="test"), "b": member(3, CLASSES[::-1], kind="test")}
    new["b"] = mf.Predictions(new["b"].frame.sample(frac=1, random_state=0), "test", name="b")
    combined = ensemble.predict(new)
    expected = (class_scores(new["a"]) + class_scores(new["b"]).loc[new["a"].image_names]) / 2
    pd.testing.assert_frame_equal(class_scores(combined), expected, check_exact=False, rtol=1e-12)
    np.testing.assert_allclose(class_scores(combined).sum(axis=1), 1.0)
    turned = ensemble.predict(dict(reversed(new.items())))
    pd.testing.assert_frame_equal(class_scores(turned).loc[new["a"].image_names], class_scores(combined))


def test_out_of_fold_class_scores_are_evaluated_with_the_diagnoses():
    oof = {"a": member(0), "b": member(1)}
    found = mf.WeightedEnsemble().cross_val_predict(oof)
    expected = (class_scores(oof["a"]) + class_scores(oof["b"])).to_numpy() / 2
    np.testing.assert_allclose(class_scores(found), expected)
    truth = oof["a"].frame["diagnosis"].to_numpy()
    accuracy = mf.evaluate(found).to_dict()["multiclass"]["overall"]["accuracy"]
    assert accuracy == np.mean(np.array(CLASSES)[expected.argmax(axis=1)] == truth)


def test_members_of_other_classes_or_none_give_one_score_alone():
    ensemble = mf.MeanEnsemble().fit({"a": member(0), "b": member(1)})
    nine = member(3, (*CLASSES, "BKL"), kind="test")
    binary = mf.Predictions(nine.frame[["image_name", "score"]], "test")
    for other in (nine, binary):
        assert ensemble.predict({"a": member(2, kind="test"), "b": other}).classes == ()
        assert ensemble.predict({"a": other, "b": member(2, kind="test")}).classes == ()

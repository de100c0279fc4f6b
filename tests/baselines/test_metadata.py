"""Metadata alone against scikit-learn put together by hand, and against the best that synthetic data allow."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import melanomafusion as mf
from melanomafusion.baselines.metadata import metadata_baseline
from melanomafusion.errors import MetadataError, RunError
from melanomafusion.testing import best_possible, make_records

CLASSES = ("AK", "BCC", "BKL", "DF", "VASC", "melanoma", "nevus")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """About 2,000 synthetic records in five patient folds, without images."""
    root = tmp_path_factory.mktemp("records")
    frame, _ = make_records(450, prevalence=0.2, rng=np.random.default_rng(3))
    frame.to_csv(root / "train.csv", index=False)
    return mf.assign_folds(mf.load_siim_isic_2020(root, with_images=False), 5)


def test_scores_are_those_of_a_logistic_regression_on_training_rows(folded):
    oof = metadata_baseline(folded)
    for fold in range(3):
        train, held_out = folded.held_out(fold)
        encoder = mf.MetadataEncoder().fit(train.frame)
        model = LogisticRegression(max_iter=1000).fit(encoder.transform(train.frame), train.targets)
        wanted = model.predict_proba(encoder.transform(held_out.frame))[:, 1]
        assert oof.scores[(oof.frame["fold"] == fold).to_numpy()] == pytest.approx(wanted, abs=1e-9)
    assert list(oof.image_names) == list(folded.image_names)


def test_it_comes_near_the_best_that_metadata_allow(records):
    auc = mf.auc_interval(metadata_baseline(records)).estimate
    best = best_possible(0.2).metadata
    assert best - 0.05 < auc < best + 0.03


def test_several_classes_have_a_score_each(ham):
    oof = metadata_baseline(ham, CLASSES, features=("age",))
    scores = oof.frame[[f"score_{label}" for label in CLASSES]].to_numpy()
    assert scores.sum(axis=1) == pytest.approx(1)
    assert oof.scores == pytest.approx(scores[:, 5])
    # Age tells the diagnoses apart in part; chance is one in seven.
    assert np.mean(np.array(CLASSES)[scores.argmax(axis=1)] == oof.frame["diagnosis"]) > 0.3
    assert mf.roc_auc(oof.targets, oof.scores) > 0.8


def test_balanced_weights_raise_the_scores_of_rare_positives(folded):
    plain, balanced = (metadata_baseline(folded, class_weight=weight) for weight in (None, "balanced"))
    assert plain.scores.mean() == pytest.approx(folded.targets.mean(), abs=0.03)
    means = [balanced.scores[folded.targets == target].mean() for target in (0, 1)]
    assert np.mean(means) == pytest.approx(0.5, abs=0.06)


def test_features_that_are_unknown_or_empty_fail_at_once(ham, folded):
    with pytest.raises(MetadataError, match="Known features"):
        metadata_baseline(folded, features=("sex", "height_of_patient"))
    with pytest.raises(MetadataError, match="images_per_patient"):
        metadata_baseline(ham, features=("images_per_patient",))


def test_a_wrong_class_weight_or_fold_fails_at_once(folded):
    with pytest.raises(RunError, match="class_weight='none'"):
        metadata_baseline(folded, class_weight="none")
    with pytest.raises(RunError, match="among"):
        metadata_baseline(folded, folds=[5])


def test_images_are_not_needed(folded):
    without = folded.with_columns(path=None)
    assert metadata_baseline(without).scores == pytest.approx(metadata_baseline(folded).scores)
